"""Random small platforms whose books agree with their venues': what is wrong is added by ``faults``.

Hypothesis chooses sizes, options and faults, so that it can make a failing case smaller; a seed of its choice the rest.
Times are s before now, and well apart from all thresholds, so that no figure depends on how long a test takes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from .books import CONTRACT, Row

HOUR, DAY = 3600, 86400
STATES = ("running", "paused", "stopped")


@dataclass
class Sizes:
    """How many there are of what."""

    strategies: int
    accounts: int
    venues: int
    instruments: int
    orders: int
    executions: int
    limits: int


@dataclass
class Platform:
    """Rows of each view; times as s before now, NULL as None."""

    random: Random
    tables: dict[str, list[Row]] = field(default_factory=lambda: {view: [] for view in CONTRACT})
    ids: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, view: str, **row: Any) -> Row:
        self.tables[view].append(row)
        return row

    def __getitem__(self, view: str) -> list[Row]:
        return self.tables[view]

    def id(self, what: str) -> int:
        self.ids[what] += 1
        return self.ids[what]

    def amount(self, most: int, places: int = 2) -> Decimal:
        """A random number above 0."""
        return Decimal(self.random.randint(1, most * 10**places)).scaleb(-places)


def build(seed: int, sizes: Sizes) -> Platform:
    """A platform in which everything is in order, apart from heartbeats, states and limits, which may be anything."""
    platform = Platform(Random(seed))
    static(platform, sizes)
    if platform["instruments"]:
        trading(platform, sizes)
    transactions(platform)
    books(platform)
    statements(platform)
    market(platform)
    limits(platform, sizes.limits)
    return platform


def pulse(random: Random, interval: int) -> float | None:
    """The age of a heartbeat, on either side of the thresholds."""
    if random.random() < 0.03:
        return None
    return random.choice([0.1, 0.5, 0.5, 1, 1, 2, 5, 20]) * interval


def static(platform: Platform, sizes: Sizes) -> None:
    random = platform.random
    for number in range(sizes.venues):
        interval = random.choice([HOUR, 4 * HOUR, DAY])
        platform.add("venues", venue=f"V{number}", statement_interval_seconds=interval)
    for number in range(sizes.strategies):
        interval = random.choice([60, 300, 3600])
        expected = random.choice(["running", "running", *STATES, "off", "Stopped "])
        platform.add(
            "strategies",
            strategy=f"s{number}",
            account=f"A{random.randrange(sizes.accounts)}",
            calendar="24/7",
            max_order_gap_seconds=random.choice([None, 900, 7200, 86400]),
            started_at=random.choice([60.0, 30.0 * DAY]),
            expected_state=expected,
            observed_state=random.choice([expected, expected, expected, "running", "RUNNING", None]),
            heartbeat_interval_seconds=interval,
            last_heartbeat_at=pulse(random, interval),
        )
    for number in range(random.choice([0, 1, 1, 1, 2, 3])):
        interval = random.choice([60, 300])
        platform.add("heartbeat", instance=f"i{number}", beat_at=pulse(random, interval), interval_seconds=interval)
    for number in range(sizes.instruments):
        venue = random.randrange(sizes.venues)
        multiplier = random.choice([Decimal(1), Decimal(1), Decimal(50), Decimal("0.1")])
        platform.add("instruments", instrument=f"V{venue}:I{number}", multiplier=multiplier)


def trading(platform: Platform, sizes: Sizes) -> None:
    """Orders and executions of the last three days, some of them taken back or replaced."""
    random = platform.random
    for _ in range(sizes.orders):
        strategy = random.choice(platform["strategies"])
        instrument = random.choice(platform["instruments"])["instrument"]
        # Not near the end of the last day.
        created = random.choice([random.uniform(60, 23 * HOUR), random.uniform(60, 600), random.uniform(26, 72) * HOUR])
        status = random.choice(["filled", "filled", "filled", "cancelled", "rejected", "expired", "open"])
        slow = random.choice([0.01, 0.5, 0.9, 2, 8])
        platform.add(
            "orders",
            order_id=platform.id("order"),
            strategy=strategy["strategy"],
            account=strategy["account"],
            venue=instrument.partition(":")[0],
            instrument=instrument,
            status=status,
            filled_quantity=Decimal(0),
            created_at=created,
            side=random.choice(["buy", "sell"]),
            order_type=random.choice(["market", "market", "limit"]),
            time_in_force=random.choice(["ioc", "day", "gtc", "gtc"]),
            arrival_price=None if random.random() < 0.1 else platform.amount(500),
            acknowledged_at=created - slow if status != "rejected" and (status != "open" or slow > 1) else None,
        )
    traded = [order for order in platform["orders"] if order["status"] in ("filled", "cancelled", "open")]
    accounts = {row["strategy"]: row["account"] for row in platform["strategies"]}
    # Each filled order has one at least.
    owed = [order for order in traded if order["status"] == "filled"]
    for number in range(sizes.executions if traded else 0):
        order = owed[number] if number < len(owed) else random.choice(traded)
        execute(platform, order, accounts[order["strategy"]])
    for order in owed[sizes.executions :]:
        order["status"] = "expired"
    for order in platform["orders"]:
        if order["filled_quantity"] <= 0:
            order["quantity"] = platform.amount(100, 4)
            order["status"] = "cancelled" if order["status"] == "filled" else order["status"]
        else:
            order["quantity"] = order["filled_quantity"] + (order["status"] != "filled") * random.choice([0, 1, 5])


def execute(platform: Platform, order: Row, account: str) -> None:
    """A trade of an order, or what an earlier one is taken back or replaced by."""
    random = platform.random
    venue = order["instrument"].partition(":")[0]
    earlier = [row for row in platform["executions"] if row["order_id"] == order["order_id"] and current(platform, row)]
    kind = random.choice(["trade", "trade", "trade", "cancel", "correct"]) if earlier else "trade"
    of = random.choice(earlier) if kind != "trade" else None
    latest = of["executed_at"] if of else order["created_at"]
    row = platform.add(
        "executions",
        execution_id=platform.id("execution"),
        order_id=order["order_id"],
        strategy=order["strategy"],
        venue=venue,
        account=account,
        venue_execution_id=f"x{platform.id(venue)}",
        kind=kind,
        reference=of["venue_execution_id"] if of else None,
        instrument=order["instrument"],
        side=of["side"] if of else random.choice(["buy", "sell"]),
        fee_currency="USD",
        quantity=of["quantity"] if of and kind == "cancel" else platform.amount(100, 4),
        price=platform.amount(500),
        fee=platform.amount(2, 3),
        executed_at=latest - random.choice([0.05, 1.5, 6, latest * random.uniform(0.01, 0.5)]),
    )
    order["filled_quantity"] += (row["quantity"] if kind != "cancel" else 0) - (of["quantity"] if of else 0)


def current(platform: Platform, row: Row, at: float = 0) -> bool:
    """Whether an execution counts: a trade or correction that no other row refers to, as of a time."""
    return row["kind"] != "cancel" and not any(
        other["reference"] == row["venue_execution_id"]
        and other["venue"] == row["venue"]
        and other["executed_at"] >= at
        for other in platform["executions"]
    )


def transactions(platform: Platform) -> None:
    random = platform.random
    strategies, venues = platform["strategies"], platform["venues"]
    for _ in range(random.randint(0, 12)):
        status = random.choice(["settled"] * 6 + ["pending", "failed"])
        created = random.choice([random.uniform(60, 3000), random.uniform(2, 20) * HOUR, random.uniform(30, 90) * HOUR])
        resolved = status == "failed" and random.random() < 0.5
        platform.add(
            "transactions",
            transaction_id=platform.id("transaction"),
            kind=random.choice(["deposit", "withdrawal", "fee"]),
            status=status,
            account=random.choice(strategies)["account"],
            venue=random.choice(venues)["venue"],
            currency=random.choice(["USD", "USD", "USD", "EUR"]),
            error="no funds" if status == "failed" else None,
            amount=random.choice([1, -1]) * platform.amount(random.choice([100, 10000, 900000])),
            created_at=created,
            settled_at=created * random.uniform(0.3, 1) if status == "settled" else None,
            resolved_at=created * 0.5 if resolved else None,
        )


def signed(row: Row) -> Decimal:
    quantity: Decimal = row["quantity"]
    return quantity if row["side"] == "buy" else -quantity


def held(platform: Platform, *names: str, at: float = 0) -> dict[tuple[Any, ...], Decimal]:
    """What is held as of a time, by some columns."""
    sums: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
    for row in platform["executions"]:
        if row["executed_at"] >= at and current(platform, row, at):
            sums[tuple(row[name] for name in names)] += signed(row)
    return sums


def settled(platform: Platform, at: float = 0) -> dict[tuple[Any, ...], Decimal]:
    """Cash as of a time, by venue, account and currency."""
    sums: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
    for row in platform["transactions"]:
        if row["status"] == "settled" and row["settled_at"] >= at:
            sums[row["venue"], row["account"], row["currency"]] += row["amount"]
    return sums


def books(platform: Platform) -> None:
    names = ("strategy", "account", "venue", "instrument")
    for key, quantity in held(platform, *names).items():
        platform.add("positions", **dict(zip(names, key, strict=True)), quantity=quantity)
    for (venue, account, currency), balance in settled(platform).items():
        platform.add("cash", account=account, venue=venue, currency=currency, balance=balance)


def statements(platform: Platform) -> None:
    """Of each account at each venue that has anything, or rarely of all."""
    random = platform.random
    views = ("executions", "positions", "cash")
    places = {(row["venue"], row["account"]) for view in views for row in platform[view]}
    places |= {(row["venue"], row["account"]) for row in platform["orders"] if row["status"] != "rejected"}
    if random.random() < 0.2:
        places |= {(v["venue"], s["account"]) for v in platform["venues"] for s in platform["strategies"]}
    intervals = {row["venue"]: row["statement_interval_seconds"] for row in platform["venues"]}
    for venue, account in sorted(places):
        interval = intervals[venue]
        newest = random.uniform(0.01, 0.95) * interval
        if random.random() < 0.03:
            newest = random.uniform(1.6, 1.9) * interval
        for kind in views:
            at = newest * random.uniform(0.9, 1.02)
            if kind == "executions":
                told_executions(platform, venue, account, at, interval)
                continue
            for each in (at + interval, at) if random.random() < 0.5 else (at,):
                told_sums(platform, venue, account, kind, each, interval)


def statement(platform: Platform, venue: str, account: str, kind: str, start: float | None, at: float) -> Row:
    number = platform.id("statement")
    return platform.add(
        "venue_statements", statement_id=number, venue=venue, account=account, kind=kind, period_start=start, as_of=at,
        record_count=0,
    )  # fmt: skip


def told_executions(platform: Platform, venue: str, account: str, newest: float, interval: float) -> None:
    """Periods without a gap, back to the first execution, or less far."""
    random = platform.random
    own = [row for row in platform["executions"] if (row["venue"], row["account"]) == (venue, account)]
    oldest = max((row["executed_at"] for row in own), default=newest) + 60
    ends = [newest + n * max(interval, oldest / 4) for n in range(random.randint(1, 5))]
    ends = [end for end in ends if end < oldest] or [newest]
    for number, end in enumerate(ends):
        last = number == len(ends) - 1
        start = random.choice([None, max(oldest, end + 60), end + 60]) if last else ends[number + 1]
        one = statement(platform, venue, account, "executions", start, end)
        for row in own:
            if row["executed_at"] >= end and (start is None or row["executed_at"] < start):
                line = {key: value for key, value in row.items() if key not in ("execution_id", "order_id", "strategy")}
                platform.add("venue_executions", statement_id=one["statement_id"], **line)
                one["record_count"] += 1


def told_sums(platform: Platform, venue: str, account: str, kind: str, at: float, interval: float) -> None:
    one = statement(platform, venue, account, kind, at + interval, at)
    held_then, settled_then = held(platform, "venue", "account", "instrument", at=at), settled(platform, at)
    sums = held_then if kind == "positions" else settled_then
    column, amount = ("instrument", "quantity") if kind == "positions" else ("currency", "balance")
    for key, value in sums.items():
        if key[:2] == (venue, account) and (value or platform.random.random() < 0.5):
            platform.add(f"venue_{kind}", statement_id=one["statement_id"], **{column: key[2], amount: value})
            one["record_count"] += 1


def market(platform: Platform) -> None:
    random = platform.random
    currency = {row["venue"]: random.choice(["USD"] * 9 + ["EUR"]) for row in platform["venues"]}
    for row in platform["instruments"]:
        venue = row["instrument"].partition(":")[0]
        for age in random.sample([60.0, 7200.0, 90000.0, 400000.0], random.randint(1, 3)):
            price = platform.amount(500)
            platform.add("prices", instrument=row["instrument"], currency=currency[venue], price=price, observed_at=age)
    for row in platform["strategies"]:
        for day in range(random.randint(1, 3)):
            for age in (30.0, 1800.0)[: random.randint(1, 2)]:
                platform.add(
                    "equity",
                    strategy=row["strategy"],
                    currency="USD",
                    day=day,
                    equity=platform.amount(100000),
                    pnl=random.choice([1, -1]) * platform.amount(5000),
                    as_of=day * DAY + age,
                )


def limits(platform: Platform, count: int) -> None:
    random = platform.random
    metrics = ("gross_exposure", "net_exposure", "daily_loss", "concentration", "leverage", "order_rate")
    sizes = {"concentration": [1, 1000], "leverage": [1, 1000], "order_rate": [1, 2, 10]}
    for _ in range(count):
        scope = random.choice(["strategy", "account"])
        metric = random.choice(metrics)
        ratio = metric in sizes
        platform.add(
            "risk_limits",
            limit_id=platform.id("limit"),
            scope=scope,
            subject=random.choice(platform["strategies"])[scope],
            metric=metric,
            currency=None if ratio else "USD",
            limit_value=Decimal(random.choice(sizes.get(metric, [100, 20000, 100000, 10000000]))),
            warning_ratio=random.choice([None, Decimal("0.5"), Decimal("0.9"), Decimal(0)]),
            active=random.choice([True, True, True, None, False]),
        )
