# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Duties with a calendar: risk assessments, and what is reported to authorities."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import AbstractSet, Any, Dict, Iterator, List, Optional, Sequence

from .._checks.sql import NotMeasured, Probe, Row
from ..checks import CRITICAL, OK, WARNING, Check, unknown
from ..errors import ConfigurationError
from ..words import plural, printable
from .controls import CONTROLS
from .deadlines import is_working, months_after, working_days_after
from .judging import of_all, refuse_empty, status_of, told

#: Periods and the most days that each has.
LENGTHS = {"day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}
EVERY = tuple(LENGTHS)
STATUSES = ("sent", "acknowledged", "rejected")

_ASSESSMENTS = """
SELECT assessment, assessed_at, next_due_on, now() AS now FROM maintenance.risk_assessments ORDER BY assessment
"""


def assessments(rows: List[Row], most_days: int) -> Check:
    """How old the newest assessment of each subject is, and whether the next is overdue."""
    id = "compliance.risk_assessments"
    refuse_empty(len(rows), "risk_assessments", "no assessment")
    newest: Dict[str, Row] = {}
    unclear = []
    for row in rows:
        name, at = row["assessment"], row["assessed_at"]
        if (
            not name
            or not isinstance(at, datetime)
            or not 1970 < at.year < 9999
            or at > row["now"] + timedelta(seconds=5)
        ):
            unclear.append(row)
        elif name not in newest or at > newest[name]["assessed_at"]:
            newest[name] = row
    old = [row for row in newest.values() if due_on(row, most_days) < row["now"].date()]
    soon = [row for row in newest.values() if 0 <= (due_on(row, most_days) - row["now"].date()).days <= 30]
    all_of_them = plural(len(newest), "assessment")
    parts = ((len(old), "overdue"), (len(soon), "due within 30 days"))
    text = of_all(all_of_them, parts, f"{all_of_them}, none due within 30 days")
    first = [f"{printable(row['assessment'], 60)}, due {due_on(row, most_days)}" for row in (*old, *soon)]
    details = {"overdue": len(old), "soon": len(soon), "first": first[:10]}
    if old:
        return told(id, CRITICAL, len(old), text, "Assess the risks again, and have it approved.", details=details)
    if unclear:
        raise NotMeasured(
            f"{plural(len(unclear), 'assessment has', 'assessments have')} no name, or no assessed_at of the past.",
            "Correct the view maintenance.risk_assessments.",
        )
    return told(id, status_of(0, soon), len(old), text, "Plan them.", details=details)


def due_on(row: Row, most_days: int) -> date:
    """When the next assessment is due: what the platform says, and no later than so many days after the last."""
    latest: date = row["assessed_at"].date() + timedelta(days=most_days)
    return min(row["next_due_on"] or latest, latest)


@dataclass(frozen=True)
class Duty:
    """A report that is due regularly.

    :param report: its name in the view
    :param since: no period that ended before this day counts
    :param due_days: days after the end of a period, working days if so
    """

    report: str
    title: str
    every: str
    since: date
    due_days: int
    working_days: bool
    acknowledged_days: int

    def ends(self, first: date, last: date) -> Iterator[date]:
        """Last days of periods, from one day to another, both included."""
        day = max(first, self.since)
        while day <= last:
            if _ends(self.every, day):
                yield day
            day += timedelta(days=1)

    def due(self, end: date, holidays: AbstractSet[date]) -> date:
        """The last day on which the report of a period is in time."""
        return working_days_after(end, self.due_days, holidays) if self.working_days else end + timedelta(self.due_days)


def _ends(every: str, day: date) -> bool:
    after = day + timedelta(days=1)
    if every == "day":
        return True
    if every == "week":
        return day.weekday() == 6
    months = {"month": 1, "quarter": 3, "year": 12}[every]
    return after.day == 1 and (after.month - 1) % months == 0


def duties(calendar: Sequence[Dict[str, Any]]) -> List[Duty]:
    """The calendar of reports.

    :raises ConfigurationError: an entry makes no sense
    """
    found = []
    for entry in calendar:
        name = printable(entry["report"], 60)
        try:
            since = date(*map(int, str(entry["since"]).split("-")))
            months_after(since, 0)
        except (ValueError, TypeError):
            raise ConfigurationError(
                f"since of the report {name} is no date: {printable(entry['since'], 40)}.", "Write it as 2026-01-31."
            ) from None
        if entry["due_days"] < 0 or entry["acknowledged_days"] < 0 or not entry["report"].strip():
            raise ConfigurationError(f"The calendar's report {name} has no name, or days below 0.", "Correct it.")
        title = entry.get("title") or entry["report"]
        found.append(
            Duty(
                *(entry["report"], title, entry["every"], since),
                *(entry["due_days"], entry["working_days"], entry["acknowledged_days"]),
            )
        )
    names = [each.report for each in found]
    if len(set(names)) != len(names):
        raise ConfigurationError("A report is in compliance_report_calendar twice.", "Remove one of them.")
    return found


def dates(given: Sequence[str]) -> AbstractSet[date]:
    """Holidays.

    :raises ConfigurationError: one is no date
    """
    try:
        return {date(*map(int, str(each).split("-"))) for each in given}
    except (ValueError, TypeError):
        raise ConfigurationError("compliance_report_holidays has what is no date.", "Write 2026-12-25.") from None


_REPORTS = """
SELECT report, period_end, sent_at, acknowledged_at, status, now() AS now FROM maintenance.regulatory_reports
WHERE (period_end >= current_date - 800) IS NOT FALSE ORDER BY report, period_end, sent_at
"""
ID = "compliance.regulatory_reports"


def reports(
    rows: List[Row], now: datetime, calendar: Sequence[Duty], holidays: AbstractSet[date], days: int
) -> List[Check]:
    """A check for each report of the calendar, and one for those that the calendar does not have.

    :param days: how far back periods are looked at
    """
    if not calendar:
        text = f"{CONTROLS[ID]}: no calendar says which reports are due."
        return [unknown(ID, CONTROLS[ID], text, "Set compliance_report_calendar, see docs/compliance.md.")]
    found = [
        _report(duty, [row for row in rows if row["report"] == duty.report], now, holidays, days) for duty in calendar
    ]
    known = {duty.report for duty in calendar}
    others = sorted({str(row["report"]) for row in rows} - known)
    if others:
        text = f"The platform sends reports that the calendar does not have: {printable(', '.join(others), 120)}."
        remedy = "Add them to compliance_report_calendar."
        found.append(Check(f"{ID}:others", "Reports of no calendar", WARNING, len(others), message=text, remedy=remedy))
    return found


def _report(duty: Duty, rows: List[Row], now: datetime, holidays: AbstractSet[date], days: int) -> Check:
    id, title = f"{ID}:{printable(duty.report, 60)}", f"{printable(duty.title, 80)}: sent and acknowledged"
    today = now.date()
    latest: Dict[date, Row] = {}
    for row in rows:
        if row["status"] not in STATUSES or _unclear(row, now):
            said = printable(row["status"], 40)
            said = printable(row["status"], 40)
            text = f"The report of {row['period_end']} has a status ({said}) or times that are not known."
            remedy = f"Let status of the view maintenance.regulatory_reports be one of: {', '.join(STATUSES)}."
            return unknown(id, title, text, remedy)
        latest[row["period_end"]] = row
    ends: Dict[str, List[date]] = {name: [] for name in ("missing", "rejected", "unacknowledged", "late", "pending")}
    expected = 0
    # However long its period is, the last one that ended is seen.
    days = max(days, LENGTHS[duty.every] + duty.due_days)
    within = today - timedelta(days=days)
    # What is missing, rejected or not acknowledged does not age out: it counts from the first period reported on.
    for end in duty.ends(min([within, *latest]), today - timedelta(days=1)):
        if duty.every == "day" and duty.working_days and not is_working(end, holidays):
            continue
        expected += 1
        sent, due = latest.get(end), duty.due(end, holidays)
        if sent is None:
            ends["missing" if today > due else "pending"].append(end)
        elif sent["status"] == "rejected":
            ends["rejected"].append(end)
        else:
            if sent["status"] == "sent" and now - sent["sent_at"] > timedelta(days=duty.acknowledged_days):
                ends["unacknowledged"].append(end)
            ends["late"] += [end] if end >= within and sent["sent_at"].date() > due else []
    details: Dict[str, Any] = {name: [str(each) for each in found[-10:]] for name, found in ends.items() if found}
    if not expected:
        text = f"No period of this report ended since {duty.since}."
        return unknown(id, title, text, "Nothing to do; the first one is judged when it has ended.")
    count = {name: len(found) for name, found in ends.items()}
    periods = plural(expected, "period")
    parts = (
        (count["missing"], "not sent though due"),
        (count["rejected"], "rejected"),
        (count["unacknowledged"], "without an answer"),
        (count["late"], "sent late"),
        (count["pending"], "not due yet"),
    )
    text = of_all(periods, parts, f"{periods}, each reported in time")
    remedy = (
        "Send what is missing, correct what was rejected, ask where no answer came; tell the authority what is late."
    )
    bad = count["missing"] + count["rejected"]
    status = status_of(bad, count["late"] or count["unacknowledged"])
    return Check(id, title, status, bad, message=text, remedy="" if status == OK else remedy, details=details)


def _unclear(row: Row, now: datetime) -> bool:
    bound = now + timedelta(seconds=5)
    times: List[Optional[datetime]] = [row["sent_at"], row["acknowledged_at"]]
    if row["period_end"] is None or row["sent_at"] is None:
        return True
    if row["status"] == "acknowledged" and row["acknowledged_at"] is None:
        return True
    return any(each is not None and not (1970 < each.year < 9999 and each <= bound) for each in times)


def _assessments(rows: List[Row], _thresholds: Row, given: Row) -> Iterator[Check]:
    yield assessments(rows, given["risk_assessment_days"])


def _reports(rows: List[Row], _thresholds: Row, given: Row) -> Iterator[Check]:
    yield from reports(rows, given["now"], given["calendar"], given["holidays"], given["period_days"])


PROBES = (
    Probe(
        (("compliance.risk_assessments", CONTROLS["compliance.risk_assessments"]),),
        "view maintenance.risk_assessments",
        _ASSESSMENTS,
        _assessments,
        views={"risk_assessments": {"assessment": "text", "assessed_at": "time", "next_due_on": "date"}},
        context=True,
    ),
    Probe(
        ((ID, CONTROLS[ID]),),
        "view maintenance.regulatory_reports",
        _REPORTS,
        _reports,
        views={
            "regulatory_reports": {
                "report": "text",
                "period_end": "date",
                "sent_at": "time",
                "acknowledged_at": "time",
                "status": "text",
            }
        },
        context=True,
    ),
)
