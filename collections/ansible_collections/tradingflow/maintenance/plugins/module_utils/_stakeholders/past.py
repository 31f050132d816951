# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ledger knows of the month: runs, changes, incidents, and earlier reports to stakeholders."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .._ledger.places import Store
from .._ledger.points import trusted
from .._ledger.record import Record, parse_time
from .._ledger.walk import backwards
from ..words import printable

#: Records that are looked at: years of them.
MOST = 20_000
#: Titles of what this room records, all of kind review.
DRAFTED, APPROVED, SENDING, SENT = (
    "Performance report drafted",
    "Performance report approved",
    "Performance report being sent",
    "Performance report sent",
)
OURS = (DRAFTED, APPROVED, SENDING, SENT)
#: Kinds that change the platform, and what they are called.
CHANGES = {
    "release": "releases",
    "migration": "schema migrations",
    "data_update": "changes of rows",
    "patch": "patches",
    "restore": "restores",
}
#: Lines of a kind that a document tells; the others are counted.
SHOWN = 40


@dataclass
class Event:
    """Something a report names. ``what`` and ``how`` are texts from records, printable.

    :param began_at, ended_at: as the record has them, empty where it does not
    :param cost: see costs.tell; empty where nobody asked
    :param told: the same for people
    """

    at: str
    kind: str
    what: str
    how: str
    actor: str
    began_at: str = ""
    ended_at: str = ""
    cost: Dict[str, Any] = field(default_factory=dict)
    told: str = ""


@dataclass
class Operations:
    """What was done to the platform in the month.

    :param problem: why nothing is known; empty when it is
    :param runs: playbook -> how many, seconds, how many ended worse than ok, and of how many nobody knows the time
    :param answered: days on which a daily found application and database answering, not answering, or could not tell
    :param days: days of the month
    :param incidents, changes, overrides: newest last
    """

    problem: str = ""
    runs: Dict[str, Dict[str, float]] = field(default_factory=dict)
    answered: Dict[str, Optional[bool]] = field(default_factory=dict)
    days: int = 0
    incidents: List[Event] = field(default_factory=list)
    changes: List[Event] = field(default_factory=list)
    overrides: List[Event] = field(default_factory=list)


@dataclass
class Known:
    """What the ledger has.

    :param drafts: content, subjects, number, actor of each draft of the month, newest first
    :param approved: SHA-256 of documents -> by whom
    :param sending: message ids whose sending began, and those that were sent
    :param before: the newest draft of an earlier month
    :param whole: whether all of the ledger was read, so that what is not here is not there
    """

    operations: Operations = field(default_factory=Operations)
    drafts: List[Dict[str, Any]] = field(default_factory=list)
    approved: Dict[str, str] = field(default_factory=dict)
    sending: Dict[str, str] = field(default_factory=dict)
    sent: Dict[str, str] = field(default_factory=dict)
    before: Optional[Dict[str, Any]] = None
    whole: bool = False


def known(options: Mapping[str, Any]) -> Known:
    """What the ledger has of a month and its reports.

    :param options: storage, environment_name, evidence, first and last (days)
    :raises MaintenanceError: the store does not answer, or a key cannot be read
    """
    begin, end = bounds(options["first"], options["last"])
    evidence = {key: value for key, value in options["evidence"].items() if value}
    found = Known()
    found.operations.days = (options["last"] - options["first"]).days + 1
    store = Store(options["storage"], options["environment_name"], pool=16)
    looked_at = 0
    for number, record in backwards(store, trusted(evidence), options["environment_name"], MOST):
        looked_at += 1
        if record is None:
            found.operations.problem = f"Record {number} of the ledger is missing or does not verify."
            continue
        at = parse_time(record.predicate["recorded_at"])
        if at >= begin:
            _learn(found, record, at, end, f"{options['first']:%Y-%m}")
        elif _before(found, record):
            break
        if at < begin - timedelta(days=62):
            break
    else:
        found.whole = looked_at < MOST
    if looked_at >= MOST:
        found.operations.problem = f"The ledger has more than {MOST:,} records since the month began."
    for events in (found.operations.incidents, found.operations.changes, found.operations.overrides):
        events.reverse()
    return found


