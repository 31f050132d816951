"""How well orders are executed, and whether what is filled is what was executed."""

from __future__ import annotations

from decimal import Decimal

from .books import ZERO, Books, Row, grouped, is_number, number
from .figures import CRITICAL, OK, UNKNOWN, Figure, Options, judged, status_of
from .trades import QUIET, STATUSES, quiet, undated, within_a_day

SIGNS = {"buy": 1, "sell": -1}
KINDS = ("trade", "cancel", "correct")
TYPES = ("market", "limit", "stop", "stop_limit", "trailing_stop")
SHARE = Decimal("0.95")


def figures(books: Books, options: Options) -> dict[str, Figure]:
    found = {
        "acknowledge_latency": acknowledge(books, options),
        "execution_latency": execution(books, options),
        "slippage": slippage(books, options),
        "filled_quantities": filled(books, options),
        "order_quantities": ordered(books, options),
    }
    if quiet(books, options):
        found.update(dict.fromkeys(("acknowledge_latency", "execution_latency", "slippage"), QUIET))
    return found


def recent(books: Books) -> list[Row]:
    return [row for row in books.rows("orders") if within_a_day(books.age(row["created_at"]))]


def most(values: list[Decimal]) -> Decimal:
    """What 95 % do not exceed, in between by linear interpolation."""
    ordered = sorted(values)
    place = SHARE * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def enough(name: str, values: list[Decimal], options: Options, growth: int = 0) -> Figure:
    """The p95 of enough values, judged; of too few, only told."""
    value = most(values)
    limit = (None, None) if len(values) < options.minimum_orders else options.limit(name)
    return Figure(status_of(value, limit), value, places=3, growth=Decimal(growth))


def acknowledge(books: Books, options: Options) -> Figure:
    values, waiting = [], False
    for row in recent(books):
        end = row["acknowledged_at"]
        if end is None and row["status"] == "open":
            end, waiting = books.now, True
        if is_number(end):
            values.append(1000 * (end - row["created_at"]))
    if any(row["status"] not in STATUSES for row in recent(books)):
        return Figure(UNKNOWN)
    if undated(books) or not values or min(values) < 0:
        return Figure(UNKNOWN)
    return enough("acknowledge_latency", values, options, 1000 if waiting else 0)


def strange(books: Books) -> bool:
    """Whether the last day's orders have executions of a kind that nobody knows."""
    orders = {row["order_id"] for row in recent(books)} - {None}
    return any(row["kind"] not in KINDS and row["order_id"] in orders for row in books.rows("executions"))


def execution(books: Books, options: Options) -> Figure:
    if strange(books) or any(row["order_type"] not in TYPES for row in recent(books)):
        return Figure(UNKNOWN)
    first: dict[str, Decimal] = {}
    for row in books.rows("executions"):
        if row["kind"] == "trade" and row["executed_at"] is not None:
            first[row["order_id"]] = min(row["executed_at"], first.get(row["order_id"], row["executed_at"]))
    market: list[Decimal] = []
    others: list[Decimal] = []
    for row in recent(books):
        if row["order_id"] is not None and is_number(first.get(row["order_id"])):
            value = 1000 * (first[row["order_id"]] - row["created_at"])
            (market if row["order_type"] == "market" else others).append(value)
    if undated(books) or not market + others or min(market + others) < 0:
        return Figure(UNKNOWN)
    if not market:
        return Figure(OK, most(others), places=3)
    return enough("execution_latency", market, options)


def counting(books: Books) -> list[Row]:
    """Executions of orders that nobody took back or replaced."""
    rows = books.rows("executions")
    gone = {(row["venue"], row["reference"]) for row in rows if None not in (row["venue"], row["reference"])}
    return [row for row in rows if (row["venue"], row["venue_execution_id"]) not in gone]


