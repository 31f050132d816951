# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drills a restore: choose, fetch, restore, prove, start the application, and leave nothing behind."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set

from .._isolation.processes import end_inside
from .._postgres import instance as servers
from .._postgres import proof
from .._postgres.heartbeat import heartbeat
from .._postgres.instance import Account, Copy
from .._recovery_points.fetch import Chosen, check_space, choose, manifest_of
from .._recovery_points.files import restore_files
from .._recovery_points.ids import new_id
from .._recovery_points.objects import all_objects
from .._work.janitor import janitor
from .._work.job import DRILL, described
from .._work.progress import Progress
from .._work.scratch import Scratch, destination, locked
from ..checks import CRITICAL, Check, as_dicts, worst
from ..database import connected
from ..errors import MaintenanceError
from ..storage import client
from .application import Application, check_options
from .engines import engine_of, tools
from .invariants import measure as measure_invariants


def check_place(options: Dict[str, Any]) -> Optional[Account]:
    """Whom the server runs as, None for us, when the scratch directory is a place for it.

    :raises ConfigurationError: it is not, above all in a data directory: then nothing is written there
    """
    user = servers.account(options.get("run_as"))
    servers.check_place(options["scratch_directory"], user)
    return user


def folder_mode(user: Optional[Account]) -> int:
    """Of the folders that the server's user must pass through."""
    return 0o711 if user else 0o700


class Prepared:
    """What is known before anything is done.

    :raises MaintenanceError: the drill cannot be made
    """

    def __init__(self, options: Dict[str, Any]) -> None:
        self.options = options
        if options.get("application"):
            check_options(options["application"])
        self.user = check_place(options)
        self.s3 = client(options["storage"], pool=16)
        drawn = options["recovery_point"] == "random"
        #: On record with the drill, so that whoever audits can draw again.
        self.seed = (options.get("seed") or secrets.token_hex(8)) if drawn else None
        self.chosen: Chosen = choose(
            *(self.s3, options["storage"], options["environment_name"], options["recovery_point"], options["engine"]),
            seed=self.seed,
        )
        self.point = self.chosen.point
        self.engine = engine_of(self.point)
        self.tools = tools(options, self.engine, self.point)
        self.engine.check(options, self.point, self.s3)
        self.needed = self.engine.space(self.point)
        if options.get("migration"):
            # What goes on with the copy may write all of it anew.
            self.needed += int(self.point["database"]["size"])

    def free(self) -> int:
        """Bytes free for the drill."""
        status = os.statvfs(self.options["scratch_directory"])
        return status.f_bavail * status.f_frsize

    def check_space(self) -> None:
        """Raises ConfigurationError when the disk is too small."""
        check_space(self.options["scratch_directory"], self.needed)

    def summary(self) -> Dict[str, Any]:
        """The recovery point in short."""
        point, objects = self.point, all_objects(self.point)
        return {
            "id": point["id"],
            "key": self.chosen.key,
            "sha256": self.chosen.sha256,
            "engine": point["engine"]["name"],
            "created_at": point["created_at"],
            "objects": len(objects),
            "size": sum(int(entry["size"]) for entry in objects),
            "database_bytes": int(point["database"]["size"]),
            "tables": len(point["database"]["tables"]),
            "application_version": point["application"].get("version"),
            "drawn": {"seed": self.seed, "among": self.chosen.among} if self.seed else None,
        }


def plan(options: Dict[str, Any]) -> Dict[str, Any]:
    """What run would do. Changes nothing.

    :raises MaintenanceError: something run needs is missing
    """
    prepared = Prepared(options)
    return {
        "recovery_point": prepared.summary(),
        "unreadable": prepared.chosen.unreadable,
        "scratch_directory": options["scratch_directory"],
        "scratch_needed_bytes": prepared.needed,
        "scratch_free_bytes": prepared.free(),
        "programs": os.path.dirname(prepared.tools["postgres"]),
        "invariants": len(options["invariants"]),
        "application": bool(options.get("application")),
    }


#: What goes on with the proven copy, before it is thrown away. It raises nothing that says something of the drill.
Then = Callable[[Copy, Progress], Dict[str, Any]]


def run(options: Dict[str, Any], progress: Progress, then: Optional[Then] = None) -> Dict[str, Any]:
    """Drills a restore.

    :param then: is handed the copy, unless its proof found something critical; its result is in "then"
    :returns: recovery_point (in short), checks (contract 1), phases (s by name), rto_seconds and heartbeat_at (None
        when not measured), rpo_seconds, source, unreadable, and problem with phase, kind, message and remedy: what
        ended the drill early, or None; then
    :raises MaintenanceError: nothing was drilled
    """
    started = time.monotonic()
    progress.phase("prepare")
    prepared = Prepared(options)
    place = destination(options["environment_name"], options["storage"])
    run_id = new_id(datetime.now(timezone.utc))
    drill = _Drill(prepared, progress, started, then)
    with locked(
        options["scratch_directory"],
        place,
        run_id,
        progress.directory,
        kind=DRILL,
        mode=folder_mode(prepared.user),
        before_removal=end_inside,
    ) as scratch:
        prepared.check_space()
        with janitor(scratch.path), ExitStack() as stack:
            drill.work(scratch, stack)
            progress.phase("clean up")
    left = scratch.path.exists()
    progress.phase("done")
    return {
        "recovery_point": prepared.summary(),
        "unreadable": prepared.chosen.unreadable,
        "checks": as_dicts(drill.checks),
        "phases": {name: round(seconds, 3) for name, seconds in progress.phases.items() if name not in drill.apart},
        "rto_seconds": drill.rto_seconds,
        "with_application": bool(options.get("application")),
        **drill.loss,
        "source": source_size(options),
        "problem": drill.problem,
        "then": drill.then,
        "left": str(scratch.path) if left else None,
    }