def bounds(first: date, last: date) -> Tuple[datetime, datetime]:
    """The month's begin, and the moment after its end."""
    begin = datetime.combine(first, time(), timezone.utc)
    return begin, datetime.combine(last + timedelta(days=1), time(), timezone.utc)


def _learn(found: Known, record: Record, at: datetime, end: datetime, month: str) -> None:
    kind, content = record.predicate["kind"], record.predicate["content"]
    title = content.get("title")
    if kind == "review" and title in OURS:
        if content.get("month") == month:
            _ours(found, record, content)
        elif title == DRAFTED and str(content.get("month")) < month:
            found.before = found.before or content
        return
    if at >= end:
        return
    told = found.operations
    if kind == "run":
        _run(told, content, f"{at:%Y-%m-%d}")
    elif kind == "incident":
        told.incidents.append(_event(record, "incident"))
    elif kind == "override":
        told.overrides.append(_event(record, "override"))
    elif kind in CHANGES and content.get("state") != "begun":
        told.changes.append(_event(record, CHANGES[kind]))


def of_mail(message_id: str) -> str:
    """What of a message's id is of its document and address."""
    return message_id.partition("@")[0]


def _ours(found: Known, record: Record, content: Dict[str, Any]) -> None:
    """Newest first: of several only the first counts."""
    if content["title"] == DRAFTED:
        found.drafts.append(
            {
                **content,
                "number": record.number,
                "actor": record.predicate["actor"],
                "subjects": record.statement["subject"],
            }
        )
    elif content["title"] == APPROVED:
        found.approved.setdefault(str(content.get("sha256")), record.predicate["actor"])
    else:
        into = found.sent if content["title"] == SENT else found.sending
        # The sender's domain is no part of what was sent to whom.
        into.setdefault(of_mail(str(content.get("message_id"))), record.predicate["recorded_at"])


def _before(found: Known, record: Record) -> bool:
    """Whether the newest report of an earlier month is known."""
    content = record.predicate["content"]
    if record.predicate["kind"] == "review" and content.get("title") == DRAFTED:
        found.before = found.before or content
    return found.before is not None


def _run(told: Operations, content: Dict[str, Any], day: str) -> None:
    name = str(content.get("playbook"))
    row = told.runs.setdefault(name, {"runs": 0, "seconds": 0.0, "not_ok": 0, "untimed": 0})
    row["runs"] += 1
    row["not_ok"] += content.get("worst_status") != "ok"
    try:
        took = parse_time(str(content.get("finished_at"))) - parse_time(str(content.get("started_at")))
    except ValueError:
        took = timedelta(seconds=-1)
    # A time that nobody knows is not none.
    if took < timedelta(0):
        row["untimed"] += 1
    else:
        row["seconds"] += took.total_seconds()
    if name == "daily":
        answered = content.get("answered")
        whole = (content.get("scope") or {}).get("partial") is False
        if answered is False:
            told.answered[day] = False
        elif whole and told.answered.get(day, True):
            told.answered[day] = True if answered is True else None


def _event(record: Record, kind: str) -> Event:
    content = record.predicate["content"]
    what = content.get("title") or content.get("procedure") or content.get("name") or content.get("database") or ""
    how = content.get("state") or content.get("outcome") or content.get("worst_status") or content.get("reason") or ""
    return Event(
        record.predicate["recorded_at"],
        kind,
        printable(what, 120) if what else "",
        printable(how, 160) if how else "",
        printable(str(record.predicate["actor"]), 80),
        _moment(content, "started_at", "began_at"),
        _moment(content, "finished_at", "ended_at"),
    )


def _moment(content: Dict[str, Any], *names: str) -> str:
    """A time of a record, empty where there is none or what is there is none."""
    text = next((str(content[name]) for name in names if content.get(name)), "")
    try:
        parse_time(text)
    except ValueError:
        return ""
    return text
