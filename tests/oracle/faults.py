"""What may be wrong with a platform. Each fault damages a few random rows, if there are any."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

from .books import Row, columns
from .platforms import DAY, Platform

Fault = Callable[[Platform], None]

#: Columns that hold a line together; a contract without them is none.
KEPT = {"statement_id", "execution_id", "transaction_id", "limit_id"}


def any_cell(platform: Platform, *kinds: str) -> tuple[dict[str, object], str] | None:
    """A random row of a view, and one of its columns."""
    random = platform.random
    views = [view for view, rows in platform.tables.items() if rows]
    for _ in range(20):
        view = random.choice(views)
        names = [name for name, kind in columns(view).items() if name not in KEPT and (not kinds or kind in kinds)]
        if names:
            return random.choice(platform[view]), random.choice(names)
    return None


def setting(value: object, *kinds: str) -> Fault:
    def fault(platform: Platform) -> None:
        cell = any_cell(platform, *kinds)
        if cell:
            cell[0][cell[1]] = value

    return fault


def negative(platform: Platform) -> None:
    cell = any_cell(platform, "number")
    if cell and isinstance(cell[0][cell[1]], (int, Decimal)):
        cell[0][cell[1]] *= -1  # type: ignore[operator]


def future(platform: Platform) -> None:
    cell = any_cell(platform, "time")
    if cell:
        cell[0][cell[1]] = -2.0 * DAY


def changing(view: str, column: str, change: Callable[[Random, object], object]) -> Fault:
    """Changes a column of a random row."""

    def fault(platform: Platform) -> None:
        if platform[view]:
            row = platform.random.choice(platform[view])
            if row[column] is not None:
                row[column] = change(platform.random, row[column])

    return fault


def fixed(value: object) -> Callable[[Random, object], object]:
    return lambda random, old: value


def nudged(random: Random, old: object) -> object:
    """Within and beyond the tolerances that tests use, and exactly at them."""
    step = random.choice(["0.0001", "0.01", "0.0100000001", "0.5", "10"])
    return old + random.choice([1, -1]) * Decimal(step) if isinstance(old, (int, Decimal)) else old


def shifted(*days: float) -> Callable[[Random, object], object]:
    return lambda random, old: old + random.choice(days) * DAY if isinstance(old, (int, float)) else old


def twice(*views: str) -> Fault:
    """A row is there twice. Ids that are a key in every database are given anew."""

    def fault(platform: Platform) -> None:
        view = platform.random.choice(views)
        if platform[view]:
            row = dict(platform.random.choice(platform[view]))
            if view == "executions":
                row["execution_id"] = platform.id("execution")
            platform[view].append(row)

    return fault


def gone(*views: str) -> Fault:
    def fault(platform: Platform) -> None:
        view = platform.random.choice(views)
        if platform[view]:
            platform[view].remove(platform.random.choice(platform[view]))

    return fault


def emptied(platform: Platform) -> None:
    platform[platform.random.choice(list(platform.tables))].clear()


def line_gone(platform: Platform) -> None:
    """A line is missing in a statement that says how many there are."""
    if platform["venue_executions"]:
        line = platform.random.choice(platform["venue_executions"])
        platform["venue_executions"].remove(line)
        for row in platform["venue_statements"]:
            if row["statement_id"] == line["statement_id"] and row["record_count"] is not None:
                row["record_count"] -= 1


def statement_gone(platform: Platform) -> None:
    """With all its lines: a gap, an older newest one, or none."""
    if platform["venue_statements"]:
        one = platform.random.choice(platform["venue_statements"])
        platform["venue_statements"].remove(one)
        for view in ("venue_executions", "venue_positions", "venue_cash"):
            platform[view][:] = [row for row in platform[view] if row["statement_id"] != one["statement_id"]]


def amended_again(platform: Platform) -> None:
    """An execution is taken back that was taken back or replaced before."""
    amended = [row for row in platform["executions"] if row["reference"] is not None]
    if amended:
        row = dict(platform.random.choice(amended))
        row.update(execution_id=platform.id("execution"), venue_execution_id=f"y{platform.id('again')}")
        platform["executions"].append(row)


def reprised(platform: Platform) -> None:
    """The venue took back what we still count."""
    trades = [row for row in platform["venue_executions"] if row["kind"] == "trade"]
    if trades:
        row = dict(platform.random.choice(trades))
        row.update(kind="cancel", reference=row["venue_execution_id"], venue_execution_id=f"z{platform.id('again')}")
        platform["venue_executions"].append(row)
        for one in platform["venue_statements"]:
            if one["statement_id"] == row["statement_id"] and one["record_count"] is not None:
                one["record_count"] += 1


def reprised_and_differs(platform: Platform) -> None:
    """Only one side took back what both have, at another price."""
    reprised(platform)
    names = {row["reference"] for row in platform["venue_executions"] if row["reference"] is not None}
    for row in platform["executions"]:
        if row["venue_execution_id"] in names and row["price"] is not None:
            row["price"] += 20


def amended_here(kind: str, *ages: float) -> Fault:
    """We took back or replaced what the venue still counts: long ago, or so lately that no statement tells it yet."""

    def fault(platform: Platform) -> None:
        trades = [row for row in platform["executions"] if row["kind"] == "trade" and row["executed_at"] is not None]
        if trades:
            row = dict(platform.random.choice(trades))
            number, age = platform.id("again"), platform.random.choice([0.9 * row["executed_at"], *ages])
            row.update(kind=kind, reference=row["venue_execution_id"], venue_execution_id=f"w{number}")
            row.update(execution_id=platform.id("execution"), executed_at=age, fee=platform.amount(2, 3))
            platform["executions"].append(row)

    return fault


def corrected_there(platform: Platform) -> None:
    """The venue replaced what we still count, at another fee."""
    count = len(platform["venue_executions"])
    reprised(platform)
    for row in platform["venue_executions"][count:]:
        row.update(kind="correct", fee=platform.amount(2, 3))


def lately(platform: Platform) -> None:
    """Executed after all cut-offs, one of them without the venue's id."""
    for number in range(2 if platform["executions"] else 0):
        row = dict(platform.random.choice(platform["executions"]))
        row.update(kind="trade", reference=None, executed_at=2.0, execution_id=platform.id("execution"))
        row["venue_execution_id"] = f"v{platform.id('again')}" if number else None
        platform["executions"].append(row)


