"""Our books against the venues' statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

from .alive import AHEAD
from .books import NAN, ZERO, Books, Row, grouped, is_number, number, records
from .figures import CRITICAL, OK, UNKNOWN, WARNING, Figure, Options, judged
from .statements import Place, Standing, standings
from .trades import happened

KEY = ["venue", "venue_execution_id"]
ATTRIBUTES = ("account", "instrument", "side", "kind", "reference", "fee_currency")
SIGNS = {"buy": Decimal(1), "sell": Decimal(-1)}


def figures(books: Books, options: Options) -> dict[str, Figure]:
    return {
        "reconcile_executions": executions(books, options),
        "reconcile_positions": positions(books, options),
        "reconcile_cash": cash(books, options),
        "strategy_positions": of_strategies(books, options),
    }


OWNER = ("strategy", "account", "venue", "instrument")


def of_strategies(books: Books, options: Options) -> Figure:
    """Each strategy's positions against its own executions."""
    executed = books.rows("executions")
    if not executed and not books.rows("positions"):
        return Figure(UNKNOWN)
    gone = {(row["venue"], row["reference"]) for row in executed if None not in (row["venue"], row["reference"])}
    sums: dict[tuple[object, ...], list[Decimal]] = {}
    for key, group in grouped(books.rows("positions"), *OWNER):
        sums[key] = [sum((number(row["quantity"]) for row in group), ZERO), ZERO]
    for row in executed:
        if row["kind"] == "cancel":
            continue
        one = sums.setdefault(tuple(row[name] for name in OWNER), [ZERO, ZERO])
        moved = signed(row) if row["kind"] == "trade" or row["kind"] == "correct" else NAN
        moved = moved if happened(books, row["executed_at"]) else NAN
        taken_back = (row["venue"], row["venue_execution_id"]) in gone
        # What is no number and was taken back leaves nobody knows what.
        one[1] += moved - signed(row) if taken_back else moved
    moves = {key: held - done for key, (held, done) in sums.items() if held != done or held.is_nan()}
    totals: dict[tuple[object, ...], Decimal] = {}
    for key, moved in moves.items():
        totals[key[1:]] = totals.get(key[1:], ZERO) + moved
    breaks: list[Break] = []
    for key, moved in moves.items():
        name = key[3] if isinstance(key[3], str) else None
        if is_number(moved) and abs(moved) <= options.tolerance("quantity", name):
            continue
        total = totals[key[1:]]
        kind = "not_a_number" if moved.is_nan() else "between_strategies" if total == 0 else "quantity"
        breaks.append((key, [kind]))
    classes = dict(Counter(each for _, kinds in breaks for each in kinds))
    figure = judged("strategy_positions", len(breaks), options, classes=classes or None)
    figure.broken = {tuple(name or "" for name in key) for key, _ in breaks}
    return figure


#: What a break is known by in every run, and its classes.
Break = tuple[tuple[object, ...], list[str]]


def concluded(name: str, breaks: list[Break], found: dict[Place, Standing], uncovered: int, options: Options) -> Figure:
    """A break is one whatever else is missing; without one that counts, all statements must be reliable."""
    if not found:
        return Figure(UNKNOWN)
    relied = uncovered == 0 and all(one.reliable for one in found.values())
    if not breaks and not relied:
        return Figure(UNKNOWN)
    classes = dict(Counter(each for _, classes in breaks for each in classes))
    figure = judged(name, len(breaks), options, classes=classes or None)
    figure.broken, figure.whole = {key for key, _ in breaks}, relied
    if figure.status != CRITICAL and not relied:
        figure.status = UNKNOWN
    return figure


@dataclass
class Matching:
    """Executions of both sides.

    :param pairs: what both have, the venue's columns with "_there"
    :param missing_here: what the venue has alone
    :param missing_there: what we have alone, and a statement should have it
    :param waiting: what we have alone, and a later statement may have it, or nobody knows
    :param uncovered: how many belong to no statement
    :param awaited: how many of ours the venue may count after its newest cut-off
    """

    standings: dict[Place, Standing]
    pairs: list[Row]
    missing_here: list[Row]
    missing_there: list[Row] = field(default_factory=list)
    waiting: list[Row] = field(default_factory=list)
    uncovered: int = 0
    awaited: int = 0


