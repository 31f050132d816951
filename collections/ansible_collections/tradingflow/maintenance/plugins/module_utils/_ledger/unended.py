# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ledger knows of an earlier change of a database that began and whose end is not on record."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional

from ..checks import Check, unknown
from .places import Store
from .points import trusted
from .spec import KEYS_SPEC
from .walk import backwards

#: Records that are looked at: such changes are rare, and a daily writes two or three.
_MOST = 2000


class Unended(NamedTuple):
    """What the ledger knows of an earlier change.

    :param began: the newest record of a kind if it says that something began: run_id, actor, recorded_at, and what it
        set out to do. None when it ended, or without keys to read the ledger by
    :param unread: the number of a newer record that is missing or does not verify: it may be the end, or a beginning
    """

    began: Optional[Dict[str, Any]]
    unread: Optional[int]

    @property
    def sure(self) -> Optional[Dict[str, Any]]:
        """What began, when it is certain that no record says that it ended."""
        return None if self.unread is not None else self.began

    def checks(self, area: str, environment: str) -> List[Check]:
        """That the ledger cannot be relied on, where it cannot."""
        if self.unread is None:
            return []
        text = f"Record {self.unread} of {environment}'s ledger is missing or does not verify: whether an earlier run"
        text += " ended cannot be told, and no end is recorded for one."
        remedy = "Verify the ledger (scripts/ledger_verify.py), and find out what became of that record."
        return [unknown(f"{area}.ledger", "Earlier runs in the ledger", text, remedy)]


def unended(options: Dict[str, Any], kind: str, same: Dict[str, Any], run_id: str) -> Unended:
    """Whether the newest change of a kind has no end.

    :param options: of the module: storage, environment_name, evidence
    :param same: what its content must have, such as the database
    :param run_id: of the run under way, whose own record does not count
    :raises MaintenanceError: the ledger cannot be read
    """
    evidence = options.get("evidence") or {}
    if not any(evidence.get(key) for key in KEYS_SPEC):
        return Unended(None, None)
    environment = options["environment_name"]
    store = Store(options["storage"], environment, pool=16)
    unread: Optional[int] = None
    for number, record in backwards(store, trusted(evidence), environment, _MOST):
        if record is None:
            unread = number if unread is None else unread
            continue
        if record.predicate["kind"] != kind or record.predicate["run_id"] == run_id:
            continue
        predicate, content = record.predicate, record.predicate["content"]
        if {name: content.get(name) for name in same} != same:
            continue
        if content.get("state") != "begun":
            return Unended(None, unread)
        began = {**{key: predicate[key] for key in ("run_id", "actor", "recorded_at")}, **content}
        return Unended(began, unread)
    return Unended(None, unread)