def renamed(platform: Platform) -> None:
    """Ours has another id than the venue's, and another time: within a minute or not."""
    for _ in range(3 if platform["executions"] else 0):
        row = platform.random.choice(platform["executions"])
        row["venue_execution_id"] = platform.random.choice([f"u{platform.id('again')}", None])
        if row["executed_at"] is not None:
            row["executed_at"] += platform.random.choice([0, 50, 50, 70])


def around_midnight(at_venue: int) -> Fault:
    """Two fees that make up for each other, if they are of one day: by the venue's clock, and not by ours.

    :param at_venue: where theirs lie: -1 for two days too, 1 for one
    """

    def fault(platform: Platform) -> None:
        # The midnight before last: the last may have been a moment ago.
        midnight = datetime.now(UTC).timestamp() % DAY + DAY
        theirs = {(row["venue"], row["venue_execution_id"]): row for row in platform["venue_executions"]}
        amended = {(row["venue"], row["reference"]) for row in platform["executions"]}
        places: dict[tuple[object, ...], list[tuple[Row, Row]]] = {}
        for ours in platform["executions"]:
            there = theirs.get((ours["venue"], ours["venue_execution_id"]))
            counts = ours["kind"] == "trade" and (ours["venue"], ours["venue_execution_id"]) not in amended
            if there is not None and counts and ours["fee"] is not None and ours["fee_currency"] == "USD":
                places.setdefault((ours["venue"], ours["account"]), []).append((ours, there))
        pairs = max(places.values(), key=len, default=[])[:2]
        for step, (ours, there) in zip((1, -1), pairs, strict=False):
            ours["fee"] += step * Decimal("0.5")
            ours["executed_at"] = midnight + step * 30
            there["executed_at"] = midnight + (30 if at_venue > 0 else -step * 30)

    return fault


def amendment_forgotten(platform: Platform) -> None:
    """Orders go on saying that they are filled by what was taken back or replaced."""
    for order in platform["orders"]:
        own = [
            row for row in platform["executions"] if row["order_id"] == order["order_id"] and row["kind"] != "cancel"
        ]
        if own and all(row["quantity"] is not None for row in own):
            order["filled_quantity"] = sum(row["quantity"] for row in own)