class _Drill:
    """The work itself, and what came of it."""

    def __init__(self, prepared: Prepared, progress: Progress, started: float, then: Optional[Then]) -> None:
        self._prepared = prepared
        self._options = prepared.options
        self._progress = progress
        self._started = started
        self.checks: List[Check] = []
        self.rto_seconds: Optional[float] = None
        self.loss: Dict[str, Any] = {"heartbeat_at": None, "rpo_seconds": None}
        self.problem: Optional[Dict[str, Any]] = None
        self._then = then
        self.then: Optional[Dict[str, Any]] = None
        #: Phases that are not the drill's own.
        self.apart: Set[str] = set()

    def work(self, scratch: Scratch, stack: ExitStack) -> None:
        """Everything between the lock and the cleaning up; what ends it early becomes the problem."""
        try:
            self._work(scratch.path, stack)
        except MaintenanceError as error:
            self.problem = {"phase": self._progress.name, **described(error)}
        except OSError as error:
            remedy = "Correct restore_drill_scratch_directory."
            self.problem = {
                "phase": self._progress.name,
                **described(servers.failed(f"The drill stopped: {error}", remedy)),
            }

    def _work(self, folder: Path, stack: ExitStack) -> None:
        options, progress, tick = self._options, self._progress, self._progress.tick
        prepared, jobs = self._prepared, max(1, options["jobs"])
        point = prepared.point
        place = folder / "instance"
        place.mkdir()
        place.chmod(folder_mode(prepared.user))
        instance = stack.enter_context(
            prepared.engine.server(place, prepared.tools, prepared.user, options["settings"])
        )
        engine = prepared.engine(options, point, prepared.tools, folder, instance, prepared.s3)
        engine.fetch(progress)
        name = engine.bring_up(progress)
        self.checks += engine.found
        data = folder / "application files"
        self._files(engine.objects, data, folder / "restic")
        progress.phase("prove")
        database, reader = instance.database(name), engine.reader(name)
        self.loss = _loss(heartbeat(reader) if reader else None)
        compared = proof.compare(reader or database, point, jobs, tick, careful=reader is None)
        self.checks += [*proof.of_contents(point), *compared]
        self.checks += measure_invariants(
            reader, options["invariants"], point["database"]["snapshot_at"], options["invariant_timeout"], tick
        )
        further = engine.finish(progress)
        if further:
            # What comes back in a disaster is more than the recovery point.
            self.checks += further
            database, reader = instance.database(name), engine.reader(name)
            self.loss = _loss(heartbeat(reader) if reader else None)
            progress.phase("prove")
        self.checks.append(proof.indexes(database, jobs, tick, full=options["index_check"] == "full"))
        engine.hand_over()
        application = options.get("application")
        healthy = True
        if application:
            progress.phase("application")
            if application.get("user"):
                instance.set_password(application["user"])
            expected = application.get("version") or point["application"].get("version")
            child = Application({**application, "version": expected}, instance, name, folder / "application", data)
            found = stack.enter_context(child).start(tick)
            self.checks += found
            healthy = found[0].status == "ok"
        if healthy:
            self.rto_seconds = round(time.monotonic() - self._started, 3)
        proven = worst(check.status for check in self.checks)
        if self._then and proven != CRITICAL:
            before = {*progress.phases, progress.name}
            self.then = self._then(Copy(instance, name, point, proven), progress)
            self.apart = {*progress.phases, progress.name} - before

    def _files(self, objects: Path, data: Path, scratch: Path) -> None:
        if self._prepared.point["application"]["files"]:
            self._progress.phase("files")
        wrong = restore_files(
            self._options, self._prepared.point, objects, data, self._prepared.s3, scratch, self._progress.tick
        )
        if wrong is None:
            return
        count = sum(entry["type"] == "file" for entry in manifest_of(objects)["entries"])
        text = f"{count} files, as in the manifest."
        self.checks.append(proof.judged("application_files", "Application's files", wrong, text, count))


def _loss(newest: Any) -> Dict[str, Any]:
    """What would be lost if the disaster were now."""
    if not isinstance(newest, datetime):
        return {"heartbeat_at": None, "rpo_seconds": None}
    seconds = (datetime.now(timezone.utc) - newest).total_seconds()
    return {
        "heartbeat_at": newest.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "rpo_seconds": round(seconds, 1),
    }


def source_size(options: Dict[str, Any]) -> Dict[str, Any]:
    """bytes of the source database today, None when nobody asked; error when it does not answer."""
    if not options.get("database"):
        return {"bytes": None, "error": None}
    try:
        with connected(options["database"], statement_timeout=30) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            return {"bytes": int(cursor.fetchone()[0]), "error": None}
    except MaintenanceError as error:
        return {"bytes": None, "error": error.message}
