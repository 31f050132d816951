# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data subjects: what they asked for, by when it is due, and whether what was erased is gone, from backups as well."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import AbstractSet, Any, Dict, Iterator, List, Optional, Sequence, Set, Tuple

from .._checks.sql import NotMeasured, Probe, Row
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check
from ..words import plural, printable
from .controls import CONTROLS
from .deadlines import REGIMES, to_answer
from .judging import refuse_empty, status_of, told

REQUESTS = ("access", "erasure", "rectification", "portability", "restriction", "objection", "opt_out")
OUTCOMES = ("fulfilled", "refused", "withdrawn")
#: Days before a deadline from which on it is a warning.
SOON = 7

_REQUESTS = """
SELECT request_id::text AS request, kind, regime, received_at, extended_at, closed_at, outcome, now() AS now
FROM maintenance.data_requests ORDER BY received_at, request_id
"""
_REQUEST_VIEW = {
    "data_requests": {
        "request_id": "id",
        "kind": "text",
        "regime": "text",
        "received_at": "time",
        "extended_at": "time",
        "closed_at": "time",
        "outcome": "text",
    }
}


def strange(row: Row) -> str:
    """What of a request is not known, empty if all is."""
    now = row["now"] + timedelta(seconds=5)
    if row["kind"] not in REQUESTS:
        return f"kind {printable(row['kind'], 40)}"
    if row["regime"] not in REGIMES:
        return f"regime {printable(row['regime'], 40)}"
    if not _past(row["received_at"], now):
        return "no received_at of the past"
    for name in ("extended_at", "closed_at"):
        if row[name] is not None and not (_past(row[name], now) and row[name] >= row["received_at"]):
            return f"{name} that cannot be"
    if (row["closed_at"] is None) != (row["outcome"] is None) or row["outcome"] not in (None, *OUTCOMES):
        return f"outcome {printable(row['outcome'], 40)}"
    return ""


def _past(moment: Any, now: datetime) -> bool:
    # The driver gives infinity as the last or the first moment that it knows.
    return isinstance(moment, datetime) and 1970 < moment.year < 9999 and moment <= now


def deadline(row: Row, holidays: AbstractSet[date]) -> date:
    """The last day on which a request is answered in time. An extension counts if told within the first term."""
    received, kind = row["received_at"].date(), row["kind"]
    first = to_answer(row["regime"], received, False, kind, holidays)
    extended = row["extended_at"] is not None and row["extended_at"].date() <= first
    return to_answer(row["regime"], received, extended, kind, holidays)


def requests(rows: List[Row], given: Row) -> Check:
    """Open requests and their deadlines, and those that were answered late."""
    id = "compliance.data_requests"
    if not rows and given["no_data_requests"]:
        return told(id, OK, 0, "There never was a request, as the inventory says.")
    if not rows:
        raise NotMeasured(
            "the view maintenance.data_requests has no request, open or closed.",
            "Let it have them, wherever they are kept; if there never was one, set compliance_report_no_data_requests.",
        )
    unclear = [(row["request"], text) for row in rows for text in [strange(row)] if text]
    sound = [row for row in rows if not strange(row)]
    late, soon, waiting, was_late = [], [], [], []
    for row in sound:
        due, today = deadline(row, given["holidays"]), row["now"].date()
        if row["closed_at"] is not None:
            since = row["now"] - timedelta(days=given["period_days"])
            was_late += [row] if row["closed_at"].date() > due and row["closed_at"] >= since else []
        elif today > due:
            late.append(row)
        elif today + timedelta(days=SOON) >= due:
            soon.append(row)
        else:
            waiting.append(row)
    details: Dict[str, Any] = {
        "open": len(late) + len(soon) + len(waiting),
        "answered_late": len(was_late),
        "first": [
            f"{printable(row['request'], 40)} ({row['kind']}), due {deadline(row, given['holidays'])}"
            for row in (*late, *soon)
        ][:10],
    }
    text = f"{plural(details['open'], 'request is', 'requests are')} open: {len(late):,} late, {len(soon):,} "
    text += f"due within {SOON} days; {len(was_late):,} answered late in {given['period_days']} days."
    remedy = "Answer them; tell whoever asked before the deadline if it takes longer, and why."
    if late:
        return told(id, CRITICAL, len(late), text, remedy, details=details)
    if unclear:
        request, why = unclear[0]
        raise NotMeasured(
            f"{plural(len(unclear), 'request')} cannot be judged; {printable(request, 40)} has {why}.",
            "Correct it in the view maintenance.data_requests: see docs/compliance.md.",
        )
    return told(id, status_of(0, soon or was_late), len(late), text, remedy, details=details)


def _requests(rows: List[Row], _thresholds: Row, given: Row) -> Iterator[Check]:
    yield requests(rows, given)


