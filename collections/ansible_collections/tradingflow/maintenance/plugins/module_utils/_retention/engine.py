# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention from end to end: look, decide, put it on the record, delete."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from .._backup.verify import head
from .._checks import span
from .._ledger.places import Store
from ..errors import MaintenanceError
from ..storage import client, key
from . import rules
from .deletion import Refused, delete
from .inventory import Inventory, Run, damage, locks, may_see_locks, take
from .options import check
from .records import REASON, Known, look_up, trusted
from .rules import Plan, Point

#: Seconds that the runner's clock may be off the store's before nothing is deleted.
CLOCKS = 300
#: Recovery points of which one record in the ledger tells; a record has at most 1 MiB.
PER_RECORD = 500

#: Procedures whose recovery point must not go away under them.
READERS = ("restore", "drill")
#: The lock of one that takes longer was left by a dead one.
LONGEST_READ = timedelta(days=2)

#: Who holds a recovery point that was changed.
ALTERED = "the ledger, which names another recovery-point.json than is there"
#: Who holds a physical one: its objects are shared, in pgBackRest's own repository.
PHYSICAL = "this version, which deletes no backups by pgBackRest"

#: Appends a record of kind deletion: (subjects, content) -> its number.
Append = Callable[[List[Dict[str, Any]], Dict[str, Any]], int]


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
    :param hides: what goes gets delete markers only, and frees nothing yet
    """

    inventory: Inventory
    plan: Plan
    hides: bool = False
    rests: List[Rest] = field(default_factory=list)
    removed: List[str] = field(default_factory=list)
    young: List[str] = field(default_factory=list)
    spared: Set[str] = field(default_factory=set)
    notes: List[str] = field(default_factory=list)

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
class Done:
    """What was done.

    :param deleted: ids, in order
    :param refused: id -> why something of it is still there
    :param error: what ended it before its end
    :param records: numbers of the ledger's records
    """

    deleted: List[str] = field(default_factory=list)
    freed: int = 0
    refused: Dict[str, str] = field(default_factory=dict)
    error: Optional[MaintenanceError] = None
    records: List[int] = field(default_factory=list)


def decide(options: Dict[str, Any], now: Optional[datetime] = None) -> Decided:
    """Looks at store and ledger and decides. Changes nothing.

    :param options: see options.SPEC
    :raises MaintenanceError: it cannot be decided
    """
    check(options)
    now = now or datetime.now(timezone.utc)
    storage, environment = options["storage"], options["environment_name"]
    s3 = client(storage, pool=16)
    inventory = take(s3, storage, environment)
    hold = dict.fromkeys(options["hold"], "backup_retention_hold")
    points = {
        id: Point(
            id,
            facts.created_at,
            facts.series,
            inventory.runs[id].size,
            held=hold.get(id) or ("a legal hold" if facts.held else "") or (PHYSICAL if facts.physical else ""),
            locked_until=facts.locked_until,
        )
        for id, facts in inventory.facts.items()
    }
    stopped = _stopped(inventory, now)
    first = rules.plan(points.values(), options["rules"], now)
    others = [run for run in inventory.runs.values() if not run.finished and run.id not in hold]
    times = [point.created_at for point in first.due] + [run.begun_at for run in others]
    decided = Decided(inventory, first, hides=options["keep_versions"] and inventory.versioned)
    decided.notes += [f"{id} is held and is not there." for id in hold if id not in inventory.runs]
    if not rules.effective(options["rules"]):
        decided.young = [run.id for run in others]
        return decided
    if not times:
        # Nothing is due: the ledger need not be asked.
        first.stopped = stopped
        return decided
    stopped = stopped or _busy(s3, storage, environment, inventory.clock or now)
    known, problem = _known(options, min(times), now)
    stopped = stopped or problem or known.problem
    if known.unproven:
        decided.notes.append(f"{len(known.unproven)} records of the ledger do not verify and count as nothing.")
    points = {id: _told(point, inventory, known) for id, point in points.items()}
    lockable = Store(storage, environment).locks() is not False
    decided.plan = _settled(s3, options, inventory, points, stopped, lockable, now)
    gone = {point.id for point in decided.plan.deleted}
    decided.spared = {key for id, facts in inventory.facts.items() if id not in gone for key in facts.elsewhere}
    for run in others:
        _sort(decided, run, known, options, now)
    for rest in decided.rests:
        rest.refused = decided.plan.stopped or (_locked(s3, storage, rest.run, now) if lockable else "")
    return decided


def _stopped(inventory: Inventory, now: datetime) -> str:
    """What of the store stands against deleting anything."""
    if inventory.unreadable:
        id, why = min(inventory.unreadable.items())
        return f"{id} cannot be read, and nobody knows what it refers to: {why}"
    if inventory.clock and abs((now - inventory.clock).total_seconds()) > CLOCKS:
        return f"this machine's clock and the store's are {span(abs((now - inventory.clock).total_seconds()))} apart"
    future = max((run.begun_at for run in inventory.runs.values()), default=now)
    return "a backup is from the future: a clock is wrong" if future - now > rules.CLOCK_TOLERANCE else ""


def _busy(s3: Any, storage: Dict[str, Any], environment: str, clock: datetime) -> str:
    """Whether somebody reads recovery points just now: the lock of that procedure is in the store and young enough."""
    for procedure in READERS:
        lock = head(s3, storage, key(storage, "locks", environment, f"{procedure}.json"))
        if lock and clock - lock["LastModified"] < LONGEST_READ:
            return f"a {procedure} is under way"
    return ""


def _known(options: Dict[str, Any], since: datetime, now: datetime) -> Tuple[Known, str]:
    """What the ledger says, and why nothing may be deleted for its sake."""
    evidence = {name: value for name, value in (options["evidence"] or {}).items() if value}
    if not evidence.get("signing_key") and not evidence.get("signing_key_file"):
        return Known(), "no ledger is configured in which deletions could be recorded (backup_evidence)"
    return look_up(options["storage"], options["environment_name"], trusted(evidence), since, now), ""


def _told(point: Point, inventory: Inventory, known: Known) -> Point:
    """A recovery point with what the ledger says of it, and not of another in its place."""
    own = inventory.facts[point.id].sha256
    if not known.recorded.get(point.id, {own}) & {own, None}:
        # Who changed its time may want it to be deleted.
        return replace(point, damaged="its recovery-point.json was changed since it was recorded", held=ALTERED)
    return replace(
        point,
        verified=own in known.verified.get(point.id, ()),
        # A record written by hand may name no digest.
        proven=bool(known.proven.get(point.id, set()) & {own, None}),
    )


def _settled(
    s3: Any,
    options: Dict[str, Any],
    inventory: Inventory,
    points: Dict[str, Point],
    stopped: str,
    lockable: bool,
    now: datetime,
) -> Plan:
    """The plan, once everything it relies on was looked at, and every lock on what is to go."""
    intact: Set[str] = set()
    unlocked: Set[str] = set()
    seen = False
    while True:
        plan = rules.plan(points.values(), options["rules"], now, require=options["require"], stopped=stopped)
        unchecked = [point for point in plan.relied_on if point.id not in intact and not point.damaged]
        for point in unchecked:
            wrong = damage(s3, options["storage"], inventory.runs[point.id])
            intact.add(point.id)
            points[point.id] = replace(points[point.id], damaged=wrong)
        unlooked = [point for point in plan.deleted if point.id not in unlocked] if lockable and not unchecked else []
        if unlooked and not seen:
            seen = may_see_locks(s3, options["storage"], inventory.runs[unlooked[0].id].of_point[-1])
            if not seen:
                stopped = "this key may not see locks and legal holds (s3:GetObjectRetention, s3:GetObjectLegalHold)"
                continue
        for point in unlooked:
            held, until = locks(s3, options["storage"], inventory.runs[point.id])
            unlocked.add(point.id)
            points[point.id] = replace(
                points[point.id], held=point.held or ("a legal hold" if held else ""), locked_until=until
            )
        if not unchecked and not unlooked:
            return plan


def _sort(decided: Decided, run: Run, known: Known, options: Dict[str, Any], now: datetime) -> None:
    """What is no recovery point was never finished, or is what a killed deletion left, or somebody's deed."""
    hidden = any(not each.marker for each in run.of_point)
    if run.id in known.begun:
        if not run.real:
            decided.rests.append(Rest(run, "left_over"))
        elif options["keep_versions"]:
            if any(each.current for each in run.versions) or run.uploads:
                decided.rests.append(Rest(run, "left_over"))
        elif hidden:
            decided.notes.append(f"{run.id} was deleted; its versions stay until the bucket's own rules end them.")
        else:
            decided.rests.append(Rest(run, "left_over"))
    elif hidden or run.id in known.recorded or run.id in known.proven:
        decided.removed.append(run.id)
    elif known.complete and now - run.begun_at > timedelta(days=options["unfinished_days"]):
        if any(each.key not in decided.spared for each in run.versions) or run.uploads:
            decided.rests.append(Rest(run, "unfinished"))
    else:
        decided.young.append(run.id)


