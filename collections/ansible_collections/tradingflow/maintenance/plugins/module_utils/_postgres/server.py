# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server that is restored into: what is there, who is at work, and the steps that change it."""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..database import connected, one_line, quoted
from ..errors import DatabaseError, LockedError, RestoreError

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: Databases to be connected to while another is made, renamed or dropped.
_ELSEWHERE = ("postgres", "template1")
#: Names of databases in the making: whose they are, and of which run.
TEMPORARY = "tradingflow_restoring_"
#: What was kept aside: the old name, and the run that put it there.
KEPT = re.compile(r".+_before_\d{8}t\d{6}z_[0-9a-f]{6}", re.DOTALL)
#: First half of the number of the lock on the server; the second is the destination's.
_LOCK = 0x7F5E5707
#: A host that is gone is noticed within a minute, where it is connected by TCP.
_HELD = ("SET tcp_keepalives_idle = 20", "SET tcp_keepalives_interval = 10", "SET tcp_keepalives_count = 3")
_HOLDER = """
SELECT a.pid, coalesce(host(a.client_addr), 'the host itself'), to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ')
FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()
  AND (l.classid::bigint, l.objid::bigint) = (%s, %s::bigint & 4294967295)"""
#: Seconds that others have to leave a database before it is renamed.
_PATIENCE = 30


def lower_id(run_id: str) -> str:
    """A run's or recovery point's id as part of a name that needs no quotes."""
    return run_id.lower().replace("-", "_")


def kept_name(name: str, run_id: str) -> str:
    """What a database or schema is called when it is put aside: no longer than PostgreSQL allows."""
    ending = f"_before_{lower_id(run_id)}"
    return name.encode()[: 63 - len(ending)].decode(errors="ignore") + ending


def temporary_name(place: str, run_id: str) -> str:
    """A database in the making.

    :param place: see scratch.destination; its end says whose it is
    """
    return f"{prefix(place)}{lower_id(run_id)}"


def prefix(place: str) -> str:
    """How names of databases and roles begin that are in the making for a destination."""
    return f"{TEMPORARY}{place[-12:]}_"


def named(database: Dict[str, Any], name: str) -> Dict[str, Any]:
    """The option "database" for another database of the same server."""
    return {**database, "name": name, "statement_timeout": 0}


@contextmanager
def elsewhere(database: Dict[str, Any], *avoid: str) -> Iterator[Any]:
    """A connection to a database of the server that is not touched.

    It may write, also where somebody froze the whole server (default_transaction_read_only) before restoring.

    :raises DatabaseError: the server does not answer
    """
    names = [name for name in _ELSEWHERE if name not in avoid]
    for name in names[:-1]:
        try:
            with connected(named(database, name), statement_timeout=10) as connection:
                pass
        except DatabaseError as error:
            if "does not exist" not in error.message:
                raise
            continue
        with _writable(database, name) as connection:
            yield connection
            return
    with _writable(database, names[-1]) as connection:
        yield connection


@contextmanager
def _writable(database: Dict[str, Any], name: str) -> Iterator[Any]:
    with connected(named(database, name), statement_timeout=0) as connection:
        run(connection, "SET default_transaction_read_only = off")
        yield connection


def rows(connection: Any, query: str, arguments: Any = None) -> List[Tuple[Any, ...]]:
    """All rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        found: List[Tuple[Any, ...]] = cursor.fetchall()
        return found


def value(connection: Any, query: str, arguments: Any = None) -> Any:
    """The first column of the first row, None when there is none."""
    found = rows(connection, query, arguments)
    return found[0][0] if found else None


def run(connection: Any, statement: str) -> None:
    """Runs a statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement)


def quiet(version: int) -> str:
    """Options of a connection on which triggers and event triggers keep still: none of theirs may forbid a restore."""
    return "-c session_replication_role=replica" + (" -c event_triggers=off" if version >= 170000 else "")


def be_quiet(connection: Any) -> None:
    """The same for a session. Before version 17 event triggers that are always on are not kept still."""
    run(connection, "SET session_replication_role = replica")
    if connection.server_version >= 170000:
        run(connection, "SET event_triggers = off")


def always_on(connection: Any) -> List[str]:
    """Event triggers of a database that cannot be kept still."""
    if connection.server_version >= 170000:
        return []
    query = "SELECT evtname FROM pg_event_trigger WHERE evtenabled IN ('A', 'R') ORDER BY 1"
    return [str(row[0]) for row in rows(connection, query)]


