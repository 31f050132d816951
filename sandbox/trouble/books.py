# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Troubles in the books: rows and views of the database, changed by its superuser.

Each row that changes is kept in the schema ``sandbox_trouble``, as it was and as it is, in the same transaction; so it
can be put back exactly, in another process and whatever happened meanwhile.
"""
# ruff: noqa: S608 - SQL is put together from constants of this file and names from the catalogue

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2 import sql

from .. import postgres
from ..layout import SandboxError, State
from .contract import Memory, Trouble

SCHEMA = "sandbox_trouble"
PREPARE = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.changes (
    batch integer NOT NULL, trouble text NOT NULL, name text NOT NULL, before jsonb, after jsonb
)
"""
NOTHING = "there is nothing that could be changed; an empty sandbox cannot have this trouble (--size small)"

Statements = tuple[tuple[str, str], ...]


@contextmanager
def superuser(state: State) -> Iterator[Any]:
    """A cursor in one transaction, of which nothing shows in the server's log: what is seen must be the trouble."""
    with postgres.cursor(state["postgres"]) as cursor:
        cursor.execute("SET lock_timeout = '30s'; SET log_min_messages = panic; SET client_min_messages = warning")
        cursor.execute("BEGIN")
        yield cursor
        cursor.execute("COMMIT")


def change(memory: Memory, statements: Statements) -> None:
    """Changes rows, and keeps how to put them back.

    :param statements: table and INSERT, UPDATE or DELETE, each of which must change something
    """
    with superuser(memory.state) as cursor:
        cursor.execute(PREPARE)
        # Foreign keys must not stop what a damaged platform may well contain.
        cursor.execute("SET LOCAL session_replication_role = replica")
        for table, statement in statements:
            before = "NULL::jsonb" if statement.startswith("INSERT") else "to_jsonb(old)"
            after = "NULL::jsonb" if statement.startswith("DELETE") else "to_jsonb(new)"
            cursor.execute(
                f"WITH changed AS ({statement} RETURNING {before} AS before, {after} AS after)"
                f" INSERT INTO {SCHEMA}.changes SELECT (SELECT coalesce(max(batch), 0) + 1 FROM {SCHEMA}.changes),"
                f" '{memory.name}', '{table}', before, after FROM changed"
            )
            if not cursor.rowcount:
                raise SandboxError(f"{memory.name}: {NOTHING}.")
    tidy(memory.state, [table for table, _ in statements])


def put_back(memory: Memory) -> None:
    """Every row that a trouble changed, as it was; the last change first."""
    with superuser(memory.state) as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{SCHEMA}.changes"])
        if not cursor.fetchone()[0]:
            return
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            f"SELECT batch, name FROM {SCHEMA}.changes WHERE trouble = %s GROUP BY 1, 2 ORDER BY 1 DESC", [memory.name]
        )
        batches = cursor.fetchall()
        for batch, table in batches:
            cursor.execute(
                "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
                " AND a.attnum = ANY (i.indkey) WHERE i.indrelid = %s::regclass AND i.indisprimary",
                [table],
            )
            keys = [sql.Identifier(name) for (name,) in cursor.fetchall()]
            parts = {
                "table": sql.Identifier(table),
                "changes": sql.Identifier(SCHEMA, "changes"),
                "same": sql.SQL(" AND ").join(sql.SQL("t.{0} = r.{0}").format(key) for key in keys),
            }
            cursor.execute(
                sql.SQL(
                    "DELETE FROM {table} t USING {changes} c, jsonb_populate_record(NULL::{table}, c.after) r"
                    " WHERE c.batch = %s AND c.after IS NOT NULL AND {same}"
                ).format(**parts),
                [batch],
            )
            cursor.execute(
                sql.SQL(
                    "INSERT INTO {table} OVERRIDING SYSTEM VALUE"
                    " SELECT r.* FROM {changes} c, jsonb_populate_record(NULL::{table}, c.before) r"
                    " WHERE c.batch = %s AND c.before IS NOT NULL"
                ).format(**parts),
                [batch],
            )
        cursor.execute(f"DELETE FROM {SCHEMA}.changes WHERE trouble = %s", [memory.name])
    tidy(memory.state, [table for _, table in batches])


