# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections to PostgreSQL."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional
from urllib.parse import quote

from .errors import ConfigurationError, DatabaseError

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: In long statements of our own: pg_stat_statements keeps it, and they are no news to the checks.
OURS = "/* tradingflow-maintenance */"
#: SQLSTATEs after which others were in the way, and nothing else is wrong: lock_timeout, deadlock, serialisation.
AGAIN = ("55P03", "40P01", "40001")

# What libpq asks after a refused connection, on a line of its own.
_ASKS = re.compile(r"\n\s*Is the server running [^\n]*\?")

#: Argument spec of the option "database".
DATABASE_SPEC: Dict[str, Any] = {
    "host": {"type": "str", "default": "localhost"},
    "port": {"type": "int", "default": 5432},
    "name": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "no_log": True},
    "sslmode": {
        "type": "str",
        "default": "verify-full",
        "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
    },
    "sslrootcert": {"type": "path"},
    "connect_timeout": {"type": "int", "default": 10},
    "statement_timeout": {"type": "int", "default": 60},
}


def libpq_environment(database: Dict[str, Any]) -> Dict[str, str]:
    """The option "database" as libpq's environment variables: how programs get it without a command line.

    :param database: see DATABASE_SPEC
    """
    pairs = {
        "PGHOST": database["host"],
        "PGPORT": database["port"],
        "PGDATABASE": database["name"],
        "PGUSER": database["user"],
        "PGPASSWORD": database.get("password"),
        "PGSSLMODE": database.get("sslmode"),
        "PGSSLROOTCERT": database.get("sslrootcert"),
        "PGCONNECT_TIMEOUT": database.get("connect_timeout"),
        "PGAPPNAME": "tradingflow-maintenance",
        # A passfile or service file of the user must not send us elsewhere.
        "PGPASSFILE": "/dev/null",
        "PGSERVICEFILE": "/dev/null",
    }
    return {key: str(value) for key, value in pairs.items() if value not in (None, "")}


def placeholders(database: Dict[str, Any]) -> Dict[str, str]:
    """What stands for a database in a command or an environment that an operator writes, and its value.

    :param database: see DATABASE_SPEC
    """
    user, password = str(database["user"]), str(database.get("password") or "")
    host = str(database["host"])
    # A folder of sockets, or an IPv6 address.
    where = f"[{host}]" if ":" in host else quote(host, safe="")
    address = f"{quote(user, safe='')}:{quote(password, safe='')}@{where}:{database['port']}"
    address += f"/{quote(str(database['name']), safe='')}?sslmode={database.get('sslmode') or 'verify-full'}"
    if database.get("sslrootcert"):
        address += f"&sslrootcert={quote(str(database['sslrootcert']), safe='')}"
    return {
        "{database_url}": f"postgresql://{address}",
        "{database_address}": address,
        "{database_host}": host,
        "{database_port}": str(database["port"]),
        "{database_name}": str(database["name"]),
        "{database_user}": user,
        "{database_password}": password,
    }


def filled(text: str, values: Dict[str, str]) -> str:
    """A text with the values of its placeholders."""
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def describe(database: Dict[str, Any]) -> str:
    """The database in words, for messages: name on host:port as user."""
    return f"{database['name']} on {database['host']}:{database['port']} as {database['user']}"


#: Settings, locks and snapshots of a session belong to whichever server connection a pool lends next.
POOLED = "A connection pool answers for database {}: settings, locks and snapshots of a session do not hold there."
DIRECT = "Set host and port of tradingflow_database to the PostgreSQL server's own, past PgBouncer or any other pool."


@contextmanager
def connected(
    database: Dict[str, Any], *, statement_timeout: Optional[int] = None, pinned: bool = False, pooled: bool = False
) -> Iterator[Any]:
    """A psycopg2 connection in autocommit, closed at the end.

    :param statement_timeout: in s, instead of the option's; 0 for none
    :param pooled: a pool may be in between; then nothing is set here, and all settings are those of one transaction
    :param pinned: names mean pg_catalog's, whatever database and role set: whoever owns a database must not have a
        superuser run functions of his own
    :raises DatabaseError: unreachable, refused, or a statement failed
    :raises ConfigurationError: psycopg2 is missing
    """
    if psycopg2 is None:
        raise ConfigurationError(
            "The Python library psycopg2 is missing.",
            "Install psycopg2-binary for this Python; Debian's is python3-psycopg2.",
        )
    seconds = database.get("statement_timeout", 60) if statement_timeout is None else statement_timeout
    try:
        connection = psycopg2.connect(
            host=database["host"],
            port=database["port"],
            dbname=database["name"],
            user=database["user"],
            password=database.get("password"),
            sslmode=database.get("sslmode") or "verify-full",
            sslrootcert=database.get("sslrootcert"),
            connect_timeout=database.get("connect_timeout", 10),
            application_name="tradingflow-maintenance",
            # Not None: nor may a variable of the environment (PGOPTIONS) set anything.
            options=""
            if pooled
            else f"-c statement_timeout={int(seconds) * 1000} -c timezone=UTC"
            + (" -c search_path=pg_catalog" if pinned else ""),
        )
    except psycopg2.Error as error:
        if "unsupported startup parameter" in str(error):
            raise DatabaseError(POOLED.format(describe(database)), DIRECT) from None
        raise DatabaseError(
            f"Cannot connect to database {describe(database)}: {one_line(error)}",
            "Check that the server runs, the address, and the user's password in the inventory (tradingflow_database).",
        ) from None
    connection.autocommit = True
    try:
        if not pooled:
            _prove_direct(connection, database)
        yield connection
    except psycopg2.Error as error:
        raise DatabaseError(
            f"A statement failed in database {describe(database)}: {one_line(error)}",
            "Read the message; the maintenance user's rights are listed in roles/backup/README.md.",
        ) from error
    finally:
        connection.close()


def _prove_direct(connection: Any, database: Dict[str, Any]) -> None:
    """That the process which answers is the one that let us in: a pool has told an id of its own.

    :raises DatabaseError: it is another
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.pg_backend_pid()")
        (answering,) = cursor.fetchone()
    if answering != connection.info.backend_pid:
        raise DatabaseError(POOLED.format(describe(database)), DIRECT)


def one_line(error: BaseException) -> str:
    """An error's text on one line."""
    return " ".join(_ASKS.sub("", str(error)).split()) or type(error).__name__


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
