"""Risk limits of a sandbox reached, and what they are computed from taken away."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from tests.conftest import Sandbox
from tests.integration.trading_worker import altered, changed, measured, statuses

METRICS = ("gross_exposure", "net_exposure", "daily_loss", "concentration", "leverage", "order_rate")
NAME = "strategy/trend-coins"
OURS = "scope = 'strategy' AND subject = 'trend-coins'"


def judged(platform: Sandbox, **options: object) -> dict[str, str]:
    """What is not ok of the limits."""
    bad = statuses(measured(platform, **options))
    return {id.partition(":")[2]: status for id, status in bad.items() if id.startswith("risk_limits")}


def test_healthy(platform: Sandbox) -> None:
    found = measured(platform)
    assert statuses(found) == {}
    assert sum(id.startswith("risk_limits:") for id in found) == 16
    limits = {one["metric"]: one for one in found[f"risk_limits:{NAME}"].details["limits"]}
    assert limits.keys() == set(METRICS)
    gross = limits["gross_exposure"]
    assert Decimal(gross["used"]) + Decimal(gross["headroom"]) == Decimal(gross["limit"])


@pytest.mark.parametrize("metric", METRICS)
def test_limit_reached(platform: Sandbox, metric: str) -> None:
    # The result of the day may be a gain, and nobody may have traded: there must be something to limit.
    something = (
        "UPDATE equity SET pnl = -1000",
        "UPDATE orders SET created_at = now() "
        "WHERE id = (SELECT max(id) FROM orders WHERE strategy_code = 'trend-coins')",
        "UPDATE positions SET quantity = 1 WHERE strategy_code = 'trend-coins'",
    )
    where = f"WHERE {OURS} AND metric = '{metric}'"
    with changed(platform, *something, f"UPDATE risk_limits SET limit_value = 0.00000001 {where}"):
        check = measured(platform)[f"risk_limits:{NAME}"]
    assert check.status == "critical"
    assert metric in check.message
    reached = [one["metric"] for one in check.details["limits"] if one["status"] == "critical"]
    assert reached == [metric]
    assert next(one["headroom"] for one in check.details["limits"] if one["metric"] == metric).startswith("-")


def test_warning_comes_at_the_limits_own_ratio(platform: Sandbox) -> None:
    with changed(platform, f"UPDATE risk_limits SET warning_ratio = 0.0001 WHERE {OURS}"):
        assert judged(platform) == {NAME: "warning"}


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE prices SET observed_at = observed_at - interval '30 days'", "no recent price"),
        ("DELETE FROM prices", "no recent price"),
        ("UPDATE prices SET price = 'NaN'", "price"),
        ("DELETE FROM equity", "no recent equity"),
        ("UPDATE equity SET as_of = as_of - interval '3 days'", "no recent equity"),
        ("UPDATE equity SET equity = 0", "not above 0"),
        ("UPDATE positions SET quantity = 'NaN'", "is no number"),
        ("UPDATE risk_limits SET limit_value = 'NaN'", "not a number above 0"),
        ("UPDATE risk_limits SET limit_value = 0", "not a number above 0"),
        ("UPDATE risk_limits SET currency = 'JPY' WHERE currency IS NOT NULL", "cannot be added up"),
        ("UPDATE risk_limits SET metric = 'mood' WHERE metric = 'leverage'", "this metric is not known"),
    ],
)
def test_what_cannot_be_computed_is_unknown(platform: Sandbox, statement: str, why: str) -> None:
    with changed(platform, statement):
        check = measured(platform)["risk_limits:account/HOUSE-COINS"]
    assert check.status == "unknown"
    assert why in check.message


def test_limits_that_are_not_there_are_unknown(platform: Sandbox) -> None:
    with changed(platform, "UPDATE risk_limits SET active = false"):
        assert statuses(measured(platform)) == {
            "risk_limits": "unknown",
            "disabled_limits": "warning",
            "unlimited_strategies": "critical",
        }
    with changed(platform, f"UPDATE risk_limits SET subject = 'nobody' WHERE {OURS}"):
        assert judged(platform) == {"strategy/nobody": "unknown"}
    rename = "ALTER VIEW maintenance.equity RENAME TO {}"
    with altered(platform, rename.format("gone"), "ALTER VIEW maintenance.gone RENAME TO equity"):
        assert statuses(measured(platform)) == {"risk_limits": "unknown", "duplicates:equity": "unknown"}


def test_flat_is_within_limits(platform: Sandbox) -> None:
    with changed(platform, "UPDATE positions SET quantity = 0", "DELETE FROM prices"):
        assert judged(platform) == {}


#: A position of a strategy that the view knows without an account, or of none, and nothing else of either.
GHOST = "UPDATE positions SET strategy_code = 'ghost' WHERE strategy_code = 'trend-coins'"
EQUITY = "UPDATE equity SET strategy_code = 'ghost' WHERE strategy_code = 'trend-coins' AND day"
EXPOSED = {"gross_exposure", "net_exposure", "concentration", "leverage"}


def unknown_metrics(check: object) -> set[str]:
    return {one["metric"] for one in check.details["limits"] if one["status"] == "unknown"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("statement", "metrics"),
    [
        (GHOST, EXPOSED),
        (
            "UPDATE orders SET strategy_code = 'ghost', created_at = now() - interval '1 minute' "
            "WHERE id = (SELECT max(id) FROM orders)",
            {"order_rate"},
        ),
        (
            f"{EQUITY} < (SELECT max(day) FROM equity)",
            {"concentration", "leverage", "daily_loss"},
        ),
        # Of a strategy that is no more.
        (
            f"{EQUITY} < (SELECT max(day) FROM equity) - 2",
            set(),
        ),
    ],
)
def test_what_is_nobodys_makes_the_limits_of_accounts_unknown(
    platform: Sandbox, statement: str, metrics: set[str]
) -> None:
    with changed(platform, statement, "UPDATE positions SET quantity = 1 WHERE quantity = 0"):
        found = measured(platform)
    accounts = [check for id, check in found.items() if id.startswith("risk_limits:account/")]
    assert accounts
    for check in accounts:
        named = {one["metric"] for one in check.details["limits"]}
        assert unknown_metrics(check) == metrics & named
        assert not metrics or ("no known owner" in check.message and "ghost" in check.message)
    # Another strategy's name is not this one's.
    others = [check for id, check in found.items() if id.startswith("risk_limits:strategy/") and "trend" not in id]
    assert {check.status for check in others} == {"ok"}


def test_known_part_that_breaks_a_limit_is_critical_whatever_is_nobodys(platform: Sandbox) -> None:
    tiny = "UPDATE risk_limits SET limit_value = 0.00000001 WHERE scope = 'account' AND metric = 'gross_exposure'"
    with changed(platform, GHOST, tiny, "UPDATE positions SET quantity = 1 WHERE strategy_code <> 'ghost'"):
        found = measured(platform)
    check = next(check for id, check in found.items() if id.startswith("risk_limits:account/"))
    assert check.status == "critical"
    assert re.search(r"gross_exposure may be more: \d+ positions? ha(s|ve) no known owner", check.message)


def test_flat_position_of_nobody_is_nothing(platform: Sandbox) -> None:
    with changed(
        platform, "UPDATE positions SET strategy_code = 'ghost', quantity = 0 WHERE strategy_code = 'trend-coins'"
    ):
        assert set(judged(platform)) <= {NAME}


@pytest.mark.parametrize("value", ["NULL", "now() + interval '1 hour'"])
def test_orders_without_a_time_leave_no_ratio_and_no_latency(platform: Sandbox, value: str) -> None:
    null = "ALTER TABLE orders ALTER created_at {} NOT NULL"
    with (
        altered(platform, null.format("DROP"), null.format("SET")),
        changed(platform, f"UPDATE orders SET created_at = {value} WHERE id = (SELECT min(id) FROM orders)"),
    ):
        found = measured(platform)
    names = ("reject_ratio", "fill_ratio", "acknowledge_latency", "execution_latency", "slippage")
    for name in names:
        assert (found[name].status, found[name].value) == ("unknown", None)
        assert "1 order without created_at" in found[name].message
        assert "created_at" in found[name].remedy
    assert "unknown" in {check.status for id, check in found.items() if id.startswith("risk_limits:strategy/")}


def test_limits_in_words(platform: Sandbox) -> None:
    with changed(platform, f"UPDATE risk_limits SET limit_value = 12.500 WHERE {OURS} AND metric = 'gross_exposure'"):
        check = measured(platform)[f"risk_limits:{NAME}"]
    told = next(one for one in check.details["limits"] if one["metric"] == "gross_exposure")
    assert "gross_exposure uses" in check.message
    assert "of its limit 12.5 USD, exceeded by " in check.message
    left = check.message.partition("exceeded by ")[2].partition(".;")[0].split(";")[0].rstrip(".")
    assert Decimal(left.replace(",", "")) == -Decimal(told["headroom"])
    assert not left.endswith("0") or "." not in left
