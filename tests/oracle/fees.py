"""Fees of our executions against the venues', in sums of account, venue, currency and day."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from .books import ZERO, Books, Row, number
from .figures import Figure, Options
from .reconciliation import Break, Matching, close, concluded, instrument, matching

DAY = 86400
Sum = tuple[str | None, str | None, str | None, Decimal | None]


def figures(books: Books, options: Options) -> dict[str, Figure]:
    found = matching(books, options)
    sums: dict[Sum, Decimal] = {}
    for key, amount in charged(books, found, options):
        sums[key] = sums.get(key, ZERO) + amount
    breaks: list[Break] = [
        (key, ["not_a_number" if amount.is_nan() else "amount"])
        for key, amount in sums.items()
        if amount.is_nan() or amount != 0
    ]
    return {"reconcile_fees": concluded("reconcile_fees", breaks, found.standings, found.uncovered, options)}


def charged(books: Books, found: Matching, options: Options) -> Iterator[tuple[Sum, Decimal]]:
    """What each side charged that the other did not: ours as it is, the venue's with the other sign."""
    waiting = {row["execution_id"] for row in found.waiting}
    gone = taken_back([row for row in books.rows("executions") if row["execution_id"] not in waiting])
    gone_there = taken_back(books.rows("venue_executions"))
    for pair in found.pairs:
        there = {name.removesuffix("_there"): value for name, value in pair.items() if name.endswith("_there")}
        there["venue"], there["venue_execution_id"] = pair["venue"], pair["venue_execution_id"]
        at = pair["executed_at"] if there["executed_at"] is None else there["executed_at"]
        sides = (pair, counts(pair, gone), 1), (there, counts(there, gone_there), -1)
        if all(counted for _, counted, _ in sides) and agree(pair, there, options):
            continue
        for row, counted, sign in sides:
            if counted:
                yield summed(row, at), sign * number(row["fee"])
    for row in found.missing_there:
        if counts(row, gone):
            yield summed(row, row["executed_at"]), number(row["fee"])
    for row in found.missing_here:
        if counts(row, gone_there):
            yield summed(row, row["executed_at"]), -number(row["fee"])


def taken_back(rows: list[Row]) -> set[tuple[str, str]]:
    """What other rows take back or replace, whatever they are."""
    return {(row["venue"], row["reference"]) for row in rows if None not in (row["venue"], row["reference"])}


def counts(row: Row, gone: set[tuple[str, str]]) -> bool:
    return row["kind"] != "cancel" and (row["venue"], row["venue_execution_id"]) not in gone


def agree(ours: Row, theirs: Row, options: Options) -> bool:
    """Whether two fees belong to the same sum and differ by no more than the tolerance."""
    same = all(ours[name] == theirs[name] for name in ("account", "fee_currency"))
    return same and close(ours["fee"], theirs["fee"], options.tolerance("fee", instrument(ours, theirs)))


def summed(row: Row, at: Decimal | None) -> Sum:
    """The sum that a fee belongs to, by the day in UTC."""
    day = at if at is None or not at.is_finite() else at // DAY
    return row["venue"], row["account"], row["fee_currency"], day
