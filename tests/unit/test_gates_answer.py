"""The gates' one answer: what is not known never allows, and what is passed by is on the record."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger
from ansible_collections.tradingflow.maintenance.plugins.module_utils._gates import (
    backup,
    budget,
    engine,
    findings,
    past,
    trading,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._gates.gate import Gate
from ansible_collections.tradingflow.maintenance.plugins.module_utils._gates.options import settled
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import proven as proven_restore
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import store as recovery_points
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import CRITICAL, OK, UNKNOWN, Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, StorageError
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report import glass, probe

from tests.unit.ledger_fixtures import STORAGE, MemoryStore

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR, DAY = 3600, 86400


@pytest.fixture
def store(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """The reports are in it, too."""
    monkeypatch.setattr(past, "client", lambda storage, pool=10: store)
    return store


@pytest.fixture(autouse=True)
def _no_clock_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store of these tests is no server, and nobody looks for one."""

    def down(_storage: Any) -> Any:
        raise StorageError("The store is down", "Start it.")

    monkeypatch.setattr(engine, "client", down)


Append = Callable[..., dict[str, Any]]


@pytest.fixture
def append(store: MemoryStore, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Append:
    """append(hours ago, kind, content, subjects)"""

    def write(hours: float, kind: str, content: Any, subjects: Any = (), run_id: str = "r1") -> dict[str, Any]:
        at = (NOW - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        monkeypatch.setattr(ledger, "utc_now", lambda: at)
        return ledger.append(
            *(STORAGE, "production", kind),
            actor="ada",
            run_id=run_id,
            subjects=list(subjects),
            content=content,
            signing_key=pair[0],
            trusted_keys=[pair[1]],
        )

    return write


def check(id: str, status: str = "ok", host: str = "db1") -> dict[str, Any]:
    return {"id": id, "area": id.split(".")[0], "host": host, "status": status, "title": id, "message": f"{id} is so"}


#: What every daily of a platform that is well has.
BOOKS = [check(id, host="runner") for id in trading.RECONCILED]


@pytest.fixture
def daily(store: MemoryStore, append: Append) -> Callable[..., str]:
    """daily(hours ago, checks, partial) as maintenance_report leaves it."""

    def write(hours: float, checks: Any, partial: bool = False, **changes: Any) -> str:
        began = NOW - timedelta(hours=hours)
        run_id = f"{began:%Y%m%dT%H%M%SZ}-daily-abc"
        scope = {"partial": partial, "tags": [], "skip_tags": [], "limit": None, "left_out": []}
        report = {
            "schema": past.SCHEMA,
            "run_id": run_id,
            "environment": "production",
            "playbook": "daily",
            "check_mode": False,
            "started_at": f"{began:%Y-%m-%dT%H:%M:%SZ}",
            "scope": scope,
            "checks": checks,
            **changes,
        }
        key = f"here/reports/production/daily/{run_id}/report.json"
        store.objects[key] = json.dumps(report).encode()
        subject = {"name": key, "digest": {"sha256": sha256(store.objects[key]).hexdigest()}}
        append(hours - 0.1, "run", {"playbook": "daily", "scope": {**scope, "left_out": None}}, [subject], run_id)
        return key

    return write


def looked(pair: tuple[Path, Path], age: float = 26 * HOUR, **options: Any) -> past.Past:
    given = {"daily_age": age, "availability_days": None, **options}
    return past.look_back(STORAGE, "production", {"trusted_key_files": [pair[1]]}, NOW, **given)


def gate_of(pair: tuple[Path, Path], *acknowledged: Any) -> Check:
    (found,) = findings.findings(looked(pair), list(acknowledged), NOW).checks
    return found


# The newest whole daily ---------------------------------------------------------------------------------------------


def test_an_empty_ledger_is_unknown(store: MemoryStore, pair: tuple[Path, Path]) -> None:
    found = gate_of(pair)
    assert found.status == UNKNOWN
    assert "No whole daily" in found.message


def test_a_daily_that_is_well(daily: Callable[..., str], pair: tuple[Path, Path]) -> None:
    daily(3, [check("system.load"), check("logs.errors", "warning"), *BOOKS])
    assert gate_of(pair).status == OK
    assert trading.breaks(looked(pair)).status == OK


@pytest.mark.parametrize(("status", "expected"), [("critical", CRITICAL), ("unknown", UNKNOWN)])
def test_what_a_daily_left_open(daily: Callable[..., str], pair: tuple[Path, Path], status: str, expected: str) -> None:
    daily(3, [check("system.load", status), *BOOKS])
    found = gate_of(pair)
    assert (found.status, found.details["open"]) == (expected, ["system.load of db1"])


@pytest.mark.parametrize("hours", [27, 24 * 7, -1])
def test_a_daily_of_another_day(daily: Callable[..., str], pair: tuple[Path, Path], hours: float) -> None:
    daily(hours, BOOKS)
    assert gate_of(pair).status == UNKNOWN
    assert trading.breaks(looked(pair)).status == UNKNOWN


def test_partial_dailies_are_none_but_say_what_is_so_now(daily: Callable[..., str], pair: tuple[Path, Path]) -> None:
    daily(2, BOOKS, partial=True)
    assert gate_of(pair).status == UNKNOWN
    assert "partial" in gate_of(pair).message


def test_a_later_partial_daily_counts_where_it_looked(daily: Callable[..., str], pair: tuple[Path, Path]) -> None:
    daily(5, [check("system.load", "critical"), check("logs.errors"), *BOOKS])
    daily(4, [check("system.load")], partial=True)
    assert gate_of(pair).status == OK
    daily(3, [check("logs.errors", "critical")], partial=True)
    assert gate_of(pair).details["open"] == ["logs.errors of db1"]


def test_what_is_acknowledged_holds_nothing_until_its_day_is_over(
    daily: Callable[..., str], pair: tuple[Path, Path]
) -> None:
    daily(3, [check("system.disk_space:/var", "critical"), *BOOKS])
    today = f"{NOW:%Y-%m-%d}"
    entry = {"id": "system.disk_space:/var", "reason": "new disk on Monday", "until": today}
    assert gate_of(pair, entry).status == OK
    assert gate_of(pair, {**entry, "host": "db1"}).details["acknowledged"] == ["system.disk_space:/var of db1"]
    for other in ({"host": "db2"}, {"id": "system.disk_space"}, {"until": f"{NOW - timedelta(days=1):%Y-%m-%d}"}):
        assert gate_of(pair, {**entry, **other}).status == CRITICAL
    for wrong in ({"reason": " "}, {"until": "soon"}):
        with pytest.raises(ConfigurationError, match="acknowledgement"):
            gate_of(pair, {**entry, **wrong})


def test_a_report_that_was_changed_or_is_gone_is_unknown(
    daily: Callable[..., str], store: MemoryStore, pair: tuple[Path, Path]
) -> None:
    key = daily(3, [check("system.load", "critical"), *BOOKS])
    store.objects[key] = store.objects[key].replace(b"critical", b"ok")
    assert "not what was recorded" in gate_of(pair).message
    del store.objects[key]
    assert "gone" in gate_of(pair).message
    assert gate_of(pair).status == UNKNOWN


@pytest.mark.parametrize(
    "changes",
    [{"environment": "staging"}, {"check_mode": True}, {"playbook": "drill"}, {"schema": "2"}, {"started_at": "x"}],
)
def test_a_report_of_something_else_is_unknown(
    daily: Callable[..., str], pair: tuple[Path, Path], changes: Any
) -> None:
    daily(3, BOOKS, **changes)
    assert gate_of(pair).status == UNKNOWN


def test_a_record_that_does_not_verify_may_be_a_later_daily(
    daily: Callable[..., str], store: MemoryStore, append: Append, pair: tuple[Path, Path]
) -> None:
    daily(5, BOOKS)
    newest = append(1, "review", {})["key"]
    assert gate_of(pair).status == OK
    store.objects[newest] = b"{}"
    assert gate_of(pair).status == UNKNOWN
    assert "verify" in gate_of(pair).message


def test_breaks_that_nobody_compared_are_unknown(daily: Callable[..., str], pair: tuple[Path, Path]) -> None:
    daily(3, [each for each in BOOKS if each["id"] != "trading.reconcile_cash"])
    found = trading.breaks(looked(pair))
    assert found.status == UNKNOWN
    assert "trading.reconcile_cash" in found.message


def test_a_break_is_critical(daily: Callable[..., str], pair: tuple[Path, Path]) -> None:
    daily(3, [*[each for each in BOOKS if "cash" not in each["id"]], check("trading.reconcile_cash", "critical")])
    assert trading.breaks(looked(pair)).status == CRITICAL


# Error budget -------------------------------------------------------------------------------------------------------


def span_of(starts: float, ends: float, down: float, number: int = 1) -> budget.Measured:
    now = NOW.timestamp()
    return budget.Measured(number, now - starts * DAY, now - ends * DAY, down)


def left(*found: budget.Measured, bad: Any = (), needed: float = 0) -> Check:
    return budget.budget(found, list(bad), NOW.timestamp(), 99.9, 30, 2 * DAY, needed).checks[0]


def test_what_the_objective_leaves() -> None:
    # 0.1 % of 30 days are 2592 s.
    assert (left(span_of(31, 1, 92)).status, left(span_of(31, 1, 92)).value) == (OK, 2500.0)
    assert left(span_of(31, 15, 1296), span_of(15, 0, 1295.9)).status == OK
    assert left(span_of(31, 15, 1296), span_of(15, 0, 1296)).status == CRITICAL
    assert left(span_of(31, 1, 92), needed=2501).status == CRITICAL


def test_availability_that_was_not_recorded_is_unknown() -> None:
    assert left().status == UNKNOWN
    assert left(span_of(29, 1, 0)).status == UNKNOWN
    assert left(span_of(31, 20, 0), span_of(19, 0, 0)).status == UNKNOWN
    assert left(span_of(31, 3, 0)).status == UNKNOWN
    assert left(span_of(31, -1, 0)).status == UNKNOWN
    assert left(span_of(31, 1, 0), bad=["record 7 does not verify"]).status == UNKNOWN


def test_a_newer_record_of_the_same_time_corrects_it() -> None:
    assert left(span_of(31, 1, 5, 9), span_of(31, 1, 9000, 8)).value == 2587.0
    assert left(span_of(31, 1, 5, 9), span_of(31, 2, 9000, 8)).status == CRITICAL


@pytest.mark.parametrize(
    ("looks", "down", "objective", "status"),
    [
        # 0.999 ** 30 is 0.970: one day of 30 is too many by chance, none of 30 is nothing special.
        (30, 0, 99.9, UNKNOWN),
        (30, 1, 99.9, CRITICAL),
        # 0.999 ** 51 is 0.9503, 0.999 ** 52 is 0.9493.
        (51, 1, 99.9, CRITICAL),
        (52, 1, 99.9, UNKNOWN),
        (0, 0, 99.9, UNKNOWN),
        (1, 1, 99.9, CRITICAL),
        # 0.9 ** 28 is 0.0523, 0.9 ** 29 is 0.0471.
        (28, 0, 90.0, UNKNOWN),
        (29, 0, 90.0, OK),
        # By halves: 5 / 16 for one of four at the most.
        (4, 1, 50.0, UNKNOWN),
        # By halves: 1 / 32 for none of five, 1 / 32 for all of five.
        (5, 0, 50.0, OK),
        (5, 5, 50.0, CRITICAL),
        (4, 4, 50.0, UNKNOWN),
    ],
)
def test_what_dailies_prove_of_it(looks: int, down: int, objective: float, status: str) -> None:
    gate = budget.budget([], [], NOW.timestamp(), objective, 30, 2 * DAY, 0, budget.Sample(looks, down))
    assert gate.checks[0].status == status


def test_dailies_count_only_where_nothing_was_measured() -> None:
    assert budget.looks_needed(99.9) == 2995
    down, now = budget.Sample(30, 1), NOW.timestamp()
    measured = budget.budget([span_of(31, 1, 92)], [], now, 99.9, 30, 2 * DAY, 0, down).checks[0]
    assert (measured.status, measured.value) == (OK, 2500.0)
    # Neither way do they count against what was measured.
    assert budget.budget([span_of(29, 1, 0)], [], now, 99.9, 30, 2 * DAY, 0, down).checks[0].status == UNKNOWN
    good = budget.Sample(30, 0)
    assert budget.budget([span_of(29, 1, 0)], [], now, 90.0, 30, 2 * DAY, 0, good).checks[0].status == UNKNOWN
    for starts, ends in ((29, 1), (31, 3)):
        (spent,) = budget.budget([span_of(starts, ends, 259200)], [], now, 90.0, 30, 2 * DAY, 0, good).checks
        assert (spent.status, spent.value) == (CRITICAL, 0.0)
    bad = budget.budget([], ["record 7 does not verify"], now, 99.9, 30, 2 * DAY, 0, budget.Sample(29, 0)).checks[0]
    assert bad.status == UNKNOWN
    (few,) = budget.budget([], [], now, 99.9, 30, 2 * DAY, 0, budget.Sample(30, 0)).checks
    assert "On 0 of 30 days a daily found" in few.message.replace("\xa0", " ")
    assert "2,995 without a failure would prove 99.9 %" in few.message


def test_what_dailies_found_comes_from_the_ledger(append: Append, pair: tuple[Path, Path]) -> None:
    for hours, content in (
        (31 * 24, {"answered": False}),
        (5 * 24, {"answered": True}),
        (5 * 24, {"answered": False}),
        (5 * 24, {"answered": True}),
        (4 * 24, {}),
        (3 * 24, {"answered": "yes"}),
        (2 * 24, {"answered": False, "playbook": "drill"}),
        (24, {"answered": True}),
    ):
        append(hours, "run", {"playbook": "daily", "scope": {"partial": False}, **content})
    found = looked(pair, daily_age=None, availability_days=30)
    # What does not say leaves its day open, and a partial run is no look at all unless it found something down.
    assert list(found.answered.values()) == [True, None, None, False]


def test_a_partial_daily_does_not_make_a_good_day(append: Append, pair: tuple[Path, Path]) -> None:
    for hours, partial, answered in (
        (4 * 24, True, True),
        (3 * 24, True, False),
        (3 * 24, False, True),
        (2 * 24, False, True),
        (2 * 24, False, None),
        (2 * 24, False, True),
        (24, True, None),
        (24, False, True),
    ):
        append(hours, "run", {"playbook": "daily", "scope": {"partial": partial}, "answered": answered})
    found = looked(pair, daily_age=None, availability_days=30)
    assert list(found.answered.values()) == [True, None, False]


@pytest.mark.parametrize(
    ("answered", "status"),
    [
        ([True] * 30, OK),
        # A day without a daily, or of which it is not known, may be the worst one.
        ([True] * 29, UNKNOWN),
        ([True] * 30 + [None], UNKNOWN),
        ([None] * 30, UNKNOWN),
        ([False] * 9, CRITICAL),
    ],
)
def test_a_day_of_which_nothing_is_known_is_not_a_good_one(answered: list[bool | None], status: str) -> None:
    sample = budget.Sample.of(answered, 30)
    assert budget.budget([], [], NOW.timestamp(), 90.0, 30, 2 * DAY, 0, sample).checks[0].status == status


@pytest.mark.parametrize(
    ("statuses", "wanted"),
    [
        ({"application.answers:a": "ok", "database.answers": "ok"}, True),
        ({"application.answers:a": "warning", "application.answers:b": "ok", "database.answers": "ok"}, True),
        ({"application.answers:a": "ok", "application.answers:b": "critical", "database.answers": "ok"}, None),
        ({"application.answers:a": "critical", "application.answers:b": "critical", "database.answers": "ok"}, False),
        ({"application.answers:a": "critical", "application.answers:b": "unknown", "database.answers": "ok"}, None),
        ({"application.answers:a": "ok", "database.answers": "critical"}, False),
        ({"application.answers:a": "ok", "database.answers": "unknown"}, None),
        ({"application.answers:a": "ok", "database.size": "ok"}, None),
        ({"application.answers_late:a": "critical", "database.answers": "ok"}, None),
        ({}, None),
    ],
)
def test_whether_the_platform_answered_a_run(statuses: dict[str, str], wanted: bool | None) -> None:
    assert probe.answered({"checks": [check(id, status) for id, status in statuses.items()]}) is wanted


def test_a_certificate_that_is_not_trusted_is_not_an_outage() -> None:
    silent = {**check("application.answers:a", "critical"), "details": {"untrusted": True}}
    assert probe.answered({"checks": [silent, check("database.answers", "ok")]}) is None


@pytest.mark.parametrize(
    "given",
    [
        {},
        "99.95 %",
        {"from": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z"},
        {"from": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z", "down_seconds": -1},
        {"from": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z", "down_seconds": True},
        {"from": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z", "down_seconds": 86401},
        {"from": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z", "down_seconds": float("nan")},
        {"from": "2026-11-02", "until": "2026-11-03", "down_seconds": 0},
        {"from": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z", "down_seconds": 0, "uptime": 1},
    ],
)
def test_availability_that_makes_no_sense(given: Any) -> None:
    with pytest.raises(budget.BadMeasurement, match="record 3"):
        budget.measured_of(3, "review", {"availability": given})
    # Of another kind nobody takes it.
    assert budget.measured_of(3, "incident", {"availability": given}) is None
    assert budget.measured_of(3, "review", {}) is None


def test_availability_comes_from_the_ledger(append: Append, pair: tuple[Path, Path]) -> None:
    given = {
        "from": f"{NOW - timedelta(days=31):%Y-%m-%dT%H:%M:%SZ}",
        "until": f"{NOW - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}",
        "down_seconds": 12,
        "source": "Prometheus",
    }
    append(1, "review", {"availability": given})
    append(0.5, "run", {"playbook": "daily", "scope": {"partial": True}})
    found = looked(pair, daily_age=None, availability_days=30)
    assert ([each.down for each in found.measured], found.bad) == ([12.0], [])
    append(0.2, "review", {"availability": {**given, "down_seconds": "few"}})
    assert "makes no sense" in looked(pair, daily_age=None, availability_days=30).bad[0]


# The answer ---------------------------------------------------------------------------------------------------------


def options(pair: tuple[Path, Path], *gates: str, **more: Any) -> dict[str, Any]:
    return {
        "procedure": "migrate",
        "gates": list(gates),
        "environment_name": "production",
        "evidence": {"signing_key_file": str(pair[0])},
        **more,
    }


def answered(given: dict[str, Any], gates: list[Gate], asking: bool = False) -> engine.Answer:
    return engine.answer(settled(given), gates, NOW.timestamp(), UTC, asking)


def gate(name: str, status: str = OK, busy: Any = ()) -> Gate:
    now = NOW.timestamp()
    value = None if status == UNKNOWN else name
    one = Check(f"gate.{name}", name, status, value, message=f"{name} is {status}.")
    return Gate(name, [one], [(now + a * HOUR, now + b * HOUR) for a, b in busy])


def statuses(answer: engine.Answer) -> dict[str, str]:
    return {each.id: each.status for each in answer.checks}


def test_allow_only_when_everything_is_known_and_well(pair: tuple[Path, Path]) -> None:
    given = options(pair, "market", "backup")
    assert answered(given, [gate("market", busy=[(5, 9)]), gate("backup")]).word == engine.ALLOW
    for status in ("critical", "unknown", "warning"):
        assert answered(given, [gate("market"), gate("backup", status)]).word == engine.REFUSE
    assert answered(given, [gate("market", "unknown"), gate("backup")]).word == engine.REFUSE
    assert answered(given, [gate("market", "critical"), gate("backup")]).word != engine.ALLOW
    assert answered(given, [gate("market"), gate("backup"), gate("clock", "unknown")]).word == engine.REFUSE


def test_hold_until_neither_market_nor_freeze_is_in_the_way(pair: tuple[Path, Path]) -> None:
    given = options(pair, "market", "freeze")
    gates = [gate("market", "warning", [(-1, 3)]), gate("freeze", "warning", [(-2, 2), (3.5, 5)])]
    found = answered(given, gates)
    # Half an hour between 3 and 3.5 is too short.
    assert (found.word, found.until) == (engine.HOLD, NOW.timestamp() + 5 * HOUR)
    assert found.text.startswith("hold until ")
    assert (statuses(found)["gate.answer"], statuses(answered(given, gates, asking=True))["gate.answer"]) == (
        "critical",
        "warning",
    )
    assert found.as_dict()["windows"][0]["hours"] == pytest.approx(14 * 24 - 5)


def test_what_does_not_end_by_itself_is_never_waited_for(pair: tuple[Path, Path]) -> None:
    gates = [gate("market", "warning", [(-1, 3)]), gate("backup", "warning")]
    assert answered(options(pair, "market", "backup"), gates).word == engine.REFUSE


def test_no_window_in_the_time_looked_at_is_a_refusal(pair: tuple[Path, Path]) -> None:
    found = answered(options(pair, "market"), [gate("market", "warning", [(-1, 24 * 20)])])
    assert (found.word, found.windows) == (engine.REFUSE, [])
    assert "no window" in found.checks[0].message


def test_windows_are_listed_with_what_else_holds(pair: tuple[Path, Path]) -> None:
    found = answered(
        options(pair, "market", "backup"), [gate("market", "warning", [(-1, 3)]), gate("backup", "critical")]
    )
    assert (found.word, found.until, found.held) == (engine.REFUSE, None, ["market", "backup"])
    assert found.windows[0].starts == NOW.timestamp() + 3 * HOUR
    assert "backup" in found.checks[0].message


def test_break_glass_passes_by_what_is_named_and_nothing_else(pair: tuple[Path, Path]) -> None:
    gates = [gate("market", "warning", [(-1, 3)]), gate("backup", "critical"), gate("findings", "unknown")]
    given = options(pair, "market", "backup", "findings", override=["market", "backup"], reason="the disk dies")
    assert answered(given, gates).word == engine.REFUSE
    given["override"].append("findings")
    found = answered(given, gates)
    assert (found.word, found.overridden) == (engine.ALLOW, ["market", "backup", "findings"])
    assert statuses(found)["gate.overridden:backup"] == "warning"
    assert "gate.backup" not in statuses(found)
    (over,) = [each for each in found.checks if each.id == "gate.overridden:backup"]
    assert "the disk dies" in over.message
    assert over.details["held"] == ["gate.backup: critical"]


def test_an_override_that_is_not_needed_is_none(pair: tuple[Path, Path]) -> None:
    found = answered(options(pair, "backup", override=["backup"], reason="x"), [gate("backup")])
    assert (found.word, found.overridden) == (engine.ALLOW, [])
    assert "gate.overridden:backup" not in statuses(found)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"override": ["market"], "reason": "  "}, "needs a reason"),
        ({"override": ["weather"], "reason": "x"}, "no gate weather"),
        ({"gates": ["market", "moon"]}, "no gate moon"),
        ({"override": ["market"], "reason": "x", "evidence": None}, "no ledger"),
        ({"duration": 0}, "duration"),
        ({"days": 91}, "days"),
        ({"timezone": "Mars/Olympus"}, "time zone"),
        ({"availability_objective": 100.0}, "objective"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_makes_no_sense_is_refused(pair: tuple[Path, Path], change: Any, text: str) -> None:
    found = engine.ask({**options(pair, "freeze"), **change})
    assert found.word == engine.REFUSE
    assert found.checks[0].status == CRITICAL
    assert text in found.checks[0].message


def test_gates_ask_nobody_for_what_they_do_not_need(pair: tuple[Path, Path]) -> None:
    """Freezes need neither database nor store: a restore after a disaster has neither."""
    assert engine.ask(options(pair, "freeze")).word == engine.ALLOW
    assert engine.ask(options(pair)).word == engine.ALLOW


def test_nothing_that_answers_means_unknown_and_refuse(pair: tuple[Path, Path]) -> None:
    database = {"host": "127.0.0.1", "port": 1, "name": "x", "user": "x", "sslmode": "disable", "connect_timeout": 1}
    found = engine.ask(options(pair, *engine.TITLES, database=database))
    assert found.word == engine.REFUSE
    # That there is no freeze is known without anybody's answer.
    assert {status for id, status in statuses(found).items() if id != "gate.freeze"} <= {"unknown", "critical"}
    named = {id.partition(":")[0] for id in statuses(found)}
    assert {f"gate.{name}" for name in (*engine.TITLES, "clock")} <= named


def test_an_exception_in_one_gate_leaves_only_that_one_unknown(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: Any) -> Gate:
        raise ZeroDivisionError

    monkeypatch.setattr(backup, "backup", broken)
    found = engine.ask(options(pair, "freeze", "backup", storage=STORAGE))
    assert (found.word, statuses(found)["gate.backup"], statuses(found)["gate.freeze"]) == ("refuse", "unknown", "ok")


@pytest.mark.parametrize(
    ("ahead", "status"), [(0, "ok"), (59, "ok"), (61, "unknown"), (-61, "unknown"), (-86400, "unknown")]
)
def test_a_clock_that_is_wrong_allows_nothing(pair: tuple[Path, Path], ahead: float, status: str) -> None:
    now = NOW.timestamp()
    live = trading.Live(now=now + ahead, begun=now, ended=now)
    assert engine._clock(settled(options(pair, "market")), live).status == status


@pytest.mark.parametrize("name", ["market", "trading_state", "backup", "findings", "error_budget"])
def test_every_gate_that_goes_by_time_needs_a_clock_that_is_right(pair: tuple[Path, Path], name: str) -> None:
    assert statuses(engine.ask(options(pair, name)))["gate.clock"] == "unknown"
    passed_by = options(pair, name, override=[name], reason="x")
    assert "gate.clock" not in statuses(engine.ask(passed_by))


def test_no_other_clock_is_no_clock(pair: tuple[Path, Path]) -> None:
    assert engine._clock(settled(options(pair, "market")), trading.Live()).status == "unknown"
    freeze = {"name": "x", "from": "2020-01-01", "until": "2020-01-02"}
    assert engine.ask(options(pair, "freeze", freezes=[freeze])).word == engine.REFUSE


@pytest.mark.parametrize(
    ("proven", "status"), [("ok", "ok"), ("warning", "critical"), ("critical", "critical"), ("unknown", "unknown")]
)
def test_a_drill_that_is_old_or_failed_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[Path, Path], proven: str, status: str
) -> None:
    def drills(*given: Any) -> list[Check]:
        assert given[3] == {"warning": None, "critical": 8.0}
        return [Check("backups.proven_restore", "Last proven restore", proven, None if proven == "unknown" else 3)]

    def newest(_storage: Any, _name: Any, thresholds: Any, *_rest: Any) -> list[Check]:
        assert thresholds["newest_age"]["critical"] == 93600.0
        return [Check("backups.newest_age", "x", "ok", 1), Check("backups.newest_intact", "x", "ok", True)]

    monkeypatch.setattr(proven_restore, "measure", drills)
    monkeypatch.setattr(recovery_points, "measure", newest)
    found = backup.backup(settled(options(pair, "backup", storage=STORAGE)), {}, NOW)
    assert {each.id for each in found.checks} == {
        f"gate.backup:{name}" for name in ("newest_age", "newest_intact", "proven_restore")
    }
    assert found.status == status


def test_no_engine_of_backups_is_unknown(pair: tuple[Path, Path]) -> None:
    given = settled(options(pair, "backup", storage=STORAGE, backup_engines=[]))
    assert backup.backup(given, {}, NOW).status == "unknown"


def test_a_store_that_is_down_makes_its_gates_unknown(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_given: Any, **_more: Any) -> Any:
        raise StorageError("The store is down", "Start it.")

    monkeypatch.setattr(past, "look_back", down)
    found = engine.ask(options(pair, "findings", "error_budget", storage=STORAGE))
    assert found.word == engine.REFUSE
    assert {statuses(found)[f"gate.{name}"] for name in ("findings", "error_budget")} == {"unknown"}
    assert "The store is down" in next(each for each in found.checks if each.id == "gate.error_budget").message


def test_the_report_says_it_in_red() -> None:
    over = {
        "id": "gate.overridden:trading_state",
        "host": "localhost",
        "details": {"reason": "venue\nmoves", "held": ["gate.trading_state:orders: critical"]},
    }
    report = {"checks": [over, {"id": "gate.answer", "host": "x", "details": {}}], "actor": "ada", "check_mode": False}
    assert glass.line(report) == "BREAK-GLASS: ada passed by trading state: venue moves"
    assert glass.broken(report)[0]["gate"] == "trading_state"
    assert glass.line({**report, "checks": []}) == ""