def old_equity(platform: Platform) -> None:
    for row in platform["equity"]:
        row["as_of"] = 4.0 * DAY


def all_failed(platform: Platform) -> None:
    for row in platform["transactions"]:
        row.update(status="failed", resolved_at=None)


def gap(platform: Platform) -> None:
    """A statement of executions begins later than the one before it ended."""
    later = [row for row in platform["venue_statements"] if row["kind"] == "executions" and row["period_start"]]
    for row in later:
        row["period_start"] = (row["period_start"] + (row["as_of"] or 0)) / 2


def both_sides(value: object) -> Fault:
    """Both sides say the same, and it is no number: that is no agreement."""

    def fault(platform: Platform) -> None:
        if platform["venue_executions"]:
            theirs = platform.random.choice(platform["venue_executions"])
            column = platform.random.choice(["quantity", "price", "fee"])
            for row in (theirs, *platform["executions"]):
                if row["venue_execution_id"] == theirs["venue_execution_id"] and row["venue"] == theirs["venue"]:
                    row[column] = value

    return fault


def other_venue(platform: Platform) -> None:
    """A strategy holds the opposite at another place."""
    if platform["positions"]:
        row = dict(platform.random.choice(platform["positions"]))
        row["account"] = platform.random.choice(platform["strategies"])["account"]
        row["venue"] = platform.random.choice(platform["venues"])["venue"]
        if row["quantity"] is not None:
            row["quantity"] *= platform.random.choice([-1, 1, Decimal("0.5")])
        platform["positions"].append(row)


