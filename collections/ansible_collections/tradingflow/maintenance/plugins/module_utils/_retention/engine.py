# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention from end to end: look, decide, put it on the record, delete."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Dict, Optional, Sequence, Set, Tuple

from .._files.stored import made_at
from .._ledger.places import Store
from .._ledger.points import Known, look_up, trusted
from .._storage.read import head
from .._wal.repository import look
from ..errors import MaintenanceError
from ..storage import client, key
from ..words import span
from . import files, physical, rules
from .decided import Decided, Done, Rest, begun, intent, outcome
from .deletion import Refused, delete
from .files import Append
from .inventory import Facts, Inventory, Run, Version, damage, locks, may_see_locks, take
from .options import by_engine, check, effective_rules
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

#: Who holds a physical one whose backup nobody would delete after it.
PHYSICAL = "pgBackRest's repository, which retention was not told of"

Tell = Callable[[int, int], None]


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
    stored = files.take(s3, options, inventory) if rules.effective(options["rules"]) else files.Stored()
    points = {
        id: Point(
            id,
            facts.created_at,
            facts.series,
            inventory.runs[id].size + sum(each.size for each in facts.theirs),
            held=hold.get(id) or ("a legal hold" if facts.held else "") or _elsewhere(facts, options),
            locked_until=facts.locked_until,
            damaged=stored.damaged.get(id, ""),
            label=facts.label,
            requires=facts.requires,
        )
        for id, facts in inventory.facts.items()
    }
    stopped = _stopped(inventory, now)
    first = rules.plan(points.values(), options["rules"], now, by_engine=by_engine(options))
    others = [run for run in inventory.runs.values() if not run.finished and run.id not in hold]
    times = [point.created_at for point in first.due] + [run.begun_at for run in others]
    times += [made_at(each.run_id) for each in stored.strangers]
    decided = Decided(inventory, first, hides=options["keep_versions"] and inventory.versioned)
    decided.notes += [f"{id} is held and is not there." for id in hold if id not in inventory.runs]
    if options["repository"]:
        path, stanza = options["repository"]["repository_path"], options["repository"]["stanza"]
        decided.repository = look(s3, storage, path, stanza)
        now_reachable = physical.windows(decided.repository, inventory.facts.values())
        decided.reachable = (now_reachable, now_reachable)
        times += map(physical.made_at, physical.unnamed(decided.repository, inventory.facts.values()))
    if not effective_rules(options):
        decided.young = [run.id for run in others]
        return decided
    if not times and not stored.unpruned:
        decided.files = files.Going(problems=stored.problems)
        # Nothing is due: the ledger need not be asked.
        first.stopped = stopped
        return decided
    stopped = stopped or stored.stopped or _busy(s3, storage, environment, inventory.clock or now)
    known, problem = _known(options, min(times, default=now), now)
    stopped = stopped or problem or known.problem
    if known.unproven:
        decided.notes.append(f"{len(known.unproven)} records of the ledger do not verify and are ignored.")
    points = {id: _told(point, inventory, known) for id, point in points.items()}
    lockable = Store(storage, environment).locks() is not False
    decided.plan = _settled(s3, options, inventory, points, stopped, lockable, now)
    gone = {point.id for point in decided.plan.deleted}
    decided.spared = {key for id, facts in inventory.facts.items() if id not in gone for key in facts.elsewhere}
    for run in others:
        _sort(decided, run, known, options, now)
    for rest in decided.rests:
        rest.refused = decided.plan.stopped or (_locked(s3, storage, rest.run, now) if lockable else "")
    if not decided.plan.stopped:
        decided.files = files.decide(stored, options, inventory, known, gone, now)
    _decide_backups(s3, options, decided, known, lockable, now)
    return decided


def _elsewhere(facts: Facts, options: Dict[str, Any]) -> str:
    """Who holds a physical recovery point that does not lie in the repository that is cleaned, empty for nobody."""
    given = options["repository"]
    if not facts.physical or (given and facts.label == facts.named_in(given)):
        return ""
    return PHYSICAL


