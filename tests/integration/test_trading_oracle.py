"""Every figure of the area trading against an oracle of its own (tests/oracle), on random platforms with faults."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.trading import CARRIED
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.conftest import Sandbox
from tests.integration.trading_worker import changed, checked
from tests.oracle import expected, risk
from tests.oracle.books import export
from tests.oracle.compare import continued, disagreements
from tests.oracle.faults import FAULTS
from tests.oracle.figures import THRESHOLDS as THRESHOLDS_OF
from tests.oracle.figures import Figure, Options
from tests.oracle.platforms import Sizes, build
from tests.oracle.scratch import Scratch, administrator, scratch

EXAMPLES = int(os.environ.get("TRADINGFLOW_ORACLE_EXAMPLES", "200"))

#: What must have been seen for the property to mean anything: "check status", and "check class" of breaks.
SEEN: Counter[str] = Counter()

#: What became of breaks from one run to the next.
CHANGED: Counter[str] = Counter()

TOLERANCES: list[dict[str, dict[str, str]]] = [
    {},
    {"*": {"fee": "0.01", "price": "0.01"}},
    {"*": {"quantity": "0.5"}, "V0:I0": {"price": "0.0001"}},
    {"V0:I0": {"quantity": "10", "price": "10", "fee": "10"}},
]
THRESHOLDS: list[dict[str, tuple[str | None, str | None]]] = [
    {},
    {
        "disabled_limits": ("1", "2"),
        "unlimited_strategies": (None, "2"),
        "price_jumps": ("1000", "2000"),
        "open_orders": (None, "1"),
    },
    {"venue_statements": (None, None), "stuck_transactions": (None, "7200")},
    {"reconcile_executions": ("1", "3"), "reconcile_positions": (None, "3"), "reconcile_cash": (None, None)},
    {"strategy_heartbeat": ("1.5", None), "stuck_transactions": (None, None), "risk_limits": ("0.1", "0.6")},
    {
        "venue_statements": ("0.5", "1.2"),
        "fill_ratio": ("90", "60"),
        "failed_amount": ("5", "500"),
        "failed_transactions": ("1", "2"),
    },
]

SIZES = st.builds(
    Sizes,
    strategies=st.integers(1, 4),
    accounts=st.integers(1, 3),
    venues=st.integers(1, 3),
    # Not mostly small: what is rare needs many.
    instruments=st.sampled_from([1, 0, 3, 6, 6]),
    orders=st.sampled_from([3, 0, 10, 40, 40]),
    executions=st.sampled_from([2, 0, 20, 60, 60]),
    limits=st.integers(0, 8),
)
OPTIONS = st.builds(
    Options,
    thresholds=st.sampled_from(THRESHOLDS),
    tolerances=st.sampled_from(TOLERANCES),
    cash_tolerance=st.sampled_from(["0", "0.01", "0.5"]),
    minimum_orders=st.sampled_from([1, 5, 50]),
    price_age=st.sampled_from([120, 24, 1]),
    equity_age=st.sampled_from([36, 12]),
)


@pytest.fixture(scope="module")
def database(platform: Sandbox) -> Iterator[Scratch]:
    with scratch(platform) as found:
        yield found


def compared(cursor: Any, option: dict[str, Any], options: Options, *, beating: bool = False) -> list[str]:
    """All differences, after one export and one measurement.

    :param beating: heartbeats go on meanwhile, so that their ages cannot be compared
    """
    books = export(cursor)
    checks = checked(option, **options.arguments())
    cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
    elapsed = cursor.fetchone()[0] - books.now
    # A view that need not be there, and that the oracle does not read.
    checks.pop("duplicates:accounts", None)
    figures = expected(books, options)
    for id, figure in figures.items():
        name = id.partition(":")[0]
        SEEN.update([f"{name} {figure.status}", *(f"{name} {one}" for one in figure.classes or {})])
        SEEN.update(["possible matches"] if figure.possible else [])
        for use in figure.uses or []:
            SEEN.update([f"{use.metric} {use.status}", *use.why])
        if beating and "heartbeat" in name and figure.value is not None:
            figure.value, figure.places = Decimal(str(checks[id].value)), None
            # One that was late may have come since.
            if {figure.status, checks[id].status} == {"ok", "warning"}:
                figure.status = checks[id].status
    return disagreements(figures, checks, elapsed)


#: What is a warning as a rule, so that it is seen to be critical too.
STRICT: dict[str, tuple[str | None, str | None]] = {"open_orders": (None, "1"), "disabled_limits": (None, "1")}


def each_fault(test: Any) -> Any:
    """Every fault once on a platform where it finds something to damage, whatever chance brings besides."""
    busy = Sizes(strategies=3, accounts=2, venues=2, instruments=4, orders=40, executions=60, limits=20)
    for number, fault in enumerate(sorted(FAULTS)):
        options = Options(thresholds=STRICT if fault in ("open for long", "limit switched off") else {})
        test = example(seed=number, sizes=busy, faults=[fault] * 2, options=options)(test)
    # With this seed it is the strategies that are gone.
    return example(seed=1, sizes=busy, faults=["emptied"], options=Options())(test)


@each_fault
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    print_blob=False,
)
@given(
    seed=st.integers(0, 2**32), sizes=SIZES, faults=st.lists(st.sampled_from(sorted(FAULTS)), max_size=6),
    options=OPTIONS,
)  # fmt: skip
def test_every_figure(database: Scratch, seed: int, sizes: Sizes, faults: list[str], options: Options) -> None:
    random_platform = build(seed, sizes)
    for fault in faults:
        FAULTS[fault](random_platform)
    database.load(random_platform)
    assert compared(database.cursor, database.option, options) == []


def test_enough_was_seen() -> None:
    """The property means nothing for what no random platform has shown."""
    if EXAMPLES < 200:
        pytest.skip("Only a full run of test_every_figure sees everything")
    wanted = {f"{name} {status}" for name in THRESHOLDS_OF for status in ("ok", "unknown", "critical")}
    wanted |= {f"reconcile_executions {one}" for one in ("missing_here", "missing_at_venue", "price", "fee")}
    wanted |= {"reconcile_executions quantity", "reconcile_executions attributes"}
    wanted |= {"reconcile_fees amount", "reconcile_fees not_a_number", "possible matches"}
    wanted |= {f"reconcile_positions {one}" for one in ("missing_here", "missing_at_venue", "quantity", "not_a_number")}
    wanted |= {f"reconcile_cash {one}" for one in ("missing_here", "missing_at_venue", "amount", "not_a_number")}
    wanted |= {f"{metric} {status}" for metric in risk.METRICS for status in ("ok", "unknown", "critical")}
    wanted |= {
        risk.NOBODY,
        risk.METRIC,
        risk.NO_ORDER,
        risk.PRICE,
        risk.EQUITY,
        risk.NOTHING,
        risk.CURRENCIES,
        risk.WHOSE,
        risk.UNDATED,
    }
    assert wanted - SEEN.keys() == set()


#: What makes breaks, what makes statements unreliable, and what does neither.
CHANGES = (
    *("fee", "fee there", "fee NaN", "price", "position", "cash", "filled quantity", "booked twice", "waiting"),
    *("fill missing there", "fill missing here", "other id", "line missing in statement", "statement gone"),
)


@pytest.mark.parametrize("seed", range(12))
def test_breaks_from_run_to_run(database: Scratch, seed: int) -> None:
    """Three runs, with changes in between, of which the second takes back some of the first."""
    random_platform = build(seed, Sizes(2, 2, 2, 4, 30, 50, 0))
    healthy = {view: [dict(row) for row in rows] for view, rows in random_platform.tables.items()}
    earlier: dict[str, dict[str, Any]] = {}
    before: dict[str, Figure] = {}
    now = None
    for step in range(3):
        for fault in random_platform.random.choices(CHANGES, k=5):
            FAULTS[fault](random_platform)
        now = database.load(random_platform, now)
        figures = expected(export(database.cursor), Options())
        checks = checked(database.option, earlier)
        for name in (id.removeprefix("trading.") for id in CARRIED):
            figure, check = figures[name], checks[name]
            assert (name, continued(figure, check, before.get(name))) == (name, [])
            if check.status != "unknown":
                before[name], earlier[check.id] = figure.followed(before.get(name)), check.as_dict()["details"]
            CHANGED.update(key for key in ("new", "carried", "resolved", "not_compared") if check.details.get(key))
        random_platform.tables["executions" if step else "cash"][:] = healthy["executions" if step else "cash"]


def test_every_change_was_seen() -> None:
    assert CHANGED.keys() == {"new", "carried", "resolved", "not_compared"}


#: Faults in the sandbox's own tables.
SPOILED = (
    (),
    ("DELETE FROM executions WHERE id % 700 = 1", "UPDATE executions SET price = price + 0.01 WHERE id % 500 = 2"),
    ("UPDATE venue_executions SET fee = 'NaN' WHERE id % 400 = 3", "UPDATE positions SET quantity = -quantity"),
    ("UPDATE executions SET executed_at = now() WHERE id % 300 = 4", "UPDATE orders SET created_at = now()"),
    ("UPDATE executions SET order_id = NULL WHERE id % 50 = 5", "UPDATE cash_balances SET balance = balance + 1"),
    ("DELETE FROM venue_statements WHERE id % 30 = 6", "DELETE FROM venue_positions WHERE quantity < 0"),
    (
        "UPDATE transactions SET status = 'pending' WHERE id % 90 = 7",
        "UPDATE prices SET price = 0 WHERE instrument_code LIKE 'X%'",
    ),
    ("UPDATE transactions SET resolved_at = NULL", "UPDATE equity SET equity = 0, pnl = -5000"),
    ("UPDATE risk_limits SET limit_value = limit_value / 1000", "UPDATE orders SET filled_quantity = 1"),
)


@pytest.mark.parametrize("statements", SPOILED)
def test_sandbox(platform: Sandbox, statements: tuple[str, ...]) -> None:
    with changed(platform, *statements), administrator(platform, platform.state["postgres"]["database"]) as cursor:
        assert compared(cursor, platform.database, Options(minimum_orders=1), beating=True) == []
