# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores: prepare, refuse or begin, do one mode's work, and say what came of it.

A mode is a class with prepare(job), settle(job), refusals(job), plan(job), work(job) and undo(job): see logical.py for
the logical format, physical.py for the physical one.
"""

from __future__ import annotations

import re
import tempfile
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Optional

from .._postgres.instance import failed
from .._recovery_points.fetch import Chosen, choose
from .._recovery_points.ids import new_id
from .._recovery_points.store import NAME, intact, prefix_of, run_ids
from .._storage.read import head
from .._work.janitor import janitor
from .._work.job import RESTORE, described
from .._work.progress import Progress
from .._work.scratch import Scratch, base, destination, locked
from ..checks import Check, as_dicts, utc_now
from ..errors import ConfigurationError, MaintenanceError, RestoreError
from ..refusal import Refusal
from ..storage import client
from . import abandon, guards, remove
from .directories import PARTS
from .logical import Whole
from .parts import Parts
from .physical import PointInTime
from .state import State

MODES = {"whole": Whole, "tables": Parts, "point_in_time": PointInTime}
_DAY = re.compile(r"\d{8}")


class Job:
    """What all modes share.

    :param folder: ours, for as long as it lasts
    :param place: see scratch.destination
    :ivar found: what a run that died left, and what became of it, in words
    :ivar kept: what was put aside
    :ivar changed: whether anything was put in place
    """

    def __init__(
        self,
        options: Dict[str, Any],
        s3: Any,
        chosen: Chosen,
        progress: Progress,
        folder: Path,
        place: str,
        run_id: str,
    ) -> None:
        self.options = options
        self.s3 = s3
        self.chosen = chosen
        self.point = chosen.point
        self.progress = progress
        self.folder = folder
        self.place = place
        self.run_id = run_id
        self.checks: List[Check] = []
        self.found: List[str] = []
        self.kept: List[Dict[str, str]] = []
        self.changed = False
        self.loss: Dict[str, Any] = {}
        #: What stays open until the run ends.
        self.open = ExitStack()

    def summary(self) -> Dict[str, Any]:
        """The recovery point in short."""
        point = self.point
        return {
            "id": point["id"],
            "key": self.chosen.key,
            "sha256": self.chosen.sha256,
            "engine": point["engine"]["name"],
            "environment": point["environment"],
            "created_at": point["created_at"],
            "snapshot_at": point["database"]["snapshot_at"],
            "objects": len(point["objects"]),
            "size": int(point["totals"]["bytes"]),
            "database_bytes": int(point["database"]["size"]),
            "tables": len(point["database"]["tables"]),
            "files": int(point["application"]["files"]),
            "file_bytes": int(point["application"].get("bytes") or 0),
            "application_version": point["application"].get("version"),
        }


def mode_of(options: Dict[str, Any]) -> Any:
    """The class of a mode."""
    return MODES[options["mode"]](options)


def unfinished_of(options: Dict[str, Any], place: str) -> Dict[str, Any]:
    """What a run that did not end had done."""
    return State(base(options["scratch_directory"], RESTORE) / place / "state.json").run


def remember(mode: Any, run: Dict[str, Any]) -> None:
    """Tells a mode of it, if it goes by that before a recovery point is chosen."""
    if run and hasattr(mode, "remember"):
        mode.remember(run)


def chosen_of(options: Dict[str, Any], s3: Any, mode: Any) -> Chosen:
    """The recovery point asked for: newest, an id, or a day for the newest of that day."""
    source = options.get("source_environment") or options["environment_name"]
    wanted = options["recovery_point"]
    if _DAY.fullmatch(wanted):
        ids = run_ids(s3, options["storage"], prefix_of(options["storage"], source))
        wanted = next((each for each in ids if each.startswith(wanted)), f"{wanted}T000000Z-000000")
    if wanted == "newest" and options["mode"] == "point_in_time":
        return _newest_before(options, s3, mode, source)
    chosen = choose(s3, options["storage"], source, wanted, mode.engine, RESTORE)
    made_with = chosen.point["engine"]["name"]
    if made_with != mode.engine:
        raise ConfigurationError(
            f"The recovery point {chosen.point['id']} is of {made_with}; {options['mode']} wants {mode.engine}.",
            f"Choose one of {mode.engine}; those of pgbackrest come back with restore_mode=point_in_time.",
        )
    return chosen


def _newest_before(options: Dict[str, Any], s3: Any, mode: Any, source: str) -> Chosen:
    """The newest recovery point from which the target can be reached."""
    unreadable: Dict[str, str] = {}
    prefix = prefix_of(options["storage"], source)
    for run_id in run_ids(s3, options["storage"], prefix):
        if head(s3, options["storage"], f"{prefix}/{run_id}/{NAME}") is None:
            continue
        try:
            chosen = choose(s3, options["storage"], source, run_id, kind=RESTORE)
        except RestoreError as error:
            unreadable[run_id] = error.message
            continue
        if chosen.point["engine"]["name"] == mode.engine and mode.fits(chosen.point):
            return chosen._replace(unreadable=unreadable)
    raise ConfigurationError(
        f"No recovery point of {source} made with {mode.engine} ended before {mode.wanted.words}."
        + ("".join(f" {text}" for text in list(unreadable.values())[:2])),
        "Choose a later target: the reports of the daily backup say when each was made.",
    )


def plan(options: Dict[str, Any]) -> Dict[str, Any]:
    """What run would do, and what forbids it. Changes nothing.

    :returns: recovery_point, mode, steps (words), kept (what would lie aside), disks, loss, unfinished, refusals and
        overridden
    :raises MaintenanceError: nothing can be said
    """
    if options["abandon"]:
        return abandon.plan(options)
    if options["mode"] == "remove_old":
        return remove.plan(options)
    guards.check_words(options)
    mode = mode_of(options)
    s3 = client(options["storage"], pool=16)
    place = destination(options["environment_name"], options["storage"])
    run_id = new_id(datetime.now(timezone.utc))
    unfinished = unfinished_of(options, place)
    remember(mode, unfinished)
    chosen = chosen_of(options, s3, mode)
    with tempfile.TemporaryDirectory(prefix="tradingflow-restore-plan-", dir=options["scratch_directory"]) as folder:
        job = Job(options, s3, chosen, Progress(), Path(folder), place, run_id)
        mode.prepare(job)
        refusals, over = guards.standing([*damaged(job, mode), *mode.refusals(job, planning=True)], options)
        return {
            "recovery_point": job.summary(),
            "unreadable": chosen.unreadable,
            "mode": options["mode"],
            **mode.plan(job),
            "loss": job.loss,
            "unfinished": unfinished,
            "refusals": [refusal.as_dict() for refusal in refusals],
            "overridden": [refusal.as_dict() for refusal in over],
            "live": live(options, mode),
        }


def live(options: Dict[str, Any], mode: Any) -> List[str]:
    """Who is at work on what would be replaced, whether or not the role stops them: whom it would disturb."""
    running = {**options, "application": {**(options.get("application") or {}), "stopped_by_us": False}}
    return [refusal.message for refusal in guards.of_application(running, mode.sessions, mode.target)]


#: Role of the object that comes whenever files do.
MANIFEST = "application manifest"


def damaged(job: Job, mode: Any) -> List[Refusal]:
    """Objects that are not as recorded, by what the store says of them."""
    wanted = mode.objects(job)
    if mode.engine == "pgbackrest":
        wanted = [*wanted, *(entry for entry in job.point["objects"] if not entry["role"].startswith("application"))]
    point = {**job.point, "objects": wanted}
    if not any(entry["role"] == MANIFEST for entry in wanted):
        # Nobody asked for the files: what they are kept in says nothing.
        point["application"] = {**job.point["application"], "engine": None}
    check = intact(job.s3, job.options["storage"], point, "")
    if check.status == "ok":
        return []
    problems = "; ".join(check.details["problems"][:3])
    text = f"The recovery point {job.point['id']} is damaged: {problems}."
    return [
        Refusal(
            "objects", text, "Choose another, or restore older versions of the objects if the bucket keeps versions."
        )
    ]


def run(options: Dict[str, Any], progress: Progress) -> Dict[str, Any]:
    """Restores.

    :returns: recovery_point, mode, target, reached, checks (contract 1), phases (s by name), seconds, loss, kept,
        found, changed, refusals, overridden, unfinished, and problem: what ended it early, or None
    :raises MaintenanceError: nothing was begun
    """
    if options["abandon"]:
        return abandon.run(options, progress)
    if options["mode"] == "remove_old":
        return remove.run(options, progress)
    started = time.monotonic()
    progress.phase("prepare")
    guards.check_words(options)
    mode = mode_of(options)
    s3 = client(options["storage"], pool=16)
    place = destination(options["environment_name"], options["storage"])
    remember(mode, unfinished_of(options, place))
    chosen = chosen_of(options, s3, mode)
    run_id = new_id(datetime.now(timezone.utc))
    with (
        locked(options["scratch_directory"], place, run_id, progress.directory, kind=RESTORE) as scratch,
        janitor(scratch.path),
        ExitStack() as stack,
    ):
        job = Job(options, s3, chosen, progress, scratch.path, place, run_id)
        job.open = stack
        ended = _work(job, mode, scratch)
        progress.phase("clean up")
    progress.phase("done")
    return {
        "recovery_point": job.summary(),
        "unreadable": chosen.unreadable,
        "mode": options["mode"],
        "target": mode.target,
        "reached": getattr(mode, "reached", None),
        "checks": as_dicts(job.checks),
        "phases": {name: round(seconds, 3) for name, seconds in progress.phases.items()},
        "seconds": round(time.monotonic() - started, 3),
        "loss": job.loss,
        "kept": job.kept,
        "found": job.found,
        "changed": job.changed,
        **ended,
    }


def _work(job: Job, mode: Any, scratch: Scratch) -> Dict[str, Any]:
    state = State(scratch.path.parent / "state.json")
    refusals: List[Refusal] = []
    over: List[Refusal] = []
    problem: Optional[Dict[str, Any]] = None
    begun = False
    try:
        mode.prepare(job)
        mode.settle(job, state)
        refusals, over = guards.standing(mode.refusals(job, planning=False), job.options)
        if not refusals:
            begun = True
            state.begin(
                **{
                    **state.run,
                    "id": job.run_id,
                    "mode": job.options["mode"],
                    "recovery_point": job.point["id"],
                    "subject": {"key": job.chosen.key, "sha256": job.chosen.sha256},
                    "target": mode.target,
                    "started_at": utc_now(),
                }
            )
            mode.work(job, state)
            state.end()
    except MaintenanceError as error:
        problem = {"phase": job.progress.name, **described(error)}
    except OSError as error:
        stopped = failed(f"The restore stopped: {error}", "Read the message, fix it, and run it again.", RESTORE)
        problem = {"phase": job.progress.name, **described(stopped)}
    if problem and any(state.run.get(part) for part in ("database", *PARTS)):
        # Something may be half in place: what is beside may be the old data, and is the next run's to settle.
        job.changed = True
    if problem and begun and not job.changed:
        try:
            mode.undo(job, state)
            state.end()
        except (MaintenanceError, OSError) as error:
            problem["message"] += f" And what it had made could not be removed: {error}"
    return {
        "refusals": [refusal.as_dict() for refusal in refusals],
        "overridden": [refusal.as_dict() for refusal in over],
        "problem": problem,
        "unfinished": bool(state.run),
    }
