"""Strategies, and whether they and the platform live."""

from __future__ import annotations

from decimal import Decimal

from .books import Books, Row, grouped, shown
from .figures import CRITICAL, OK, UNKNOWN, WARNING, Figure, Options, status_of

STATES = ("running", "active", "enabled", "on", "paused", "suspended", "halted")
AT_REST = ("stopped", "disabled", "retired", "off")
ALWAYS, WORKDAYS = "24/7", "24/5"
#: In s: the first Friday, 22:00 UTC, of the epoch, from which "24/5" is closed for two days; and a week.
CLOSED, CLOSED_FOR, WEEK = 46 * 3600, 48 * 3600, 7 * 24 * 3600
#: Clocks may differ by so many s.
AHEAD = 5


def figures(books: Books, options: Options) -> dict[str, Figure]:
    return {**strategies(books, options), **orders_due(books, options), "platform_heartbeat": platform(books, options)}


def strategies(books: Books, options: Options) -> dict[str, Figure]:
    rows = books.rows("strategies")
    if not rows:
        return {name: Figure(UNKNOWN) for name in ("strategies", "strategy_heartbeat", "strategy_state")}
    found: dict[str, Figure] = {}
    names = list(grouped(rows, "strategy"))
    for (name,), same in names:
        pulse, state = Figure(UNKNOWN), Figure(UNKNOWN)
        if len(same) == 1:
            pulse = heartbeat(books, same[0]["last_heartbeat_at"], same[0]["heartbeat_interval_seconds"], options)
            if pulse.status in (WARNING, CRITICAL) and not resting(same[0]) and same[0]["calendar"] != ALWAYS:
                pulse = Figure(UNKNOWN)
            state = state_of(same[0], pulse)
        if len(same) > 1 or not resting(same[0]):
            found[f"strategy_heartbeat:{shown(name)}"] = pulse
        found[f"strategy_state:{shown(name)}"] = state
    return {"strategies": Figure(OK, Decimal(len(names))), **found}


def orders_due(books: Books, options: Options) -> dict[str, Figure]:
    """The pause since the last order, in time for which the market was open. It knows no exchange's calendar."""
    rows = books.rows("strategies")
    found: dict[str, Figure] = {}
    for (name,), same in grouped(rows, "strategy"):
        if (same[0]["expected_state"] or "").strip().lower() not in (*AT_REST, "paused", "suspended", "halted"):
            found[f"orders_due:{shown(name)}"] = pause(books, same[0], options) if len(same) == 1 else Figure(UNKNOWN)
    return found or {"orders_due": Figure(OK, Decimal(0)) if rows else Figure(UNKNOWN)}


def idle(books: Books, options: Options) -> bool:
    """Whether no order was due of any strategy in the last day."""
    rows = books.rows("strategies")
    warning = options.limit("orders_due")[0] or Decimal(1)
    for _, same in grouped(rows, "strategy"):
        row = same[0]
        said = (row["expected_state"] or "").strip().lower()
        if said in (*AT_REST, "paused", "suspended", "halted"):
            continue
        if len(same) > 1 or said not in STATES or row["calendar"] not in (ALWAYS, WORKDAYS):
            return False
        age, gap = books.age(last_order(books, row)), row["max_order_gap_seconds"]
        known = sensible(gap) and age is not None and age.is_finite() and age >= 0
        if opened(books, row, Decimal(86400)) and not (known and age and opened(books, row, age) < warning * gap):
            return False
    return bool(rows)


def opened(books: Books, row: Row, age: Decimal) -> Decimal:
    """For how long a strategy's market was open of the last so many s."""
    return age - (closed(books.now) - closed(books.now - age) if row["calendar"] == WORKDAYS else 0)


def last_order(books: Books, row: Row) -> Decimal | None:
    """When a strategy sent its last order, else when it began."""
    orders = [
        order["created_at"]
        for order in books.of("orders", "strategy", row["strategy"])
        if order["created_at"] is not None and order["created_at"] <= books.now + AHEAD
    ]
    found: Decimal | None = max(orders, default=row["started_at"])
    return found


def pause(books: Books, row: Row, options: Options) -> Figure:
    gap = row["max_order_gap_seconds"]
    age = books.age(last_order(books, row))
    said = (row["expected_state"] or "").strip()
    if said.lower() not in STATES or (gap is not None and not sensible(gap)):
        return Figure(UNKNOWN)
    if age is None or not age.is_finite() or age < -AHEAD:
        return Figure(UNKNOWN)
    age = max(age, Decimal(0))
    if gap is None:
        return Figure(OK, age, places=1, growth=Decimal(1))
    if row["calendar"] == WORKDAYS:
        age = opened(books, row, age)
        return Figure(status_of(age / gap, options.limit("orders_due")), age, places=1, growth=Decimal(1))
    status = status_of(age / gap, options.limit("orders_due"))
    # A market cannot have been open for longer than the clock says.
    if row["calendar"] != ALWAYS and (status != OK or not row["calendar"]):
        return Figure(UNKNOWN)
    return Figure(status, age, places=1, growth=Decimal(1))


def closed(at: Decimal) -> Decimal:
    """For how long "24/5" was closed since the first Friday of the epoch, in s."""
    weeks, rest = divmod(at - CLOSED, Decimal(WEEK))
    return weeks * CLOSED_FOR + min(rest, Decimal(CLOSED_FOR))


def resting(row: Row) -> bool:
    return (row["expected_state"] or "").strip().lower() in AT_REST


def heartbeat(
    books: Books, beat: Decimal | None, interval: Decimal | None, options: Options, name: str = "strategy_heartbeat"
) -> Figure:
    if not sensible(interval):
        return Figure(UNKNOWN)
    assert interval is not None
    age = books.age(beat)
    if age is None:
        return Figure(CRITICAL)
    if age < -AHEAD or not age.is_finite():
        return Figure(UNKNOWN)
    age = max(age, Decimal(0))
    return Figure(status_of(age / interval, options.limit(name)), age, places=1, growth=Decimal(1))


def sensible(interval: Decimal | None) -> bool:
    return interval is not None and interval.is_finite() and interval > 0


def state_of(row: Row, pulse: Figure) -> Figure:
    expected, observed = row["expected_state"], row["observed_state"]
    if not expected or not expected.strip():
        return Figure(UNKNOWN)
    if resting(row) and (row["last_heartbeat_at"] is None or pulse.status == CRITICAL):
        return Figure(OK, "silent")
    if pulse.status in (CRITICAL, UNKNOWN) or not observed:
        return Figure(UNKNOWN)
    same = expected.strip().lower() == observed.strip().lower()
    if same and expected.strip().lower() not in (*STATES, *AT_REST):
        return Figure(UNKNOWN)
    return Figure(OK if same else CRITICAL, observed)


def platform(books: Books, options: Options) -> Figure:
    rows = [row for row in books.rows("heartbeat") if sensible(row["interval_seconds"])]
    past = [row for row in rows if row["beat_at"] is not None and row["beat_at"] - books.now <= AHEAD]
    if not past:
        future = any(row["beat_at"] is not None for row in rows)
        return Figure(UNKNOWN if future or not rows else CRITICAL)
    best = max(past, key=lambda row: row["beat_at"])
    found = heartbeat(books, best["beat_at"], best["interval_seconds"], options, "platform_heartbeat")
    if found.status == OK and len(past) < len(rows):
        found.status = WARNING
    return found
