"""Executions, transactions and orders in our own books."""

from __future__ import annotations

from decimal import Decimal

from .alive import AHEAD, idle
from .books import ZERO, Books, Row, grouped, is_number
from .figures import CRITICAL, OK, UNKNOWN, Figure, Options, judged, status_of

DAY = 86400
STATUSES = ("open", "filled", "cancelled", "rejected", "expired")
CLOSED = ("filled", "cancelled", "expired")
TRANSACTIONS = ("failed_transactions", "failed_age", "failed_amount", "stuck_transactions", "stuck_amount")


def figures(books: Books, options: Options) -> dict[str, Figure]:
    return {
        "duplicate_executions": duplicates(books, options),
        **transactions(books, options),
        **ratios(books, options),
        **orphans(books, options),
    }


def duplicates(books: Books, options: Options) -> Figure:
    frame = books["executions"]
    if frame.empty:
        return Figure(UNKNOWN)
    named = frame[frame["venue_execution_id"].notna()]
    times = named.groupby(["venue", "venue_execution_id"], dropna=False).size()
    return judged("duplicate_executions", int((times > 1).sum()), options)


def resolved(books: Books, row: Row) -> bool:
    """Whether somebody has dealt with a failed transaction since."""
    created = row["created_at"]
    return happened(books, row["resolved_at"]) and created is not None and row["resolved_at"] >= created


def transactions(books: Books, options: Options) -> dict[str, Figure]:
    rows = books.rows("transactions")
    if not rows:
        return dict.fromkeys(TRANSACTIONS, Figure(UNKNOWN))
    failed = [row for row in rows if row["status"] == "failed" and not resolved(books, row)]
    pending = [row for row in rows if row["status"] not in ("failed", "settled")]
    warning, critical = options.limit("stuck_transactions")
    stuck_from = warning if warning is not None else critical if critical is not None else ZERO

    def stuck(row: Row) -> bool:
        # One without a time may be of long ago.
        age = books.age(row["created_at"])
        return age is None or age >= stuck_from

    found = {
        "failed_transactions": judged("failed_transactions", len(failed), options),
        "failed_age": oldest("failed_age", failed, books, options),
        "failed_amount": amount("failed_amount", failed, options),
        "stuck_transactions": oldest("stuck_transactions", pending, books, options),
        "stuck_amount": amount("stuck_amount", [row for row in pending if stuck(row)], options),
    }
    if any(row["status"] != "pending" for row in pending):
        # A status that nobody knows may be a good one or not.
        doubted = {name: Figure(UNKNOWN) for name in ("stuck_transactions", "stuck_amount")}
        found.update({name: figure for name, figure in doubted.items() if found[name].status != CRITICAL})
    return found


def happened(books: Books, at: Decimal | None) -> bool:
    """Whether something can have happened at a time: not at none, at an infinite one or in the future."""
    return at is not None and at.is_finite() and at <= books.now + AHEAD


def oldest(name: str, rows: list[Row], books: Books, options: Options) -> Figure:
    ages = [books.age(row["created_at"]) for row in rows]
    if any(age is None or not age.is_finite() or age < -AHEAD for age in ages):
        return Figure(UNKNOWN)
    age = max([ZERO, *(age for age in ages if age is not None)])
    return judged(name, age, options, places=1, growth=Decimal(bool(rows)))


def amount(name: str, rows: list[Row], options: Options) -> Figure:
    if not all(is_number(row["amount"]) for row in rows):
        return Figure(UNKNOWN)
    sums = [sum((abs(row["amount"]) for row in same), ZERO) for _, same in grouped(rows, "currency")]
    return judged(name, max(sums, default=ZERO), options)


def ratios(books: Books, options: Options) -> dict[str, Figure]:
    last = [row for row in books.rows("orders") if within_a_day(books.age(row["created_at"]))]
    if quiet(books, options):
        return {"reject_ratio": QUIET, "fill_ratio": QUIET}
    closed = [row for row in last if row["status"] in CLOSED]
    unreadable = any(row["status"] not in STATUSES for row in last) or not all(
        is_number(row["filled_quantity"]) and row["filled_quantity"] >= 0 for row in closed
    )
    rejected = [row for row in last if row["status"] == "rejected"]
    if unreadable or undated(books):
        return {"reject_ratio": Figure(UNKNOWN), "fill_ratio": Figure(UNKNOWN)}
    filled = [row for row in closed if row["filled_quantity"] > 0]
    return {
        "reject_ratio": share("reject_ratio", len(rejected), len(last), options),
        "fill_ratio": share("fill_ratio", len(filled), len(closed), options),
    }


#: There was no order, and none was due.
QUIET = Figure(OK, "no orders")


def quiet(books: Books, options: Options) -> bool:
    last = any(within_a_day(books.age(row["created_at"])) for row in books.rows("orders"))
    return not last and not undated(books) and idle(books, options)


def within_a_day(age: Decimal | None) -> bool:
    return age is not None and -AHEAD <= age < DAY


def undated(books: Books, strategies: set[str | None] | None = None) -> bool:
    """Whether there is an order that may be of the last day or not: without a time, or of the future.

    :param strategies: of one of these, None for any
    """
    ages = [
        books.age(row["created_at"])
        for row in books.rows("orders")
        if strategies is None or (row["strategy"] is not None and row["strategy"] in strategies)
    ]
    return any(age is None or age < -AHEAD for age in ages)


def share(name: str, part: int, whole: int, options: Options) -> Figure:
    if not whole:
        return Figure(UNKNOWN)
    value = 100 * Decimal(part) / whole
    limit = (None, None) if whole < options.minimum_orders else options.limit(name)
    return Figure(status_of(value, limit, below=name == "fill_ratio"), value, places=2)


def orphans(books: Books, options: Options) -> dict[str, Figure]:
    orders, executions = books.rows("orders"), books.rows("executions")
    known = {row["order_id"] for row in orders} - {None}
    traded = {row["order_id"] for row in executions} - {None}
    idle = [row for row in orders if has_filled(row) and row["order_id"] not in traded]
    lost = [row for row in executions if row["order_id"] not in known]
    return {
        name: judged(name, len(found), options) if rows else Figure(UNKNOWN)
        for name, found, rows in (
            ("orders_without_executions", idle, orders),
            ("executions_without_orders", lost, executions),
        )
    }


def has_filled(row: Row) -> bool:
    """Whether an order says that it is filled, at least in part. What is no number may be anything."""
    quantity: Decimal | None = row["filled_quantity"]
    return row["status"] == "filled" or (quantity is not None and (quantity.is_nan() or quantity > 0))