_ERASURES = """
SELECT r.request_id::text AS request, r.closed_at, e.place, e.remaining, now() AS now
FROM maintenance.data_requests r LEFT JOIN maintenance.erasures e ON e.request_id::text = r.request_id::text
WHERE r.kind = 'erasure' AND r.outcome = 'fulfilled' ORDER BY r.closed_at, r.request_id, e.place
"""
_ERASURE_VIEWS = {
    "data_requests": {"request_id": "id", "kind": "text", "closed_at": "time", "outcome": "text"},
    "erasures": {"request_id": "id", "place": "text", "remaining": "exact"},
}


def reached(places: AbstractSet[str], inventory: Sequence[Dict[str, Any]]) -> List[str]:
    """Tables of the inventory with a column that no place is of.

    :param places: as the view has them, table, schema.table or schema.table.column
    """
    columns = [entry["column"] for entry in inventory if entry["erasure"]]
    tables = {each.rpartition(".")[0] for each in columns}
    names = [each.rpartition(".")[2] for each in tables]
    open_ones = set()
    for column in columns:
        table = column.rpartition(".")[0]
        name = table.rpartition(".")[2]
        if not ({column, table} & places or (name in places and names.count(name) == 1)):
            open_ones.add(table)
    return sorted(open_ones)


def erased(rows: List[Row], inventory: Sequence[Dict[str, Any]]) -> Check:
    """Whether places in the live data still have what was erased.

    :param rows: of each fulfilled request its places, or one row without a place
    :param inventory: of personal data: column; erasure, whether it has to be erased
    """
    id = "compliance.erasure_proven"
    if not rows:
        raise NotMeasured(
            "no request for erasure was fulfilled yet.",
            "Nothing to do; the first one that is fulfilled is proven here.",
        )
    left = [row for row in rows if row["place"] is not None and _number(row["remaining"]) not in (0, None)]
    unproven = [row for row in rows if row["place"] is None or _number(row["remaining"]) is None]
    count = len({row["request"] for row in rows})
    details = {
        "requests": count,
        "places": len({row["place"] for row in rows if row["place"] is not None}),
        "first": [
            f"{printable(row['request'], 40)}: {printable(row['place'], 80)}, {row['remaining']} rows" for row in left
        ][:10],
    }
    if left:
        text = f"{plural(len({row['request'] for row in left}), 'erasure')} of {count:,} left rows in live data."
        return told(id, CRITICAL, len(left), text, "Erase them there, too.", details=details)
    if unproven:
        text = f"{plural(len({row['request'] for row in unproven}), 'erasure')} of {count:,} have no proof."
        remedy = (
            "Let the view maintenance.erasures count, of each, the rows left in every place that had personal data."
        )
        return told(id, UNKNOWN, None, text, remedy, details=details)
    if not any(entry["erasure"] for entry in inventory):
        text = f"Whether {plural(count, 'erasure')} reached every place is not known: the inventory has none."
        return told(id, UNKNOWN, None, text, "Write the inventory: compliance_report_personal_data.", details=details)
    places: Dict[str, Set[str]] = {}
    for row in rows:
        places.setdefault(row["request"], set()).add(str(row["place"]))
    short = {request: lacking for request, of in places.items() for lacking in [reached(of, inventory)] if lacking}
    if short:
        request, lacking = min(short.items())
        text = f"{plural(len(short), 'erasure')} of {count:,} did not look at places of the inventory: "
        text += f"{printable(request, 40)} lacks {printable(lacking[0], 120)}."
        details["not_looked_at"] = [
            f"{printable(request, 40)}: {printable(', '.join(lacking), 200)}"
            for request, lacking in sorted(short.items())
        ][:10]
        remedy = (
            "Let the view maintenance.erasures count the rows left there, too; or set erasure: false in the inventory"
        )
        remedy += " for what is others' or must be kept."
        return told(id, UNKNOWN, None, text, remedy, details=details)
    text = (
        f"Of {plural(count, 'erasure')}, no place in live data has a row left, and each reached all of the inventory."
    )
    return told(id, OK, 0, text, details=details)


def _number(value: Any) -> Optional[int]:
    try:
        return int(value) if value is not None and value == int(value) and value >= 0 else None
    except (ValueError, OverflowError, ArithmeticError):
        return None


