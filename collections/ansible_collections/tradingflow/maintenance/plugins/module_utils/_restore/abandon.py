# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way out of a restore that did not end: what was there before is put back, what was restored is kept aside.

Nothing that was ever in place is deleted, and each step can be killed and run again.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import Any, Dict, List, Optional

from .._pgbackrest.program import account
from .._postgres import server, tablespaces
from .._postgres.cluster import Cluster, until_primary, version_in
from .._postgres.replay import remove_home
from .._recovery_points.ids import new_id
from .._work.job import RESTORE
from .._work.progress import Progress
from .._work.scratch import base, destination, locked
from ..checks import as_dicts
from ..database import connected
from ..errors import ConfigurationError, DatabaseError, RestoreError
from ..refusal import Refusal
from . import guards, leftovers, outside
from .directories import PARTS, aside, put_back, remove_made
from .state import State


def plan(options: Dict[str, Any]) -> Dict[str, Any]:
    """What would be done, and what forbids it. Changes nothing.

    :returns: unfinished, steps, refusals
    :raises ConfigurationError: no restore is unfinished
    """
    place = destination(options["environment_name"], options["storage"])
    state = State(base(options["scratch_directory"], RESTORE) / place / "state.json")
    _check(state)
    return {
        "unfinished": state.run,
        "steps": _steps(state.run),
        "refusals": [each.as_dict() for each in _refusals(options, state.run)],
    }


def run(options: Dict[str, Any], progress: Progress) -> Dict[str, Any]:
    """Puts back what was there, and starts the server.

    :returns: unfinished (the run that was abandoned), steps, refusals, kept, server (what it says), left (what there
        was of it, in words), checks (contract 1), changed
    :raises MaintenanceError: it could not be put back; run again, it goes on
    """
    progress.phase("abandon")
    place = destination(options["environment_name"], options["storage"])
    run_id = new_id(datetime.now(timezone.utc))
    with locked(options["scratch_directory"], place, run_id, progress.directory, kind=RESTORE) as scratch:
        state = State(scratch.path.parent / "state.json")
        _check(state)
        before = dict(state.run)
        refusals, steps = _refusals(options, before), _steps(before)
        found: Dict[str, Any] = {"unfinished": before, "steps": steps, "kept": [], "server": None}
        found.update(left="", checks=[])
        if not refusals:
            _work(options, state, run_id, place, progress, found)
    progress.phase("done")
    return {**found, "refusals": [each.as_dict() for each in refusals], "changed": not refusals}


def _check(state: State) -> None:
    if not state.run:
        raise ConfigurationError(
            "No restore is unfinished: there is nothing to abandon.",
            "What a finished one replaced is kept aside: docs/restore.md, Going back.",
        )


def _steps(run: Dict[str, Any]) -> List[str]:
    """In words."""
    places = [run[part]["place"] for part in PARTS if _new(run, part)]
    if run.get("database"):
        places.append(f"the database {run['database']['target']}, if it was replaced")
    steps = [f"put back what was in {each}, and keep aside what is there" for each in places]
    if run.get("mode") == "point_in_time":
        steps.append("start the server")
    return [*steps, f"remove what the restore {run.get('id')} had made beside"]


def _new(run: Dict[str, Any], part: str) -> bool:
    """Whether what was restored is in place."""
    moving: Dict[str, Any] = run.get(part) or {}
    try:
        return bool(moving) and os.lstat(moving["place"]).st_ino == moving["inode"]
    except OSError:
        return False


def _refusals(options: Dict[str, Any], run: Dict[str, Any]) -> List[Refusal]:
    found: List[Refusal] = []
    cluster = run.get("cluster")
    if cluster and not cluster["there"] and not (options.get("cluster") or {}).get("elsewhere"):
        text = f"Nothing was in {cluster['place']} before the restore {run.get('id')}: there is nothing to go back to."
        remedy = "Run the restore again: with the same target it resumes, with another it starts over."
        found.append(Refusal("nothing", text, remedy))
    if run.get("mode") == "point_in_time" and not options.get("cluster"):
        text = "No cluster is named."
        found.append(Refusal("cluster", text, "Set restore_cluster (data_directory) and restore_pgbackrest (stanza)."))
    elif cluster and str(options["cluster"]["data_directory"]).rstrip("/") != cluster["place"].rstrip("/"):
        text = f"The unfinished restore is of {cluster['place']},"
        text += f" restore_cluster says {options['cluster']['data_directory']}."
        found.append(Refusal("cluster", text, "Set restore_cluster as that restore had it."))
    if any(_new(run, part) for part in PARTS) or run.get("database"):
        what = f"What the restore {run.get('id')} put in place would be put aside."
        found += guards.of_confirmation(options, options["database"]["name"], 1, what)
    sessions: List[str] = []
    name = (run.get("database") or {}).get("target") or options["database"]["name"]
    try:
        with connected({**options["database"], "connect_timeout": 5}, pinned=True) as connection:
            sessions = server.sessions(connection, name)
    except DatabaseError:
        pass  # it is down: that is why somebody abandons it
    return found + guards.of_application(options, sessions, f"the database {name}")


