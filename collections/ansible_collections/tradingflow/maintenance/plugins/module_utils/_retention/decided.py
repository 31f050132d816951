# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is decided, what was done, and how both are put on the record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Set, Tuple

from .._ledger.points import REASON
from .._wal.repository import Repository
from ..errors import MaintenanceError
from . import files
from .files import Going
from .inventory import Inventory, Run
from .options import effective_rules
from .physical import Backups, Window
from .rules import Plan


@dataclass
class Rest:
    """Something that is no recovery point.

    :param why: unfinished, or left_over of a deletion that was begun
    :param refused: why it stays, empty when it goes
    """

    run: Run
    why: str
    refused: str = ""


@dataclass
class Decided:
    """What is to be done.

    :param rests: what is no recovery point and goes, or would if it were not locked
    :param removed: ids of recovery points that somebody else has deleted; their versions or objects are still there
    :param young: ids of unfinished ones that may still be under way
    :param spared: keys that other recovery points refer to
    :param files: what is to be forgotten of the application's files
    :param hides: what goes gets delete markers only, and frees nothing yet
    :param repository: pgBackRest's, as it was listed; None when there is none
    :param backups: physical backups that go, or would, once the recovery points have gone
    :param reachable: points in time that can be restored now, and when everything has gone
    """

    inventory: Inventory
    plan: Plan
    hides: bool = False
    rests: List[Rest] = field(default_factory=list)
    removed: List[str] = field(default_factory=list)
    young: List[str] = field(default_factory=list)
    spared: Set[str] = field(default_factory=set)
    notes: List[str] = field(default_factory=list)
    files: Going = field(default_factory=Going)
    repository: Optional[Repository] = None
    backups: Backups = field(default_factory=Backups)
    reachable: Tuple[List[Window], List[Window]] = ([], [])

    @property
    def going(self) -> List[Run]:
        """Everything that goes, oldest first, what was begun before the rest."""
        points = sorted(self.plan.deleted, key=lambda point: point.order)
        rests = [rest.run for rest in sorted(self.rests, key=lambda rest: rest.run.id) if not rest.refused]
        return rests + [self.inventory.runs[point.id] for point in points]

    def freed(self, run: Run) -> int:
        """Bytes that go with a run."""
        return 0 if self.hides else sum(each.size for each in run.versions if each.key not in self.spared)


@dataclass
class Done(files.Done):
    """What was done.

    :param refused: id -> why something of it is still there
    :param error: what ended it before its end
    :param backups: labels of physical backups that may go now
    """

    freed: int = 0
    refused: Dict[str, str] = field(default_factory=dict)
    error: Optional[MaintenanceError] = None
    backups: List[str] = field(default_factory=list)


def intent(options: Dict[str, Any], decided: Decided, runs: List[Run]) -> Tuple[List[Dict[str, Any]], Dict[str, Any]]:
    """Subjects and content of the record that a deletion begins."""
    fates = {fate.point.id: fate for fate in decided.plan.fates}
    rests = {rest.run.id: rest.why for rest in decided.rests}
    facts = decided.inventory.facts
    subjects = [{"name": run.key, "digest": {"sha256": facts[run.id].sha256}} for run in runs if run.id in facts]
    entries = []
    for run in runs:
        fate = fates.get(run.id)
        entries.append(
            {
                "id": run.id,
                "created_at": f"{facts[run.id].created_at:%Y-%m-%dT%H:%M:%SZ}" if run.id in facts else None,
                "bytes": decided.freed(run),
                "why": fate.reasons[0] if fate else rests[run.id],
                # Whoever deletes the backup itself must know that this was meant.
                **({"backup": facts[run.id].label} if run.id in facts and facts[run.id].physical else {}),
            }
        )
    return subjects, begun(options, entries)


def begun(options: Dict[str, Any], entries: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Content of a record that a deletion begins.

    :param entries: of recovery points
    """
    return {
        "reason": REASON,
        "state": "begun",
        "rules": effective_rules(options),
        "require": options["require"],
        "keep_versions": options["keep_versions"],
        "recovery_points": entries,
    }


def outcome(done: Done) -> Tuple[List[Dict[str, Any]], Dict[str, Any]]:
    """Subjects and content of the record that a deletion did not end as it was begun."""
    return [], {
        "reason": REASON,
        "state": "incomplete",
        "deleted": done.deleted,
        "refused": done.refused,
        "forgotten": done.forgotten,
        "error": str(done.error or ""),
    }
