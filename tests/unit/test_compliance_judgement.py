"""Judgements of compliance on plain values: deadlines, requests, erasures, clocks, reports, gaps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.sql import NotMeasured
from ansible_collections.tradingflow.maintenance.plugins.module_utils._compliance import (
    assessment,
    clock,
    duties,
    personal,
    requests,
    requirements,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._compliance.deadlines import (
    months_after,
    to_answer,
    working_days_after,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._compliance.judging import of_all
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

from tests.conftest import COLLECTION

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
CATALOGUE = requirements.load(COLLECTION / "compliance/requirements.json")


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.mark.parametrize(
    ("day", "months", "after"),
    [
        (date(2026, 1, 31), 1, date(2026, 2, 28)),
        (date(2028, 1, 31), 1, date(2028, 2, 29)),
        (date(2026, 12, 31), 2, date(2027, 2, 28)),
        (date(2026, 11, 30), 1, date(2026, 12, 30)),
        (date(2026, 10, 31), 13, date(2027, 11, 30)),
    ],
)
def test_months_end_where_the_month_does(day: date, months: int, after: date) -> None:
    assert months_after(day, months) == after


def test_days_to_answer() -> None:
    assert to_answer("gdpr", date(2026, 1, 31), False) == date(2026, 2, 28)
    assert to_answer("gdpr", date(2026, 1, 31), True) == date(2026, 4, 30)
    assert to_answer("ccpa", date(2026, 1, 31), False) == date(2026, 3, 17)
    assert to_answer("ccpa", date(2026, 1, 31), True) == date(2026, 5, 1)


def test_working_days_leave_out_weekends_and_holidays() -> None:
    friday = date(2026, 12, 24) - timedelta(days=6)
    assert working_days_after(friday, 1, set()) == friday + timedelta(days=3)
    assert working_days_after(date(2026, 12, 24), 1, {date(2026, 12, 25)}) == date(2026, 12, 28)


def request(**change: Any) -> dict[str, Any]:
    row = {"request": "R1", "kind": "access", "regime": "gdpr", "received_at": ago(5), "extended_at": None}
    return {**row, "closed_at": None, "outcome": None, "now": NOW, **change}


GIVEN: dict[str, Any] = {"period_days": 31, "no_data_requests": False, "holidays": set()}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, "ok"),
        ({"received_at": ago(25)}, "warning"),
        ({"received_at": ago(32)}, "critical"),
        # The last day is one on which it is in time.
        ({"received_at": datetime(2026, 10, 30, 23, 59, tzinfo=UTC)}, "warning"),
        ({"received_at": datetime(2026, 10, 29, 0, 0, tzinfo=UTC)}, "critical"),
        # Told in time that it takes longer; told too late, it counts for nothing.
        ({"received_at": ago(50), "extended_at": ago(25)}, "ok"),
        ({"received_at": ago(50), "extended_at": ago(5)}, "critical"),
        ({"received_at": ago(40), "regime": "ccpa"}, "warning"),
        ({"received_at": ago(46), "regime": "ccpa"}, "critical"),
        # To opt out: 15 working days, and nobody may take longer. NOW is a Monday.
        ({"received_at": ago(20), "regime": "ccpa", "kind": "opt_out"}, "warning"),
        ({"received_at": ago(22), "regime": "ccpa", "kind": "opt_out"}, "critical"),
        ({"received_at": ago(22), "regime": "ccpa", "kind": "opt_out", "extended_at": ago(21)}, "critical"),
        ({"received_at": ago(22), "regime": "ccpa", "kind": "access", "extended_at": ago(21)}, "ok"),
        ({"received_at": ago(22), "regime": "gdpr", "kind": "opt_out"}, "ok"),
        ({"received_at": ago(60), "closed_at": ago(40), "outcome": "fulfilled"}, "ok"),
        ({"received_at": ago(60), "closed_at": ago(10), "outcome": "refused"}, "warning"),
        ({"received_at": ago(160), "closed_at": ago(90), "outcome": "fulfilled"}, "ok"),
    ],
)
def test_requests_have_a_deadline(change: dict[str, Any], status: str) -> None:
    assert requests.requests([request(**change)], GIVEN).status == status


def test_a_holiday_is_no_day_of_a_term() -> None:
    row = request(received_at=ago(22), regime="ccpa", kind="opt_out")
    assert requests.requests([row], {**GIVEN, "holidays": {date(2026, 11, 26)}}).status == "warning"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "forget"},
        {"regime": "hipaa"},
        {"regime": None},
        {"received_at": None},
        {"received_at": NOW + timedelta(days=1)},
        {"received_at": datetime.max.replace(tzinfo=UTC)},
        {"closed_at": ago(1)},
        {"outcome": "fulfilled"},
        {"closed_at": ago(1), "outcome": "done"},
        {"closed_at": ago(9), "outcome": "fulfilled"},
        {"extended_at": NOW + timedelta(days=2)},
    ],
)
def test_a_request_that_makes_no_sense_is_no_good_one(change: dict[str, Any]) -> None:
    with pytest.raises(NotMeasured, match="cannot be judged"):
        requests.requests([request(), request(**change)], GIVEN)
    # It does not hide one that is late.
    found = requests.requests([request(**change), request(request="R2", received_at=ago(99))], GIVEN)
    assert found.status == "critical"
    assert "R2" in found.details["first"][0]


def test_no_request_at_all_is_fine_only_if_somebody_says_so() -> None:
    with pytest.raises(NotMeasured):
        requests.requests([], GIVEN)
    assert requests.requests([], {**GIVEN, "no_data_requests": True}).status == "ok"


def erasure(place: str | None, remaining: Any, request: str = "E1") -> dict[str, Any]:
    return {"request": request, "place": place, "remaining": remaining, "closed_at": ago(40)}


INVENTORY = [
    {"column": "public.accounts.holder", "erasure": True},
    {"column": "public.accounts.city", "erasure": True},
    # Others' data, or what a law demands to keep.
    {"column": "public.users.email", "erasure": False},
]


def test_an_erasure_is_proven_by_every_place() -> None:
    assert requests.erased([erasure("accounts", 0), erasure("mail", 0)], INVENTORY).status == "ok"
    assert requests.erased([erasure("accounts", 0), erasure("mail", 2)], INVENTORY).status == "critical"
    assert requests.erased([erasure("accounts", 0), erasure(None, None, "E2")], INVENTORY).status == "unknown"
    assert requests.erased([erasure("accounts", -1)], INVENTORY).status == "unknown"
    with pytest.raises(NotMeasured):
        requests.erased([], INVENTORY)


def test_an_erasure_reaches_every_place_of_the_inventory() -> None:
    wide = [*INVENTORY, {"column": "crm.contacts.email", "erasure": True}]
    found = requests.erased([erasure("accounts", 0), erasure("mail", 0)], wide)
    assert (found.status, found.value) == ("unknown", None)
    assert "crm.contacts" in found.message
    assert found.details["not_looked_at"] == ["E1: crm.contacts"]
    for place in ("contacts", "crm.contacts", "crm.contacts.email"):
        assert requests.erased([erasure("public.accounts", 0), erasure(place, 0)], wide).status == "ok", place
    # One of two requests does not stand for the other.
    rows = [erasure("accounts", 0), erasure("contacts", 0), erasure("accounts", 0, "E2")]
    assert requests.erased(rows, wide).details["not_looked_at"] == ["E2: crm.contacts"]
    # A table's name alone is not enough where two schemas have one of that name.
    twice = [*INVENTORY, {"column": "crm.accounts.email", "erasure": True}]
    assert requests.erased([erasure("accounts", 0)], twice).status == "unknown"
    assert requests.erased([erasure("public.accounts", 0), erasure("crm.accounts", 0)], twice).status == "ok"
    # A column of one table is not all of it.
    assert requests.erased([erasure("public.accounts.holder", 0)], INVENTORY).status == "unknown"
    # Without an inventory nobody knows the places; rows that are left are critical all the same.
    assert requests.erased([erasure("accounts", 0)], []).status == "unknown"
    assert requests.erased([erasure("accounts", 1)], []).status == "critical"


def test_older_backups_still_hold_what_was_erased() -> None:
    points = [("new", ago(1)), ("old", ago(50)), ("older", ago(70))]
    found = requests.in_backups([("E1", ago(40))], points, 90)
    assert (found.status, found.value, found.details["until"]) == (
        "warning",
        2,
        (ago(50) + timedelta(90)).date().isoformat(),
    )
    unruled = requests.in_backups([("E1", ago(40))], points, 0)
    assert unruled.status == "warning"
    assert "nobody says until when" in unruled.message
    assert requests.in_backups([("E1", ago(80))], points, 90).status == "ok"
    for erasures, known in (([("E1", ago(40))], None), ([("E1", ago(40))], []), ([], points)):
        with pytest.raises(NotMeasured):
            requests.in_backups(erasures, known, 90)


def kept(**change: Any) -> dict[str, Any]:
    return {"record_class": "mail", "oldest_at": ago(10), "keep_days": 30, "legal_hold": False, "now": NOW, **change}


def test_nothing_is_kept_beyond_its_time_but_by_a_hold() -> None:
    assert requests.retention([kept(), kept(oldest_at=None)]).status == "ok"
    assert requests.retention([kept(oldest_at=ago(40))]).status == "critical"
    assert requests.retention([kept(oldest_at=ago(40), legal_hold=True)]).details["on_hold"] == ["mail"]
    for change in ({"keep_days": None}, {"keep_days": 0}, {"legal_hold": None}, {"oldest_at": NOW + timedelta(days=1)}):
        with pytest.raises(NotMeasured):
            requests.retention([kept(), kept(**change)])
    with pytest.raises(NotMeasured):
        requests.retention([])


def daily(day: int, kernel: Any, host: str = "db1") -> dict[str, Any]:
    check = {"id": "system.clock_skew", "host": host, "details": {"kernel": kernel}}
    return {"started_at": f"2026-11-{day:02d}T05:00:00Z", "checks": [check]}


def clocks(kernels: list[Any], jurisdiction: str = "EU", activity: str = "high_frequency") -> Any:
    reports = [daily(day, kernel) for day, kernel in zip(range(27, 30), kernels, strict=True)]
    (found,) = clock.judged(reports, CATALOGUE.within([jurisdiction]), NOW, 3, activity)
    return found


def near(error: Any) -> dict[str, Any]:
    return {"synchronised": True, "error": error}


def test_clocks_are_judged_by_the_requirement_of_their_day() -> None:
    assert clocks([near(0.00009)] * 3).status == "ok"
    assert clocks([near(0.00009), near(0.0002), near(0.00009)]).status == "critical"
    assert clocks([near(0.0002)] * 3, activity="algorithmic").status == "ok"
    assert clocks([near(0.02)] * 3, jurisdiction="US").status == "ok"
    assert clocks([near(0.00009), {"synchronised": False, "error": 0.00001}, near(0.00009)]).status == "critical"
    assert clocks([near(0.00009)] * 3).details["allowed_s"] == {"eu-rts25-2025-1155": "0.0001"}


@pytest.mark.parametrize("kernel", [None, {}, {"synchronised": "yes", "error": 0}, near(None), near("NaN"), near(-1)])
def test_a_clock_of_which_nobody_knows_is_unknown(kernel: Any) -> None:
    assert clocks([near(0.00001), kernel, near(0.00001)]).status == "unknown"


def test_a_day_without_a_daily_is_a_gap() -> None:
    found = CATALOGUE.within(["EU"])
    assert clock.judged([daily(29, near(0.00001))], found, NOW, 3, "other")[0].status == "unknown"
    assert clock.judged([], found, NOW, 3, "other")[0].id == clock.ID
    # So is a host whose clock was never measured.
    lost = {"started_at": "2026-11-28T05:00:00Z", "checks": [{"id": "system.missing", "host": "db2"}]}
    both = clock.judged([daily(29, near(0.00001)), lost], found, NOW, 3, "other")
    assert [(each.id, each.status) for each in both][1] == (f"{clock.ID}:db2", "unknown")


def assessed(name: str, days: float, due: date | None = None) -> dict[str, Any]:
    return {"assessment": name, "assessed_at": ago(days), "next_due_on": due, "now": NOW}


def test_the_newest_assessment_counts_and_no_date_is_later_than_the_rule() -> None:
    assert duties.assessments([assessed("a", 500), assessed("a", 10)], 365).status == "ok"
    assert duties.assessments([assessed("a", 10), assessed("b", 400)], 365).status == "critical"
    assert duties.assessments([assessed("a", 400, date(2030, 1, 1))], 365).status == "critical"
    assert duties.assessments([assessed("a", 100, date(2026, 11, 1))], 365).status == "critical"
    assert duties.assessments([assessed("a", 350)], 365).status == "warning"
    for rows in ([], [assessed("a", 10), assessed("", 10)], [assessed("a", -1)]):
        with pytest.raises(NotMeasured):
            duties.assessments(rows, 365)


ENTRY = {"report": "tx", "title": "", "every": "day", "since": "2026-01-01", "due_days": 1, "working_days": True}


def duty(**change: Any) -> list[duties.Duty]:
    return duties.duties([{**ENTRY, "acknowledged_days": 3, **change}])


def sent(day: date, after: float = 1.2, status: str = "acknowledged", **change: Any) -> dict[str, Any]:
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=after)
    answered = at + timedelta(minutes=5) if status == "acknowledged" else None
    return {"report": "tx", "period_end": day, "sent_at": at, "acknowledged_at": answered, "status": status, **change}


#: Monday to Friday of the week before NOW, a Monday; Friday's is due today.
WEEK = [date(2026, 11, day) for day in range(23, 28)]


def reported(rows: list[dict[str, Any]], **change: Any) -> Any:
    return duties.reports(rows, NOW, duty(**change), set(), 7)[0]


def test_reports_are_due_by_the_calendar() -> None:
    assert reported([sent(day) for day in WEEK[:4]]).status == "ok"
    missing = reported([sent(day) for day in (*WEEK[:2], *WEEK[3:4])])
    assert missing.status == "critical"
    assert missing.details["missing"] == ["2026-11-25"]
    assert missing.details["pending"] == ["2026-11-27"]
    assert reported([sent(day) for day in WEEK[:3]] + [sent(WEEK[3], 2.5)]).status == "warning"
    silent = [sent(day) for day in WEEK[1:4]] + [sent(WEEK[0], status="sent")]
    assert reported(silent).details["unacknowledged"] == ["2026-11-23"]
    assert reported([sent(day) for day in WEEK[:3]] + [sent(WEEK[3], status="rejected")]).status == "critical"
    # Neither ages out.
    before = [sent(date(2026, 11, 12)), sent(date(2026, 11, 13), status="rejected"), sent(date(2026, 11, 16), 9)]
    # Nor does it that no answer came.
    quiet = [sent(date(2026, 11, 12), status="sent"), sent(date(2026, 11, 13)), sent(date(2026, 11, 16))]
    weeks = [sent(date(2026, 11, day)) for day in (17, 18, 19, 20)] + [sent(day) for day in WEEK[:4]]
    silent_long = reported(quiet + weeks)
    assert (silent_long.status, silent_long.details["unacknowledged"]) == ("warning", ["2026-11-12"])
    aged = reported(before + [sent(day) for day in WEEK[:4]]).details
    assert (aged["missing"], aged["rejected"]) == ([f"2026-11-{day}" for day in (17, 18, 19, 20)], ["2026-11-13"])
    assert "late" not in aged
    # What came after the rejection counts.
    again = [sent(WEEK[3], status="rejected"), sent(WEEK[3], 1.4)]
    assert reported([sent(day) for day in WEEK[:3]] + again).status == "ok"


def test_a_holiday_has_no_report() -> None:
    rows = [sent(day) for day in WEEK[:3]]
    assert duties.reports(rows, NOW, duty(), {WEEK[3]}, 7)[0].status == "ok"


@pytest.mark.parametrize(
    "change",
    [{"status": "maybe"}, {"status": None}, {"sent_at": None}, {"acknowledged_at": None}, {"period_end": None}],
)
def test_a_report_that_makes_no_sense_is_unknown(change: dict[str, Any]) -> None:
    assert reported([sent(day) for day in WEEK[:3]] + [sent(WEEK[3]) | change]).status == "unknown"


def test_reports_of_no_calendar_are_named() -> None:
    others = duties.reports([sent(WEEK[0]) | {"report": "new"}], NOW, duty(), set(), 7)[-1]
    assert others.id == "compliance.regulatory_reports:others"
    assert "new" in others.message
    assert duties.reports([], NOW, [], set(), 7)[0].status == "unknown"
    # None that counts has ended yet; once one has, however long its period is, it is seen.
    assert reported([], every="year").status == "unknown"
    assert reported([], every="year", since="2025-01-01").details["missing"] == ["2025-12-31"]
    assert reported([], every="quarter").details["missing"] == ["2026-09-30"]


@pytest.mark.parametrize("change", [{"since": "soon"}, {"due_days": -1}, {"report": " "}])
def test_a_calendar_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        duty(**change)
    with pytest.raises(ConfigurationError, match="twice"):
        duties.duties([{**ENTRY, "acknowledged_days": 3}] * 2)


@pytest.mark.parametrize(
    ("every", "ends"),
    [("week", [date(2026, 11, 29)]), ("month", []), ("quarter", []), ("year", [])],
)
def test_periods_end_on_their_last_day(every: str, ends: list[date]) -> None:
    assert list(duty(every=every)[0].ends(date(2026, 11, 23), date(2026, 11, 29))) == ends
    if every != "week":
        whole = list(duty(every=every)[0].ends(date(2026, 1, 1), date(2026, 12, 31)))
        assert whole[-1] == date(2026, 12, 31)
        assert len(whole) == {"month": 12, "quarter": 4, "year": 1}[every]


@pytest.mark.parametrize(
    ("table", "column", "kind"),
    [
        ("users", "name", "name"),
        ("venues", "name", ""),
        ("orders", "clientEmail", "email"),
        ("x", "billing_address", "address"),
        ("x", "date_of_birth", "birth"),
        ("x", "holder", "name"),
        ("x", "shareholder", ""),
        ("x", "description", ""),
        ("x", "ip", "network"),
        ("x", "ship", ""),
    ],
)
def test_personal_data_are_known_by_the_names_of_columns(table: str, column: str, kind: str) -> None:
    assert personal.kind_by_name(table, column) == kind


def test_the_inventory_is_compared_with_what_was_found() -> None:
    signs = {"public.users.email": ["name:email"], "public.log.actor": ["shape:email"]}
    declared = [{"column": "public.users.email"}]
    new = personal.judged(signs, [], declared, [])
    assert new.status == "warning"
    assert new.details["first"] == ["public.log.actor (shape:email)"]
    assert personal.judged(signs, [], declared, ["public.log.actor"]).status == "ok"
    assert personal.judged(signs, ["public.x: no"], declared, ["public.log.actor"]).status == "unknown"
    assert personal.judged({}, [], [], []).status == "unknown"


def check(id: str, status: str = "ok", host: str = "") -> dict[str, Any]:
    title, remedy = f"Title of {id}", "" if status == "ok" else "do it"
    return {"id": id, "title": title, "status": status, "message": f"{id} is {status}", "remedy": remedy, "host": host}


def assess(checks: list[dict[str, Any]], records: dict[str, int] | None, seen: dict[str, str] | None = None) -> Any:
    chosen = [each for each in CATALOGUE.requirements if each.id in ("risk-assessment", "eu-rts6-algorithmic-trading")]
    others = [check("trading.risk_limits:strategy/a", host="runner"), check("trading.unlimited_strategies")]
    others += [check("trading.disabled_limits")]
    return assessment.assess(
        CATALOGUE, chosen, "test", NOW, 31, checks, others, records, seen or {}, {"risk": "J. Weber"}
    )


BOTH = ["compliance.audit_trail_limits", "compliance.risk_assessments"]
RECORDS = {"release": 1, "review": 2}


def test_what_is_measured_and_on_record_leaves_no_gap() -> None:
    done = assess([check(id) for id in BOTH], RECORDS)
    assert done["gaps"] == []
    assert {row["status"] for row in done["requirements"]} == {"ok"}
    assert assessment.summary(done).status == "ok"


def test_what_nobody_measured_is_a_gap() -> None:
    done = assess([check(BOTH[0])], RECORDS)
    (gap,) = done["gaps"]
    assert gap["status"] == "unknown"
    assert gap["requirements"] == ["eu-rts6-algorithmic-trading", "risk-assessment"]
    assert (gap["owner_name"], gap["first_seen"], gap["due"]) == ("J. Weber", "2026-11-30", "2026-12-14")
    # The control has no check of its own that says so.
    unread = assess([check(id) for id in BOTH], None)
    assert {gap["check"] for gap in unread["gaps"]} == {"ledger:release", "ledger:review"}
    assert assessment.summary(unread).status == "unknown"
    assert {gap["status"] for gap in assess([check(id) for id in BOTH], {})["gaps"]} == {"warning"}


def test_a_gap_keeps_its_day_and_its_identifier() -> None:
    bad = [check(BOTH[0]), check(BOTH[1], "critical")]
    (gap,) = assess(bad, RECORDS)["gaps"]
    later = assess(bad, RECORDS, {gap["id"]: "2026-10-30"})
    (same,) = later["gaps"]
    assert same["id"] == gap["id"]
    assert same["first_seen"] == "2026-10-30"
    assert same["due"] == "2026-11-06"
    assert same["overdue"]
    assert assessment.summary(later).status == "critical"
    assert assessment.summary(later).details["first_seen"] == {gap["id"]: "2026-10-30"}
    # What is no day, or of the future, gives nobody more time.
    for text in ("soon", "2027-01-01"):
        assert assess(bad, RECORDS, {gap["id"]: text})["gaps"][0]["first_seen"] == "2026-11-30"


def measured(at: str | None, status: str = "ok", host: str = "runner") -> dict[str, Any]:
    return {**check("backups.newest_intact", status, host), "observed_at": at}


def test_the_newest_of_a_check_counts_whatever_it_says() -> None:
    old, new = measured("2026-11-20T05:00:00Z"), measured("2026-11-29T05:00:00Z", "critical")
    assert assessment.newest([old, new]) == assessment.newest([new, old]) == [new]
    good = measured("2026-11-29T05:00:00Z")
    assert assessment.newest([good, new]) == assessment.newest([new, good]) == [new]
    assert len(assessment.newest([old, measured("2026-11-20T05:00:00Z", host="other")])) == 2


@pytest.mark.parametrize(
    ("at", "status"),
    [
        ("2026-11-29T05:00:00Z", "ok"),
        ("2026-11-28T11:00:00Z", "unknown"),
        ("2026-12-01T05:00:00Z", "unknown"),
        ("soon", "unknown"),
        (None, "unknown"),
    ],
)
def test_what_should_have_been_measured_again_is_unknown(at: str | None, status: str) -> None:
    assert assessment.aged(measured(at), NOW, 2)["status"] == status


def test_what_ends_or_begins_is_said_in_time() -> None:
    coming = assessment.coming(CATALOGUE.within(["EU"]), date(2026, 2, 1))
    assert [entry["id"] for entry in coming] == ["eu-rts25-2017-574", "eu-rts25-2025-1155"]
    assert "eu-rts25-2025-1155 follows" in coming[0]["text"]
    assert assessment.coming(CATALOGUE.within(["EU"]), date(2024, 1, 1)) == []


def test_only_what_there_is_some_of_is_named() -> None:
    parts = ((0, "never screened"), (13, "screened longer than 365 days ago"), (0, "with a hit"))
    assert of_all("390 clients", parts, "none") == "Of 390 clients: 13 screened longer than 365 days ago."
    assert (
        of_all("390 clients", ((0, "never screened"),), "390 clients, each screened") == "390 clients, each screened."
    )
