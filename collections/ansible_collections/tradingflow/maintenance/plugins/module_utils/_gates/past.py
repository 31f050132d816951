# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ledger and the reports in the store say: the newest whole daily, what it left open, and availability."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Dict, List, Optional, Tuple

from .._ledger.places import ClientError, Store
from .._ledger.points import CLOCK_TOLERANCE, trusted
from .._ledger.record import Record, parse_time
from .._ledger.walk import backwards
from ..checks import STATUSES
from ..run import standing
from ..storage import client, error_code, storage_errors
from ..words import plural, span
from .budget import BadMeasurement, Measured, measured_of

#: Records that are looked at, from the newest back.
MOST = 2000
DAILY = "daily"
SCHEMA = "urn:tradingflow:maintenance:report:1"
REMEDY = "Run the daily maintenance (playbooks/daily.yml) without tags or a limit."
VERIFY = "Find out with scripts/ledger_verify.py (docs/evidence.md)."


@dataclass
class Past:
    """What was learnt.

    :param places: area and host -> checks, of the newest whole daily and of later partial ones
    :param run_id: of that daily
    :param age: seconds since it began
    :param problem: why nothing is known of the daily: message and remedy; None when it is known
    :param measured: availability, newest record first
    :param bad: why availability cannot be relied on
    :param answered: by day with a daily, whether application and database answered; None when that was not told
    """

    places: Dict[Tuple[str, str], List[Dict[str, Any]]] = field(default_factory=dict)
    run_id: str = ""
    age: float = 0.0
    problem: Optional[Tuple[str, str]] = None
    measured: List[Measured] = field(default_factory=list)
    bad: List[str] = field(default_factory=list)
    answered: Dict[str, Optional[bool]] = field(default_factory=dict)

    @property
    def checks(self) -> List[Dict[str, Any]]:
        return [check for checks in self.places.values() for check in checks]


def look_back(
    storage: Dict[str, Any],
    environment: str,
    evidence: Dict[str, Any],
    now: datetime,
    *,
    daily_age: Optional[float],
    availability_days: Optional[int],
) -> Past:
    """Walks the ledger back as far as is needed, and reads the reports of the dailies found.

    :param daily_age: seconds after which a daily says nothing any more; None when none is wanted
    :param availability_days: None when no availability is wanted
    :raises MaintenanceError: the store does not answer, a key cannot be read
    """
    past = Past()
    wanted = [timedelta(seconds=daily_age or 0), timedelta(days=(availability_days or 0) * 2)]
    # The record of a run comes after its beginning, that of an availability after its end.
    since = now - max(wanted) - timedelta(days=1)
    runs: List[Record] = []
    found_daily = daily_age is None
    looked_at = 0
    reached = False
    for number, record in backwards(Store(storage, environment, pool=16), trusted(evidence), environment, MOST):
        looked_at += 1
        if record is None:
            if not found_daily:
                past.problem = past.problem or (
                    f"Record {number} of the ledger does not verify, and may be that of a later daily.",
                    VERIFY,
                )
            past.bad.append(f"record {number} does not verify")
            continue
        at, content = parse_time(record.predicate["recorded_at"]), record.predicate["content"]
        if at - now > CLOCK_TOLERANCE:
            text = (
                f"Record {number} of the ledger is {span((at - now).total_seconds())} in the future: a clock is wrong"
            )
            past.problem = past.problem or (f"{text}.", "Synchronise the clocks of all runners.")
            past.bad.append(text)
        if at < since:
            reached = True
            break
        if availability_days:
            try:
                one = measured_of(number, record.predicate["kind"], content)
                past.measured += [one] if one else []
            except BadMeasurement as error:
                past.bad.append(str(error))
            if record.predicate["kind"] == "run" and content.get("playbook") == DAILY and at >= now - wanted[1] / 2:
                _look(past.answered, f"{at:%Y-%m-%d}", content)
        if not found_daily and record.predicate["kind"] == "run" and content.get("playbook") == DAILY:
            runs.append(record)
            found_daily = (content.get("scope") or {}).get("partial") is False
        if found_daily and not availability_days:
            reached = True
            break
    if looked_at >= MOST and not reached:
        past.bad.append(f"there are more than {plural(MOST, 'record')}")
    if daily_age is not None and past.problem is None:
        past.problem = _daily(past, storage, environment, runs, found_daily, now, daily_age)
    return past


def _look(answered: Dict[str, Optional[bool]], day: str, content: Dict[str, Any]) -> None:
    """Adds what a daily found. Who runs it again and again while something is down, has found that once."""
    found = content.get("answered")
    if found is False:
        answered[day] = False
    elif (content.get("scope") or {}).get("partial") is False and answered.get(day, True):
        # A partial run may have left out just what was down; a whole one that could not tell leaves the day open.
        answered[day] = True if found is True else None


def _daily(
    past: Past,
    storage: Dict[str, Any],
    environment: str,
    runs: List[Record],
    whole: bool,
    now: datetime,
    daily_age: float,
) -> Optional[Tuple[str, str]]:
    """Reads the dailies' reports; what went wrong, None when nothing did."""
    if not whole:
        partial = f", only {plural(len(runs), 'partial one')}" if runs else ""
        return f"No whole daily of the last {span(daily_age)} is in the ledger{partial}.", REMEDY
    reports: List[Dict[str, Any]] = []
    s3 = client(storage, pool=4)
    for record in runs:
        report, why = _report(s3, storage, environment, record)
        if report is None:
            run_id = record.predicate["run_id"]
            return f"The report of the daily {run_id} cannot be relied on: {why}.", f"{REMEDY} {VERIFY}"
        reports.append(report)
    newest = reports[-1]
    past.run_id = newest["run_id"]
    past.age = (now - parse_time(newest["started_at"])).total_seconds()
    if past.age > daily_age:
        return f"The newest whole daily ({past.run_id}) began {span(past.age)} ago.", REMEDY
    if past.age < -CLOCK_TOLERANCE.total_seconds():
        text = f"The newest whole daily ({past.run_id}) began {span(-past.age)} in the future: a clock is wrong."
        return text, "Synchronise the clocks of all runners."
    past.places = standing(reports[::-1])
    return None


def _report(s3: Any, storage: Dict[str, Any], environment: str, record: Record) -> Tuple[Optional[Dict[str, Any]], str]:
    """The report that a record is about, exactly as it was recorded; None, and why."""
    predicate, subjects = record.predicate, record.statement["subject"]
    subject = next((each for each in subjects if str(each.get("name")).endswith("/report.json")), None)
    if subject is None:
        return None, "its record names no report"
    with storage_errors(storage, f"reading the report of {predicate['run_id']}"):
        try:
            body = s3.get_object(Bucket=storage["bucket"], Key=subject["name"])["Body"].read()
        except ClientError as error:
            if error_code(error) in ("NoSuchKey", "404"):
                return None, "it is gone from the store"
            raise
    if hashlib.sha256(body).hexdigest() != (subject.get("digest") or {}).get("sha256"):
        return None, "it is not what was recorded"
    try:
        report = json.loads(body)
        sound = (
            report["schema"] == SCHEMA
            and report["environment"] == environment
            and report["run_id"] == predicate["run_id"]
            and report["playbook"] == DAILY
            and report["check_mode"] is False
            and all(
                check["status"] in STATUSES and {"id", "area", "host"} <= check.keys() for check in report["checks"]
            )
        )
        parse_time(report["started_at"])
    except (ValueError, TypeError, KeyError, AttributeError):
        sound = False
    return (report, "") if sound else (None, "it is no report of this environment's daily")
