"""Prices of what is held, and whether limits hold everybody."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from .alive import AHEAD, AT_REST
from .books import Books, Row, is_number
from .figures import CRITICAL, UNKNOWN, Figure, Options, judged

DAY = 86400


def figures(books: Books, options: Options) -> dict[str, Figure]:
    return {**prices(books, options), **cover(books, options)}


def prices(books: Books, options: Options) -> dict[str, Figure]:
    if not books.rows("positions"):
        return {"old_prices": Figure(UNKNOWN), "price_jumps": Figure(UNKNOWN)}
    held = {row["instrument"] for row in books.rows("positions") if row["quantity"] != 0}
    ages, steps, missing, bad = [], [], False, False
    for instrument in held:
        known = [row for row in books.of("prices", "instrument", instrument) if past(books, row)]
        known = sorted(known, key=lambda row: row["observed_at"])
        if not known:
            missing = bad = True
            continue
        newest = known[-1]["observed_at"]
        ages.append(max(books.now - newest, Decimal(0)))
        start = max((row["observed_at"] for row in known if row["observed_at"] <= newest - DAY), default=None)
        window = [row["price"] for row in known if start is None or row["observed_at"] >= start]
        bad = bad or not all(good(price) for price in window)
        steps += [100 * (max(pair) / min(pair) - 1) for pair in pairwise(window) if all(good(price) for price in pair)]
    oldest, step = max(ages, default=Decimal(0)), max(steps, default=Decimal(0))
    found = {
        "old_prices": judged("old_prices", oldest, options, places=1, growth=Decimal(bool(ages))),
        "price_jumps": judged("price_jumps", round(step, 2), options, places=2),
    }
    for name, doubt in (("old_prices", missing), ("price_jumps", bad)):
        if doubt and found[name].status != CRITICAL:
            found[name] = Figure(UNKNOWN)
    return found


def past(books: Books, row: Row) -> bool:
    at = row["observed_at"]
    return at is not None and at.is_finite() and bool(at <= books.now + AHEAD)


def good(price: Decimal | None) -> bool:
    return price is not None and is_number(price) and price > 0


def cover(books: Books, options: Options) -> dict[str, Figure]:
    rows, limits = books.rows("strategies"), books.rows("risk_limits")
    if not rows:
        return {"unlimited_strategies": Figure(UNKNOWN), "disabled_limits": Figure(UNKNOWN)}
    active = {
        (row["scope"], row["subject"]) for row in limits if row["active"] is not False and row["subject"] is not None
    }
    holding = {row["strategy"] for row in books.rows("positions") if row["quantity"] is None or row["quantity"] != 0}
    running = {
        (row["strategy"], row["account"])
        for row in rows
        if (row["expected_state"] or "").strip().lower() not in AT_REST
        or (row["strategy"] is not None and row["strategy"] in holding)
    }
    running |= {(name, None) for name in holding if name is None or name not in {row["strategy"] for row in rows}}
    without = [pair for pair in running if ("strategy", pair[0]) not in active]
    figure = judged("unlimited_strategies", len(without), options)
    if any(("account", account) not in active for _, account in without):
        figure.status = CRITICAL
    disabled = sum(row["active"] is False for row in limits)
    return {
        "unlimited_strategies": figure,
        "disabled_limits": judged("disabled_limits", disabled, options) if limits else Figure(UNKNOWN),
    }