def _work(
    options: Dict[str, Any], state: State, run_id: str, place: str, progress: Progress, found: Dict[str, Any]
) -> None:
    before = state.run
    made = before.get("made_spaces")
    physical = before.get("mode") == "point_in_time"
    cluster = _cluster(options, before) if physical else None
    remove_home(before)
    if cluster and before.get("cluster"):
        cluster.stop(progress.tick)
    for part in PARTS:
        if before.get(part):
            kept = put_back(state, part, aside(before[part]["place"], run_id))
            if kept:
                entry = {"kind": "directory", "name": str(kept), "tablespaces": outside.named(state.kept, str(kept))}
                found["kept"].append(entry)
                # With their tablespaces, where it is the cluster's.
                made = None if part == "cluster" else made
    if not physical:
        _database(options, state, run_id, place, found)
    remove_made(before)
    tablespaces.remove(made)
    try:
        if cluster and not options["cluster"]["elsewhere"]:
            progress.phase("start")
            found["server"] = _started(options, cluster, progress)
    finally:
        # Also when it does not start: everything is where it was, and another restore may be what helps.
        state.end()


def _started(options: Dict[str, Any], cluster: Cluster, progress: Progress) -> Dict[str, Any]:
    seconds = int(options["cluster"]["start_timeout"])
    try:
        cluster.start(int(options["database"]["port"]))
        # The database itself may be what was lost.
        home = server.named(options["database"], "postgres")
        facts = until_primary(home, seconds, cluster.running, progress.tick)
    except RestoreError as error:
        raise RestoreError(
            f"What was there before is in place again, and its server does not start: {error.message}",
            "Read the server's log and start it, or restore again, to any target.",
        ) from None
    if facts["data_directory"].rstrip("/") != cluster.directory:
        raise RestoreError(
            f"The server that answers has the directory {facts['data_directory']}, not {cluster.directory}.",
            "Two servers fight for the port: stop the other one, then start this one.",
        )
    return facts


def _cluster(options: Dict[str, Any], run: Dict[str, Any]) -> Optional[Cluster]:
    """The cluster that is to be stopped and started; None when there was none."""
    setting, places = options["cluster"], [options["cluster"]["data_directory"]]
    places += [run["cluster"][name] for name in ("kept", "new")] if run.get("cluster") else []
    major = next((found for found in map(version_in, places) if found), None)
    if major is None:
        return None
    user = account((options.get("pgbackrest") or {}).get("run_as"))
    return Cluster(setting, options.get("pg_bin_dir"), user, major)


def _database(options: Dict[str, Any], state: State, run_id: str, place: str, found: Dict[str, Any]) -> None:
    """Of a logical restore: databases in the making go, the one that was replaced returns."""
    moving = state.run.get("database")
    avoid = [moving["target"]] if moving else []
    with (
        server.alone(options["database"], place, *avoid),
        server.elsewhere(options["database"], *avoid) as connection,
    ):
        if moving and moving["kept"] and server.name_of(connection, moving["oid"]) == moving["target"]:
            kept = server.kept_name(moving["target"], run_id)
            server.swap(connection, moving["kept"], moving["target"], kept)
            state.keep("database", kept, state.run["recovery_point"], state.run["started_at"])
            state.forget(moving["kept"])
            found["kept"].append({"kind": "database", "name": kept})
        target = str(state.run.get("target") or options["database"]["name"])
        said, warning = leftovers.remove(options["database"], target, place, state, found["kept"])
        found["left"], found["checks"] = said.strip(), as_dicts([warning] if warning else [])
