"""Risk limits, and how much of each is used."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from .alive import AHEAD
from .books import NAN, ZERO, Books, Row, grouped, is_number, number, shown
from .figures import CRITICAL, RANKS, UNKNOWN, Figure, Options, Use, status_of
from .trades import undated, within_a_day

EXPOSED = ("gross_exposure", "net_exposure", "concentration", "leverage")
TO_EQUITY = ("concentration", "leverage")
METRICS = (*EXPOSED, "daily_loss", "order_rate")
DAY = 86400
#: A currency that nobody tells is none of the others.
NONE = "?"

#: Parts of the messages that tell why.
NOBODY, METRIC, LIMIT, NO_ORDER = (
    "there is no such",
    "this metric is not known",
    "not a number above 0",
    "no order at all",
)
QUANTITY, PRICE, EQUITY, NOTHING = "is no number", "no recent price", "no recent equity", "not above 0"
WHOSE, UNDATED = "no known owner", "no time, or one of the future"
RESULT, CURRENCIES = "no result of the day", "cannot be added up without rates"


def figures(books: Books, options: Options) -> dict[str, Figure]:
    limits = [row for row in books.rows("risk_limits") if row["active"] is not False]
    if not limits:
        return {"risk_limits": Figure(UNKNOWN)}
    return {
        f"risk_limits:{shown(scope)}/{shown(subject)}": subject_of(books, own, options)
        for (scope, subject), own in grouped(limits, "scope", "subject")
    }


def subject_of(books: Books, limits: list[Row], options: Options) -> Figure:
    """The most used of all limits of a strategy or an account."""
    column = {"strategy": "strategy", "account": "account"}.get(limits[0]["scope"] or "")
    strategies = {
        row["strategy"]
        for row in books.rows("strategies")
        if column and row[column] is not None and row[column] == limits[0]["subject"]
    }
    uses = [use(books, limit, strategies, options) for limit in limits]
    most = max((one.usage for one in uses if one.usage is not None), default=None)
    return Figure(max((one.status for one in uses), key=RANKS.index), most, places=4, uses=uses)


def use(books: Books, limit: Row, strategies: set[str | None], options: Options) -> Use:
    metric, ceiling = limit["metric"], limit["limit_value"]
    why = set()
    if not strategies:
        why.add(NOBODY)
    if metric not in METRICS:
        why.add(METRIC)
    if not is_number(ceiling) or ceiling <= 0:
        why.add(LIMIT)
    value, obstacles = measure(books, metric, limit["currency"], strategies, options)
    why |= obstacles
    if why:
        return Use(str(metric), UNKNOWN, why=why)
    usage = value / ceiling
    warning, critical = options.limit("risk_limits")
    own = limit["warning_ratio"]
    if is_number(own) and own > 0:
        warning = own
    status = status_of(usage, (warning, critical))
    lost = strays(books, metric, limit["scope"], strategies, options)
    if lost and status != CRITICAL:
        return Use(metric, UNKNOWN, why=lost)
    return Use(metric, status, value, usage)


def strays(books: Books, metric: str, scope: str | None, strategies: set[str | None], options: Options) -> set[str]:
    """Why there may be more of a metric: what belongs to no strategy, or to one of no account."""
    why = {UNDATED} if metric == "order_rate" and undated(books, strategies) else set()
    rows: list[Row] = []
    if metric in EXPOSED:
        rows += [row for row in books.rows("positions") if number(row["quantity"]) != 0]
    if metric in TO_EQUITY or metric == "daily_loss":
        newest = [max(own, key=by_day) for _, own in grouped(books.rows("equity"), "strategy")]
        rows += [row for row in newest if not over(books, row, options)]
    if metric == "order_rate":
        ages = [(row, books.age(row["created_at"])) for row in books.rows("orders")]
        rows += [row for row, age in ages if age is None or age < DAY]
    with_account = {row["strategy"] for row in books.rows("strategies") if row["account"] is not None} - {None}
    lost = [row for row in rows if row["strategy"] not in with_account]
    if scope == "strategy":
        # Another strategy's name is not this one's.
        lost = [row for row in lost if row["strategy"] is None]
    return why | ({WHOSE} if lost else set())


def over(books: Books, row: Row, options: Options) -> bool:
    """Whether equity is nothing, or of a strategy that is no more."""
    age = books.age(row["as_of"])
    return (age is not None and age >= options.equity_age * 3600) or (row["equity"] == 0 and row["pnl"] == 0)


def of_late(books: Books, day: str | None, options: Options) -> bool:
    """Whether a day has begun somewhere, and is no longer over, everywhere, than equity may be old."""
    if day is None:
        return False
    begins = Decimal(int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()))
    return begins <= books.now + DAY and books.now - (begins + 2 * DAY) < options.equity_age * 3600


def by_day(row: Row) -> tuple[bool, str, Decimal | int]:
    """The newest is the greatest. One without a day may be of today."""
    return row["day"] is None, row["day"] or "", row["as_of"] or -DAY


def measure(
    books: Books, metric: str, currency: str | None, strategies: set[str | None], options: Options
) -> tuple[Decimal, set[str]]:
    """How much of a metric there is, and why that cannot be computed."""
    if metric == "order_rate":
        return busiest(books, strategies), set() if books.rows("orders") else {NO_ORDER}
    why: set[str] = set()
    value, currencies = ZERO, {currency}
    if metric in EXPOSED:
        held = holdings(books, strategies, options)
        why |= held.why
        currencies |= held.currencies
        value = held.measured(metric)
    if metric in TO_EQUITY or metric == "daily_loss":
        equity, pnl, others, obstacles = capital(books, strategies, options)
        why |= obstacles
        currencies |= others
        if metric == "daily_loss":
            value = NAN if pnl.is_nan() else max(ZERO, -pnl)
            why |= set() if is_number(pnl) else {RESULT}
        elif not is_number(equity) or equity <= 0:
            why |= {NOTHING} if is_number(equity) else {EQUITY}
        else:
            value /= equity
    if len(currencies - {None, ""}) > 1:
        why.add(CURRENCIES)
    return value, why


def belongs(row: Row, strategies: set[str | None]) -> bool:
    """Whether a row is of one of some strategies. What has no name is nobody's."""
    return row["strategy"] is not None and row["strategy"] in strategies