NAN = Decimal("NaN")
INFINITE = Decimal("Infinity")
#: By name, so that a failing case says what it is made of.
FAULTS: dict[str, Fault] = {
    "null": setting(None),
    "null time": setting(None, "time"),
    "NaN": setting(NAN, "number"),
    "NaN on both sides": both_sides(NAN),
    "NULL on both sides": both_sides(None),
    "Infinity on both sides": both_sides(INFINITE),
    "Infinity": setting(INFINITE, "number"),
    "unknown word": setting("TRADE", "text"),
    "executed next year": changing("executions", "executed_at", fixed(-365.0 * DAY)),
    "settled next year": changing("transactions", "settled_at", fixed(-365.0 * DAY)),
    "resolved next year": changing("transactions", "resolved_at", fixed(-365.0 * DAY)),
    "ordered": changing("orders", "quantity", nudged),
    "half filled": changing("orders", "quantity", lambda random, old: old * 2 if isinstance(old, Decimal) else old),
    "time in force": changing("orders", "time_in_force", fixed("GTC")),
    "ordered at no time": changing("orders", "created_at", fixed(None)),
    "open for long": changing("orders", "created_at", shifted(2, 40)),
    "price of nobody's world": changing("prices", "price", fixed(Decimal("0.0000001"))),
    "position of another strategy": changing("positions", "strategy", fixed("s0")),
    "limit switched off": changing("risk_limits", "active", fixed(False)),
    "order status": changing("orders", "status", fixed("REJECTED")),
    "order type in capitals": changing("orders", "order_type", fixed("MARKET")),
    "state": changing("strategies", "expected_state", fixed("Runing")),
    "traded elsewhere": changing("orders", "account", fixed("A9")),
    "zero": setting(Decimal(0), "number"),
    "empty text": setting("", "text"),
    "negative": negative,
    "future": future,
    "fill missing here": gone("executions"),
    "fill missing there": line_gone,
    "line missing in statement": gone("venue_executions", "venue_positions", "venue_cash"),
    "line too many in statement": twice("venue_executions", "venue_positions", "venue_cash"),
    "price": changing("venue_executions", "price", nudged),
    "fee": changing("executions", "fee", nudged),
    "fee there": changing("venue_executions", "fee", nudged),
    "fee NaN": changing("executions", "fee", fixed(NAN)),
    "fee NULL": changing("executions", "fee", fixed(None)),
    "fees of two days": around_midnight(-1),
    "fees of one day there": around_midnight(1),
    "fee currency NULL": changing("executions", "fee_currency", fixed(None)),
    "taken back here": amended_here("cancel", 2.0),
    "replaced here": amended_here("correct", 2.0),
    "replaced there": corrected_there,
    "waiting": lately,
    "other id": renamed,
    "quantity": changing("executions", "quantity", nudged),
    "side": changing("executions", "side", fixed("sell")),
    "kind": changing("executions", "kind", fixed("bust")),
    "reference": changing("venue_executions", "reference", fixed("x1")),
    "fee currency": changing("venue_executions", "fee_currency", fixed("JPY")),
    "instrument": changing("executions", "instrument", fixed("V0:I0")),
    "later": changing("executions", "executed_at", lambda random, old: 10.0),
    "an hour later there": changing("venue_executions", "executed_at", shifted(-1 / 24)),
    "a little later": changing("executions", "executed_at", shifted(-0.5 / DAY, -3 / DAY)),
    "amendment forgotten": amendment_forgotten,
    "calendar": changing("strategies", "calendar", fixed("mood")),
    "pause": changing("strategies", "max_order_gap_seconds", fixed(Decimal(-1))),
    "order type": changing("orders", "order_type", fixed("limit")),
    "acknowledged before": changing("orders", "acknowledged_at", shifted(0.5)),
    "filled quantity": changing("orders", "filled_quantity", nudged),
    "arrival price": changing("orders", "arrival_price", fixed(Decimal(0))),
    "position NULL": changing("positions", "quantity", fixed(None)),
    "gap": gap,
    "taken back there, and differs": reprised_and_differs,
    "booked twice": twice("executions"),
    "amended again": amended_again,
    "taken back there": reprised,
    "position": changing("positions", "quantity", nudged),
    "position there": changing("venue_positions", "quantity", nudged),
    "position gone": gone("positions", "venue_positions"),
    "position of nobody": changing("positions", "strategy", fixed("ghost")),
    "position without strategy": changing("positions", "strategy", fixed(None)),
    "order of nobody": changing("orders", "strategy", fixed("ghost")),
    "order without time": changing("orders", "created_at", fixed(None)),
    "order of the future": changing("orders", "created_at", fixed(-7200.0)),
    "equity of nobody": changing("equity", "strategy", fixed("ghost")),
    "strategy without account": changing("strategies", "account", fixed(None)),
    "position elsewhere": other_venue,
    "cash": changing("cash", "balance", nudged),
    "cash there": changing("venue_cash", "balance", nudged),
    "cash gone": gone("cash", "venue_cash"),
    "statement shifted": changing("venue_statements", "as_of", shifted(-3, -0.2, 0.3, 3)),
    "period shifted": changing("venue_statements", "period_start", shifted(-0.1, -1, 0.1, 1)),
    "statement gone": statement_gone,
    "no interval": changing("venues", "statement_interval_seconds", fixed(Decimal(0))),
    "emptied": emptied,
    "row gone": gone("strategies", "orders", "instruments", "prices", "equity", "venues", "transactions"),
    "row twice": twice("strategies", "instruments", "risk_limits", "venues", "cash", "positions", "heartbeat"),
    "order unknown": changing("executions", "order_id", fixed(999)),
    "rejected": changing("orders", "status", fixed("rejected")),
    "filled": changing("orders", "status", fixed("filled")),
    "stuck": changing("transactions", "status", fixed("pending")),
    "failed": changing("transactions", "status", fixed("failed")),
    "unknown status": changing("transactions", "status", fixed("odd")),
    "unresolved": changing("transactions", "resolved_at", fixed(None)),
    "large": changing("transactions", "amount", lambda random, old: Decimal(random.choice([-5000000, 1000000]))),
    "old price": changing("prices", "observed_at", shifted(10)),
    "price of another currency": changing("prices", "currency", fixed("JPY")),
    "limit of another currency": changing("risk_limits", "currency", fixed("EUR")),
    "metric": changing("risk_limits", "metric", fixed("mood")),
    "scope": changing("risk_limits", "scope", fixed("planet")),
    "subject": changing("risk_limits", "subject", fixed("nobody")),
    "old equity": changing("equity", "as_of", shifted(3)),
    "equity of nobody lately": old_equity,
    "all failed": all_failed,
    "cash NaN": changing("cash", "balance", fixed(NAN)),
    "equity in the red": changing("equity", "equity", fixed(Decimal(-5))),
    "heartbeat of the future": changing("strategies", "last_heartbeat_at", fixed(-7200.0)),
    "instance of the future": changing("heartbeat", "beat_at", fixed(-7200.0)),
}
