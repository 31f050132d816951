# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ledger knows of an earlier change of a database that began and whose end is not on record."""

from __future__ import annotations

from typing import Any, Dict, Optional

from .places import Store
from .points import trusted
from .spec import KEYS_SPEC
from .walk import backwards

#: Records that are looked at: such changes are rare, and a daily writes two or three.
_MOST = 2000


def unended(options: Dict[str, Any], kind: str, same: Dict[str, Any], run_id: str) -> Optional[Dict[str, Any]]:
    """The newest record of a kind if it says that something began: run_id, actor, recorded_at, and what it set out to
    do. None when it ended, or without keys to read the ledger by.

    :param options: of the module: storage, environment_name, evidence
    :param same: what its content must have, such as the database
    :param run_id: of the run under way, whose own record does not count
    :raises MaintenanceError: the ledger cannot be read
    """
    evidence = options.get("evidence") or {}
    if not any(evidence.get(key) for key in KEYS_SPEC):
        return None
    environment = options["environment_name"]
    store = Store(options["storage"], environment, pool=16)
    for _number, record in backwards(store, trusted(evidence), environment, _MOST):
        if record is None or record.predicate["kind"] != kind or record.predicate["run_id"] == run_id:
            continue
        predicate, content = record.predicate, record.predicate["content"]
        if {name: content.get(name) for name in same} != same:
            continue
        if content.get("state") != "begun":
            return None
        return {**{key: predicate[key] for key in ("run_id", "actor", "recorded_at")}, **content}
    return None
