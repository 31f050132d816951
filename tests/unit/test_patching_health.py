"""What became worse by a patching, and what was bad before, on plain data."""

from __future__ import annotations

import time
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


def breaks(count: int) -> Check:
    return judge(
        "trading.reconcile_positions", "Positions", count, warning=None, critical=1, message=f"{count} breaks."
    )


LOST = unknown("trading.reconcile_positions", "Positions", "The view is missing.")
GOOD = Check("system.failed_units", "Failed units", "ok", 0)


def kept(*checks: Check) -> health.Checks:
    return health.reduced(as_dicts(checks))


@pytest.mark.parametrize(
    ("before", "now", "status"),
    [
        ([disk(41.0)], [disk(42.0)], "ok"),
        ([disk(41.0)], [disk(97.0)], "critical"),
        ([disk(90.0)], [disk(97.0)], "critical"),
        ([disk(41.0)], [disk(90.0)], "ok"),
        # Critical before, and still; some noise of what is measured is no change.
        ([disk(96.0)], [disk(96.4)], "warning"),
        ([disk(96.0)], [disk(80.0)], "ok"),
        ([breaks(2)], [breaks(2)], "warning"),
        # More of what was there before.
        ([breaks(2)], [breaks(3)], "critical"),
        ([breaks(3)], [breaks(2)], "warning"),
        ([breaks(0)], [LOST], "critical"),
        ([breaks(2)], [LOST], "critical"),
        ([LOST], [LOST], "warning"),
        ([LOST], [breaks(0)], "ok"),
        ([LOST], [breaks(1)], "critical"),
        # A disk that did not come back, and a check that is no longer there; not a session's own mount.
        ([disk(41.0), disk(10.0, "/srv")], [disk(41.0)], "critical"),
        ([disk(41.0), disk(10.0, "/run/user/0")], [disk(41.0)], "ok"),
        ([GOOD, disk(41.0)], [disk(41.0)], "critical"),
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
