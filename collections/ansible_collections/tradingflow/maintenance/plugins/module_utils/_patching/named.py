# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a check counts, by name: the same number of bad things may be of others."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Set, Tuple

#: Of which of the details the names are, and how many are told at most. Names of zombies are told once each.
_LISTS: Dict[str, Tuple[str, int]] = {
    "system.failed_units": ("units", 50),
    "system.read_only_mounts": ("mounts", 20),
    "system.zombies": ("names", 20),
}
#: Of examples, what is another one each time.
_MOVING = ("first_seen",)
_WHOSE = ("venue", "account", "view")
#: Names that are kept, and characters of one.
MOST, LENGTH = 500, 300


def listed(check: Dict[str, Any]) -> Dict[str, Any]:
    """What a check counts: "names", sorted, and whether these are all ("named").

    :param check: with its details, or what this function made of it before
    """
    if "names" in check and "named" in check:
        return {"names": check["names"], "named": check["named"]}
    details = check.get("details")
    names, whole = _found(str(check.get("id")), details if isinstance(details, dict) else {}, check.get("value"))
    ordered = sorted({name[:LENGTH] for name in names})
    return {"names": ordered[:MOST], "named": whole and len(ordered) <= MOST}


def _found(id: str, details: Dict[str, Any], value: Any) -> Tuple[Set[str], bool]:
    if isinstance(details.get("keys"), dict):
        keys = {str(key) for each in details["keys"].values() if isinstance(each, list) for key in each}
        return keys, bool(keys) and not details.get("keys_left_out")
    if id in _LISTS:
        name, most = _LISTS[id]
        told = [str(each) for each in details.get(name) or []]
        return set(told), bool(told) and len(told) < most
    first = details.get("first")
    if isinstance(first, list) and first:
        rows: List[str] = [_identity(each) for each in first]
        count = details.get("count", value)
        return {row for row in rows if row}, all(rows) and count == len(rows)
    return set(), False


def _identity(row: Any) -> str:
    """What names an example: its ids and whose it is, or else all its words; empty when there is none of these."""
    if not isinstance(row, dict):
        return ""
    ids = [key for key in row if key == "id" or str(key).endswith("_id")]
    words = [key for key, each in row.items() if isinstance(each, str) and key not in _MOVING]
    chosen = [*ids, *(key for key in words if key in _WHOSE and key not in ids)] if ids else words
    return json.dumps({key: row[key] for key in chosen}, sort_keys=True) if chosen else ""