def matching(books: Books, options: Options) -> Matching:
    pairs, ours_alone, theirs_alone = matched(books)
    found = Matching(standings(books, options, "executions"), pairs, theirs_alone)
    for row in ours_alone:
        one = found.standings.get((row["venue"], row["account"]))
        if one is None or not one.every:
            found.uncovered += 1
            found.waiting.append(row)
        elif just_before(row["executed_at"], one, books, options):
            found.awaited += 1
            found.waiting.append(row)
        else:
            missing = due(row["executed_at"], one, books.now + AHEAD)
            (found.missing_there if missing else found.waiting).append(row)
    return found


def just_before(at: Decimal | None, one: Standing, books: Books, options: Options) -> bool:
    """Whether something happened so shortly before the newest cut-off that the venue may count it after."""
    ends = [row["as_of"] for row in one.every if row["as_of"] is not None and row["as_of"] <= books.now + AHEAD]
    return at is not None and bool(ends) and bool(max(ends) - options.cutoff_tolerance < at <= max(ends))


def executions(books: Books, options: Options) -> Figure:
    found = matching(books, options)
    amended = referred(books.rows("executions")) & referred(books.rows("venue_executions"))
    breaks: list[Break] = [(named(row), ["missing_here"]) for row in found.missing_here]
    breaks += [(named(row), ["missing_at_venue"]) for row in found.missing_there]
    for pair in found.pairs:
        if (pair["venue"], pair["venue_execution_id"]) not in amended:
            classes = differences(pair, options)
            breaks += [(named(pair), classes)] if classes else []
    figure = concluded("reconcile_executions", breaks, found.standings, found.uncovered, options)
    if found.awaited and figure.status == OK:
        figure.status = WARNING
    if figure.classes:
        figure.possible = possible(found, options)
    return figure


def named(row: Row) -> tuple[object, ...]:
    """What an execution is known by, without an id too."""
    id = row["venue_execution_id"]
    return (row["venue"], id if id is not None else (row["account"], row["instrument"], row["executed_at"]))


ALIKE = ("account", "instrument", "side", "kind", "quantity", "price")


def possible(found: Matching, options: Options) -> list[tuple[Row, set[str]]]:
    """Of those missing, those that may be one of the other side, and by which ids."""
    result = []
    for rows, others in ((found.missing_here, found.missing_there), (found.missing_there, found.missing_here)):
        for row in rows:
            like = [other for other in others if alike(row, other, options)]
            if like:
                result.append((row, {other["venue_execution_id"] for other in like}))
    return result


def alike(one: Row, other: Row, options: Options) -> bool:
    if not all(is_number(row[name]) for row in (one, other) for name in ("quantity", "price")):
        return False
    times = (one["executed_at"], other["executed_at"])
    near = None not in times and abs(times[0] - times[1]) <= options.match_window
    return near and all(one[name] == other[name] for name in ALIKE)


def matched(books: Books) -> tuple[list[Row], list[Row], list[Row]]:
    """Pairs, ours alone and theirs alone. NULL is no name: what has none matches nothing."""
    if "matched" not in books.found:
        books.found["matched"] = match(books)
    found: tuple[list[Row], list[Row], list[Row]] = books.found["matched"]
    return found


def match(books: Books) -> tuple[list[Row], list[Row], list[Row]]:
    ours, theirs = books["executions"], books["venue_executions"]
    named, named_there = ours[ours[KEY].notna().all(axis=1)], theirs[theirs[KEY].notna().all(axis=1)]
    pairs = named.merge(named_there, on=KEY, suffixes=("", "_there"))
    names = set(zip(*(pairs[column] for column in KEY), strict=True))

    def alone(view: str) -> list[Row]:
        return [row for row in books.rows(view) if tuple(row[column] for column in KEY) not in names]

    return records(pairs), alone("executions"), alone("venue_executions")


def referred(rows: list[Row]) -> set[tuple[str, str]]:
    """What other rows take back or replace."""
    return {(row["venue"], row["reference"]) for row in rows if row["reference"] is not None}


def differences(pair: Row, options: Options) -> list[str]:
    classes = []
    # In a CSV a NULL is one on both sides.
    unsaid = any(pair[name] is None for name in ("kind", "account", "instrument", "side"))
    unsaid |= pair["fee_currency"] is None and pair["fee"] != 0
    if unsaid or any(pair[name] != pair[f"{name}_there"] for name in ATTRIBUTES):
        classes.append("attributes")
    for name in ("quantity", "price", "fee"):
        tolerance = options.tolerance(name, instrument(pair, {"instrument": pair["instrument_there"]}))
        if not close(pair[name], pair[f"{name}_there"], tolerance):
            classes.append(name)
    return classes


