# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks that are one statement each: what a statement cannot tell is unknown, and the others go on."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ..checks import CRITICAL, UNKNOWN, Check, unknown
from ..database import connected, one_line
from ..errors import ConfigurationError, MaintenanceError
from ..words import plural, printable
from .earlier import Earlier, nothing
from .guard import escaped

try:
    import psycopg2
    import psycopg2.extras
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

Row = Dict[str, Any]

#: The last 24 hours, by the beginning of the transaction: a moment that stands still, so that an index serves.
LAST_DAY = "{column} > now() - interval '1 day' AND {column} <= now() + interval '5 s'"

#: The same and what may be of the last day: what has no time, or one of the future, is undated.
LAST_DAY_OR_UNDATED = "({column} > now() - interval '1 day' OR {column} IS NULL)"
UNDATED = "({column} <= now() + interval '5 s') IS NOT TRUE"
CREATED_AT = "Correct created_at in the view maintenance.orders."

#: SQL: whether something can have happened at a time: not at none, at an infinite one or in the future.
HAPPENED = "(isfinite({column}) AND {column} <= now() + interval '5 s')"


def finite(number: str) -> str:
    """SQL: whether one can count with a number; NULL, NaN and the infinities are none."""
    return f"({number} > '-Infinity'::numeric AND {number} < 'Infinity'::numeric)"


def readable(number: str) -> str:
    """SQL: a number, NaN for all that is none: it makes every sum NaN, and no NaN agrees with anything."""
    return f"CASE WHEN {finite(number)} THEN {number}::numeric ELSE 'NaN'::numeric END"


def scope(name: str) -> str:
    """SQL: within what an execution's id is unique at its venue: nothing more, or the instrument."""
    return f"CASE WHEN {name}.venue = ANY(%(by_instrument)s) THEN coalesce({name}.instrument, '') ELSE '' END"


def strange(column: str, words: Tuple[str, ...]) -> str:
    """SQL: whether a word is none of those that are known; NULL is none either."""
    known = ", ".join(f"'{word}'" for word in words)
    return f"({column} IN ({known})) IS NOT TRUE"


#: View -> column -> kind: text, number, time or boolean.
Views = Mapping[str, Mapping[str, str]]


class NotMeasured(Exception):
    """A check cannot tell, for a reason of its own.

    :param message: why, without the check's title
    :param remedy: what to do
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass
class Probe:
    """One statement and what is judged from its rows.

    :param checks: ids and titles of what is unknown when the statement fails
    :param judge: gets the rows and the thresholds; may raise NotMeasured
    :param views: what must be there in the schema "maintenance" first
    :param compares: whether judge also gets what earlier runs said
    :param refusals: SQLSTATE -> what it means here, as message and remedy
    :param context: whether judge gets the parameters too: what the run knows besides
    :param facts: names of what must be known before the statement can run; see trading.py
    :param optional: whether its view may be missing: then there is no check
    """

    checks: Tuple[Tuple[str, str], ...]
    source: str
    sql: str
    judge: Callable[..., Iterator[Check]]
    views: Views = field(default_factory=dict)
    compares: bool = False
    refusals: Mapping[str, Tuple[str, str]] = field(default_factory=dict)
    context: bool = False
    facts: Tuple[str, ...] = ()
    optional: bool = False

    def unmeasured(self, message: str, remedy: str, found: Sequence[Check] = ()) -> List[Check]:
        """Its checks as unknown.

        :param found: those that were judged before it went wrong
        """
        return [unknown(id, title, f"{title}: {message}", remedy, source=self.source) for id, title in self.left(found)]

    def left(self, found: Sequence[Check]) -> List[Tuple[str, str]]:
        """Ids and titles of what was not judged. Of one that has instances nobody knows whether there are more."""
        done = {check.id for check in found}
        return [(id, title) for id, title in self.checks if id not in done]


#: What the database or the role may have set must not change what statements mean: no function or table is found but
#: in the catalogue, types have their plain names, and what row security would leave out is an error and no absence.
#: All of it within the transaction that judges: behind a pool (PgBouncer), what is set for a session is set for whoever
#: gets that server connection next, and not for us.
BEGIN = """BEGIN ISOLATION LEVEL {isolation} READ ONLY;
SET LOCAL search_path TO pg_catalog, pg_temp;
SET LOCAL statement_timeout TO {timeout};
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO, YMD';
SET LOCAL quote_all_identifiers TO off;
SET LOCAL row_security TO off;
-- The last one is there from PostgreSQL 17 on.
SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')"""


