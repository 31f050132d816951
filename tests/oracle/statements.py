"""The venues' statements: how old they are, and whether they can be relied on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from .alive import AHEAD, sensible
from .books import Books, Row
from .figures import CRITICAL, UNKNOWN, Figure, Options, judged

KINDS = ("executions", "positions", "cash")
Place = tuple[str | None, str | None]


@dataclass
class Standing:
    """What one account at one venue has of one kind of statement.

    :param newest: None without any
    :param incomplete: statements with lines missing or too many that matter: all of executions, else the newest
    :param reliable: whether the newest can be relied on
    :param age: of the newest in multiples of the venue's interval; None when it has none, or lies in the future
    :param interval: of the venue, in s
    :param stale: whether that is too old
    """

    newest: Row | None
    every: list[Row]
    incomplete: list[Row]
    reliable: bool
    age: Decimal | None
    interval: Decimal | None
    stale: bool


def places(books: Books) -> list[Place]:
    """Each account at each venue that has cash, a position or a statement, or traded there."""
    views = ("cash", "positions", "venue_statements", "executions", "orders")
    return list(
        {(row["venue"], row["account"]): None for view in views for row in books.rows(view)
         if row.get("status") != "rejected"}
    )  # fmt: skip


def standings(books: Books, options: Options, kind: str) -> dict[Place, Standing]:
    """Of each place its statements of a kind."""
    counted = Counter(row["statement_id"] for row in books.rows(f"venue_{kind}"))
    statements = [row for row in books.rows("venue_statements") if row["kind"] == kind]
    return {place: standing(books, options, kind, place, statements, counted) for place in places(books)}


def standing(
    books: Books, options: Options, kind: str, place: Place, statements: list[Row], counted: Counter[str]
) -> Standing:
    own = [] if None in place else [row for row in statements if (row["venue"], row["account"]) == place]
    intervals = [
        row["statement_interval_seconds"]
        for row in books.rows("venues")
        if row["venue"] == place[0] and row["statement_interval_seconds"] is not None
    ]
    interval = min((one for one in intervals if not one.is_nan()), default=None)
    if not own:
        return Standing(None, own, [], False, None, interval, False)
    # Nobody knows that one without a time is not the newest.
    newest = max(own, key=lambda row: (row["as_of"] is None, row["as_of"] or 0, int(row["statement_id"])))
    matter = own if kind == "executions" else [newest]
    incomplete = [row for row in matter if not complete(row, counted)]
    age = books.age(newest["as_of"])
    usable = age is not None and age >= -AHEAD and sensible(interval)
    critical = options.limit("venue_statements")[1]
    in_intervals = age / interval if usable and age is not None and interval is not None else None
    stale = in_intervals is not None and critical is not None and in_intervals >= critical
    reliable = usable and not stale and not incomplete and not (kind == "executions" and gap(own))
    return Standing(newest, own, incomplete, reliable, in_intervals, interval, stale)


def complete(statement: Row, counted: Counter[str]) -> bool:
    count: Decimal | None = statement["record_count"]
    return count is not None and count.is_finite() and count == counted[statement["statement_id"]]


def gap(statements: list[Row]) -> bool:
    """Whether a period lies between two statements that neither covers. Without a start one goes back to the first."""
    dated = sorted(
        (row for row in statements if row["as_of"] is not None),
        key=lambda row: (row["as_of"], int(row["statement_id"])),
    )
    return any(
        later["period_start"] is not None and later["period_start"] > earlier["as_of"]
        for earlier, later in pairwise(dated)
    )


def figures(books: Books, options: Options) -> dict[str, Figure]:
    """The worst of all newest statements. One that is only stale is an age like any other."""
    found = [one for kind in KINDS for one in standings(books, options, kind).values()]
    strange = any(row["kind"] not in KINDS for row in books.rows("venue_statements"))
    if not found:
        return {"venue_statements": Figure(UNKNOWN)}
    aged = [one for one in found if one.reliable or only_stale(one)]
    oldest = max((one.age for one in aged if one.age is not None), default=None)
    if oldest is None:
        return {"venue_statements": Figure(CRITICAL)}
    growth = max(1 / one.interval for one in aged if one.interval)
    figure = judged("venue_statements", oldest, options, places=3, growth=growth)
    if len(aged) < len(found) or strange:
        figure.status = CRITICAL
    return {"venue_statements": figure}


def only_stale(one: Standing) -> bool:
    return one.stale
