# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One transaction in which owners take turns: each statement has the rights of the owner of its table, and no other's.

Whoever is logged in has no rights. Functions of ours, SECURITY DEFINER, run what they are given; no SET ROLE or SET
SESSION AUTHORIZATION leads out of them. Each wants a key, which nobody's code can see but that of its own owner: what
runs at COMMIT (deferred triggers) runs as who is logged in, and could call them else.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any, Dict, List, Optional, Tuple

from .._postgres import server, snapshot
from ..database import quoted
from .owners import Owners

try:
    from psycopg2.extensions import encodings
except ImportError:
    encodings = {}

_FUNCTION = """
CREATE FUNCTION {name}(key text, statement text, wanted boolean) RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $turn$
BEGIN
  IF encode(sha256(key::bytea), 'hex') IS DISTINCT FROM '{digest}' THEN
    RAISE insufficient_privilege;
  END IF;
  IF wanted THEN
    RETURN QUERY EXECUTE statement;
  ELSE
    EXECUTE statement;
  END IF;
END $turn$;
REVOKE ALL ON FUNCTION {name} FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {name} TO {caller};
ALTER FUNCTION {name} OWNER TO {role}"""

#: What an owner's code may have left in the session for the next one's.
_FRESH = ("RESET ALL", "CLOSE ALL", "DEALLOCATE ALL", "DISCARD TEMP", snapshot.SETTINGS)


class Turns:
    """Makes the functions, and takes turns with them.

    :param schema: of ours, where the functions are
    :param caller: the role that is logged in
    """

    def __init__(self, schema: str, caller: str) -> None:
        self._schema = schema
        self._caller = caller
        self._ways: Dict[Owners, Tuple[str, str]] = {}
        self._last: Optional[Owners] = None

    def make(self, connection: Any, owners: Owners, role: str) -> None:
        """Makes a function that runs what it is given as a role."""
        key, name = secrets.token_hex(24), f"{quoted(self._schema)}.{quoted(role)}"
        digest = hashlib.sha256(key.encode()).hexdigest()
        words = {"name": name, "digest": digest, "caller": quoted(self._caller), "role": quoted(role)}
        server.run(connection, _FUNCTION.format(**words))
        self._ways[owners] = name, key

    def take(self, connection: Any, owners: Owners) -> Any:
        """What behaves like the connection, as somebody else; until the next turn."""
        if self._last != owners:
            self.nobody(connection)
            self._last = owners
        return _As(connection, *self._ways[owners])

    def nobody(self, connection: Any) -> Any:
        """The connection itself, for looks at the catalogue: nothing that an owner's code left says what is seen."""
        for statement in _FRESH:
            server.run(connection, statement)
        self._last = None
        return connection


class _As:
    """A connection whose statements run by one of these functions."""

    def __init__(self, connection: Any, function: str, key: str) -> None:
        self.connection = connection
        self.function = function
        self.key = key
        self.server_version = connection.server_version

    def cursor(self) -> _Cursor:
        return _Cursor(self)


class _Cursor:
    def __init__(self, way: _As) -> None:
        self._way = way
        self._rows: List[Tuple[Any, ...]] = []

    def __enter__(self) -> _Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: str, arguments: Any = None) -> None:
        with self._way.connection.cursor() as cursor:
            if arguments is not None:
                statement = cursor.mogrify(statement, arguments).decode(encodings[self._way.connection.encoding])
            wanted = statement.lstrip().upper().startswith(("SELECT", "WITH"))
            if wanted:
                statement = f"SELECT row_to_json(found)::text FROM ({statement}) found"  # noqa: S608 ours
            query = f"SELECT * FROM {self._way.function}(%s, %s, %s)"  # noqa: S608 quoted
            # Percent signs in the name are doubled, as there are arguments.
            query = query.replace(self._way.function, self._way.function.replace("%", "%%"))
            cursor.execute(query, (self._way.key, statement, wanted))
            found = cursor.fetchall()
        self._rows = [json.loads(text, object_pairs_hook=_values) for (text,) in found]

    def fetchone(self) -> Optional[Tuple[Any, ...]]:
        return self._rows[0] if self._rows else None

    def fetchall(self) -> List[Tuple[Any, ...]]:
        return self._rows


def _values(pairs: List[Tuple[str, Any]]) -> Tuple[Any, ...]:
    return tuple(value for _name, value in pairs)