@contextmanager
def reading(database: Row, timeout: int, isolation: str = "READ COMMITTED") -> Iterator[Any]:
    """A cursor that gives rows as dictionaries, in one transaction that cannot write.

    :param database: see DATABASE_SPEC
    :param timeout: s that one statement may take
    :param isolation: READ COMMITTED, or REPEATABLE READ for one moment
    :raises DatabaseError: the database does not answer, or the connection is lost
    :raises ConfigurationError: the timeout makes no sense, or psycopg2 is missing
    """
    if timeout < 1:
        raise ConfigurationError("The option timeout must be at least 1 s.", "Raise it.")
    rows = {"cursor_factory": psycopg2.extras.RealDictCursor} if psycopg2 else {}
    with connected(database, pooled=True) as connection, connection.cursor(**rows) as cursor:
        cursor.execute(BEGIN.format(isolation=isolation, timeout=int(timeout) * 1000))
        yield cursor
        # A pool would close the server connection of a client that leaves in the middle.
        cursor.execute("ROLLBACK")


def ask(
    cursor: Any,
    probe: Probe,
    thresholds: Dict[str, Any],
    no_right: str,
    parameters: Optional[Row] = None,
    earlier: Earlier = nothing,
) -> List[Check]:
    """The checks of one probe, within a savepoint: one that failed does not take the others with it.

    :param no_right: remedy when the role may not read something
    :param parameters: of the statement, by name
    :param earlier: what earlier runs said
    :raises psycopg2.Error: the connection is lost
    """
    cursor.execute("SAVEPOINT probe")
    found = _asked(cursor, probe, thresholds, no_right, parameters, earlier)
    cursor.execute("ROLLBACK TO SAVEPOINT probe; RELEASE SAVEPOINT probe")
    return found


def _asked(
    cursor: Any,
    probe: Probe,
    thresholds: Dict[str, Any],
    no_right: str,
    parameters: Optional[Row],
    earlier: Earlier,
) -> List[Check]:
    found: List[Check] = []
    try:
        cursor.execute(probe.sql, parameters)
        more: List[Any] = [earlier] if probe.compares else []
        more += [parameters or {}] if probe.context else []
        for check in probe.judge(cursor.fetchall(), thresholds, *more):
            found.append(check)
        return found
    except (NotMeasured, MaintenanceError) as error:
        return found + probe.unmeasured(error.message, error.remedy, found)
    except psycopg2.errors.InsufficientPrivilege as error:
        return found + probe.unmeasured(f"{first_line(error)}.", no_right, found)
    except psycopg2.errors.QueryCanceled:
        return found + probe.unmeasured(
            "its statement ran into the timeout.",
            "Run again when the database is less busy, or raise the timeout.",
            found,
        )
    except psycopg2.Error as error:
        if cursor.connection.closed:
            raise
        refusal = probe.refusals.get(error.pgcode or "")
        if refusal:
            return found + probe.unmeasured(*refusal, found)
        text = f"the statement failed: {first_line(error)}."
        return found + probe.unmeasured(text, "Correct what the message names.", found)
    except Exception as error:
        return found + [escaped(id, title, error, source=probe.source) for id, title in probe.left(found)]


def doubted(check: Check, message: str, remedy: str) -> Check:
    """A check of which a part says nothing: critical where it is that without it, else nobody knows."""
    if check.status != CRITICAL:
        check.status, check.value = UNKNOWN, None
        check.message, check.remedy = f"{check.title}: {message}", remedy
    return check


def unknown_words(
    count: int, noun: str, column: str, example: Optional[str], words: Tuple[str, ...]
) -> Tuple[str, str]:
    """Message and remedy: rows have a word that nobody knows, and what is not known is never good.

    :param example: one such word, None for NULL
    """
    told = "none" if example is None else printable(example, 40)
    text = f"{plural(count, f'{noun} has', f'{noun}s have')} a {column} that is not known ({told})."
    return text, f"Let {column} of the view maintenance.{noun}s be one of: {', '.join(words)}."


def undated(orders: int) -> str:
    """That nobody knows of which day some orders are."""
    return f"{plural(orders, 'order')} without created_at, or with one of the future: they may be of the last day."


def first_line(error: BaseException) -> str:
    """PostgreSQL's message without its position and context."""
    return one_line(error).split(" LINE ")[0].split(" CONTEXT:")[0].rstrip(".")