def instrument(ours: Row, theirs: Row) -> str | None:
    """Whose tolerances apply."""
    name: str | None = theirs["instrument"] if ours["instrument"] is None else ours["instrument"]
    return name


def close(one: Decimal | None, other: Decimal | None, tolerance: Decimal) -> bool:
    """Whether two numbers agree. What is no number agrees with nothing, not even with itself."""
    return is_number(one) and is_number(other) and abs(number(one) - number(other)) <= tolerance


def due(at: Decimal | None, one: Standing, now: Decimal) -> bool:
    """Whether the venue's statements should have a line of this. Without a time it is due at once."""
    if at is None or not at.is_finite() or at > now:
        # Unless they all lie in the future.
        return any(row["as_of"] is not None and row["as_of"] <= now for row in one.every)

    def within(statement: Row) -> bool:
        start, end = statement["period_start"], statement["as_of"]
        return end is not None and at <= end <= now and (start is None or at > start)

    return any(within(row) for row in one.every) and not any(within(row) for row in one.incomplete)


def comparable(found: dict[Place, Standing], now: Decimal) -> dict[Place, Row]:
    """Place -> newest statement with a cut-off in the past and all its lines, stale or not."""
    return {
        place: one.newest
        for place, one in found.items()
        if one.newest is not None
        and one.newest["as_of"] is not None
        and one.newest["as_of"] <= now
        and not one.incomplete
    }


def positions(books: Books, options: Options) -> Figure:
    found = standings(books, options, "positions")
    statements = comparable(found, books.now + AHEAD)
    ours: list[Row] = [
        {**row, "amount": number(row["quantity"])}
        for row in books.rows("positions")
        if (row["venue"], row["account"]) in statements
    ]
    by_name = {key: rows for key, rows in grouped(books.rows("executions"), *KEY) if None not in key}
    for row in books.rows("executions"):
        statement = statements.get((row["venue"], row["account"]))
        if statement is not None and after(row, statement, books, options):
            moved = effect(row, by_name) if happened(books, row["executed_at"]) else NAN
            ours.append({**row, "amount": -moved})
    theirs = lines(books, "venue_positions", "quantity", statements)
    breaks = compared(ours, theirs, "instrument", lambda name: options.tolerance("quantity", name), "quantity")
    for key, kinds in breaks:
        if kinds == ["quantity"]:
            sides = [
                sum((row["amount"] for row in rows if (row["venue"], row["account"], row["instrument"]) == key), ZERO)
                for rows in (ours, theirs)
            ]
            if split(books, key[2], sides, statements[key[0], key[1]]):  # type: ignore[index]
                kinds[0] = "split"
    return concluded("reconcile_positions", breaks, found, 0, options)


RATIOS = tuple(
    map(Decimal, ("2", "3", "4", "5", "6", "7", "8", "9", "10", "12", "15", "20", "25", "30", "40", "50", "100", "200"))
) + tuple(map(Decimal, ("500", "1000", "1.25", "1.5", "2.5")))


def split(books: Books, instrument: object, sides: list[Decimal], statement: Row) -> bool:
    """Whether one side is a multiple of the other, and the price made the step against it."""
    ratios = [one for one in RATIOS if sides[0] == sides[1] * one or sides[1] == sides[0] * one]
    week = [
        (row["observed_at"], row["price"])
        for row in books.rows("prices")
        if row["instrument"] == instrument
        and row["observed_at"] is not None
        and statement["as_of"] - 7 * 86400 < row["observed_at"] <= books.now + AHEAD
    ]
    prices = [price for _, price in sorted(week, key=lambda pair: pair[0])]
    steps = [max(a / b, b / a) for a, b in pairwise(prices) if is_number(a) and is_number(b) and a > 0 and b > 0]
    return any(one * Decimal("0.8") <= step <= one * Decimal("1.25") for one in ratios for step in steps)


def after(row: Row, statement: Row, books: Books, options: Options) -> bool:
    """Whether the venue counts an execution after a cut-off: near to it, if its executions do not have it yet."""
    at, cut, within = row["executed_at"], statement["as_of"], options.cutoff_tolerance
    if at is None or not at.is_finite() or not cut - within < at <= cut + within:
        return not before(at, statement)
    ends = {one["statement_id"]: one for one in books.rows("venue_statements") if one["as_of"] is not None}
    told = any(
        one["kind"] == "executions"
        and (one["venue"], one["account"]) == (statement["venue"], statement["account"])
        and at - within <= one["as_of"] <= cut + within
        for one in ends.values()
    )
    if not told:
        return bool(at > cut)
    return not any(
        tuple(line[name] for name in KEY) == tuple(row[name] for name in KEY)
        and None not in (line["venue"], line["venue_execution_id"])
        and line["statement_id"] in ends
        and ends[line["statement_id"]]["as_of"] <= cut + within
        for line in books.rows("venue_executions")
    )


