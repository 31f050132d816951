"""What daily runs counted of audited tables: from the report into the ledger, and from there into the audit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import checkpoints
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.checkpoints import Checkpoint
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import Period
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


def record(at: str, content: dict[str, Any], kind: str = "run") -> Any:
    return SimpleNamespace(predicate={"kind": kind, "recorded_at": at, "content": content})


def recorded(
    monkeypatch: pytest.MonkeyPatch, ledger: list[tuple[int, Any]]
) -> tuple[checkpoints.Checkpoints, list[int]]:
    read: list[int] = []

    def walk(*_given: Any) -> Any:
        for number, each in ledger:
            read.append(number)
            yield number, each

    monkeypatch.setattr(checkpoints, "backwards", walk)
    monkeypatch.setattr(checkpoints, "Store", lambda *_given, **_options: None)
    monkeypatch.setattr(checkpoints, "trusted", lambda _evidence: None)
    options = {"storage": {"bucket": "b"}, "evidence": {"signing_key": "k"}, "environment_name": "local"}
    period = Period("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    return checkpoints.recorded(options, period), read


def test_only_what_is_a_count_of_a_day_by_a_run_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = {"checkpoints": {"maintenance.audit_log": DAYS}}
    strange = {"checkpoints": {"a.b": {"2026-10-02": {"rows": "5"}, "x": {"rows": 1}, "2026-10-03": {"rows": True}}}}
    late = datetime(2026, 11, 6, 1, tzinfo=UTC)
    found, read = recorded(
        monkeypatch,
        [
            (9, record(f"{late:%Y-%m-%dT%H:%M:%SZ}", counted)),
            (8, record(f"{late - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}", counted)),
            (7, None),
            (6, record("2026-10-04T06:00:00Z", strange)),
            (5, record("2026-10-04T06:00:00Z", {"checkpoints": [1]})),
            (4, record("2026-10-04T06:00:00Z", counted, kind="review")),
            (
                3,
                record("2026-10-03T06:00:00Z", {"checkpoints": {"maintenance.audit_log": {"2026-10-02": {"rows": 5}}}}),
            ),
            (2, record("2026-09-01T06:00:00Z", counted)),
            (1, record("2026-08-01T06:00:00Z", counted)),
        ],
    )
    assert found == {
        "maintenance.audit_log": {
            "2026-10-02": [Checkpoint(5, "9", 8), Checkpoint(5, None, 3)],
            "2026-10-03": [Checkpoint(7, "16", 8)],
        }
    }
    assert read == [9, 8, 7, 6, 5, 4, 3, 2]


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
