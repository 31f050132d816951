# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of the application's files: forgotten with their recovery points, and what only they needed with them."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Set, Tuple

from .._files import repository
from .._files.restic import Restic, need
from .._files.stored import made_at
from .._ledger.points import REASON, Known
from .._recovery_points.store import ID, NAME
from ..errors import BackupError, ConfigurationError, LockedError, MaintenanceError
from ..storage import client
from .inventory import Inventory

#: Snapshots that one call of restic forgets.
PER_CALL = 100


#: Appends a record of kind deletion: (subjects, content) -> its number.
Append = Callable[[List[Dict[str, Any]], Dict[str, Any]], int]


@dataclass
class Done:
    """What was done.

    :param deleted: ids of recovery points, in order
    :param records: numbers of the ledger's records
    :param forgotten: ids of snapshots of the application's files
    :param waiting: why some were not forgotten, and wait for the next run
    """

    deleted: List[str] = field(default_factory=list)
    records: List[int] = field(default_factory=list)
    forgotten: List[str] = field(default_factory=list)
    waiting: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class Snapshot:
    """A snapshot in a repository.

    :param run_id: whose files it holds, empty when nobody knows
    :param why: why it is to be forgotten: deleted with its recovery point, left_over of one that is gone, or unfinished
    """

    repository: str
    id: str
    run_id: str
    why: str = ""


@dataclass
class Stored:
    """What is in the repositories.

    :param used: those that recovery points refer to
    :param strangers: those of this environment's backups that no recovery point refers to
    :param unpruned: repositories from which something was forgotten, and what only that needed is still there
    :param lost: repository -> snapshots that recovery points refer to and that are not there
    :param problems: why nothing is forgotten in a repository
    :param stopped: why nothing at all may be deleted, empty when nothing stands against it
    """

    used: List[Snapshot] = field(default_factory=list)
    strangers: List[Snapshot] = field(default_factory=list)
    unpruned: List[str] = field(default_factory=list)
    lost: Dict[str, List[Snapshot]] = field(default_factory=dict)
    problems: List[str] = field(default_factory=list)
    stopped: str = ""

    @property
    def damaged(self) -> Dict[str, str]:
        """Id of a recovery point -> what is wrong with its files."""
        lost = [each for gone in self.lost.values() for each in gone]
        return {each.run_id: f"{each.repository}/snapshots/{each.id}{repository.MISSING}" for each in lost}


@dataclass
class Going:
    """What is to be done. See Stored."""

    snapshots: List[Snapshot] = field(default_factory=list)
    unpruned: List[str] = field(default_factory=list)
    problems: List[str] = field(default_factory=list)

    @property
    def repositories(self) -> List[str]:
        """Those in which something is to be done."""
        return sorted({each.repository for each in self.snapshots} | set(self.unpruned))


def take(s3: Any, options: Dict[str, Any], inventory: Inventory) -> Stored:
    """Lists the repositories of an environment. Asks restic only about what no recovery point refers to.

    :raises StorageError: the store does not answer
    """
    storage, result = options["storage"], Stored()
    result.used = [Snapshot(*facts.files, id) for id, facts in sorted(inventory.facts.items()) if facts.files]
    prefixes = {each.repository for each in result.used}
    own = repository.prefix_of(storage, options["environment_name"], options["files_repository"])
    if own not in prefixes and repository.exists(s3, storage, own):
        prefixes.add(own)
    for prefix in sorted(prefixes):
        names = [name for name in repository.contents(s3, storage, prefix) if name.startswith("snapshots/")]
        there = {name.split("/", 1)[1] for name in names}
        used = [each for each in result.used if each.repository == prefix]
        if gone := [each for each in used if each.id not in there]:
            result.lost[prefix] = gone
        try:
            if there - {each.id for each in used}:
                result.strangers += _strangers(s3, options, prefix, {each.id for each in used})
            newest = [f"{inventory.prefix}/{each.run_id}/{NAME}" for each in reversed(used)]
            points = repository.older(s3, storage, newest)
            wrong = repository.differences(s3, storage, points, proven_otherwise=True) if points else []
            if not wrong and not repository.pending(s3, storage, prefix):
                continue
            result.unpruned.append(prefix)
            if not all(text.endswith(repository.MISSING) for text in wrong):
                result.stopped = f"the application's files are damaged: {'; '.join(wrong[:3])}"
                continue
            # What is not there may have been taken out, by us or by hand. Only restic knows what is needed.
            with opened(s3, options, prefix) as restic:
                if unsound := restic.check():
                    result.stopped = f"the application's files are damaged: {'; '.join((unsound + wrong)[:3])}"
        except (MaintenanceError, ValueError, KeyError, TypeError) as error:
            result.problems.append(f"Nothing is forgotten in {prefix}: {error}")
            if prefix in result.unpruned:
                result.stopped = f"whether {prefix} is intact is unknown: {error}"
    return result


def _strangers(s3: Any, options: Dict[str, Any], prefix: str, used: Set[str]) -> List[Snapshot]:
    """What others keep in the repository is theirs, and so is another environment's."""
    with opened(s3, options, prefix) as restic:
        found = restic.snapshots()
    mine = [each for each in found if each["id"] not in used and each.get("hostname") == options["environment_name"]]
    named = [Snapshot(prefix, each["id"], _run_id(each)) for each in mine]
    return [each for each in named if each.run_id]


