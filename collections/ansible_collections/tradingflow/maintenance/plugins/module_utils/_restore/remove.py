# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes what earlier restores put aside, by name and never by itself."""

from __future__ import annotations

import os
import re
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from .._isolation.processes import inside, same
from .._postgres import server
from .._recovery_points.ids import new_id
from .._work.job import RESTORE
from .._work.progress import Progress
from .._work.scratch import base, destination, locked
from ..database import connected, quoted
from ..errors import ConfigurationError, DatabaseError
from . import outside
from .state import State

_SCHEMA = re.compile(r"restored_\d{8}t\d{6}z_[0-9a-f]{6}(_\d+)?")


def plan(options: Dict[str, Any]) -> Dict[str, Any]:
    """What would be removed, and what lies aside; without names only the latter. Changes nothing.

    :raises ConfigurationError: a name is not of something that a restore put aside
    """
    place = destination(options["environment_name"], options["storage"])
    state = State(base(options["scratch_directory"], RESTORE) / place / "state.json")
    found = [_find(options, name, state) for name in options["remove_old"]]
    removed, left = _gone(state, [(kind, name) for kind, name, _remove in found])
    gone = {known for kind, name, _remove in found for known in _known(options, kind, name)}
    return {"removed": removed, "left": left, "kept": [each for each in _aside(state) if each["name"] not in gone]}


def run(options: Dict[str, Any], progress: Progress) -> Dict[str, Any]:
    """Removes all of it; nothing when one of the names is wrong.

    :raises MaintenanceError: nothing was removed, or not all of it
    """
    progress.phase("remove")
    place = destination(options["environment_name"], options["storage"])
    run_id = new_id(datetime.now(timezone.utc))
    with locked(options["scratch_directory"], place, run_id, progress.directory, kind=RESTORE) as scratch:
        state = State(scratch.path.parent / "state.json")
        if any(state.run.get(part) for part in ("database", "files", "cluster")):
            raise ConfigurationError(
                f"The restore {state.run.get('id')} did not finish: what is kept aside may be all there is.",
                "Run that restore again first until it ends well, or abandon it (restore_abandon=true).",
            )
        found = [_find(options, name, state) for name in _names(options)]
        removed, left = _gone(state, [(kind, name) for kind, name, _remove in found])
        for kind, name, remove in found:
            remove()
            for known in _known(options, kind, name):
                state.forget(known)
        kept = _aside(state)
    progress.phase("done")
    return {"removed": removed, "left": left, "kept": kept}


def _gone(state: State, wanted: List[Tuple[str, str]]) -> Tuple[List[Dict[str, Any]], List[str]]:
    """All that goes with names, and what they have elsewhere that stays."""
    removed: List[Dict[str, Any]] = []
    left: List[str] = []
    for kind, name in wanted:
        removed.append({"kind": kind, "name": name})
        for each in state.kept if kind == "directory" else []:
            if each["name"] == name:
                removed += [{"kind": "tablespace", "name": path} for path in outside.paths(each)]
                left += outside.left(Path(name), each.get("spaces"))
    return removed, left


def _aside(state: State) -> List[Dict[str, Any]]:
    """What lies aside, without directories that somebody removed by hand; with what each has in tablespaces."""
    there = [each for each in state.kept if each["kind"] != "directory" or os.path.lexists(each["name"])]
    return [{**each, "tablespaces": outside.paths(each)} if each.get("spaces") else each for each in there]


def _names(options: Dict[str, Any]) -> List[str]:
    if not options["remove_old"]:
        raise ConfigurationError(
            "restore_remove_old is empty: nothing is named.",
            "Set restore_remove_old to the names that the restore gave; --check lists them.",
        )
    return list(options["remove_old"])


def _find(options: Dict[str, Any], name: str, state: State) -> Tuple[str, str, Callable[[], None]]:
    if os.path.isabs(name):
        return "directory", name, _directory(name, state)
    if server.KEPT.fullmatch(name):
        found = _database(options["database"], name)
        if found:
            return "database", name, found
    target, schema = _place(options, name)
    if server.KEPT.fullmatch(schema) or _SCHEMA.fullmatch(schema):
        remove = _schema(server.named(options["database"], target), schema)
        if remove:
            return "schema", name, remove
    raise ConfigurationError(
        f"{name} is neither a database nor a schema of {target} that a restore put aside.",
        "Write the name as the restore gave it: *_before_<id>, or restored_<id>. Nothing was removed.",
    )


def _place(options: Dict[str, Any], name: str) -> Tuple[str, str]:
    """Database and name of a schema: that of the options where the name does not say, as the list does."""
    database, _colon, schema = name.rpartition(": ")
    return database or str(options.get("target_database") or options["database"]["name"]), schema


def _known(options: Dict[str, Any], kind: str, name: str) -> List[str]:
    """What may be remembered of a name; older versions remembered a schema without its database."""
    if kind != "schema":
        return [name]
    database, schema = _place(options, name)
    return [f"{database}: {schema}", schema]


def _directory(name: str, state: State) -> Callable[[], None]:
    place = Path(name)
    known = [each for each in state.kept if (each["kind"], each["name"]) == ("directory", name)]
    # What an older version put aside is known by its name only.
    if not known or not all(same(name, each.get("mark")) for each in known if each.get("mark")):
        raise ConfigurationError(
            f"{name} is not a directory that a restore on this host put aside for this environment.",
            "Write it as the restore gave it; if it is of another host or scratch directory, remove it by hand."
            " Nothing was removed.",
        )
    if not server.KEPT.fullmatch(place.name) or place.is_symlink() or not place.is_dir():
        raise ConfigurationError(
            f"{name} is not a directory that a restore put aside.",
            "Write it as the restore gave it. Nothing was removed.",
        )
    if inside(place):
        raise ConfigurationError(f"Somebody works in {name}: it is in use.", "End that first. Nothing was removed.")

    spaces = known[0].get("spaces")
    outside.check_unused(place, spaces)

    def remove() -> None:
        # The directory last: as long as it is there, it can be removed again.
        outside.remove(spaces)
        shutil.rmtree(place)

    return remove


def _database(database: Dict[str, Any], name: str) -> Optional[Callable[[], None]]:
    try:
        with server.elsewhere(database, name) as connection:
            if server.oid_of(connection, name) is None:
                return None
            sessions = server.sessions(connection, name)
    except DatabaseError as error:
        raise ConfigurationError(error.message, f"{error.remedy} Nothing was removed.") from None
    if sessions:
        text = f"Others are connected to {name}: {'; '.join(sessions[:5])}."
        raise ConfigurationError(text, "End these programs first. Nothing was removed.")

    def remove() -> None:
        with server.elsewhere(database, name) as connection:
            server.drop(connection, name)

    return remove


def _schema(database: Dict[str, Any], name: str) -> Optional[Callable[[], None]]:
    with connected(database, pinned=True) as connection:
        if not server.rows(connection, "SELECT FROM pg_namespace WHERE nspname = %s", (name,)):
            return None

    def remove() -> None:
        with connected(database, statement_timeout=0, pinned=True) as connection:
            # Each by itself: statements sent together are one transaction, which is read-only before the first.
            server.run(connection, "SET default_transaction_read_only = off")
            server.be_quiet(connection)
            server.run(connection, f"DROP SCHEMA {quoted(name)} CASCADE")

    return remove
