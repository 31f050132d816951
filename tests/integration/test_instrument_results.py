"""What instruments brought and incidents cost, of a few rows that are worked out by hand, in a real database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg2.extras
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.trading import CATALOGUE, SCHEMA
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance import instruments as results
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.reading import Catalogue, asked_of
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders import costs
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders.past import Event, Operations

from tests.conftest import Sandbox

TABLES = """
CREATE SCHEMA maintenance;
CREATE TABLE maintenance.instruments (instrument text, multiplier numeric);
CREATE TABLE maintenance.prices (instrument text, observed_at timestamptz, price numeric, currency text);
CREATE TABLE maintenance.positions (strategy text, instrument text, quantity numeric);
CREATE TABLE maintenance.orders (order_id bigint, client_order_id text, strategy text, instrument text, side text,
    quantity numeric, arrival_price numeric, created_at timestamptz);
CREATE TABLE maintenance.executions (order_id bigint, strategy text, venue text, venue_execution_id text, kind text,
    reference text, instrument text, side text, quantity numeric, price numeric, executed_at timestamptz);
CREATE TABLE maintenance.backtest_fills (strategy text, client_order_id text, instrument text, side text,
    quantity numeric, price numeric, market_price numeric, filled_at timestamptz);
INSERT INTO maintenance.instruments VALUES ('X', 1);
"""


@pytest.fixture(scope="module")
def scratch(platform: Sandbox) -> Iterator[Any]:
    """A connection to a database of a schema alone."""
    platform.sql("superuser", "CREATE DATABASE results TEMPLATE template0")
    connection = platform.connect("superuser", "results")
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
    connection.commit()
    yield connection
    connection.close()
    platform.sql("superuser", "DROP DATABASE results")


@pytest.fixture
def cursor(scratch: Any) -> Iterator[Any]:
    """In a transaction of the test's own, in UTC."""
    with scratch.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute("SET LOCAL TimeZone = 'UTC'")
        yield cursor
    scratch.rollback()


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 10, 5, hour, minute, tzinfo=UTC)


def prices(cursor: Any, **at_hours: int) -> None:
    """Of X, at hours: h9=100."""
    for hour, price in at_hours.items():
        cursor.execute("INSERT INTO maintenance.prices VALUES ('X', %s, %s, 'USD')", (at(int(hour[1:])), price))


def held(cursor: Any, quantity: int) -> None:
    cursor.execute("INSERT INTO maintenance.positions VALUES ('s', 'X', %s)", (quantity,))


def executed(cursor: Any, id: str, when: datetime | str | None, kind: str = "trade", **given: Any) -> None:
    row = {"quantity": 10, "price": 100, "reference": None, "side": "buy", **given}
    cursor.execute(
        "INSERT INTO maintenance.executions VALUES (1, 's', 'V', %s, %s, %s, 'X', %s, %s, %s, %s)",
        (id, kind, row["reference"], row["side"], row["quantity"], row["price"], when),
    )


def of_spans(cursor: Any, *spans: tuple[datetime, datetime]) -> list[Decimal | str]:
    """What X brought in each, or why that is not known."""
    values = results.values_of([(f"{number}", None, *span) for number, span in enumerate(spans)], 24)
    rows, why = asked_of(cursor, results.SQL, values)
    assert why == ""
    found: list[Decimal | str] = []
    for number in range(len(spans)):
        made = results.instruments([row for row in rows if row["span"] == f"{number}"], {"USD": Decimal(1)})
        found.append(made.doubts.get("s") or made.results.get("s", {}).get("X", Decimal(0)))
    return found


def cost(cursor: Any, begin: str, end: str) -> dict[str, Any]:
    """What an incident cost."""
    event = Event("2026-10-05T12:00:00Z", "incident", "Feed lost", "", "me", begin, end)
    operations = Operations(incidents=[event])
    cursor.execute(CATALOGUE, (SCHEMA,))
    catalogue: Catalogue = {}
    for row in cursor.fetchall():
        catalogue.setdefault(row["view"], {})[row["column"]] = row
    costs.tell(operations, costs.ask(operations, 24, cursor, catalogue), {"USD": Decimal(1)})
    return event.cost


def test_marks_are_those_of_the_moments_themselves(cursor: Any) -> None:
    prices(cursor, h9=90, h10=100, h11=110, h12=130)
    held(cursor, 2)
    # As the books mark: what is observed at the end is of the end, and two spans side by side are one.
    assert of_spans(cursor, (at(10), at(11)), (at(11), at(12)), (at(10), at(12))) == [20, 40, 60]


def test_what_moved_before_an_incident_is_none_of_its_cost(cursor: Any) -> None:
    prices(cursor, h9=90, h10=100, h11=110)
    held(cursor, 2)
    found = cost(cursor, "2026-10-05T10:00:00Z", "2026-10-05T10:30:00Z")
    assert found["no_result"] == "X has no price from while it lasted"
    found = cost(cursor, "2026-10-05T10:00:00Z", "2026-10-05T11:00:00Z")
    assert (found["no_result"], found["result"]) == ("", 20)


