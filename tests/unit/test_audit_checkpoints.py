"""What daily runs counted of audited tables: from the report into the ledger, and from there into the audit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import checkpoints
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.checkpoints import Checkpoint
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import Period
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.ledger_once import Run
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.audited import judged
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils import report as reports

TABLE = {"name": "audit_log", "relation": "maintenance.audit_log", "time": "at", "key": "entry_id"}
DAYS = {"2026-10-02": {"rows": 5, "highest": "9"}, "2026-10-03": {"rows": 7, "highest": "16"}}


def test_a_report_hands_on_what_its_checks_counted() -> None:
    check = judged(TABLE, DAYS, []).as_dict()
    other = {"id": "database.size", "details": {"days": {"2026-10-02": {"rows": 1}}}}
    unknown = {"id": "database.audited:orders", "details": {}}
    report = {"checks": [other, check, unknown, {"id": "database.answers"}]}
    assert reports.checkpoints(report) == {"maintenance.audit_log": DAYS}
    assert reports.checkpoints({"checks": [other]}) == {}


PERIOD = Period("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")


def run(number: int, at: str, **content: Any) -> Run:
    return Run(number, datetime.strptime(at, "%Y-%m-%dT%H:%M:%S%z").timestamp(), content)


def test_only_what_is_a_count_of_a_day_by_a_run_counts() -> None:
    counted = {"maintenance.audit_log": DAYS}
    strange = {"a.b": {"2026-10-02": {"rows": "5"}, "x": {"rows": 1}, "2026-10-03": {"rows": True}}}
    runs = [
        run(9, "2026-11-06T01:00:00Z", checkpoints=counted),
        run(8, "2026-11-05T01:00:00Z", checkpoints=counted),
        run(6, "2026-10-04T06:00:00Z", checkpoints=strange),
        run(5, "2026-10-04T06:00:00Z", checkpoints=[1]),
        run(3, "2026-10-03T06:00:00Z", checkpoints={"maintenance.audit_log": {"2026-10-02": {"rows": 5}}}),
        run(2, "2026-09-01T06:00:00Z", checkpoints=counted),
    ]
    assert checkpoints.recorded(runs, PERIOD) == {
        "maintenance.audit_log": {
            "2026-10-02": [Checkpoint(5, "9", 8), Checkpoint(5, None, 3)],
            "2026-10-03": [Checkpoint(7, "16", 8)],
        }
    }


def test_on_which_days_runs_measured_a_clock() -> None:
    kernel = {"synchronised": True, "error": 0.001}
    check = {"id": "system.clock_skew", "host": "app1", "details": {"kernel": {**kernel, "more": 1}}}
    others = [{"id": "system.clock_skew", "host": "app2", "details": {"kernel": None}}, {"id": "system.load"}]
    clocks = reports.clocks({"checks": [check, *others]})
    assert clocks == {"app1": kernel}
    runs = [
        run(9, "2026-11-01T00:00:00Z", clocks=clocks),
        run(8, "2026-10-31T23:59:59Z", clocks=clocks),
        run(7, "2026-10-31T01:00:00Z", clocks=clocks),
        run(6, "2026-10-04T01:00:00Z", clocks={"app1": {"synchronised": None}, "app3": 1}),
        run(5, "2026-10-03T01:00:00Z", clocks=[1]),
        run(4, "2026-10-01T00:00:00Z", clocks={"app1": {"synchronised": False, "error": 16}}),
        run(3, "2026-09-30T23:59:59Z", clocks=clocks),
    ]
    assert checkpoints.measured(runs, PERIOD) == {"app1": ["2026-10-01", "2026-10-31"]}


@pytest.mark.parametrize(
    ("then", "status"),
    [
        ({}, "ok"),
        ({"rows": 5, "highest": "9"}, "ok"),
        ({"rows": 4, "highest": "8"}, "ok"),
        ({"rows": 6, "highest": "9"}, "critical"),
        ({"rows": 5, "highest": "8"}, "critical"),
        ({"rows": 5, "highest": None}, "ok"),
        ({"rows": True, "highest": "8"}, "ok"),
    ],
)
def test_a_day_against_an_earlier_run(then: dict[str, Any], status: str) -> None:
    before = judged(TABLE, DAYS, []).as_dict()
    before["details"]["days"] = {"2026-10-02": then}
    check = judged(TABLE, DAYS, [before])
    assert check.status == status
    assert bool(check.remedy) is (status == "critical")
    # Of another relation it says nothing.
    assert judged({**TABLE, "relation": "x.y"}, DAYS, [before]).status == "ok"