def _run_id(snapshot: Dict[str, Any]) -> str:
    return next((str(tag) for tag in snapshot.get("tags") or [] if ID.fullmatch(str(tag))), "")


def decide(
    stored: Stored,
    options: Dict[str, Any],
    inventory: Inventory,
    known: Known,
    going: Set[str],
    now: datetime,
) -> Going:
    """What is to be forgotten.

    :param going: ids of recovery points that go
    """
    result = Going(problems=list(stored.problems))
    for prefix, gone in stored.lost.items():
        if lost := [each for each in gone if each.run_id not in going]:
            # As long as its data are there, it can be brought back.
            result.problems.append(
                f"Nothing is forgotten in {prefix}: the snapshot of {lost[0].run_id}, {lost[0].id[:8]}, is missing."
            )
    bad = {text.split(":", 1)[0] for text in result.problems}

    def fine(prefix: str) -> bool:
        return f"Nothing is forgotten in {prefix}" not in bad

    chosen = [replace(each, why="deleted") for each in stored.used if each.run_id in going]
    missing = {each for gone in stored.lost.values() for each in gone}
    chosen = [each for each in chosen if replace(each, why="") not in missing]
    chosen += [
        replace(each, why=why) for each in stored.strangers if (why := _why(each, options, inventory, known, now))
    ]
    result.snapshots = [each for each in chosen if fine(each.repository)]
    result.unpruned = [prefix for prefix in stored.unpruned if fine(prefix)]
    if result.repositories:
        try:
            need(options["files_password"])
        except ConfigurationError as error:
            result.problems.append(f"Nothing is forgotten in {result.repositories[0]}: {error.message}")
            result.snapshots, result.unpruned = [], []
    return result


def _why(snapshot: Snapshot, options: Dict[str, Any], inventory: Inventory, known: Known, now: datetime) -> str:
    """Why a snapshot goes that no recovery point refers to, empty when it stays."""
    run_id = snapshot.run_id
    if run_id in options["hold"] or (run_id in inventory.runs and inventory.runs[run_id].finished):
        return ""
    if run_id in known.begun:
        return "left_over"
    if run_id in known.recorded or run_id in known.proven or not known.complete:
        # Somebody else deleted its recovery point, and may bring it back.
        return ""
    return "unfinished" if now - made_at(run_id) > timedelta(days=options["unfinished_days"]) else ""


@contextmanager
def opened(s3: Any, options: Dict[str, Any], prefix: str) -> Iterator[Restic]:
    """restic on a repository, from the runner, with a folder of its own.

    :raises ConfigurationError: restic or the password is missing
    """
    with tempfile.TemporaryDirectory(prefix="tradingflow-retention-") as folder:
        yield Restic(s3, options["storage"], prefix, options["files_password"], Path(folder))


def carry_out(options: Dict[str, Any], going: Going, append: Append, done: Done) -> None:
    """Forgets the files of what is gone. What still has its recovery-point.json keeps them.

    :raises MaintenanceError: it did not end well
    """
    chosen = [each for each in going.snapshots if each.why != "deleted" or each.run_id in done.deleted]
    for prefix in going.repositories:
        own = [each for each in chosen if each.repository == prefix]
        if not own and prefix not in going.unpruned:
            continue
        done.records.append(append(*intent(prefix, own)))
        try:
            forget(options, prefix, own)
        except LockedError as error:
            done.waiting.append(error.message)
            continue
        done.forgotten += [each.id for each in own]


def intent(prefix: str, snapshots: List[Snapshot]) -> Tuple[List[Dict[str, Any]], Dict[str, Any]]:
    """Subjects and content of the record that forgetting begins."""
    subjects = [{"name": f"{each.repository}/snapshots/{each.id}", "digest": {"sha256": each.id}} for each in snapshots]
    entries = [
        {"repository": each.repository, "snapshot": each.id, "id": each.run_id, "why": each.why} for each in snapshots
    ]
    return subjects, {"reason": REASON, "state": "begun", "snapshots": entries, "prune": prefix}


def forget(options: Dict[str, Any], prefix: str, snapshots: List[Snapshot]) -> None:
    """Forgets snapshots of one repository, removes what only they needed, and lists what is left.

    :raises LockedError: another restic is at work; nothing is lost, the next run goes on
    :raises MaintenanceError: it did not end well
    """
    s3 = client(options["storage"])
    storage = options["storage"]
    with opened(s3, options, prefix) as restic:
        repository.unlock(restic)
        _sound(restic)
        ids = [each.id for each in snapshots]
        repository.keep_list(s3, storage, prefix, ids)
        for start in range(0, len(ids), PER_CALL):
            restic.text("forget", *ids[start : start + PER_CALL])
        # It ignores what it does not find.
        left = [each for each in restic.snapshots() if each["id"] in ids]
        if left:
            raise BackupError(f"restic did not forget snapshot {left[0]['id']}.", "Run again; look at the repository.")
        restic.text("prune")
        _sound(restic)
        repository.keep_list(s3, storage, prefix)


def _sound(restic: Restic) -> None:
    """Raises BackupError when the repository is not sound: what can be repaired must not be taken out of it."""
    wrong = restic.check()
    if wrong:
        raise BackupError(
            f"The repository {restic.prefix} is not sound: {'; '.join(wrong[:3])}.",
            "Restore older versions of its objects; see docs/backup.md.",
        )