HOURS = ((at(9), at(10)), (at(10), at(11)), (at(11), at(12)), (at(9), at(12)))
UNREADABLE = "X: a quantity, price, side or time is none"


@pytest.mark.parametrize(
    ("amendments", "now", "brought"),
    [
        # Ten bought for 100 each at 9:30. Taken back after the price had risen twice.
        ([("c", at(11, 30), "cancel", {"reference": "t"})], 0, [0, 100, -100, 0]),
        ([("c", at(11, 30), "correct", {"reference": "t", "quantity": 12, "price": 101})], 12, [0, 100, 248, 348]),
        ([("c", at(9, 40), "correct", {"reference": "t", "quantity": 12, "price": 101})], 12, [-12, 120, 240, 348]),
        # A correction of a correction, and a cancel of what was replaced already.
        (
            [
                ("c", at(10, 30), "correct", {"reference": "t", "quantity": 8}),
                ("d", at(11, 30), "correct", {"reference": "c", "quantity": 6}),
                ("e", at(11, 45), "cancel", {"reference": "t"}),
            ],
            *(6, [0, 80, 100, 180]),
        ),
        # What a cancel says of itself does not matter; clocks of venues may differ.
        ([("c", at(11, 30), "cancel", {"reference": "t", "quantity": None, "side": None})], 0, [0, 100, -100, 0]),
        ([("c", at(9, 10), "cancel", {"reference": "t"})], 0, [0, 0, 0, 0]),
        ([("c", at(8, 50), "cancel", {"reference": "t"})], 0, [0, 0, 0, 0]),
        # Nobody knows until when it counted.
        ([("c", None, "cancel", {"reference": "t"})], 0, [UNREADABLE] * 4),
        (
            [("c", at(10, 30), "cancel", {"reference": "t"}), ("d", "infinity", "cancel", {"reference": "t"})],
            *(0, [UNREADABLE] * 4),
        ),
    ],
)
def test_an_amendment_counts_from_when_it_was_made(
    cursor: Any, amendments: list[tuple[str, Any, str, dict[str, Any]]], now: int, brought: list[Any]
) -> None:
    prices(cursor, h9=100, h10=100, h11=110, h12=130)
    held(cursor, now)
    executed(cursor, "t", at(9, 30))
    for id, when, kind, given in amendments:
        executed(cursor, id, when, kind, **given)
    assert of_spans(cursor, *HOURS) == brought


@pytest.mark.parametrize("when", [at(10, 10), None])
def test_what_was_put_right_at_once_does_not_matter(cursor: Any, when: datetime | None) -> None:
    prices(cursor, h9=100, h10=100, h11=110, h12=130)
    held(cursor, 10)
    executed(cursor, "t", when, quantity="NaN")
    executed(cursor, "c", at(10, 40), "correct", reference="t")
    # Without a time of its own it may have counted before 10:00.
    told = [0, 100] if when else [UNREADABLE] * 2
    assert of_spans(cursor, (at(9), at(10)), (at(10), at(11)), (at(11), at(12))) == [*told, 200]
    assert of_spans(cursor, (at(10), at(10, 30))) == [UNREADABLE]


def missed(cursor: Any) -> None:
    """A backtest bought 3 for 100 each at 10:10, and nobody else."""
    cursor.execute(
        "INSERT INTO maintenance.backtest_fills VALUES ('s', 'o', 'X', 'buy', 3, 100, 100, %s)", (at(10, 10),)
    )


def test_missed_fills_are_marked_by_prices_from_while_it_lasted(cursor: Any) -> None:
    prices(cursor, h9=90, h10=100, h11=110)
    missed(cursor)
    found = cost(cursor, "2026-10-05T10:00:00Z", "2026-10-05T11:00:00Z")
    assert (found["missed_fills"], found["missed_result"], found["no_missed"]) == (1, 30, "")
    # The price of its beginning would say that nothing happened since, and an older one something that never did.
    for begin in ("10:00:00", "10:05:00"):
        found = cost(cursor, f"2026-10-05T{begin}Z", "2026-10-05T10:30:00Z")
        assert (found["missed_fills"], found["missed_result"]) == (1, None)
        assert found["no_missed"] == "X has no price from while it lasted"


@pytest.mark.parametrize("price", [0, -5])
def test_missed_fills_are_not_marked_by_what_is_no_price(cursor: Any, price: int) -> None:
    prices(cursor, h10=100, h11=price)
    missed(cursor)
    found = cost(cursor, "2026-10-05T10:00:00Z", "2026-10-05T11:00:00Z")
    assert (found["missed_fills"], found["missed_result"]) == (1, None)
    assert found["no_missed"] == "X has no recent price, one multiplier or rate"


def test_a_venue_whose_clock_is_behind_takes_nothing_back_before_it_was_there(cursor: Any) -> None:
    prices(cursor, h8=100, h9=105, h10=110)
    held(cursor, 0)
    executed(cursor, "t", at(9, 30))
    executed(cursor, "c", at(8, 50), "cancel", reference="t")
    assert of_spans(cursor, (at(8), at(9)), (at(9), at(10)), (at(8), at(10))) == [0, 0, 0]
