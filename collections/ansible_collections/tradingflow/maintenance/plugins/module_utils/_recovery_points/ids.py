# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What recovery points and their checks are called."""

from __future__ import annotations

import secrets
from datetime import datetime


def suffix(engine: str) -> str:
    """What tells the checks of an engine from those of the daily dump, whose have no suffix."""
    return "" if engine == "logical" else f":{engine}"


def new_id(now: datetime) -> str:
    """A recovery point's id, in order of time: 20261123T204030Z-3fa9c1.

    Half of the last part is the fraction of the second, the other half is random.
    """
    fraction = now.microsecond * 4096 // 1_000_000
    return f"{now.strftime('%Y%m%dT%H%M%SZ')}-{fraction:03x}{secrets.randbelow(4096):03x}"
