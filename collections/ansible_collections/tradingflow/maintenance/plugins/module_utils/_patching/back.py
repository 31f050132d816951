# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way back: exactly the versions that were there before the last patching, and nothing removed for it."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ..errors import PatchingError

Plan = Tuple[List[Dict[str, Any]], List[str]]


def rows(solver: Any, kept: Optional[Dict[str, Any]]) -> Plan:
    """What going back would put in place, and why it may not be done.

    What came with the patches and was not there before stays: removing is nobody's but the operator's to decide.

    :param solver: see solver.py
    :param kept: what the host keeps of its last patching, see state.py
    :raises PatchingError: the host keeps none
    """
    if kept is None:
        raise PatchingError(
            "There is nothing to go back from: the host keeps no earlier patching.",
            "Take the versions of the ledger's record (before), and put them in place by apt-get by hand.",
        )
    if kept["rollback"] and not kept["open"]:
        return [], []
    wanted, why = [], []
    for row in kept["back"]:
        if row["from"] is None:
            continue
        package = solver.package(row["package"], row["architecture"])
        now = package.current_ver.ver_str if package is not None and package.current_ver is not None else None
        if now == row["from"]:
            continue
        if now != row["to"] and now not in row.get("was", []):
            why.append(f"{row['package']} is {now or 'not there'} by now, and was patched to {row['to']}")
            continue
        version = solver.source_of(package, row["from"])
        if version is None:
            why.append(f"{row['package']} {row['from']} is not to be had any more")
            continue
        wanted.append((package, version))
    if why:
        return [], why
    found: Plan = solver.exactly(wanted)
    return found