def slippage(books: Books, options: Options) -> Figure:
    points, executed = [], 0
    rows = dict(grouped([row for row in counting(books) if row["kind"] != "cancel"], "order_id"))
    for order in recent(books):
        own = rows.get((order["order_id"],), [])
        if order["order_id"] is None or not own:
            continue
        executed += 1
        if any(row["kind"] not in KINDS for row in own):
            return Figure(UNKNOWN)
        arrival, sign = order["arrival_price"], SIGNS.get(order["side"])
        numbers = [row[name] for row in own for name in ("quantity", "price")] + ([] if arrival is None else [arrival])
        if sign is None or not all(is_number(one) and one > 0 for one in numbers):
            return Figure(UNKNOWN)
        if arrival is not None:
            average = sum(row["quantity"] * row["price"] for row in own) / sum(row["quantity"] for row in own)
            points.append(10000 * sign * (average - arrival) / arrival)
    return enough("slippage", points, options) if points and not undated(books) else Figure(UNKNOWN)


def executed(books: Books) -> dict[str, Decimal]:
    """What was executed of each order that has an execution."""
    traded = {row["order_id"] for row in books.rows("executions")} - {None}
    # What was taken back and is no number is none: whether all of it was taken back, nobody knows.
    sums = {
        id: sum((ZERO * number(row["quantity"]) for row in books.of("executions", "order_id", id)
                 if row["kind"] != "cancel"), ZERO)
        for id in traded
    }  # fmt: skip
    for row in counting(books):
        if row["order_id"] is not None and row["kind"] != "cancel":
            sums[row["order_id"]] += number(row["quantity"])
    return sums


def ordered(books: Books, options: Options) -> Figure:
    """Executions that the quantity ordered does not allow."""
    sums = executed(books)
    if not sums or not books.rows("orders"):
        return Figure(UNKNOWN)
    breaks: list[tuple[str, str]] = []
    strange = False
    for order in books.rows("orders"):
        if order["order_id"] in sums:
            strange = strange or order["status"] not in STATUSES
            kind = misfit(order, sums[order["order_id"]], options)
            breaks += [(order["order_id"], kind)] if kind else []
    classes: dict[str, int] = {}
    for _, kind in breaks:
        classes[kind] = classes.get(kind, 0) + 1
    figure = judged("order_quantities", len(breaks), options, classes=classes or None)
    figure.broken = {(id,) for id, _ in breaks}
    return Figure(UNKNOWN) if strange and figure.status != CRITICAL else figure


def misfit(order: Row, done: Decimal, options: Options) -> str | None:
    quantity, within = number(order["quantity"]), tolerance(order, options)
    if not is_number(quantity) or not is_number(done) or quantity <= 0:
        return "not_a_number"
    if done > quantity + within:
        return "beyond_quantity"
    if order["status"] == "rejected" and done != 0:
        return "rejected"
    return "half_filled" if order["status"] == "filled" and done < quantity - within else None


def filled(books: Books, options: Options) -> Figure:
    sums = executed(books)
    if not sums or not books.rows("orders"):
        return Figure(UNKNOWN)
    classes: dict[str, int] = {}
    broken: set[tuple[object, ...]] = set()
    for order in books.rows("orders"):
        if order["order_id"] in sums:
            name = differing(order, sums[order["order_id"]], options)
            if name:
                classes[name] = classes.get(name, 0) + 1
                broken.add((order["order_id"],))
    return judged("filled_quantities", sum(classes.values()), options, classes=classes or None, broken=broken)


def differing(order: Row, executed: Decimal, options: Options) -> str | None:
    """Why an order's filled quantity is not what was executed; None when it is."""
    said = number(order["filled_quantity"])
    if not is_number(said) or not is_number(executed):
        return "not_a_number"
    if said < 0 or executed < 0:
        return "negative" if said < 0 or abs(said - executed) > tolerance(order, options) else None
    if abs(said - executed) <= tolerance(order, options):
        return None
    return "too_much_filled" if said > executed else "too_little_filled"


def tolerance(order: Row, options: Options) -> Decimal:
    return options.tolerance("quantity", order["instrument"])