def kept(state: State) -> list[str]:
    """Names of troubles whose changes the database keeps, the last one first."""
    with superuser(state) as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{SCHEMA}.changes"])
        if not cursor.fetchone()[0]:
            return []
        cursor.execute(f"SELECT trouble FROM {SCHEMA}.changes GROUP BY 1 ORDER BY max(batch) DESC")
        return [name for (name,) in cursor.fetchall()]


def tidy(state: State, tables: list[str]) -> None:
    """Removes dead rows: nothing of this may look like an autovacuum that is behind."""
    with postgres.cursor(state["postgres"]) as cursor:
        # Only what is counted already can be taken from the count.
        cursor.execute("SELECT pg_stat_force_next_flush()")
        for table in sorted(set(tables)):
            cursor.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))


def clean_up(state: State) -> None:
    """Removes the schema of the changes. It is empty when every trouble was taken back; else this refuses."""
    with superuser(state) as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {SCHEMA}.changes, {SCHEMA}.queue; DROP SCHEMA IF EXISTS {SCHEMA}")


def run(*statements: str) -> Callable[[Memory], None]:
    """Statements in one transaction that keep no rows; an UPDATE among them must change something."""

    def do(memory: Memory) -> None:
        with superuser(memory.state) as cursor:
            for statement in statements:
                cursor.execute(statement)
                if statement.startswith("UPDATE") and not cursor.rowcount:
                    raise SandboxError(f"{memory.name}: {NOTHING}.")

    return do


def rows(name: str, does: str, undone: str, turns: dict[str, str], *statements: tuple[str, str]) -> Trouble:
    """A trouble that consists of changed rows."""
    return Trouble(name, does, undone, turns, lambda memory: change(memory, statements), put_back)


def transactions(status: str, age: str, count: int, error: str) -> str:
    """Payments of the last day in one state, on an account that exists."""
    return f"""INSERT INTO transactions (kind, status, account_code, venue_code, currency, amount, reference, error,
                   created_at)
               SELECT 'withdrawal', '{status}', account_code, venue_code, currency, -1500 - i, 'trouble-' || i, {error},
                      now() - interval '{age}' - i * interval '1 minute'
               FROM (SELECT * FROM cash_balances ORDER BY account_code, venue_code, currency LIMIT 1) c,
                    generate_series(1, {count}) i"""


#: Fills that the venue has and nobody took back, of orders that are filled, with another fill: the oldest of them.
FILL = """(SELECT e.id FROM executions e JOIN venue_executions v USING (venue_code, venue_execution_id)
           JOIN orders f ON f.id = e.order_id AND f.status = 'filled' AND f.filled_quantity = f.quantity
           WHERE e.kind = 'trade' AND e.reference IS NULL
                 AND EXISTS (SELECT FROM executions o WHERE o.order_id = e.order_id AND o.id <> e.id)
                 AND NOT EXISTS (SELECT FROM executions r
                                 WHERE r.venue_code = e.venue_code AND r.reference = e.venue_execution_id)
           ORDER BY e.id OFFSET {skip} LIMIT 1)"""
COLUMNS = """order_id, venue_code, venue_execution_id, kind, reference, strategy_code, account_code, instrument_code,
    side, quantity, price, fee, fee_currency, liquidity, executed_at, received_at"""

#: What the strategy with the largest positions has in all, by the newest price of each.
EXPOSURE = """SELECT p.strategy_code, sum(abs(p.quantity * i.multiplier * x.price)) AS gross
    FROM positions p JOIN instruments i ON i.code = p.instrument_code
    JOIN LATERAL (SELECT price FROM prices WHERE instrument_code = i.code ORDER BY observed_at DESC LIMIT 1) x ON true
    WHERE p.quantity <> 0 GROUP BY p.strategy_code ORDER BY gross DESC, p.strategy_code LIMIT 1"""

#: Both lost statements and their lines, of the last three days.
LOST = """venue_code = 'BITNORD' AND as_of > (SELECT max(as_of) FROM venue_statements) - interval '3 days'"""

