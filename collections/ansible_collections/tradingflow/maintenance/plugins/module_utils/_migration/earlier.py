# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ledger knows of earlier migrations of a database."""

from __future__ import annotations

from typing import Any, Dict, Iterator, Optional, Tuple

from .._ledger.places import Store
from .._ledger.points import trusted
from .._ledger.spec import KEYS_SPEC
from .._ledger.walk import backwards

#: Records that are looked at: migrations are rare, and a daily writes two or three.
_MOST = 2000


def records(options: Dict[str, Any], database: Dict[str, Any]) -> Iterator[Tuple[Dict[str, Any], Dict[str, Any]]]:
    """Migrations of a database, newest first: predicate and content. None without keys to read the ledger by.

    :param options: of the module
    :param database: name and system_identifier
    :raises MaintenanceError: the ledger cannot be read
    """
    evidence = options.get("evidence") or {}
    if not any(evidence.get(key) for key in KEYS_SPEC):
        return
    environment = options["environment_name"]
    store = Store(options["storage"], environment, pool=16)
    for _number, record in backwards(store, trusted(evidence), environment, _MOST):
        content = record.predicate["content"] if record is not None else {}
        if record is not None and record.predicate["kind"] == "migration" and content.get("database") == database:
            yield record.predicate, content


def unfinished(options: Dict[str, Any], database: Dict[str, Any], run_id: str) -> Optional[Dict[str, Any]]:
    """The newest migration if it began and did not end: run_id, actor, recorded_at, and what it set out to do.

    :param run_id: of the run under way, whose own record does not count
    """
    for predicate, content in records(options, database):
        if predicate["run_id"] == run_id:
            continue
        if content.get("state") != "begun":
            return None
        return {**{key: predicate[key] for key in ("run_id", "actor", "recorded_at")}, **content}
    return None
