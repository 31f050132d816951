# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What supports each requirement, and what is missing: gaps with an owner and a date."""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta, timezone
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ..checks import CRITICAL, OK, STATUSES, UNKNOWN, WARNING, Check, worst
from ..words import plural, printable
from .controls import CONTROLS
from .requirements import Catalogue, Requirement

#: What identifiers that must be the same in every run are made from.
NAMESPACE = uuid.UUID("6f0a1c1e-5a0b-5c57-9d6e-7b1f3a2d4c90")
#: Days that a gap may stay open, by its status.
DAYS = {CRITICAL: 7, UNKNOWN: 14, WARNING: 30}
#: Days before a requirement's end or beginning from which on that is said.
AHEAD = 180

ID = "compliance.requirements"
TITLE = "Requirements are supported by what is measured"

#: A check as JSON data, see contract 1.
Data = Dict[str, Any]


def stable(environment: str, *parts: str) -> str:
    """An identifier that is the same in every run."""
    return str(uuid.uuid5(NAMESPACE, "\n".join((environment, *parts))))


def supports(each: Requirement) -> List[str]:
    """Names of all that a requirement rests on: ids of checks, and ledger:kind."""
    return [*each.controls, *each.checks, *(f"ledger:{kind}" for kind in each.ledger)]


def matching(id: str, checks: Sequence[Data]) -> List[Data]:
    """The checks of an id, its instances among them."""
    return [check for check in checks if check["id"] == id or check["id"].startswith(id + ":")]