TROUBLES = (
    rows(
        "stuck-transactions",
        "five withdrawals have been pending for thirty hours.",
        "the withdrawals are gone.",
        {"trading.stuck_transactions": "critical"},
        ("transactions", transactions("pending", "30 hours", 5, "NULL")),
    ),
    rows(
        "failed-transactions",
        "three withdrawals failed two hours ago, and nobody has dealt with them.",
        "the withdrawals are gone.",
        {"trading.failed_transactions": "warning"},
        ("transactions", transactions("failed", "2 hours", 3, "'rejected by the bank: account closed'")),
    ),
    rows(
        "position-break",
        "a position in our books is 5 % larger than at the venue.",
        "the position is as it was.",
        {"trading.reconcile_positions": "critical", "trading.strategy_positions": "critical"},
        (
            "positions",
            """UPDATE positions p SET quantity = p.quantity * 1.05
               FROM (SELECT * FROM positions WHERE quantity > 0 AND venue_code = 'COINX'
                     ORDER BY strategy_code, instrument_code LIMIT 1) one
               WHERE (p.strategy_code, p.account_code, p.instrument_code)
                     = (one.strategy_code, one.account_code, one.instrument_code)""",
        ),
    ),
    rows(
        "duplicate-fill",
        "a fill is booked twice.",
        "the second one is gone.",
        {
            "trading.duplicate_executions": "critical",
            "trading.filled_quantities": "critical",
            "trading.order_quantities": "critical",
            "trading.strategy_positions": "critical",
        },
        (
            "executions",
            f"INSERT INTO executions ({COLUMNS}) SELECT {COLUMNS} FROM executions WHERE id = {FILL.format(skip=0)}",
        ),
    ),
    rows(
        "missing-fill",
        "a fill that the venue has is missing in our books.",
        "the fill is back.",
        {
            "trading.reconcile_executions": "critical",
            "trading.reconcile_fees": "critical",
            "trading.filled_quantities": "critical",
            "trading.order_quantities": "critical",
            "trading.strategy_positions": "critical",
        },
        ("executions", f"DELETE FROM executions WHERE id = {FILL.format(skip=1)}"),
    ),
    rows(
        "limit-breach",
        "a strategy's limit of gross exposure is lower than what it holds.",
        "the limit is as it was.",
        {"trading.risk_limits": "critical"},
        (
            "risk_limits",
            f"""UPDATE risk_limits l SET limit_value = round(e.gross / 1.25, -3), updated_at = now()
                FROM ({EXPOSURE}) e
                WHERE l.scope = 'strategy' AND l.subject = e.strategy_code AND l.metric = 'gross_exposure'""",
        ),
    ),
    rows(
        "stale-venue-statement",
        "the venue BITNORD has sent no statement for three days.",
        "the statements are back.",
        {
            "trading.venue_statements": "critical",
            "trading.reconcile_executions": "unknown",
            "trading.reconcile_fees": "unknown",
            "trading.reconcile_positions": "unknown",
            "trading.reconcile_cash": "unknown",
        },
        *(
            (table, f"DELETE FROM {table} WHERE statement_id IN (SELECT id FROM venue_statements WHERE {LOST})")
            for table in ("venue_executions", "venue_positions", "venue_cash")
        ),
        ("venue_statements", f"DELETE FROM venue_statements WHERE {LOST}"),
    ),
    Trouble(
        "missing-view",
        "the view maintenance.venue_cash is not there.",
        "the view is back.",
        {"trading.reconcile_cash": "unknown", "trading.venue_statements": "unknown"},
        run(PREPARE, f"ALTER VIEW maintenance.venue_cash SET SCHEMA {SCHEMA}"),
        run(f"ALTER VIEW IF EXISTS {SCHEMA}.venue_cash SET SCHEMA maintenance"),
    ),
    Trouble(
        "dead-strategy",
        "the strategy trend-coins has sent no heartbeat for an hour.",
        "its heartbeats arrive again.",
        {"trading.strategy_heartbeat": "critical", "trading.strategy_state": "unknown"},
        # The lock waits for a heartbeat that is being written, and lets none come between.
        run(
            PREPARE,
            "LOCK TABLE strategy_heartbeats IN SHARE ROW EXCLUSIVE MODE",
            "UPDATE strategy_heartbeats SET beat_at = beat_at - interval '1 hour' WHERE strategy_code = 'trend-coins'",
            f"CREATE FUNCTION {SCHEMA}.swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "CREATE TRIGGER sandbox_trouble BEFORE INSERT OR UPDATE ON strategy_heartbeats FOR EACH ROW"
            f" WHEN (new.strategy_code = 'trend-coins') EXECUTE FUNCTION {SCHEMA}.swallow()",
        ),
        run(
            "DROP TRIGGER IF EXISTS sandbox_trouble ON strategy_heartbeats",
            f"DROP FUNCTION IF EXISTS {SCHEMA}.swallow",
        ),
    ),
)
