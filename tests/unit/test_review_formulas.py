"""Figures of a strategy review against published and recomputed values, and what goes wrong in known libraries."""

from __future__ import annotations

import math
import re
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance import (
    bootstrap,
    correlation,
    drawdown,
    ratios,
    returns,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.returns import Undefined

from tests.conftest import COLLECTION, ROOT

#: Bacon's 24 months, in %.
BACON = [
    *(0.3, 2.6, 1.1, -1, 1.5, 2.5, 1.6, 6.7, -1.4, 4, -0.5, 8.1),
    *(4, -3.7, -6.1, 1.7, -4.9, -2.2, 7, 5.8, -6.5, 2.4, -0.5, -0.9),
]
MONTHS = [value / 100 for value in BACON]


def test_bacon() -> None:
    found = drawdown.drawdown(MONTHS)
    year = returns.annual(returns.time_weighted(MONTHS), 24, 12)
    assert year is not None
    assert year == pytest.approx(0.103678, abs=5e-7)
    assert found.worst == pytest.approx(-0.144673, abs=5e-7)
    assert year / -found.worst == pytest.approx(0.71664, abs=5e-6)
    assert found.pain == pytest.approx(0.039990, abs=5e-7)
    assert year / found.pain == pytest.approx(2.5926, abs=5e-5)
    assert year / found.ulcer == pytest.approx(1.6945, abs=5e-5)
    assert ratios.downside_deviation(MONTHS, 0.005) == pytest.approx(0.025537, abs=5e-7)
    assert ratios.sortino(MONTHS, 0.005) == pytest.approx(0.156637, abs=5e-7)
    assert ratios.omega(MONTHS, 0.005) == pytest.approx(1.29179, abs=5e-6)
    shape = ratios.moments(MONTHS)
    adjusted = ratios.adjusted_sharpe(year / (shape.deviation * math.sqrt(12)), shape.skewness, shape.kurtosis)
    assert adjusted == pytest.approx(0.7591435, abs=5e-8)


def test_sortino_counts_all_periods() -> None:
    assert ratios.sortino([0.17, 0.15, 0.23, -0.05, 0.12, 0.09, 0.13, -0.04]) == pytest.approx(4.417, abs=5e-4)
    assert ratios.sortino([-0.10, 0.02, 0.01, 0.03]) == pytest.approx(-0.2)
    with pytest.raises(Undefined):
        ratios.sortino([0.01, 0.02, 0.03])


@pytest.mark.parametrize(("value", "count", "error"), [(0.5, 12, 0.306), (0.5, 60, 0.137), (1, 60, 0.158)])
def test_lo(value: float, count: int, error: float) -> None:
    assert math.sqrt(ratios.variance_of_sharpe(value) / count) == pytest.approx(error, abs=5e-4)


@pytest.mark.parametrize(("rho", "factor"), [(0.2, 2.88), (0, 3.46), (-0.2, 4.17)])
def test_annualisation_knows_autocorrelation(rho: float, factor: float) -> None:
    assert ratios.annualisation(12, [rho**lag for lag in range(1, 12)]) == pytest.approx(factor, abs=5e-3)


def test_skewed_returns() -> None:
    value, shape = 0.036 / 0.079, (-2.448, 10.164)
    assert math.sqrt(ratios.variance_of_sharpe(value, *shape) / 24) == pytest.approx(0.329, abs=5e-4)
    assert math.sqrt(ratios.variance_of_sharpe(value) / 24) == pytest.approx(0.214, abs=6e-4)
    assert ratios.probabilistic(0.458, 0, 24, *shape) == pytest.approx(0.913, abs=5e-4)
    assert ratios.probabilistic(0.458, 0, 24, 0, 3) == pytest.approx(0.982, abs=5e-4)
    # The revision of 2025, which is not the convention here.
    assert ratios.probabilistic(value, 0, 24, *shape, under_null=True) == pytest.approx(0.987, abs=5e-4)
    assert ratios.probabilistic(value, 0.1, 24, *shape, under_null=True) == pytest.approx(0.939, abs=5e-4)
    assert ratios.minimum_track_record(value, 0, *shape, under_null=True) == pytest.approx(13.03, abs=5e-3)


def test_minimum_track_record_counts_kurtosis() -> None:
    pair = 2 / math.sqrt(12), 1 / math.sqrt(12)
    assert ratios.minimum_track_record(*pair, -0.72, 5.78) == pytest.approx(59.90, abs=5e-3)
    assert ratios.minimum_track_record(*pair, -0.72, 3) == pytest.approx(52.37, abs=5e-3)
    assert ratios.probabilistic(*pair, 59, -0.72, 5.78) == pytest.approx(0.9487, abs=5e-5)
    assert ratios.probabilistic(*pair, 59, -0.72, 3) == pytest.approx(0.9597, abs=5e-5)
    with pytest.raises(Undefined):
        ratios.minimum_track_record(0.1, 0.1, 0, 3)


def test_deflated() -> None:
    value, variance = 2.5 / math.sqrt(250), 0.5 / 250
    assert ratios.expected_maximum(100, variance) == pytest.approx(0.11317, abs=5e-6)
    assert ratios.deflated(value, 1250, -3, 10, 100, variance) == pytest.approx(0.90040, abs=5e-6)
    assert ratios.deflated(value, 1250, -3, 10, 46, variance) == pytest.approx(0.9505, abs=5e-5)
    assert ratios.expected_maximum(1, variance) == 0


def test_money_weighted() -> None:
    flows = [(date(2021, 1, 1), -20.0), (date(2022, 1, 1), -22.0), (date(2023, 1, 1), 48.0)]
    assert returns.money_weighted(flows) == pytest.approx(0.09393, abs=5e-6)
    # The same by time: 15 % and 6.67 % in the two years.
    assert math.sqrt(1 + returns.time_weighted([30 / 200, 30 / 450])) - 1 == pytest.approx(0.10755, abs=5e-6)
    book = [
        *((date(2008, 1, 1), -10000.0), (date(2008, 3, 1), 2750.0), (date(2008, 10, 30), 4250.0)),
        *((date(2009, 2, 15), 3250.0), (date(2009, 4, 1), 2750.0)),
    ]
    assert returns.money_weighted(book) == pytest.approx(0.3733625, abs=5e-8)


@pytest.mark.parametrize("amounts", [[-1, -2], [1, 2], [-100, 230, -132]], ids=["in", "out", "two rates"])
def test_money_weighted_that_does_not_exist_is_none(amounts: list[float]) -> None:
    flows = [(date(2024 + year, 1, 1), float(amount)) for year, amount in enumerate(amounts)]
    with pytest.raises(Undefined):
        returns.money_weighted(flows)


def test_dietz() -> None:
    begin, end, flow = Decimal("74.2"), Decimal("104.4"), Decimal("37.1")
    assert float(returns.dietz(begin, end, [(flow, Decimal("0.5"))])) == pytest.approx(-0.07439, abs=5e-6)
    assert float(returns.dietz(begin, end, [(flow, Decimal(17) / 31)])) == pytest.approx(-0.07298, abs=5e-6)
    with pytest.raises(Undefined):
        returns.dietz(Decimal(-1), end, [])


def test_a_year_is_not_annualised_before_it_is_over() -> None:
    assert returns.annual(1.0, 252, 252) == pytest.approx(1.0)
    assert returns.annual(0.5, 251, 252) is None
    assert returns.annual(1.006**52 - 1, 52, 52) == pytest.approx(0.365, abs=5e-4)
    assert returns.annual(-1.0, 600, 252) is None


def test_returns_are_not_taken_for_prices() -> None:
    assert ratios.sharpe([0.01, 0.02, 1.5, 0.03, 0, 0.01]).value * math.sqrt(365) == pytest.approx(8.24, abs=5e-3)


@pytest.mark.parametrize("values", [[0.001] * 250, [0.1 + 0.2, 0.3, 0.3], [0.0] * 9, [0.1, 0.2], [], [math.nan] * 5])
def test_what_does_not_vary_has_no_ratio(values: list[float]) -> None:
    with pytest.raises(Undefined):
        ratios.moments(values)


def test_time_before_the_beginning_changes_nothing() -> None:
    def figure(values: list[float]) -> float:
        found = ratios.sharpe(values)
        shape = found.moments
        return ratios.probabilistic(found.value, 0, shape.count, shape.skewness, shape.kurtosis)

    assert figure([math.nan] * 100 + MONTHS + [math.nan]) == figure(MONTHS)
    with pytest.raises(Undefined):
        figure([*MONTHS, math.nan, 0.01])
    with pytest.raises(Undefined):
        figure([*MONTHS, math.inf])


def test_the_interval_knows_autocorrelation() -> None:
    random = np.random.default_rng(7)
    shocks = random.normal(0.05, 1, 4000)
    trending = shocks.copy()
    for place in range(1, len(trending)):
        trending[place] += 0.5 * trending[place - 1]
    plain, held = ratios.sharpe(list(shocks)), ratios.sharpe(list(trending))
    assert plain.error == pytest.approx(math.sqrt(ratios.variance_of_sharpe(plain.value) / 4000), rel=0.1)
    # In the long run the variance of a mean with rho .5 is three times that of independent returns.
    assert held.error == pytest.approx(math.sqrt(3 / 4000), rel=0.25)
    assert held.low < held.value < held.high


@pytest.mark.parametrize(
    ("values", "worst"),
    [
        ([5000, 5100, 4900, 5200, 4800, 5050], -0.0769),
        ([100, -20, -50, -100], -2.0),
        ([100, 75, 110], -0.25),
        ([1, 2, 3], 0.0),
    ],
)
def test_depths(values: list[float], worst: float) -> None:
    assert float(drawdown.depths(values).min()) == pytest.approx(worst, abs=5e-5)


def test_drawdown_of_returns() -> None:
    found = drawdown.drawdown([0.1] * 24 + [-0.3])
    assert found.worst == pytest.approx(-0.3)
    assert found.periods == 1
    # A loss of the first period counts, and one that is not over counts its days.
    found = drawdown.drawdown([-0.25, 0.1, 0.1, 0.05])
    assert found.worst == pytest.approx(-0.25)
    assert (found.periods, found.longest) == (4, 4)
    found = drawdown.drawdown([0.1, -0.5, 1.2, 0.1])
    assert (found.now, found.periods, found.longest) == (0, 0, 1)
    with pytest.raises(Undefined):
        drawdown.depths([0, 1])


def test_drawdown_against_its_own_past() -> None:
    random = np.random.default_rng(3)
    calm = list(random.normal(0.001, 0.01, 250))
    calm[-1] = 0.2  # a peak
    assert drawdown.expected([*calm[:50], -0.01], "s") is None
    mild, wild = (drawdown.expected([*calm, loss], "s", 400) for loss in (-0.0001, -0.45))
    assert mild is not None
    assert wild is not None
    assert mild.share < 0.5
    assert wild.share > 0.99
    assert (mild.of, mild.block) == (250, 6)
    # Most paths of so many sessions are below their peak for longer than one.
    assert mild.longer < 0.5
    slow = drawdown.expected([*calm, -0.01, *[0.0] * 240], "s", 400)
    assert slow is not None
    assert slow.longer > 0.9
    # The same paths for the same strategy, whenever they are drawn.
    assert drawdown.expected([*calm, -0.45], "s", 400) == wild


def test_equal_losses_are_a_loss_like_any_other() -> None:
    assert ratios.sortino([-0.01] * 3 + [0.02] * 3) == pytest.approx(0.005 / math.sqrt(0.0001 / 2))
    assert ratios.omega([-0.01] * 3 + [0.02] * 3) == pytest.approx(2)


def test_profit_factor_and_hit_rate() -> None:
    assert ratios.profit_factor([Decimal("2"), Decimal("-0.5"), Decimal("-0.5")]) == 2
    assert ratios.profit_factor([Decimal(-1), Decimal(-1)]) == 0
    with pytest.raises(Undefined):
        ratios.profit_factor([Decimal(1)])
    low, high = ratios.wilson(8, 10)
    assert low == pytest.approx(0.4902, abs=5e-5)
    assert high == pytest.approx(0.9433, abs=5e-5)
    with pytest.raises(Undefined):
        ratios.wilson(0, 0)


WEIGHTS, SPREADS = [0.55, 0.25, 0.2], [0.24, 0.18, 0.15]
MATRIX = np.array([[1, 0.85, 0.3], [0.85, 1, -0.15], [0.3, -0.15, 1]])


def test_shares_of_risk() -> None:
    found = correlation.shares(WEIGHTS, SPREADS, MATRIX)
    assert found.volatility == pytest.approx(0.18005, abs=5e-6)
    assert found.ratio == pytest.approx(1.14968, abs=5e-6)
    assert found.herfindahl == pytest.approx(0.405)
    assert found.risk == pytest.approx([0.7299, 0.2120, 0.0582], abs=5e-5)
    assert found.bets == pytest.approx(2.4523, abs=6e-5)
    equal = correlation.shares([0.25] * 4, [0.2] * 4, np.eye(4))
    assert equal.bets == pytest.approx(4)


def test_shrinkage_of_standardised_returns() -> None:
    random = np.random.default_rng(11)
    one = random.normal(size=500)
    other = 0.64 * one + math.sqrt(1 - 0.64**2) * random.normal(size=500)
    matrix = np.stack([one * 0.001, other * 0.001, random.normal(size=500) * 0.05], axis=1)
    found = correlation.correlation(matrix)
    assert found.sample[0][1] == pytest.approx(0.64, abs=0.05)
    # On the returns as they are it would be shrunk to next to nothing.
    assert found.matrix[0][1] == pytest.approx(found.sample[0][1], abs=0.03)
    assert correlation.correlation(matrix * np.array([1000, 3, 0.01])).matrix == pytest.approx(found.matrix)
    with pytest.raises(Undefined):
        correlation.correlation(np.stack([one, one * 0], axis=1))


FIRST = date(2026, 1, 1)


def dated(values: list[float], first: int = 0) -> list[tuple[date, float]]:
    return [(FIRST + timedelta(days=first + place), value) for place, value in enumerate(values)]


def test_a_common_window_and_nobody_pairwise() -> None:
    random = np.random.default_rng(5)
    every = [FIRST + timedelta(days=place) for place in range(120)]
    weekdays = [day for day in every if day.weekday() < 5]
    values = list(random.normal(0, 0.01, 120))
    late = list(random.normal(0, 0.01, 20))
    window, left_out = correlation.common(
        {"all": dated(values), "week": dated(values), "late": dated(late, 100), "flat": dated([0.0] * 120)},
        {"all": every, "week": weekdays, "late": every, "flat": every},
        30,
    )
    assert window.names == ["all", "week"]
    assert left_out == {"late": "too few sessions", "flat": "returns do not vary"}
    assert window.days == weekdays[1:]
    # Weekends are compounded into Monday on both sides.
    assert window.matrix[:, 0] == pytest.approx(window.matrix[:, 1])
    assert float(np.linalg.eigvalsh(correlation.correlation(window.matrix).matrix).min()) >= 0


def made(count: int, matrix: list[list[float]], means: list[float], seed: int) -> correlation.Window:
    random = np.random.default_rng(seed)
    drawn = random.normal(size=(count, len(means))) @ np.linalg.cholesky(np.array(matrix)).T * 0.01 + np.array(means)
    days = [FIRST + timedelta(days=place) for place in range(count)]
    return correlation.Window([f"s{place}" for place in range(len(means))], days, drawn)


def test_change_since_the_quarter_before() -> None:
    apart = made(63, [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [0, 0, 0], 1)
    near = made(63, [[1, 0.95, 0], [0.95, 1, 0], [0, 0, 1]], [0, 0, 0], 2)
    moved = correlation.Window(apart.names, apart.days + near.days, np.vstack([apart.matrix, near.matrix]))
    found = correlation.changed(moved)
    assert found is not None
    assert (found.pair, found.certain, found.counts) == (("s0", "s1"), True, (63, 63))
    same = correlation.Window(
        apart.names, apart.days * 2, np.vstack([apart.matrix, made(63, np.eye(3).tolist(), [0] * 3, 9).matrix])
    )
    found = correlation.changed(same)
    assert found is not None
    assert not found.certain
    assert correlation.changed(correlation.Window(apart.names, apart.days[:50], apart.matrix[:50])) is None


def test_what_cannot_be_told_apart_is_not_ranked() -> None:
    alike = correlation.ranked(made(250, np.eye(3).tolist(), [0.0004, 0.0005, 0.0006], 6))
    assert (alike.pairs, alike.apart) == (3, [])
    found = correlation.ranked(made(250, np.eye(3).tolist(), [0.006, -0.006, -0.006], 6))
    assert set(found.apart) == {("s0", "s1"), ("s0", "s2")}
    assert found.order[0] == "s0"


def test_many_strategies_are_ranked_as_few() -> None:
    window = made(250, np.eye(6).tolist(), [0.006, 0.004, 0.002, -0.002, -0.004, -0.006], 12)
    found = correlation.ranked(window)
    assert (found.pairs, len(found.order)) == (15, 6)
    # Each pair by itself, as one difference of two series.
    spread = window.matrix.std(axis=0, ddof=1)
    scaled = (window.matrix - window.matrix.mean(axis=0)) / spread
    ratio = window.matrix.mean(axis=0) / spread
    influence = scaled - ratio / 2 * (scaled**2 - 1)
    chances = {}
    for one in range(6):
        for other in range(one + 1, 6):
            variance = ratios.long_run_variance(influence[:, one] - influence[:, other], 4)
            distance = abs(ratio[one] - ratio[other]) / math.sqrt(variance / 250)
            chances[one, other] = 2 * (1 - ratios.NORMAL.cdf(distance))
    apart = set()
    for place, pair in enumerate(sorted(chances, key=lambda each: chances[each])):
        if chances[pair] > 0.05 / (15 - place):
            break
        apart.add(frozenset(f"s{each}" for each in pair))
    assert {frozenset(pair) for pair in found.apart} == apart
    assert 3 < len(apart) < 15


def test_too_many_strategies_have_no_count_of_bets() -> None:
    size = correlation.MOST_BETS + 1
    found = correlation.shares([1 / size] * size, [0.1] * size, np.eye(size))
    assert found.bets is None
    assert sum(found.risk) == pytest.approx(1)


def test_stressed_says_nothing_of_a_few_days() -> None:
    window = made(250, np.eye(2).tolist(), [0, 0], 8)
    assert (
        correlation.stressed(correlation.Window(window.names, window.days[:180], window.matrix[:180]), [0.5, 0.5])
        is None
    )
    found = correlation.stressed(window, [0.5, 0.5])
    assert found is not None
    assert found[1] == 13


def test_clusters() -> None:
    names = ["a", "b", "c", "d"]
    matrix = np.array([[1, 0.9, 0.1, 0], [0.9, 1, 0.2, 0], [0.1, 0.2, 1, 0.65], [0, 0, 0.65, 1]])
    assert correlation.clusters(matrix, names) == [["a", "b"]]
    assert correlation.clusters(matrix, names, 0.6) == [["a", "b"], ["c", "d"]]
    assert correlation.clusters(np.eye(4), names) == []
    # By the average: c is near b, and far from a.
    near = np.array([[1, 0.8, 0.3], [0.8, 1, 0.75], [0.3, 0.75, 1]])
    assert correlation.clusters(near, names[:3]) == [["a", "b"]]


def test_paths_are_blocks_of_the_returns() -> None:
    pool = np.arange(27) / 1000
    parts = list(bootstrap.paths_of(pool, 50, 1100, "s"))
    assert [part.shape for part in parts] == [(500, 50), (500, 50), (100, 50)]
    places = np.rint(np.concatenate(parts) * 1000).astype(int)
    goes_on = np.mod(places[:, 1:] - places[:, :-1], 27) == 1
    # Blocks of 3 on average: two of three periods go on, and by chance one in 27 of the others.
    assert bootstrap.block(27) == 3
    assert float(goes_on.mean()) == pytest.approx(2 / 3 + 1 / 3 / 27, abs=0.02)
    assert all((one == other).all() for one, other in zip(parts, bootstrap.paths_of(pool, 50, 1100, "t"), strict=True))


def test_intervals_are_wide_where_little_is_known() -> None:
    values = list(np.random.default_rng(2).normal(0.0005, 0.01, 1000))
    much, little = (bootstrap.intervals(values[:count], "s", 0.0, 0.95) for count in (1000, 60))
    for key, figure in (("sortino", ratios.sortino(values)), ("omega", ratios.omega(values))):
        low, high = much[key]
        assert low is not None
        assert high is not None
        assert low < figure < high
        assert (little[key][1] or math.inf) - (little[key][0] or 0) > high - low
    # Paths without a loss have no Sortino ratio: the interval has no end there.
    assert bootstrap.intervals([0.01, 0.02, 0.03, 0.04, -0.001], "s", 0.0, 0.95)["sortino"][1] is None


def test_every_formula_is_documented() -> None:
    rooms = sorted((COLLECTION / "plugins/module_utils/_performance").glob("*.py"))
    ids = {
        id
        for path in rooms
        for id in re.findall(r"\[([a-z]+(?:-[a-z0-9]+)+|sortino|omega|drawdown)\] ", path.read_text())
    }
    assert len(ids) >= 15
    pages = "".join(
        (ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("review", "backtest", "stakeholders")
    )
    assert {id for id in ids if f"`{id}`" not in pages} == set()
