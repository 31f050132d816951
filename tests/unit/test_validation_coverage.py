"""Backtests of value at risk: published values, sequences counted by hand, and what the tests could have seen."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._validation import coverage

RATE = Fraction(1, 100)
#: Chi-square with one degree, at 5 %.
BOUND = 3.841459


@pytest.mark.parametrize(
    ("exceptions", "ratio"), [(0, 5.0252), (1, 1.1765), (3, 0.0949), (4, 0.7691), (7, 5.4970), (8, 7.7336)]
)
def test_kupiec_of_250_sessions_at_one_percent(exceptions: int, ratio: float) -> None:
    assert coverage.kupiec(250, exceptions, 0.01) == pytest.approx(ratio, abs=5e-5)


def test_kupiec_elsewhere_and_at_the_ends() -> None:
    assert coverage.kupiec(500, 40, 0.05) == pytest.approx(8.0790, abs=5e-5)
    assert coverage.kupiec(1043, 57, 0.05) == pytest.approx(0.46147, abs=5e-6)
    assert coverage.chi_square(coverage.kupiec(1043, 57, 0.05), 1) == pytest.approx(0.49694, abs=5e-6)
    # 0 log 0 is 0: none, and nothing but exceptions.
    assert coverage.kupiec(1, 1, 0.05) == pytest.approx(-2 * math.log(0.05))
    assert coverage.kupiec(3, 0, 0.05) == pytest.approx(-6 * math.log(0.95))


@pytest.mark.parametrize(("sessions", "power"), [(250, 0.24), (500, 0.54), (1000, 0.78)])
def test_what_the_ratio_test_sees(sessions: int, power: float) -> None:
    size, found = coverage.ratio_test_reach(sessions, RATE, 2 * RATE, BOUND)
    assert found == pytest.approx(power, abs=0.005)
    if sessions == 250:
        assert size == pytest.approx(0.095, abs=5e-4)


def test_basel_by_exact_probabilities() -> None:
    published = [8.11, 28.58, 54.32, 75.81, 89.22, 95.88, 98.63, 99.60, 99.89, 99.97, 99.99]
    found = coverage.binomial(250, RATE)
    assert [round(100 * each, 2) for each in found.most[:11]] == published
    zones = [coverage.traffic_light(250, count, RATE)[0] for count in range(12)]
    assert zones == ["green"] * 5 + ["yellow"] * 5 + ["red"] * 2
    assert [coverage.multiplier(250, count, RATE) for count in (0, 4, 5, 9, 10, 30)] == [1.5, 1.5, 1.7, 1.92, 2.0, 2.0]
    assert coverage.multiplier(249, 3, RATE) is None
    assert coverage.multiplier(250, 3, Fraction(1, 20)) is None


def test_binomials_are_exact() -> None:
    found = coverage.binomial(7, Fraction(3, 10))
    assert found.each == tuple(
        float(math.comb(7, k) * Fraction(3, 10) ** k * Fraction(7, 10) ** (7 - k)) for k in range(8)
    )
    assert math.fsum(found.each) == pytest.approx(1, abs=1e-15)
    assert (found.most[7], found.least[0]) == (1.0, 1.0)
    # A tail as far out as floats reach, and not what is left of 1.
    assert coverage.binomial(1000, RATE).least[200] == pytest.approx(1e-193, rel=1e3)


def test_exact_and_mid_p_values() -> None:
    found = coverage.binomial(250, RATE)
    # 7 or more, and 0: whose ratios are 5.4970 and 5.0252.
    assert coverage.exact(250, 7, RATE) == pytest.approx(found.least[7])
    assert coverage.exact(250, 0, RATE) == pytest.approx(found.least[7] + found.each[0])
    assert coverage.exact(250, 2, RATE) == pytest.approx(1 - (found.each[3]), abs=1e-9)
    assert coverage.mid_p(250, 7, RATE) == pytest.approx(2 * (found.least[8] + found.each[7] / 2))
    assert coverage.mid_p(250, 0, RATE) == pytest.approx(found.each[0])
    assert coverage.mid_p(250, 2, RATE) <= 1
    # The ratio test rejects a model without any exception, one time in twelve of them right: mid-p does not.
    assert coverage.kupiec(250, 0, 0.01) > BOUND
    assert coverage.mid_p(250, 0, RATE) > 0.05


def test_what_the_mid_p_test_sees() -> None:
    found = coverage.reach(250, RATE, Fraction(2), 0.05)
    assert (found.low, found.high) == (-1, 7)
    assert found.power == pytest.approx(coverage.binomial(250, 2 * RATE).least[7])
    assert found.power == pytest.approx(0.236, abs=1e-3)
    assert coverage.reach(1000, RATE, Fraction(2), 0.05).power > 0.78
    # So few sessions that nothing is ever too many; and so many more that all are exceptions.
    few = coverage.reach(1, Fraction(1, 4), Fraction(2), 0.05)
    assert (few.high, few.power) == (2, 0.0)
    assert coverage.reach(50, Fraction(1, 20), Fraction(30), 0.05).power == 1.0


def test_christoffersen_published() -> None:
    found = coverage.Steps(932, 53, 53, 4)
    ratio, pof = coverage.independence(found), coverage.kupiec(1043, 57, 0.05)
    assert ratio == pytest.approx(0.25866, abs=5e-6)
    assert coverage.chi_square(ratio, 1) == pytest.approx(0.61104, abs=5e-6)
    assert coverage.chi_square(ratio + pof, 2) == pytest.approx(0.69763, abs=5e-6)
    assert found.clustered
    # Of so many sessions the exact values are near those of large samples.
    assert coverage.coverage_exact(1043, Fraction(1, 20), ratio + pof) == pytest.approx(0.69763, abs=0.02)


@pytest.mark.parametrize("hits", ["", "0", "1", "00000", "11111", "01", "10", "00100", "11000"])
def test_zero_cells_are_no_error(hits: str) -> None:
    found = coverage.steps([each == "1" for each in hits])
    assert found.n00 + found.n01 + found.n10 + found.n11 == max(len(hits) - 1, 0)
    assert coverage.independence(found) >= 0
    assert len(set(hits)) > 1 or coverage.independence(found) == 0


def test_sequences_are_counted_as_by_hand() -> None:
    sessions, rate = 9, Fraction(1, 5)
    both: dict[tuple[bool, ...], float] = {}
    for count in range(sessions + 1):
        each = [hits for hits in itertools.product((False, True), repeat=sessions) if sum(hits) == count]
        ratios = [coverage.independence(coverage.steps(hits)) for hits in each]
        for hits, ratio in zip(each, ratios, strict=True):
            expected = sum(other >= ratio - 1e-9 for other in ratios) / len(ratios)
            assert coverage.independence_exact(sessions, count, ratio) == pytest.approx(expected)
            both[hits] = ratio + coverage.kupiec(sessions, count, float(rate))
    for bound in (0.0, 1.0, 3.0, 8.0):
        expected = sum(float(rate ** sum(hits) * (1 - rate) ** (9 - sum(hits))) for hits in both if both[hits] >= bound)
        assert coverage.coverage_exact(sessions, rate, bound) == pytest.approx(expected)


def test_power_of_independence_is_counted_as_by_hand() -> None:
    sessions, rate, again = 11, Fraction(1, 4), 0.7
    calm = 0.25 * (1 - again) / 0.75
    total = 0.0
    for hits in itertools.product((False, True), repeat=sessions):
        found = coverage.steps(hits)
        chance = 0.25 if hits[0] else 0.75
        chance *= (1 - calm) ** found.n00 * calm**found.n01 * (1 - again) ** found.n10 * again**found.n11
        bad = coverage.independence_exact(sessions, sum(hits), coverage.independence(found)) <= 0.1
        total += chance if bad and found.clustered else 0.0
    assert coverage.independence_power(sessions, rate, again, 0.1) == pytest.approx(total)
    assert coverage.independence_power(1000, Fraction(1, 20), 0.25, 0.05) > 0.95
    assert coverage.independence_power(250, RATE, 0.25, 0.05) < 0.5


def test_levels_are_exact_rates() -> None:
    assert Fraction(1 - Decimal("0.975")) == Fraction(1, 40)
