# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our sessions: the work's, whose transactions are begun and ended by hand, and one that holds the lock and looks."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import Any, Dict, Iterable, Iterator, List, Optional

from ..database import connected, one_line, quoted
from ..errors import ConfigurationError, DatabaseError, LockedError
from ..words import printable

try:
    from psycopg2 import Error
except ImportError:  # said by database.py
    Error = Exception  # type: ignore[assignment,misc]

#: The advisory lock of whoever updates data in a database.
LOCK_CLASS, LOCK_OBJECT = 0x54464455, 1

_HOLDER = """SELECT a.pid, a.usename, a.application_name, extract(epoch FROM clock_timestamp() - a.backend_start)::float
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s AND l.objsubid = 2
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

_HELD = """SELECT pg_backend_pid(), EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted
AND classid = %s AND objid = %s AND objsubid = 2 AND pid = pg_backend_pid())"""

#: The planner would read the whole table for each batch: so rows are found by the key.
BY_KEY = ("enable_seqscan", "enable_bitmapscan", "enable_mergejoin", "jit")
#: The first minor release of each major one that looks again at a row found by its ctid, once it waited for somebody
#: else's change of it ("Add missing EvalPlanQual recheck for TID scans"). Before, the newer version passes for it.
_TID_RECHECKED = {13: 23, 14: 20, 15: 15, 16: 11, 17: 7, 18: 1}


class StatementError(DatabaseError):
    """A statement failed.

    :ivar code: its SQLSTATE; None when the connection is gone
    """

    def __init__(self, message: str, code: Optional[str]) -> None:
        super().__init__(message, "Read the message, fix it, and run it again: it goes on from where it is.")
        self.code = code

    @property
    def in_doubt(self) -> bool:
        """Whether a COMMIT may have been carried out all the same: the connection broke, or the server ended it."""
        return not self.code or self.code[:2] in ("08", "57")


class Session:
    """A connection whose names mean pg_catalog's first, then those of the table's schema."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.pid = int(self.value("SELECT pg_backend_pid()"))

    def rows(self, query: str, arguments: Any = None) -> List[Any]:
        """All rows of a statement.

        :raises StatementError: it failed
        """
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(query, arguments)
                return [] if cursor.description is None else list(cursor.fetchall())
        except Error as error:
            raise StatementError(f"A statement failed: {one_line(error)}", getattr(error, "pgcode", None)) from None

    def value(self, query: str, arguments: Any = None) -> Any:
        """The first column of the only row."""
        return self.rows(query, arguments)[0][0]

    def begin(
        self, lock_timeout: float, statement_timeout: float, read_only: bool = False, off: Iterable[str] = ()
    ) -> None:
        """Begins a transaction, sets its limits, and reads them back.

        :param off: settings to turn off in it
        :raises DatabaseError: they do not hold
        """
        wanted = {
            "lock_timeout": str(max(1, int(lock_timeout * 1000))),
            "statement_timeout": str(max(1, int(statement_timeout * 1000))),
            "idle_in_transaction_session_timeout": str(max(1000, int(statement_timeout * 1000))),
        }
        every = {**wanted, **dict.fromkeys(off, "off")}
        calls = ", ".join("set_config(%s, %s, true)" for _name in every)
        self.rows(
            f"BEGIN ISOLATION LEVEL READ COMMITTED, {'READ ONLY' if read_only else 'READ WRITE'}; SELECT {calls}",
            [part for pair in every.items() for part in pair],
        )
        # pg_settings would put all settings together each time.
        read = ", ".join("(extract(epoch FROM current_setting(%s)::interval) * 1000)::bigint::text" for _name in wanted)
        found = dict(zip(wanted, self.rows(f"SELECT {read}", list(wanted))[0]))  # noqa: B905 Python 3.9
        if found != wanted:
            self.end("ROLLBACK")
            raise DatabaseError(
                f"The server does not keep the limits that were set: {found}.", "Connect past any connection pool."
            )

    def end(self, how: str) -> None:
        """Ends the transaction: COMMIT or ROLLBACK."""
        self.rows(how)

    def roll_back(self) -> None:
        """Ends the transaction, if there still is one."""
        with suppress(StatementError):
            self.rows("ROLLBACK")

    def lock(self) -> None:
        """Takes the lock of whoever updates data here.

        :raises LockedError: somebody has it
        """
        if not self.value("SELECT pg_try_advisory_lock(%s, %s)", (LOCK_CLASS, LOCK_OBJECT)):
            raise LockedError(
                f"Another data update of this database is under way: {self.holder() or 'it has just ended'}.",
                "Wait for it to end, or end that session if you know that nobody is there any more.",
            )

    def holder(self) -> Optional[str]:
        """Who holds the lock, in words; None when nobody does."""
        found = self.rows(_HOLDER, (LOCK_CLASS, LOCK_OBJECT))
        if not found:
            return None
        pid, user, application, seconds = found[0]
        text = f"process {pid} of {printable(user or '?', 60)}"
        return f"{text} ({printable(application or '', 60)}, for {seconds or 0:.0f} s)"

    def still_locked(self) -> bool:
        """Whether the lock is still ours: of this very session, not of one that a pool gave us since."""
        return tuple(self.rows(_HELD, (LOCK_CLASS, LOCK_OBJECT))[0]) == (self.pid, True)


def rechecks_tid(version: int) -> bool:
    """Whether a row may be known by its ctid while others change it.

    :param version: server_version_num
    """
    major, minor = divmod(version, 10000)
    return major > max(_TID_RECHECKED) or (major in _TID_RECHECKED and minor >= _TID_RECHECKED[major])


def gives_old(version: int) -> bool:
    """Whether RETURNING gives what a row was before.

    :param version: server_version_num
    """
    return version >= 180000


@contextmanager
def opened(options: Dict[str, Any], *, work: bool) -> Iterator[Session]:
    """A session that lasts as long as the context.

    :param work: as the given role, and with the table's schema in its search_path
    :raises DatabaseError: the database does not answer
    :raises ConfigurationError: it would work as a superuser
    """
    with connected(options["database"], statement_timeout=60, pinned=True) as connection:
        session = Session(connection)
        if work:
            _as_worker(session, options)
        yield session


def _as_worker(session: Session, options: Dict[str, Any]) -> None:
    if options.get("role"):
        session.rows("SET SESSION ROLE " + quoted(options["role"]))
    if session.value("SELECT bool_or(rolsuper) FROM pg_roles WHERE rolname IN (session_user, current_user)"):
        raise ConfigurationError(
            "data_update_database's user, or data_update_role, is a superuser: what triggers and functions of the"
            " database do would be done with all rights.",
            "Connect as the role that owns the table, or as one that is a member of it (data_update_role).",
        )
    schema = options["change"]["schema"]
    session.rows("SELECT set_config('search_path', %s, false)", (f"pg_catalog, {quoted(schema)}, pg_temp",))
    # A policy must not leave rows out silently: with this, the statement fails.
    session.rows("SET row_security = off; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'")
    session.rows("SET extra_float_digits = 1; SET bytea_output = 'hex'")
    if session.value("SELECT current_setting('synchronous_commit')") == "off":
        # What the books say is done must be done.
        session.rows("SET synchronous_commit = on")
    if session.value("SELECT current_setting('server_version_num')::int") >= 140000:
        # What a killed run has begun ends with its connection.
        session.rows("SET client_connection_check_interval = '1s'")