def before(at: Decimal | None, statement: Row) -> bool:
    """Whether something is in a statement: it happened at its cut-off or before."""
    return at is not None and at.is_finite() and bool(at <= statement["as_of"])


def effect(row: Row, by_name: dict[tuple[object, ...], list[Row]]) -> Decimal:
    """By how much an execution, a cancel or a correction has moved the position."""
    before = {signed(one) for one in by_name.get((row["venue"], row["reference"]), [])}
    # Of two that differ nobody knows which one was meant.
    replaced = before.pop() if len(before) == 1 else NAN
    effects = {"trade": signed(row), "cancel": -replaced, "correct": signed(row) - replaced}
    return effects.get(row["kind"], NAN)


def signed(row: Row) -> Decimal:
    return number(row["quantity"]) * SIGNS.get(row["side"], NAN)


def cash(books: Books, options: Options) -> Figure:
    found = standings(books, options, "cash")
    statements = comparable(found, books.now + AHEAD)
    ours: list[Row] = [
        {**row, "amount": number(row["balance"])}
        for row in books.rows("cash")
        if (row["venue"], row["account"]) in statements
    ]
    near: dict[tuple[object, ...], list[Decimal | None]] = {}
    for row in books.rows("transactions"):
        statement = statements.get((row["venue"], row["account"]))
        if statement is None or row["status"] != "settled":
            continue
        at, cut, within = row["settled_at"], statement["as_of"], options.cutoff_tolerance
        if happened(books, at) and cut - within < at <= cut + within:
            one = near.setdefault((row["venue"], row["account"], row["currency"]), [None, None])
            one[at > cut] = (one[at > cut] or ZERO) + number(row["amount"])
        if not before(row["settled_at"], statement):
            moved = number(row["amount"]) if happened(books, row["settled_at"]) else NAN
            ours.append({**row, "amount": -moved})
    theirs = lines(books, "venue_cash", "balance", statements)
    breaks = compared(ours, theirs, "currency", lambda _: Decimal(options.cash_tolerance), "amount", near)
    return concluded("reconcile_cash", breaks, found, 0, options)


def lines(books: Books, view: str, column: str, statements: dict[Place, Row]) -> list[Row]:
    """The lines of statements, with their venue and account."""
    ids = {row["statement_id"]: place for place, row in statements.items()}
    return [
        {**row, "venue": ids[row["statement_id"]][0], "account": ids[row["statement_id"]][1],
         "amount": number(row[column])}
        for row in books.rows(view)
        if row["statement_id"] in ids
    ]  # fmt: skip


def compared(
    ours: list[Row],
    theirs: list[Row],
    name: str,
    tolerance: Callable[[str | None], Decimal],
    word: str,
    near: dict[tuple[object, ...], list[Decimal | None]] | None = None,
) -> list[Break]:
    """Breaks between sums. What a side does not have is 0 there.

    :param near: what moved just before and just after the cut-off: the venue may count it on the other side
    """
    sums: dict[tuple[object, ...], list[Decimal]] = {}
    for side, rows in enumerate((ours, theirs)):
        for key, group in grouped(rows, "venue", "account", name):
            # What has no name is nobody's: the two sides' are two.
            one = sums.setdefault((*key, side if key[2] is None else None), [ZERO, ZERO])
            one[side] = sum((row["amount"] for row in group), ZERO)
    breaks: list[Break] = []
    for key, (here, there) in sums.items():
        within = tolerance(key[2] if isinstance(key[2], str) else None)
        early, late = (near or {}).get(key[:3], [None, None]) if key[2] is not None else (None, None)
        may_be = [here, *([here - early] if early is not None else []), *([here + late] if late is not None else [])]
        if is_number(here) and any(close(each, there, within) for each in may_be):
            continue
        if not is_number(here) or not is_number(there):
            kind = "not_a_number"
        else:
            kind = "missing_here" if here == 0 else "missing_at_venue" if there == 0 else word
        breaks.append((key[:3], [kind]))
    return breaks
