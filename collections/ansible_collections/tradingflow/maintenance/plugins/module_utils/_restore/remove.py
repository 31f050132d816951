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
from .._postgres import server, tablespaces
from .._recovery_points.ids import new_id
from .._work.job import RESTORE
from .._work.progress import Progress
from .._work.scratch import base, destination, locked
from ..database import connected, quoted
from ..errors import ConfigurationError, DatabaseError
from .state import State

_SCHEMA = re.compile(r"restored_\d{8}t\d{6}z_[0-9a-f]{6}(_\d+)?")


def plan(options: Dict[str, Any]) -> Dict[str, Any]:
    """What would be removed, and what lies aside; without names only the latter. Changes nothing.

    :raises ConfigurationError: a name is not of something that a restore put aside
    """
    place = destination(options["environment_name"], options["storage"])
    state = State(base(options["scratch_directory"], RESTORE) / place / "state.json")
    found = [_find(options, name, state) for name in options["remove_old"]]
    return {"removed": [{"kind": kind, "name": name} for kind, name, _remove in found], "kept": _aside(state)}


def run(options: Dict[str, Any], progress: Progress) -> Dict[str, Any]:
    """Removes all of it; nothing when one of the names is wrong.

    :raises MaintenanceError: nothing was removed, or not all of it
    """
    progress.phase("remove")
    place = destination(options["environment_name"], options["storage"])
    run_id = new_id(datetime.now(timezone.utc))
    removed = []
    with locked(options["scratch_directory"], place, run_id, progress.directory, kind=RESTORE) as scratch:
        state = State(scratch.path.parent / "state.json")
        if any(state.run.get(part) for part in ("database", "files", "cluster")):
            raise ConfigurationError(
                f"The restore {state.run.get('id')} did not finish: what is kept aside may be all there is.",
                "Run that restore again first until it ends well, or abandon it (restore_abandon=true).",
            )
        for kind, name, remove in [_find(options, name, state) for name in _names(options)]:
            remove()
            state.forget(name)
            removed.append({"kind": kind, "name": name})
        kept = _aside(state)
    progress.phase("done")
    return {"removed": removed, "kept": kept}


def _aside(state: State) -> List[Dict[str, Any]]:
    """What lies aside, without directories that somebody removed by hand."""
    return [each for each in state.kept if each["kind"] != "directory" or os.path.lexists(each["name"])]


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
    target = str(options.get("target_database") or options["database"]["name"])
    if server.KEPT.fullmatch(name):
        found = _database(options["database"], name)
        if found:
            return "database", name, found
    if server.KEPT.fullmatch(name) or _SCHEMA.fullmatch(name):
        remove = _schema(server.named(options["database"], target), name)
        if remove:
            return "schema", name, remove
    raise ConfigurationError(
        f"{name} is neither a database nor a schema of {target} that a restore put aside.",
        "Write the name as the restore gave it: *_before_<id>, or restored_<id>. Nothing was removed.",
    )


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

    def remove() -> None:
        spaces = tablespaces.of_kept(place)
        shutil.rmtree(place)
        for each in spaces:
            shutil.rmtree(each)
            if not os.listdir(each.parent):
                each.parent.rmdir()

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
