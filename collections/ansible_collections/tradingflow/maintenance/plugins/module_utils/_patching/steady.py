# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether units that were just started stay up: right after its start, also one that dies a second later is active."""

from __future__ import annotations

import time
from typing import Dict, List

from ..errors import PatchingError
from . import commands
from .units import shown

#: Seconds after which they are looked at once more.
WAIT = 5.0
#: Another process, or another start by systemd itself, is another unit. Units that have none say nothing here.
_SAME = ("MainPID", "NRestarts")


def problems(units: List[str]) -> Dict[str, str]:
    """Of units that were started, those that do not stay up, and why."""
    found: Dict[str, str] = {}
    before: Dict[str, Dict[str, str]] = {}
    for unit in units:
        try:
            commands.run(["systemctl", "is-active", "--", unit])
            before[unit] = looked(unit)
        except PatchingError as error:
            found[unit] = error.message
    if before:
        time.sleep(WAIT)
    for unit, was in before.items():
        try:
            now = looked(unit)
        except PatchingError as error:
            found[unit] = error.message
            continue
        if now.get("ActiveState") not in ("active", "reloading", "refreshing"):
            found[unit] = (
                f"It was started, and {WAIT:.0f} s later it is {now.get('ActiveState') or 'in no known state'}."
            )
        elif any(now.get(name) != was.get(name) for name in _SAME):
            found[unit] = f"It was started, and ended and was started again within {WAIT:.0f} s."
    return found


def looked(unit: str) -> Dict[str, str]:
    """How a unit is.

    :raises PatchingError: systemd does not say
    """
    return shown([unit], "ActiveState", *_SAME)[0]