def in_backups(
    erasures: Sequence[Tuple[str, datetime]], points: Optional[Sequence[Tuple[str, datetime]]], keep_days: int
) -> Check:
    """Which recovery points were made before something was erased, and so still hold it, and until when.

    :param erasures: requests and when they were fulfilled
    :param points: recovery points and when each was made; None if the store was not asked
    :param keep_days: after how many days a recovery point is deleted, 0 if nobody says
    """
    id = "compliance.erasure_in_backups"
    if points is None:
        raise NotMeasured("the store was not asked for recovery points.", "Set tradingflow_storage.")
    if not erasures:
        raise NotMeasured(
            "no request for erasure was fulfilled yet.", "Nothing to do; backups are looked at after the first one."
        )
    if not points:
        raise NotMeasured(
            "the store has no recovery point.", "See that storage and environment are those to which backups are made."
        )
    holding = [(request, name, made) for request, at in erasures for name, made in points if made <= at]
    if not holding:
        text = f"None of {plural(len(points), 'recovery point')} is older than {plural(len(erasures), 'erasure')}."
        text += " Audit bundles made before are not looked at."
        return told(id, OK, 0, text, details={"recovery_points": len(points)})
    names = sorted({name for _request, name, _made in holding})
    newest = max(made for _request, _name, made in holding)
    details: Dict[str, Any] = {
        "requests": len({request for request, _name, _made in holding}),
        "recovery_points": len(names),
        "first": names[:10],
    }
    text = plural(len(names), "recovery point holds", "recovery points hold")
    text += f" what {plural(details['requests'], 'request')} erased, "
    if not keep_days:
        text += "and nobody says until when."
        return told(id, WARNING, len(names), text, "Set backup_retention (keep_days).", details=details)
    until = (newest + timedelta(days=keep_days)).date()
    details["until"] = until.isoformat()
    text += f"by the rules of retention until {until} at least."
    remedy = "Tell whoever asked; after a restore from one of these, erase again before the platform starts."
    return told(id, WARNING, len(names), text, remedy, details=details)


def _erased(rows: List[Row], _thresholds: Row, given: Row) -> Iterator[Check]:
    seen = {row["request"]: row["closed_at"] for row in rows}
    now = given["now"] + timedelta(seconds=5)
    given["erasures"] = sorted(seen.items()) if all(_past(at, now) for at in seen.values()) else None
    yield erased(rows, given["inventory"])


def _in_backups(_rows: List[Row], _thresholds: Row, given: Row) -> Iterator[Check]:
    erasures = given.get("erasures")
    if erasures is None:
        raise NotMeasured("when erasures were fulfilled is not known.", "See the control on erasures in live data.")
    yield in_backups(erasures, given["recovery_points"], given["backup_keep_days"])


_RETENTION = """
SELECT record_class, oldest_at, keep_days, legal_hold, now() AS now FROM maintenance.retention ORDER BY record_class
"""


def retention(rows: List[Row]) -> Check:
    """Whether something is kept beyond its time. What is on legal hold may be."""
    id = "compliance.retention"
    refuse_empty(len(rows), "retention", "no class of records")
    over: List[Row] = []
    unclear: List[Row] = []
    held: List[Row] = []
    for row in rows:
        days, at = _number(row["keep_days"]), row["oldest_at"]
        if not days or row["legal_hold"] is None or not (at is None or _past(at, row["now"] + timedelta(seconds=5))):
            unclear.append(row)
        elif at is not None and (row["now"] - at).days > days:
            (held if row["legal_hold"] else over).append(row)
    names = [printable(row["record_class"], 60) for row in over]
    text = f"Of {plural(len(rows), 'class of records', 'classes of records')}, {len(over):,} are kept beyond their time"
    text += f", {len(held):,} more by a legal hold." if held else "."
    details = {"overdue": names[:10], "on_hold": [printable(row["record_class"], 60) for row in held][:10]}
    if over:
        remedy = "Delete what is due, or put it on legal hold with a reason."
        return told(id, CRITICAL, len(over), text, remedy, details=details)
    if unclear:
        name = printable(unclear[0]["record_class"], 60)
        raise NotMeasured(
            f"{name} has no oldest_at, keep_days or legal_hold that can be.", "Correct the view maintenance.retention."
        )
    return told(id, OK, 0, text, details=details)


def _retention(rows: List[Row], _thresholds: Row, _given: Row) -> Iterator[Check]:
    yield retention(rows)


def _one(id: str, sql: str, judge: Any, views: Dict[str, Dict[str, str]]) -> Probe:
    source = ", ".join(f"view maintenance.{name}" for name in views)
    return Probe(((id, CONTROLS[id]),), source, sql, judge, views=views, context=True)


PROBES = (
    _one(
        "compliance.retention",
        _RETENTION,
        _retention,
        {"retention": {"record_class": "text", "oldest_at": "time", "keep_days": "exact", "legal_hold": "boolean"}},
    ),
    _one("compliance.data_requests", _REQUESTS, _requests, _REQUEST_VIEW),
    _one("compliance.erasure_proven", _ERASURES, _erased, _ERASURE_VIEWS),
    _one("compliance.erasure_in_backups", "SELECT 1", _in_backups, _ERASURE_VIEWS),
)