def _decide_backups(
    s3: Any, options: Dict[str, Any], decided: Decided, known: Known, lockable: bool, now: datetime
) -> None:
    """Which physical backups go with their recovery points, and which were never finished."""
    if decided.repository is None:
        return
    facts = decided.inventory.facts
    gone = {point.id for point in decided.plan.deleted}
    staying = [each for id, each in facts.items() if id not in gone]
    decided.reachable = (decided.reachable[0], physical.windows(decided.repository, staying))
    if decided.plan.stopped:
        return
    decided.backups = physical.backups(
        decided.repository,
        staying,
        [facts[id] for id in gone],
        known,
        decided.removed,
        timedelta(days=options["unfinished_days"]),
        now,
    )
    for label in list(decided.backups.going) if lockable else ():
        prefix = decided.repository.backup(label)
        theirs = [
            Version(key, None, each.size, True, False)
            for key, each in decided.repository.objects.items()
            if key.startswith(prefix)
        ]
        locked = _locked(s3, options["storage"], Run(label, prefix), now, theirs)
        if locked:
            del decided.backups.going[label]
            decided.backups.staying[label] = locked
    physical.spare(decided.repository, decided.backups)


def _stopped(inventory: Inventory, now: datetime) -> str:
    """What of the store stands against deleting anything."""
    if inventory.unreadable:
        id, why = min(inventory.unreadable.items())
        return f"{id} cannot be read, so what it refers to is unknown: {why}"
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
        plan = rules.plan(
            points.values(),
            options["rules"],
            now,
            require=options["require"],
            stopped=stopped,
            by_engine=by_engine(options),
        )
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
            held, until = locks(s3, options["storage"], inventory.runs[point.id], inventory.facts[point.id].theirs)
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


def _locked(s3: Any, storage: Dict[str, Any], run: Run, now: datetime, theirs: Sequence[Version] = ()) -> str:
    held, until = locks(s3, storage, run, theirs)
    if held:
        return "held by a legal hold"
    return f"locked until {until:%Y-%m-%dT%H:%M:%SZ}" if until and until > now else ""


def carry_out(options: Dict[str, Any], decided: Decided, append: Append, tell: Tell = lambda *_: None) -> Done:
    """Deletes what was decided. Each deletion is on the ledger before it begins.

    :param append: see Append; raises MaintenanceError when the ledger cannot be written
    :param tell: is told how many were looked at, of how many
    """
    done, going = Done(), decided.going
    total = len(going) + len(decided.files.repositories)
    s3 = client(options["storage"])
    try:
        for start in range(0, len(going), PER_RECORD):
            batch = going[start : start + PER_RECORD]
            done.records.append(append(*intent(options, decided, batch)))
            for place, run in enumerate(batch, start):
                tell(place, total)
                try:
                    delete(s3, options["storage"], run, spared=decided.spared, keep_versions=options["keep_versions"])
                except Refused as error:
                    done.refused[run.id] = str(error)
                    continue
                done.deleted.append(run.id)
                done.freed += decided.freed(run)
        tell(len(going), total)
        files.carry_out(options, decided.files, append, done)
        _hand_over(decided, done, options, append)
    except MaintenanceError as error:
        done.error = error
    if done.records and (done.error or done.refused):
        # Where the store is what failed, that it was begun is on the record.
        with suppress(MaintenanceError):
            done.records.append(append(*outcome(done)))
    return done


def _hand_over(decided: Decided, done: Done, options: Dict[str, Any], append: Append) -> None:
    """Names the physical backups that may go: their recovery points are gone, and what had none is on the record."""
    if decided.repository is None:
        return
    refused = {decided.inventory.facts[id].label for id in done.refused if id in decided.inventory.facts}
    kept = {label.rsplit("/", 1)[-1] for label in refused}
    kept |= {label for label in decided.backups.going if any(each.startswith(f"{label}_") for each in kept)}
    never = [(label, why) for label, why in decided.backups.going.items() if why == physical.UNFINISHED]
    if never:
        content = begun(options, [])
        content["backups"] = physical.entries(decided.repository, never)
        done.records.append(append([], content))
    done.backups = [label for label in decided.backups.going if label not in kept]