@dataclass
class Held:
    """What some strategies hold.

    :param worths: instrument -> the value of each position
    """

    worths: dict[str | None, list[Decimal]] = field(default_factory=dict)
    currencies: set[str | None] = field(default_factory=set)
    why: set[str] = field(default_factory=set)

    def measured(self, metric: str) -> Decimal:
        every = [worth for worths in self.worths.values() for worth in worths]
        if any(worth.is_nan() for worth in every):
            return NAN
        if metric == "net_exposure":
            return abs(sum(every, ZERO))
        if metric == "concentration":
            return max((abs(sum(worths, ZERO)) for worths in self.worths.values()), default=ZERO)
        return sum((abs(worth) for worth in every), ZERO)


def holdings(books: Books, strategies: set[str | None], options: Options) -> Held:
    held = Held()
    for row in books.rows("positions"):
        quantity = number(row["quantity"])
        if not belongs(row, strategies) or quantity == 0:
            continue
        if not is_number(quantity):
            held.why.add(QUANTITY)
        price, currency = newest_price(books, row["instrument"], options)
        if price is None:
            held.why.add(PRICE)
        held.currencies.add(currency or NONE)
        held.worths.setdefault(row["instrument"], []).append(quantity * number(price))
    return held


def newest_price(books: Books, instrument: str | None, options: Options) -> tuple[Decimal | None, str | None]:
    """What one unit is worth, None when nobody knows, and in which currency."""
    prices = [
        row
        for row in books.of("prices", "instrument", instrument)
        if row["observed_at"] is not None and row["observed_at"] <= books.now + AHEAD
    ]
    if not prices:
        return None, None
    newest = max(prices, key=lambda row: row["observed_at"])
    multipliers = {row["multiplier"] for row in books.of("instruments", "instrument", instrument)} - {None}
    multiplier = multipliers.pop() if len(multipliers) == 1 else None
    factors = [newest["price"], multiplier]
    known = all(is_number(factor) and factor > 0 for factor in factors)
    recent = newest["observed_at"] > books.now - options.price_age * 3600
    return (newest["price"] * multiplier if known and recent else None), newest["currency"]


def capital(
    books: Books, strategies: set[str | None], options: Options
) -> tuple[Decimal, Decimal, set[str | None], set[str]]:
    """Equity and result of the newest day, each strategy's own, their currencies, and what is wrong with them."""
    equity, pnl, currencies, why = ZERO, ZERO, set(), set()
    for strategy in strategies:
        rows = [row for row in books.rows("equity") if belongs(row, {strategy})]
        if not rows:
            return NAN, NAN, set(), {EQUITY}
        newest = max(rows, key=by_day)
        age = books.age(newest["as_of"])
        fresh = age is not None and -AHEAD <= age < options.equity_age * 3600 and of_late(books, newest["day"], options)
        if not fresh or not is_number(newest["equity"]):
            why.add(EQUITY)
        equity += number(newest["equity"])
        pnl += number(newest["pnl"])
        currencies.add(newest["currency"] or NONE)
    return equity, pnl, currencies, why


def busiest(books: Books, strategies: set[str | None]) -> Decimal:
    """The most orders of one minute of the clock in the last day."""
    minutes = Counter(
        row["created_at"] // 60
        for row in books.rows("orders")
        if belongs(row, strategies) and within_a_day(books.age(row["created_at"]))
    )
    return Decimal(max(minutes.values(), default=0))