def aged(check: Data, now: datetime, days: int) -> Data:
    """A check of an earlier run: unknown when a later one should have measured it again."""
    try:
        at = datetime.strptime(str(check.get("observed_at")), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        at = None
    if at is not None and timedelta(0) <= now - at + timedelta(minutes=5) <= timedelta(days=days, minutes=5):
        return check
    when = printable(check.get("observed_at"), 40)
    message = f"It was last measured at {when}, more than {days} days ago, or at no time that can be."
    return {**check, "status": UNKNOWN, "message": message, "remedy": "Run the playbook that measures it."}


def newest(checks: Sequence[Data]) -> List[Data]:
    """Of each check on each host the one that was measured last; of several of one time the worst."""
    found: Dict[Tuple[str, str], Data] = {}
    for check in checks:
        key = (check["host"], check["id"])
        if key not in found or _order(check) > _order(found[key]):
            found[key] = check
    return list(found.values())


def _order(check: Data) -> Tuple[str, int]:
    return str(check.get("observed_at") or ""), STATUSES.index(check["status"])


def _nothing(name: str, status: str, message: str, remedy: str) -> Data:
    title = CONTROLS.get(name, f"Evidence: {name}")
    return {"id": name, "title": title, "status": status, "message": message, "remedy": remedy, "host": ""}


def evidence(
    name: str, checks: Sequence[Data], others: Sequence[Data], records: Optional[Mapping[str, int]], days: int
) -> List[Data]:
    """What there is of one support.

    :param checks: of this area
    :param others: of other areas, the newest of each
    :param records: how many records of each kind, and "kind:failed", the ledger has of the period; None if nobody
        knows
    """
    if name.startswith("ledger:"):
        kind = name.partition(":")[2]
        if records is None:
            return [
                _nothing(name, UNKNOWN, "The ledger was not read, or not all of it verifies.", "See docs/evidence.md.")
            ]
        count, failed = records.get(kind, 0), records.get(f"{kind}:failed", 0)
        if not count:
            text = f"The ledger has no record of the kind {kind} of the last {days} days"
            text += f" that tells success; {failed:,} failed, or were not proven." if failed else "."
            return [_nothing(name, WARNING, text, "See whether there was nothing to record, and say so.")]
        text = f"{plural(count, f'record of the kind {kind}', f'records of the kind {kind}')} in {days} days"
        text += f"; {failed:,} more failed, or were not proven." if failed else "."
        return [{**_nothing(name, OK, text, ""), "value": count}]
    found = matching(name, checks if name in CONTROLS else others)
    if found:
        return found
    where = "this run" if name in CONTROLS else f"no run of the last {days} days"
    text = f"{name} was not measured by {where}." if name not in CONTROLS else f"{name} did not report in {where}."
    text = text.replace("measured by no run", "measured by any run")
    return [_nothing(name, UNKNOWN, text, "Run the playbook that measures it; see docs/checks.md.")]


def assess(
    catalogue: Catalogue,
    requirements: Sequence[Requirement],
    environment: str,
    now: datetime,
    days: int,
    checks: Sequence[Data],
    others: Sequence[Data],
    records: Optional[Mapping[str, int]],
    seen: Mapping[str, str],
    owners: Mapping[str, str],
) -> Dict[str, Any]:
    """The whole assessment as JSON data: requirements with their state, gaps first seen when, and what comes.

    :param requirements: of the jurisdictions that are set
    :param seen: gap -> the day on which an earlier run first saw it
    :param owners: role -> who that is
    """
    today = now.date()
    force = [each for each in requirements if each.applies(today)]
    gaps: Dict[str, Data] = {}
    rows = []
    for each in force:
        found = [
            {"name": name, **_short(check)}
            for name in supports(each)
            for check in evidence(name, checks, others, records, days)
        ]
        for check in found:
            if check["status"] != OK:
                _note(gaps, check, each, environment, today, seen, owners)
        rows.append(
            {
                **_plain(each, owners),
                "status": worst(check["status"] for check in found),
                "evidence": found,
                "finding": stable(environment, "requirement", each.id),
            }
        )
    ordered = sorted(
        gaps.values(), key=lambda gap: (-STATUSES.index(gap["status"]), gap["due"], gap["check"], gap["host"])
    )
    return {
        "notice": catalogue.notice,
        "environment": environment,
        "assessed_at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "period_days": days,
        "requirements": sorted(rows, key=lambda row: -STATUSES.index(row["status"])),
        "gaps": ordered,
        "coming": coming(requirements, today),
    }


def _short(check: Data) -> Data:
    keys = ("id", "title", "status", "message", "remedy", "host", "value", "unit", "source", "observed_at")
    return {key: check.get(key) for key in keys}


def _plain(each: Requirement, owners: Mapping[str, str]) -> Data:
    return {
        "id": each.id,
        "title": each.title,
        "jurisdiction": each.jurisdiction,
        "source": each.source,
        "from": each.begins.isoformat(),
        "until": each.ends.isoformat() if each.ends else None,
        "superseded_by": each.superseded_by,
        "owner": each.owner,
        "owner_name": owners.get(each.owner) or "",
        "human": each.human,
    }


def _note(
    gaps: Dict[str, Data],
    check: Data,
    each: Requirement,
    environment: str,
    today: date,
    seen: Mapping[str, str],
    owners: Mapping[str, str],
) -> None:
    key = stable(environment, "gap", check["id"], check["host"] or "")
    if key not in gaps:
        since = min(_day(seen.get(key), today), today)
        gaps[key] = {
            "id": key,
            "check": check["id"],
            "title": check["title"],
            "host": check["host"] or "",
            "status": check["status"],
            "message": check["message"],
            "remedy": check["remedy"],
            "requirements": [],
            "owner": each.owner,
            "owner_name": owners.get(each.owner) or "",
            "first_seen": since.isoformat(),
            "due": (since + timedelta(days=DAYS[check["status"]])).isoformat(),
        }
        gaps[key]["overdue"] = gaps[key]["due"] < today.isoformat()
    gaps[key]["requirements"].append(each.id)


def _day(text: Any, otherwise: date) -> date:
    try:
        return datetime.strptime(str(text), "%Y-%m-%d").date()
    except ValueError:
        return otherwise


def coming(requirements: Sequence[Requirement], today: date) -> List[Data]:
    """Requirements that end or begin soon, or ended lately."""
    found = []
    for each in requirements:
        for day, what in ((each.begins, "applies from"), (each.ends, "no longer applies from")):
            if day is not None and abs((day - today).days) <= AHEAD:
                follows = f"; {each.superseded_by} follows" if day == each.ends and each.superseded_by else ""
                found.append({"on": day.isoformat(), "id": each.id, "text": f"{each.title}: {what} {day}{follows}."})
    return sorted(found, key=lambda entry: (entry["on"], entry["id"]))


def summary(assessment: Mapping[str, Any]) -> Check:
    """The one check that says how much is supported; the gaps of controls have checks of their own.

    Its details carry on when each gap was first seen.
    """
    rows, gaps = assessment["requirements"], assessment["gaps"]
    whole = sum(row["status"] == OK for row in rows)
    details = {
        "in_force": len(rows),
        "gaps": {status: sum(gap["status"] == status for gap in gaps) for status in DAYS},
        "overdue": sum(gap["overdue"] for gap in gaps),
        "first_seen": {gap["id"]: gap["first_seen"] for gap in gaps},
        "first": [
            f"{printable(gap['title'], 80)} ({gap['owner_name'] or gap['owner']}, by {gap['due']})" for gap in gaps[:10]
        ],
    }
    if not rows:
        return Check(
            ID, TITLE, UNKNOWN, message="No requirement is in force.", remedy="Set compliance_report_jurisdictions."
        )
    text = f"{whole:,} of {plural(len(rows), 'requirement')} in force have no gap; {plural(len(gaps), 'gap')}"
    late = f", {details['overdue']:,} beyond the day by which they were to be closed" if details["overdue"] else ""
    text += f"{late}."
    # Controls are judged by their own checks. What is missing besides is known by this one only.
    own = [gap for gap in gaps if gap["check"].partition(":")[0] not in CONTROLS]
    status = worst([OK, *(min(gap["status"], UNKNOWN, key=STATUSES.index) for gap in own)])
    status = CRITICAL if details["overdue"] else status
    remedy = "Close the gaps by their days, or say why not; see the compliance report." if status != OK else ""
    return Check(ID, TITLE, status, whole, message=text, remedy=remedy, details=details)
