# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""As whom a restored cluster is looked at: views, and what the planner looks at of a table, call functions of others.

While it replays no role can be made in it, but it has those of its source.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import Any, Dict, Iterator, List, Optional

from ..database import connected, quoted
from ..errors import DatabaseError
from .logins import Logins, others, powerful

# Who may read all tables: the fewer roles it has the rights of, the better.
_READERS = """
SELECT r.rolname FROM pg_roles r
WHERE r.rolcanlogin AND NOT r.rolname = ANY(%s) AND (r.rolconnlimit < 0 OR r.rolconnlimit > %s)
  AND has_database_privilege(r.oid, (SELECT oid FROM pg_database WHERE datname = current_database()), 'CONNECT')
  AND NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
      AND (NOT has_schema_privilege(r.oid, n.oid, 'USAGE') OR NOT has_table_privilege(r.oid, c.oid, 'SELECT')
           OR c.relrowsecurity AND NOT r.rolbypassrls))
ORDER BY (SELECT count(*) FROM pg_roles s WHERE pg_has_role(r.oid, s.oid, 'MEMBER')), r.oid"""


def reader(database: Dict[str, Any], sessions: int) -> Optional[Dict[str, Any]]:
    """The option "database" as a role of its own without a superuser's rights that may read all tables.

    :param database: as a superuser, where whoever comes is let in without a password
    :param sessions: how many there will be at a time
    :returns: None when it has no such role; the superuser when there is nobody else who could have planted anything
    """
    with connected(database, statement_timeout=0, pinned=True) as connection, connection.cursor() as cursor:
        if not others(cursor):
            return database
        cursor.execute(_READERS, (powerful(cursor), sessions))
        names: List[str] = [row[0] for row in cursor.fetchall()]
    for name in names:
        chosen = {**database, "user": name, "password": None}
        with suppress(DatabaseError), connected(chosen):
            return chosen
    return None


@contextmanager
def temporary(database: Dict[str, Any], role: str, *, beside: bool) -> Iterator[Dict[str, Any]]:
    """The option "database" as a role that is made and reads everything, and is gone at the end.

    :param database: as a superuser
    :param beside: nobody else reaches it, so that a limit of its connections may be lifted meanwhile
    :raises RestoreError: the server does not let it in
    """
    logins = Logins(database)
    with logins.superuser() as cursor:
        apart = others(cursor)
        cursor.execute("SELECT datconnlimit FROM pg_database WHERE datname = current_database()")
        closed = apart and beside and int(cursor.fetchone()[0]) == 0
        if closed:
            cursor.execute(f"ALTER DATABASE {quoted(database['name'])} CONNECTION LIMIT -1")
    try:
        yield logins.reader(role) if apart else database
    except BaseException:
        with suppress(DatabaseError):
            _end(logins, closed)
        raise
    else:
        _end(logins, closed)


def _end(logins: Logins, closed: bool) -> None:
    try:
        logins.drop()
    finally:
        if closed:
            with logins.superuser() as cursor:
                cursor.execute(f"ALTER DATABASE {quoted(logins.database['name'])} CONNECTION LIMIT 0")
