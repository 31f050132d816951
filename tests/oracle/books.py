"""The views of the schema "maintenance" as pandas tables, by way of CSV."""

from __future__ import annotations

import io
from collections.abc import Callable, Hashable, Iterator
from csv import reader
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd

NULL = "\\N"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAN = Decimal("NaN")
ZERO = Decimal(0)

#: What the role's README asks for: view -> kind -> columns. Ids are names to the oracle: it never counts with them.
CONTRACT: dict[str, dict[str, str]] = {
    "strategies": {
        "text": "strategy account calendar expected_state observed_state",
        "number": "heartbeat_interval_seconds max_order_gap_seconds",
        "time": "last_heartbeat_at started_at",
    },
    "heartbeat": {"text": "instance", "time": "beat_at", "number": "interval_seconds"},
    "risk_limits": {
        "id": "limit_id",
        "text": "scope subject metric currency",
        "number": "limit_value warning_ratio",
        "boolean": "active",
    },
    "instruments": {"text": "instrument", "number": "multiplier"},
    "prices": {"text": "instrument currency", "number": "price", "time": "observed_at"},
    "equity": {"text": "strategy currency", "date": "day", "number": "equity pnl", "time": "as_of"},
    "venues": {"text": "venue", "number": "statement_interval_seconds"},
    "venue_statements": {
        "id": "statement_id",
        "text": "venue account kind",
        "time": "period_start as_of",
        "number": "record_count",
    },
    "executions": {
        "id": "execution_id order_id",
        "text": "strategy venue account venue_execution_id kind reference instrument side fee_currency",
        "number": "quantity price fee",
        "time": "executed_at",
    },
    "venue_executions": {
        "id": "statement_id",
        "text": "venue account venue_execution_id kind reference instrument side fee_currency",
        "number": "quantity price fee",
        "time": "executed_at",
    },
    "positions": {"text": "strategy account venue instrument", "number": "quantity"},
    "venue_positions": {"id": "statement_id", "text": "instrument", "number": "quantity"},
    "cash": {"text": "account venue currency", "number": "balance"},
    "venue_cash": {"id": "statement_id", "text": "currency", "number": "balance"},
    "transactions": {
        "id": "transaction_id",
        "text": "kind status account venue currency error",
        "number": "amount",
        "time": "created_at settled_at resolved_at",
    },
    "orders": {
        "id": "order_id",
        "text": "strategy account venue instrument side order_type time_in_force status",
        "number": "quantity filled_quantity arrival_price",
        "time": "created_at acknowledged_at",
    },
}

TYPES = {
    "id": "bigint",
    "text": "text",
    "number": "numeric",
    "time": "timestamptz",
    "date": "date",
    "boolean": "boolean",
}

Row = dict[str, Any]


def columns(view: str) -> dict[str, str]:
    """Column -> kind of a view."""
    return {column: kind for kind, names in CONTRACT[view].items() for column in names.split()}


@dataclass
class Books:
    """The exported views.

    :param now: the database's clock at the export, in s since 1970, as all times are
    :param tables: view -> its rows: text, Decimal, bool, or None for NULL
    """

    now: Decimal
    tables: dict[str, pd.DataFrame]
    read: dict[str, list[Row]] = field(default_factory=dict)
    #: What others found out of them once.
    found: dict[str, Any] = field(default_factory=dict)
    sorted: dict[tuple[str, str], dict[Hashable, list[Row]]] = field(default_factory=dict)

    def __getitem__(self, view: str) -> pd.DataFrame:
        return self.tables[view]

    def rows(self, view: str) -> list[Row]:
        """A view's rows as dictionaries."""
        if view not in self.read:
            self.read[view] = records(self.tables[view])
        return self.read[view]

    def of(self, view: str, column: str, name: str | None) -> list[Row]:
        """A view's rows with a name in a column, as they come; none for NULL, which is no name."""
        groups = self.sorted.get((view, column))
        if groups is None:
            groups = self.sorted[view, column] = {key: rows for (key,), rows in grouped(self.rows(view), column)}
        return [] if name is None else groups.get(name, [])

    def age(self, moment: Decimal | None) -> Decimal | None:
        """How long ago a moment was, in s; None when nobody knows."""
        return None if moment is None else self.now - moment


def export(cursor: Any) -> Books:
    """Everything the oracle may know, of one moment."""
    cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL timezone = 'UTC'")
    try:
        tables = {view: table(view, csv(cursor, view)) for view in CONTRACT}
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        return Books(Decimal(cursor.fetchone()[0]), tables)
    finally:
        cursor.execute("ROLLBACK")


def csv(cursor: Any, view: str) -> str:
    """A view as CSV, with a header."""
    text = io.StringIO()
    query = f"SELECT {', '.join(columns(view))} FROM maintenance.{view}"
    cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER, NULL '{NULL}')", text)
    return text.getvalue()


def table(view: str, text: str) -> pd.DataFrame:
    """CSV as a table. Nothing is ever a float."""
    names, *rows = reader(io.StringIO(text, newline=""))
    kinds = columns(view)
    found = {
        name: [None if value == NULL else READERS[kinds[name]](value) for value in values]
        for name, values in zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True)
    }
    return pd.DataFrame(found, dtype=object)


def moment(text: str) -> Decimal:
    """A time in s since 1970."""
    if text.endswith("infinity"):
        return Decimal(text)
    since = datetime.fromisoformat(text) - EPOCH
    return Decimal(since.days * 86400 + since.seconds) + Decimal(since.microseconds) / 1_000_000


READERS: dict[str, Callable[[str], Any]] = {
    "id": str,
    "text": str,
    "number": Decimal,
    "time": moment,
    "date": str,
    "boolean": lambda text: text == "t",
}


def records(frame: pd.DataFrame) -> list[Row]:
    """Rows as dictionaries: what to_dict("records") gives, which takes ten times as long."""
    names = list(frame.columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*(frame[name].tolist() for name in names), strict=True)]


def grouped(rows: list[Row], *names: str) -> Iterator[tuple[tuple[Hashable, ...], list[Row]]]:
    """Rows with the same values in some columns, NULLs being the same."""
    groups: dict[tuple[Hashable, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    yield from groups.items()


def number(value: Decimal | None) -> Decimal:
    """A number, NaN for what is none."""
    return value if value is not None and value.is_finite() else NAN


def is_number(value: Decimal | None) -> bool:
    """Whether one can count with it."""
    return value is not None and value.is_finite()


def shown(name: Hashable) -> str:
    """A name as ids show it: never empty."""
    return str(name) if str(name).strip() else "(blank)"
