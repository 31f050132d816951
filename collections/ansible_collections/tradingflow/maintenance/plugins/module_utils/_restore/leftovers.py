# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What logical restores that are dead left in the server: what is half made goes, old rows stay and are remembered."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .._postgres import server
from .._postgres.logins import drop_roles, ours
from ..checks import Check
from ..database import connected
from ..errors import DatabaseError, MaintenanceError
from .live import clean, finished
from .state import State


def remove(
    database: Dict[str, Any],
    target: str,
    place: str,
    state: State,
    kept: List[Dict[str, str]],
    also: Sequence[str] = (),
) -> Tuple[str, Optional[Check]]:
    """Cleans the server, and both the database that is restored into and that of the run that did not end.

    The locks here and on the server are the caller's.

    :param target: name of the database that is restored into
    :param place: see scratch.destination
    :param kept: to which schemas with old rows are added
    :param also: more databases to clean, where whatever run may have left something
    :returns: what was found, in words, empty for nothing; and a warning of what could not be removed
    """
    before, begin = dict(state.run), server.prefix(place)
    gone: List[str] = []
    stayed: List[str] = []
    unseen: List[str] = []
    with server.elsewhere(database, target) as connection:
        for name in server.stale(connection, place):
            server.drop(connection, name)
            gone.append(name)
        targets = sorted({target, str(before.get("target") or target), *also})
        targets = [name for name in targets if server.oid_of(connection, name) is not None]
    for name in targets:
        where = server.named(database, name)
        try:
            removed, found = clean(where, place)
            gone += removed
            for schema in found:
                # First, as without its mark nobody finds it again.
                since = str(before.get("started_at") or "unknown")
                state.keep("schema", f"{name}: {schema}", str(before.get("recovery_point") or "unknown"), since)
                entry = {"kind": "schema", "name": schema}
                kept += [] if entry in kept else [entry]
                stayed.append(schema if name == target else f"{schema} of {name}")
            if found:
                finished(where, found)
        except DatabaseError as error:
            # Damaged, or closed. Only single tables leave anything there.
            if name in also or (before.get("mode") == "tables" and name == before.get("target")):
                unseen.append(f"{name} ({error.message})")
        with suppress(DatabaseError), connected(where, statement_timeout=0, pinned=True) as connection:
            server.run(connection, "SET default_transaction_read_only = off")
            server.be_quiet(connection)
            drop_roles(connection, begin, owned=True)
    with server.elsewhere(database, target) as connection:
        drop_roles(connection, begin)
        roles = ours(connection, begin)
    text = f" What it had half made was removed: {', '.join(gone)}." if gone else ""
    text += f" It had replaced rows; the old ones are in {', '.join(stayed)}." if stayed else ""
    return text, _warning(roles, unseen)


_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1"


def before_recovery(options: Dict[str, Any], job: Any, state: State, *, alive: bool) -> str:
    """What a dead logical restore left in the server whose cluster a recovery replaces.

    :param alive: whether that server answers
    :returns: what was found, in words, empty for nothing
    """
    before = state.run
    if before.get("mode") not in ("whole", "tables"):
        return ""
    target, why = str(before.get("target") or options["database"]["name"]), "the server does not answer"
    if (options.get("cluster") or {}).get("elsewhere"):
        why = "this recovery is elsewhere"
    elif alive:
        try:
            with server.alone(options["database"], job.place, target):
                text, warning = remove(options["database"], target, job.place, state, job.kept)
            _note(job, warning)
            return text
        except MaintenanceError as error:
            why = error.message
    text = (
        f"What the restore {before.get('id')} left in the server was not removed, as {why}. It may have left databases"
    )
    text += f" and roles named {server.prefix(job.place)}*, and schemas of {target} whose comments begin with"
    text += " tradingflow-maintenance."
    remedy = "Look at them when that cluster is started again, and drop them; old rows are in *_before_*."
    _note(job, Check("restore.leftovers", "Leftovers", "warning", None, message=text, remedy=remedy))
    return ""


def after_recovery(options: Dict[str, Any], job: Any, state: State) -> None:
    """What a logical restore had half made in the recovered cluster at the target, whoever ended it later."""
    database = options["database"]
    try:
        with server.alone(database, job.place), server.elsewhere(database) as connection:
            names = [row[0] for row in server.rows(connection, _DATABASES)]
            text, warning = remove(database, database["name"], job.place, state, job.kept, names)
    except MaintenanceError as error:
        text = f"Whether a restore was under way at the target is not known: {error.message}"
        remedy = f"Look for databases, roles and schemas named {server.prefix(job.place)}* or *_before_*."
        text, warning = "", Check("restore.leftovers", "Leftovers", "warning", None, message=text, remedy=remedy)
    if text:
        job.found.append(f"A restore was under way at the target.{text}")
    _note(job, warning)


def gone_aside(options: Dict[str, Any], job: Any, state: State) -> None:
    """Forgets what an earlier restore kept in the server and the recovered cluster does not have, and says where it is.

    At the very end: until then the old cluster may come back.
    """
    directory = str((state.run.get("cluster") or {}).get("kept") or "")
    found = [each for each in state.kept if each["kind"] in ("schema", "database")]
    if not found or (options.get("cluster") or {}).get("elsewhere") or not os.path.isdir(directory):
        return
    gone: List[str] = []
    with suppress(DatabaseError), server.elsewhere(options["database"]) as connection:
        names = {row[0] for row in server.rows(connection, "SELECT datname FROM pg_database")}
        for each in found:
            database, colon, schema = each["name"].rpartition(": ")
            if each["kind"] == "schema" and colon:
                there = database in names and _has(server.named(options["database"], database), schema)
            else:
                # Older versions remembered a schema without its database.
                there = each["kind"] == "schema" or each["name"] in names
            if not there:
                state.forget(each["name"])
                gone.append(f"{each['kind']} {each['name']}")
                short = {"kind": each["kind"], "name": schema}
                job.kept[:] = [kept for kept in job.kept if kept not in (short, {**short, "name": each["name"]})]
    if gone:
        text = f"What an earlier restore kept is not in the recovered cluster, but in the old one, in {directory}:"
        job.found.append(f"{text} {', '.join(gone)}.")


def _has(database: Dict[str, Any], schema: str) -> bool:
    """Whether a database has a schema; one that does not say may have it."""
    try:
        with connected(database, pinned=True) as connection:
            return bool(server.rows(connection, "SELECT FROM pg_namespace WHERE nspname = %s", (schema,)))
    except DatabaseError:
        return True


def _note(job: Any, warning: Optional[Check]) -> None:
    """Adds a warning to one of the same, if there is one."""
    if warning is None:
        return
    for each in job.checks:
        if each.id == warning.id:
            each.message += f" {warning.message}"
            return
    job.checks.append(warning)


def _warning(roles: List[str], unseen: List[str]) -> Optional[Check]:
    if not roles and not unseen:
        return None
    text = f"Roles of a restore that did not end could not be removed: {', '.join(roles)}." if roles else ""
    text += f" It may have left schemas in a database that cannot be cleaned: {', '.join(unseen)}." if unseen else ""
    remedy = "Roles: DROP OWNED BY and DROP ROLE in the databases where they have rights."
    remedy += " Schemas: their comments begin with tradingflow-maintenance; old rows are in *_before_*."
    return Check(
        "restore.leftovers", "Leftovers", "warning", len(roles) + len(unseen), message=text.strip(), remedy=remedy
    )
