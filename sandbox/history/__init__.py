# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history of the platform. Interim: reference data only."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any


class History:
    digest = ""

    def __init__(self, *, seed: int, anchor: datetime, size: str) -> None:
        self.anchor = anchor

    def load(self, section: dict[str, Any]) -> dict[str, int]:
        from ..postgres import cursor as opened

        with opened(section, "owner") as cursor:
            cursor.execute(
                "INSERT INTO accounts VALUES ('HOUSE-USD','house','TradingFlow','US','USD','active','verified','low',now(),now()+interval '300 days',now())"
            )
            for n in range(12):
                cursor.execute(
                    "INSERT INTO strategies VALUES (%s,%s,'HOUSE-USD','24/7','USD',1000000,'running',10,3600,%s,now())",
                    [f"strategy-{n}", f"Strategy {n}", f"s{n}.json"],
                )
        return {"strategies": 12}

    def write_files(self, folder: Path) -> None:
        for n in range(20):
            (folder / f"strategie n°{n} 'x' 50%.json").write_text("{}")
