"""When both sides say that something was executed, and rows that a view has twice."""

from __future__ import annotations

from decimal import Decimal

from .books import Books, grouped
from .figures import CRITICAL, UNKNOWN, Figure, Options, judged
from .reconciliation import matched, referred

#: What names a row of a view.
KEYS = {
    "orders": ("order_id",),
    "executions": ("execution_id",),
    "transactions": ("transaction_id",),
    "positions": ("strategy", "account", "venue", "instrument"),
    "cash": ("account", "venue", "currency"),
    "equity": ("strategy", "day", "currency"),
    "strategies": ("strategy",),
    "instruments": ("instrument",),
    "venues": ("venue",),
    "venue_statements": ("statement_id",),
    "risk_limits": ("limit_id",),
    "heartbeat": ("instance",),
}


def figures(books: Books, options: Options) -> dict[str, Figure]:
    return {
        "execution_times": times(books, options),
        **{f"duplicates:{view}": twice(view, books, options) for view in KEYS},
    }


def times(books: Books, options: Options) -> Figure:
    amended = referred(books.rows("executions")) & referred(books.rows("venue_executions"))
    pairs, _, _ = matched(books)
    pairs = [pair for pair in pairs if (pair["venue"], pair["venue_execution_id"]) not in amended]
    shifts, undated = [], 0
    for pair in pairs:
        both = pair["executed_at"], pair["executed_at_there"]
        if all(at is not None and at.is_finite() for at in both):
            shifts.append(abs(both[0] - both[1]))
        else:
            undated += 1
    if not pairs:
        return Figure(UNKNOWN)
    found = judged("execution_times", max(shifts, default=Decimal(0)), options, places=3)
    return Figure(UNKNOWN) if undated and found.status != CRITICAL else found


def twice(view: str, books: Books, options: Options) -> Figure:
    names = KEYS[view]
    if not books.rows(view):
        return Figure(UNKNOWN)
    groups = list(grouped(books.rows(view), *names))
    unnamed = any(None in key for key, _ in groups)
    found = judged("duplicates", sum(len(rows) > 1 for key, rows in groups if None not in key), options)
    return Figure(UNKNOWN) if unnamed and found.status != CRITICAL else found