def describe(connection: Any) -> Dict[str, Any]:
    """The server: version, system_identifier, data_directory, superuser, recovering, tablespaces."""
    return {
        "version": int(connection.server_version),
        "system_identifier": value(connection, "SELECT system_identifier::text FROM pg_control_system()"),
        "data_directory": value(connection, "SHOW data_directory"),
        "superuser": bool(value(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")),
        "recovering": bool(value(connection, "SELECT pg_is_in_recovery()")),
        "tablespaces": [row[0] for row in rows(connection, "SELECT spcname FROM pg_tablespace")],
    }


def oid_of(connection: Any, name: str) -> Optional[int]:
    """A database's number, which it keeps when it is renamed; None when there is none."""
    found = value(connection, "SELECT oid::bigint FROM pg_database WHERE datname = %s", (name,))
    return None if found is None else int(found)


def name_of(connection: Any, oid: int) -> Optional[str]:
    """A database's name today."""
    found = value(connection, "SELECT datname FROM pg_database WHERE oid = %s", (oid,))
    return None if found is None else str(found)


def tables_in(database: Dict[str, Any]) -> int:
    """How many tables of anybody's own a database has."""
    with connected(database, statement_timeout=60, pinned=True) as connection:
        return int(
            value(
                connection,
                "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.relkind IN ('r', 'p')"
                " AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'",
            )
        )


def sessions(connection: Any, name: str) -> List[str]:
    """Who is connected to a database, besides us: program, user and address, with their number."""
    found = rows(
        connection,
        "SELECT coalesce(nullif(application_name, ''), 'a program'), usename,"
        " coalesce(host(client_addr), 'the host itself'), count(*) FROM pg_stat_activity"
        " WHERE datname = %s AND pid <> pg_backend_pid()"
        " AND backend_type <> 'autovacuum worker'"
        " AND backend_type NOT LIKE 'parallel%%' AND application_name <> 'tradingflow-maintenance'"
        " GROUP BY 1, 2, 3 ORDER BY 4 DESC",
        (name,),
    )
    return [
        f"{program} as {user} from {place}" + (f" ({count})" if count > 1 else "")
        for program, user, place, count in found
    ]


@contextmanager
def alone(database: Dict[str, Any], place: str, *avoid: str) -> Iterator[None]:
    """Holds a lock on the server: that of the scratch directory is not seen by a second controller.

    The server gives it up soon after a host that is gone stops to answer.

    :param place: see scratch.destination
    :raises LockedError: another restore of this destination is at work
    """
    key = int.from_bytes(hashlib.sha256(f"restore {place}".encode()).digest()[:4], "big", signed=True)
    with elsewhere(database, *avoid) as connection:
        for setting in _HELD:
            run(connection, setting)
        if connection.server_version >= 140000:
            run(connection, "SET idle_session_timeout = 0")
        deadline = time.monotonic() + _PATIENCE
        while not value(connection, "SELECT pg_try_advisory_lock(%s, %s)", (_LOCK, key)):
            if time.monotonic() < deadline:
                # The server may not have seen yet that a killed run is gone.
                time.sleep(0.5)
                continue
            found = rows(connection, _HOLDER, (_LOCK, key))
            who = "process {} from {}, since {}".format(*found[0]) if found else "session has just ended"
            raise LockedError(
                "Another restore of this environment is under way, from another host, account or scratch directory:"
                f" the server's {who}.",
                "Wait for it to end. If its host is gone for good, end that session: SELECT pg_terminate_backend"
                f"({found[0][0] if found else '...'}).",
            )
        yield


def stale(connection: Any, place: str) -> List[str]:
    """Databases in the making that a dead run of this destination left."""
    begin = prefix(place)
    found = rows(connection, "SELECT datname FROM pg_database WHERE left(datname, %s) = %s", (len(begin), begin))
    return sorted(str(row[0]) for row in found)


def drop(connection: Any, name: str) -> None:
    """Removes a database, also when somebody is connected; WITH (FORCE) is of version 13 and newer."""
    force = " WITH (FORCE)" if connection.server_version >= 130000 else ""
    if value(connection, "SELECT datistemplate FROM pg_database WHERE datname = %s", (name,)):
        run(connection, f"ALTER DATABASE {quoted(name)} IS_TEMPLATE false")
    run(connection, f"DROP DATABASE IF EXISTS {quoted(name)}{force}")


def swap(connection: Any, temporary: str, target: str, kept: Optional[str]) -> None:
    """Puts a database into the place of another, which is kept under another name: both or nothing.

    :param kept: None when there is no database of that name yet
    :raises RestoreError: others do not leave it
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with connection.cursor() as cursor:
                cursor.execute("BEGIN")
                try:
                    if kept is not None:
                        cursor.execute(f"ALTER DATABASE {quoted(target)} RENAME TO {quoted(kept)}")
                    cursor.execute(f"ALTER DATABASE {quoted(temporary)} RENAME TO {quoted(target)}")
                    cursor.execute("COMMIT")
                    return
                except psycopg2.Error:
                    if not connection.closed:
                        cursor.execute("ROLLBACK")
                    raise
        except psycopg2.errors.ObjectInUse as error:
            if time.monotonic() > deadline:
                who = "; ".join(sessions(connection, target)[:5]) or one_line(error)
                raise RestoreError(
                    f"The database {target} could not be renamed, as others are connected to it: {who}.",
                    "Stop the application and whatever else connects, then run the restore again: nothing was changed.",
                ) from None
            time.sleep(0.2)
