# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's side of archiving: its settings, and what our user may do. As its superuser, by its socket."""

from __future__ import annotations

import shlex
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from ..database import connected, quoted
from ..errors import ConfigurationError, DatabaseError
from .program import Account, acting_as

#: What the maintenance user needs besides reading.
FUNCTIONS = ("pg_create_restore_point(text)", "pg_switch_wal()")
ROLES = ("pg_read_all_data", "pg_monitor")
#: Seconds of WAL that may be lost at most with the server: the objective is an hour, and archiving takes some.
LONGEST_ARCHIVE_TIMEOUT = 300


@contextmanager
def superuser(options: Dict[str, Any], user: Account, name: str) -> Iterator[Any]:
    """A connection by the socket, as the cluster's superuser.

    :param name: of the database
    :raises DatabaseError: see database.connected
    """
    database = {
        "host": options["socket_directory"],
        "port": options["port"],
        "name": name,
        "user": options.get("superuser") or user.name,
        "sslmode": "disable",
        "connect_timeout": 10,
    }
    with ExitStack() as stack:
        try:
            with acting_as(user):
                connection = stack.enter_context(connected(database, statement_timeout=60, pinned=True))
        except DatabaseError as error:
            raise DatabaseError(
                error.message,
                "Check that the server runs, backup_pgbackrest_socket_directory, the port, and that this runs as root"
                " or as the user that owns the cluster (ansible_become, or -b).",
            ) from None
        # What is written beside it is root's business again.
        yield connection


def archive_command(program: str, options: Dict[str, Any]) -> str:
    """What the server runs for each segment; %p is the segment's place."""
    words = [program, f"--config={options['config_file']}", f"--stanza={options['stanza']}", "archive-push"]
    return " ".join(shlex.quote(word).replace("%", "%%") for word in words) + ' "%p"'


def settings(connection: Any, program: str, options: Dict[str, Any]) -> List[Tuple[str, str, str]]:
    """Settings to change: name, what it is, what it shall be."""
    wanted: Dict[str, Tuple[str, Optional[Callable[[str], bool]]]] = {
        "archive_mode": ("on", lambda now: now in ("on", "always")),
        "archive_command": (archive_command(program, options), None),
        "archive_timeout": (
            str(options["archive_timeout"]),
            lambda now: 0 < int(now) <= options["archive_timeout"],
        ),
        "wal_level": ("replica", lambda now: now in ("replica", "logical")),
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(wanted),))
        running: Dict[str, str] = dict(cursor.fetchall())
        # What is in the files counts where it only waits for a restart.
        cursor.execute(
            "SELECT DISTINCT ON (name) name, setting FROM pg_file_settings"
            " WHERE name IN ('archive_mode', 'archive_command', 'wal_level') AND setting IS NOT NULL"
            " ORDER BY name, seqno DESC"
        )
        filed: Dict[str, str] = dict(cursor.fetchall())
    changes = []
    for name, (value, fine) in wanted.items():
        now = running[name]
        # Without archive_mode the server calls the command disabled, whatever it is.
        if name in ("archive_mode", "wal_level") or now == "(disabled)":
            now = filed.get(name, now)
        if not (fine(now) if fine else now == value):
            changes.append((name, now, value))
    return changes


def change_settings(connection: Any, changes: List[Tuple[str, str, str]]) -> None:
    """Writes settings into postgresql.auto.conf and has them read."""
    with connection.cursor() as cursor:
        for name, _now, value in changes:
            cursor.execute(f"ALTER SYSTEM SET {quoted(name)} = %s", (value,))
        cursor.execute("SELECT pg_reload_conf()")


def waiting(connection: Any) -> List[str]:
    """Settings of archiving that are not as they are to be before a restart."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM pg_settings WHERE name = 'archive_mode' AND setting = 'off'"
            " OR name = 'wal_level' AND setting = 'minimal'"
            " OR name IN ('archive_mode', 'wal_level') AND pending_restart ORDER BY 1"
        )
        return [row[0] for row in cursor.fetchall()]


def rights(connection: Any, role: str) -> List[str]:
    """Statements that give our user what it lacks in this database.

    :raises ConfigurationError: there is no such role
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (role,))
        found = cursor.fetchone()
        if not found:
            raise ConfigurationError(
                f"The database has no role {role}.", "Create it (roles/backup/README.md), then run this again."
            )
        if found[0]:
            return []
        statements = []
        for function in FUNCTIONS:
            cursor.execute("SELECT has_function_privilege(%s, %s, 'EXECUTE')", (role, f"pg_catalog.{function}"))
            if not cursor.fetchone()[0]:
                statements.append(f"GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {quoted(role)}")
        for group in ROLES:
            cursor.execute("SELECT pg_has_role(%s, %s, 'MEMBER')", (role, group))
            if not cursor.fetchone()[0]:
                statements.append(f"GRANT {group} TO {quoted(role)}")
        return statements


def grant(connection: Any, statements: List[str]) -> None:
    """Carries out what rights gave."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def described(connection: Any) -> Dict[str, Optional[str]]:
    """data_directory, version (major) and recovering of the server."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('data_directory'), pg_is_in_recovery()")
        directory, standby = cursor.fetchone()
    return {
        "data_directory": directory,
        "version": str(connection.server_version // 10000),
        "standby": "yes" if standby else None,
    }