def _locked(s3: Any, storage: Dict[str, Any], run: Run, now: datetime) -> str:
    held, until = locks(s3, storage, run)
    if held:
        return "held by a legal hold"
    return f"locked until {until:%Y-%m-%dT%H:%M:%SZ}" if until and until > now else ""


def carry_out(
    options: Dict[str, Any], decided: Decided, append: Append, tell: Callable[[int, int], None] = lambda *_: None
) -> Done:
    """Deletes what was decided. Each deletion is on the ledger before it begins.

    :param append: see Append; raises MaintenanceError when the ledger cannot be written
    :param tell: is told how many were looked at, of how many
    """
    done, going = Done(), decided.going
    s3 = client(options["storage"])
    try:
        for start in range(0, len(going), PER_RECORD):
            batch = going[start : start + PER_RECORD]
            done.records.append(append(*intent(options, decided, batch)))
            for place, run in enumerate(batch, start):
                tell(place, len(going))
                try:
                    delete(s3, options["storage"], run, spared=decided.spared, keep_versions=options["keep_versions"])
                except Refused as error:
                    done.refused[run.id] = str(error)
                    continue
                done.deleted.append(run.id)
                done.freed += decided.freed(run)
    except MaintenanceError as error:
        done.error = error
    if done.records and (done.error or done.refused):
        # Where the store is what failed, that it was begun is on the record.
        with suppress(MaintenanceError):
            done.records.append(append(*outcome(done)))
    return done


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
            }
        )
    content = {
        "reason": REASON,
        "state": "begun",
        "rules": rules.effective(options["rules"]),
        "require": options["require"],
        "keep_versions": options["keep_versions"],
        "recovery_points": entries,
    }
    return subjects, content


def outcome(done: Done) -> Tuple[List[Dict[str, Any]], Dict[str, Any]]:
    """Subjects and content of the record that a deletion did not end as it was begun."""
    return [], {
        "reason": REASON,
        "state": "incomplete",
        "deleted": done.deleted,
        "refused": done.refused,
        "error": str(done.error or ""),
    }
