# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A reason not to go on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Dict


@dataclass
class Refusal:
    """One thing that forbids it.

    :param name: short, part of a check's id
    :param word: what an operator says to insist (restore_overrides), empty when nobody can
    """

    name: str
    message: str
    remedy: str
    word: str = ""

    def as_dict(self) -> Dict[str, str]:
        """As JSON data."""
        found: Dict[str, str] = asdict(self)
        return found
