"""What became worse by a patching, and what was bad before, on plain data."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import health, proof
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.proven import (
    action,
    as_planned,
    proven,
    summary,
    well,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check, as_dicts, judge, unknown

from tests.unit.test_patching_proof import BEFORE, result


def disk(used: float, mount: str = "/") -> Check:
    id = f"system.disk_space:{mount}"
    return judge(id, f"Disk space of {mount}", used, unit="%", warning=85, critical=95, message=f"{used} %.")


def breaks(*keys: str, left_out: int = 0) -> Check:
    """As reconciliation has them, by their keys."""
    details = {"keys": {"2026-11-30T00:00:00Z": list(keys)}, **({"keys_left_out": left_out} if left_out else {})}
    count = len(keys) + left_out
    id, text = "trading.reconcile_positions", f"{count} breaks."
    return judge(id, "Positions", count, warning=None, critical=1, message=text, details=details)


def units(*names: str) -> Check:
    id, text = "system.failed_units", f"{len(names)} failed."
    return judge(id, "Units", len(names), warning=1, critical=3, message=text, details={"units": list(names)})


def orders(*ids: str, count: int | None = None) -> Check:
    """The first ten, with what moves by itself."""
    first = [{"order_id": each, "age": time.monotonic()} for each in ids]
    id, value = "trading.open_orders", len(ids) if count is None else count
    details = {"count": value, "first": first}
    return judge(id, "Orders", value, warning=1, critical=1, message=f"{ids}.", details=details)


def amount(value: str) -> Check:
    return judge("trading.failed_amount", "Amount", Decimal(value), warning=None, critical=100, message="Failed.")


LOST = unknown("trading.reconcile_positions", "Positions", "The view is missing.")
BEATS = Check("trading.strategy_heartbeat:momentum", "Heartbeat", "ok", 3.0, "s")
GOOD = Check("system.failed_units", "Failed units", "ok", 0)


def kept(*checks: Check) -> health.Checks:
    return health.reduced(as_dicts(checks))


@pytest.mark.parametrize(
    ("before", "now", "status"),
    [
        ([disk(41.0)], [disk(42.0)], "ok"),
        ([disk(41.0)], [disk(97.0)], "critical"),
        ([disk(90.0)], [disk(97.0)], "critical"),
        # Not critical, and not hidden either.
        ([disk(41.0)], [disk(90.0)], "warning"),
        ([disk(90.0)], [disk(91.0)], "ok"),
        # Critical before, and still; some noise of what is measured is no change.
        ([disk(96.0)], [disk(96.4)], "warning"),
        ([disk(96.0)], [disk(80.0)], "ok"),
        ([breaks("a", "b")], [breaks("a", "b")], "warning"),
        # More of what was there before; as many, and others; fewer, and another.
        ([breaks("a", "b")], [breaks("a", "b", "c")], "critical"),
        ([breaks("a", "b")], [breaks("a", "c")], "critical"),
        ([breaks("a", "b", "c")], [breaks("a", "d")], "critical"),
        ([breaks("a", "b", "c")], [breaks("a", "b")], "warning"),
        # As many, and not all of them named: nobody knows. Fewer of those that were all named are the same.
        ([breaks("a", "b", left_out=3)], [breaks("a", "b", left_out=3)], "unknown"),
        ([breaks("a", "b", left_out=3)], [breaks("a", "c", left_out=3)], "unknown"),
        ([breaks("a", "b", left_out=3)], [breaks("a", "b")], "warning"),
        ([breaks("a", "b", left_out=3)], [breaks("a", "c")], "unknown"),
        ([breaks("a")], [breaks("a", left_out=3)], "critical"),
        ([units("a", "b", "c")], [units("a", "b", "c")], "warning"),
        ([units("a", "b", "c")], [units("a", "b", "d")], "critical"),
        ([units("a")], [units("b")], "warning"),
        ([units("a")], [units("a")], "ok"),
        ([units("a", "b", "c")], [units("a")], "ok"),
        ([orders("1", "2")], [orders("2", "1")], "warning"),
        ([orders("1", "2")], [orders("1", "3")], "critical"),
        ([orders("1", "2", count=30)], [orders("1", "2", count=30)], "unknown"),
        # A sum has no names.
        ([amount("120.10")], [amount("120.10")], "warning"),
        ([amount("120.10")], [amount("120.11")], "critical"),
        ([breaks()], [LOST], "critical"),
        ([breaks("a", "b")], [LOST], "critical"),
        ([LOST], [LOST], "warning"),
        ([LOST], [breaks()], "ok"),
        ([LOST], [breaks("a")], "critical"),
        # A disk that did not come back, and a check that is no longer there; not a session's own mount.
        ([disk(41.0), disk(10.0, "/srv")], [disk(41.0)], "critical"),
        ([disk(41.0), disk(10.0, "/run/user/0")], [disk(41.0)], "ok"),
        ([GOOD, disk(41.0)], [disk(41.0)], "unknown"),
        ([breaks("a"), disk(41.0)], [disk(41.0)], "unknown"),
        ([BEATS, disk(41.0)], [disk(41.0)], "unknown"),
        ([LOST, disk(41.0)], [disk(41.0)], "ok"),
        # Nobody looked before.
        (None, [disk(97.0)], "critical"),
        (None, [disk(41.0)], "ok"),
        # The host was restarted.
        (
            [Check("system.uptime", "Time since start", "ok", 1e6)],
            [Check("system.uptime", "Since", "critical", 9)],
            "ok",
        ),
        ([disk(41.0)], [], "unknown"),
    ],
)
def test_worse_than_before_is_the_patchings(before: list[Check] | None, now: list[Check], status: str) -> None:
    earlier = None if before is None else kept(*before)
    check = health.compared("system", earlier, kept(*now))
    assert check.status == status
    bad = {each.id for each in now if each.status in ("critical", "unknown")} - {"system.uptime"}
    assert all(id in check.message for id in bad)


def test_a_status_that_is_not_known_is_not_good() -> None:
    odd = [{**kept(disk(41.0))[0], "status": "fine"}]
    assert health.compared("system", kept(disk(41.0)), odd).status == "critical"


def test_nothing_is_started_on_a_host_whose_health_turned_bad() -> None:
    def judged(before: Any, now: Any) -> list[Check]:
        host = result(before={**BEFORE, "health": before}, health=now, resumed=[], halted=["strategies.service"])
        return proven(host, (99.9, 100.1), 60)

    assert as_planned(judged(kept(disk(41.0)), kept(disk(41.0))))
    # Named, and not blamed on the patching.
    named = judged(kept(disk(96.0)), kept(disk(96.0)))
    assert as_planned(named)
    assert {check.id: check.status for check in named}["patching.health:system"] == "warning"
    for now in (kept(disk(97.0)), []):
        bad = judged(kept(disk(41.0)), now)
        assert not as_planned(bad)
        assert not well(bad)
        assert action(bad, False, "2026-11-30T00:00:00Z")["status"] == "failed"
    assert summary(result(before={**BEFORE, "health": None}), bad)["health"] == {"patching.health:system": "unknown"}


def test_what_comes_up_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [kept(disk(97.0)), kept(disk(97.0)), kept(disk(41.0))]
    waits: list[float] = []
    monkeypatch.setattr(health, "measured", lambda options: said.pop(0) if options is not None else None)
    monkeypatch.setattr(time, "sleep", waits.append)
    assert proof.recovered(kept(disk(41.0)), {}, 600) == kept(disk(41.0))
    assert len(waits) == 2
    assert proof.recovered(None, None, 600) is None
    # Not for ever.
    said.append(kept(disk(97.0)))
    assert proof.recovered(kept(disk(41.0)), {}, -1) == kept(disk(97.0))


def test_as_many_and_others_says_which() -> None:
    check = health.compared("trading", kept(breaks("aaa", "bbb")), kept(breaks("aaa", "ccc")))
    assert "new: ccc" in check.message
    assert "bbb" not in check.message


def test_what_is_kept_of_a_check_is_small_and_names_what_it_counts() -> None:
    many = kept(units(*(f"u{number}.service" for number in range(50))))[0]
    assert (len(many["names"]), many["named"]) == (50, False)
    assert health.reduced([many]) == [many]
    assert "details" not in many


#: 2026-11-30T08:00:00Z
BEGAN = 1796025600.0


def measurement(began: float, *checks: Check, run: str = "two") -> dict[str, Any]:
    """As the role has it."""
    at = datetime.fromtimestamp(int(began), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "run": run,
        "by": "app1",
        "began": began,
        "checks": [{**each, "observed_at": at} for each in as_dicts(checks)],
    }


OF: Any = {"run": "two", "host": "app2", "after": BEGAN + 60.5}
KEPT = health.handed(measurement(BEGAN, breaks()), "two", "app2", BEGAN + 9)
AFTER = measurement(BEGAN + 70, breaks())


@pytest.mark.parametrize(
    ("before", "now", "status", "said"),
    [
        (KEPT, AFTER, "ok", ""),
        (KEPT, measurement(BEGAN + 70, breaks("a")), "critical", "reconcile_positions"),
        # What the host keeps of its first attempt, in an earlier run.
        ({**KEPT, "run": "one"}, AFTER, "ok", ""),
        # The one of before the first host once more; half a second too early; nothing.
        (KEPT, measurement(BEGAN, breaks()), "unknown", "before the host was proven"),
        (KEPT, measurement(BEGAN + 60.4, breaks()), "unknown", "before the host was proven"),
        (KEPT, {}, "unknown", "no measurement"),
        (KEPT, {**AFTER, "checks": []}, "unknown", "no measurement"),
        (KEPT, {**AFTER, "run": "one"}, "unknown", "of the run one"),
        # A result of before under a new beginning.
        (KEPT, {**measurement(BEGAN, breaks()), "began": BEGAN + 70}, "unknown", "before the measurement began"),
        (KEPT, {**AFTER, "checks": [{**kept(breaks())[0]}]}, "unknown", "observed at None"),
        (KEPT, measurement(BEGAN + 70, disk(41.0)), "unknown", "not measured"),
        ({}, AFTER, "unknown", "keeps no measurement"),
        ({**KEPT, "for": "app1"}, AFTER, "unknown", "is of app1"),
        ({**KEPT, "began": BEGAN + 10}, AFTER, "unknown", "not measured before"),
        ({**KEPT, "handed": BEGAN + 80}, AFTER, "unknown", "not measured before"),
    ],
)
def test_the_platform_is_compared_with_what_is_of_run_host_and_moment(
    before: dict[str, Any], now: dict[str, Any], status: str, said: str
) -> None:
    check = health.platform("trading", before, now, OF)
    assert check.status == status
    assert said in check.message


@pytest.mark.parametrize(
    "given",
    [
        measurement(BEGAN, breaks(), run="one"),
        measurement(BEGAN + 10, breaks()),
        {**measurement(BEGAN - 60, breaks()), "began": BEGAN},
        {"run": "two", "began": BEGAN, "checks": []},
        {"run": "two", "began": True, "checks": as_dicts([breaks()])},
    ],
)
def test_a_host_is_not_handed_what_was_not_measured_before(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        health.handed(given, "two", "app2", BEGAN + 9)
    assert health.handed(None, "two", "app2", BEGAN + 9) == {}
