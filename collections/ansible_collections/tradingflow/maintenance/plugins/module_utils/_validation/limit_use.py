# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The limits of the month against what was used of them: broken, always near, and never needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, localcontext
from functools import partial
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple

from .._checks.guard import guarded
from .._checks.risk import EXACT
from .._performance.columns import Day
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, limits, unknown, worst
from ..words import plural, printable
from .scenarios import ROUNDED

Row = Mapping[str, Any]
Key = Tuple[str, str, str]

SOURCE = "views maintenance.risk_limits, limit_use and equity"
UNUSED = ("validation.limits_unused", "Limits that nobody needed")
#: Limits of these that are named in the message; details have all.
NAMED = 12
#: Breaches that are dated in the message; details have all.
SHOWN = 3
#: Days of the month below which nothing is said of what is never or always the case.
LEAST_DAYS = 10


@dataclass
class Use:
    """What was used of one metric.

    :param days: day -> the most of that day
    :param doubt: why nothing is known
    :param currency: of these; empty for what is in the limit's own unit
    """

    days: Dict[date, Decimal] = field(default_factory=dict)
    doubt: str = ""
    currency: str = ""


def losses(days: Sequence[Day], first: date, last: date, currency: str) -> Use:
    """What was lost each day: the metric daily_loss, from the books."""
    lost = {day.day: max(Decimal(0), day.pnl.copy_negate()) for day in days if first <= day.day <= last}
    return Use(lost, currency=currency)


def told(rows: Iterable[Row]) -> Dict[Key, Use]:
    """What the view limit_use says, by scope, subject and metric."""
    found: Dict[Key, Use] = {}
    for row in rows:
        use = found.setdefault((row["scope"] or "", row["subject"] or "", row["metric"] or ""), Use())
        value = row["used"]
        if not isinstance(row["day"], date):
            use.doubt = "a row of limit_use has no day"
        elif not isinstance(value, Decimal) or not value.is_finite() or value < 0:
            use.doubt = f"what was used on {row['day']} is not a number of 0 or more"
        elif row["day"] in use.days:
            use.doubt = f"the view limit_use has {row['day']} twice"
        else:
            use.days[row["day"]] = value
    return found


def judged(
    rows: Sequence[Row], uses: Mapping[Key, Use], first: date, last: date, thresholds: Dict[str, Any]
) -> Iterator[Check]:
    """A check for each strategy and account with limits, and one of all limits that nobody needed.

    :param rows: of the view risk_limits
    :param first: the first day of the period, last the last one
    """
    subjects: Dict[Tuple[str, str], List[Row]] = {}
    for row in rows:
        subjects.setdefault((printable(row["scope"], 40), printable(row["subject"])), []).append(row)
    known: List[Dict[str, Any]] = []
    for (scope, name), own in subjects.items():
        id, title = f"validation.limits:{scope}/{name}", f"Limits of {scope} {name} against their use"
        judge = partial(_subject, id, title, own, uses, (first, last), thresholds)
        check = guarded(id, title, judge, source=SOURCE)
        told_of = check.details.get("limits", [])
        known += [{**entry, "scope": scope, "subject": name} for entry in told_of if "unused" in entry]
        yield check
    yield guarded(*UNUSED, partial(_unused, known, len(rows), thresholds), source=SOURCE)


def _unused(known: Sequence[Dict[str, Any]], count: int, thresholds: Dict[str, Any]) -> Check:
    """All limits that nobody needed, as one finding: each alone would be noise beside what is broken.

    :param known: limits whose use is known on enough days
    :param count: all limits
    """
    id, title = UNUSED
    if not known:
        text = f"Of none of {plural(count, 'limit')} is enough of the use known."
        return unknown(id, title, text, "Provide what the checks of each limit say is missing.", source=SOURCE)
    bound = limits(thresholds, "limit_unused")
    found = [entry for entry in known if _reached(entry, bound, entry["unused"], below=True)]
    found.sort(key=lambda entry: (entry["unused"], entry["scope"], entry["subject"], entry["metric"]))
    status = worst([OK, *(entry["status"] for entry in found)])
    least = max((bound[state] for state in (CRITICAL, WARNING) if bound[state] is not None), default=0)
    if not found:
        text = f"Each of {plural(len(known), 'limit')} with known use was used to {least:g} % or more."
        return Check(id, title, OK, 0, message=text, source=SOURCE)
    by: Dict[str, List[str]] = {}
    for entry in found[:NAMED]:
        of = by.setdefault(f"{entry['scope']} {entry['subject']}", [])
        of.append(f"{entry['metric']} {entry['unused']:.1f} %")
    named = "; ".join(f"{name}: {', '.join(of)}" for name, of in by.items())
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    were = "was" if len(found) == 1 else "were"
    text = (
        f"{len(found)} of {plural(len(known), 'limit')} with known use {were} never used to {least:g} %: {named}{more}."
    )
    return Check(
        id,
        title,
        status,
        len(found),
        message=text,
        remedy="Decide in the next review of limits which of them should be tighter: as they are they limit nothing.",
        source=SOURCE,
        details={
            "limits": [
                {
                    **{key: entry[key] for key in ("scope", "subject", "metric", "status")},
                    "usage": round(entry["unused"], 4),
                }
                for entry in found
            ]
        },
    )


def _subject(
    id: str,
    title: str,
    rows: Sequence[Row],
    uses: Mapping[Key, Use],
    period: Tuple[date, date],
    thresholds: Dict[str, Any],
) -> Check:
    found = [_limit(row, uses, period, thresholds) for row in rows]
    status = worst(entry["status"] for entry in found)
    breaches = sorted({day for entry in found for day in entry.get("breaches", [])})
    parts = [entry.pop("text") for entry in sorted(found, key=lambda entry: entry["rank"]) if entry.get("text")]
    for entry in found:
        entry.pop("rank")
        entry.pop("text", None)
        entry["breaches"] = [str(day) for day in entry.get("breaches", [])][:40]
    known = sum(1 for entry in found if "highest" in entry)
    text = f"{period[0]} to {period[1]}: {plural(known, 'limit')} of {len(found)} with known use"
    text += f"; {'; '.join(parts[:4])}." if parts else ", none broken or always near."
    if len(parts) > 4:
        text = f"{text[:-1]}, and {len(parts) - 4} more."
    remedy = "Decide on each: a broken limit needs its reason on record, one that always binds a review."
    if status == UNKNOWN:
        remedy = "Provide what the message says is missing: docs/validation.md, The views."
    return Check(
        id,
        title,
        status,
        None if status == UNKNOWN else len(breaches),
        unit="days" if breaches else "",
        # Of a limit that is always used, this threshold says nothing.
        **(limits(thresholds, "limit_breaches") if breaches else {}),
        message=text,
        remedy="" if status == OK else remedy,
        source=SOURCE,
        details={"limits": found},
    )


def _limit(row: Row, uses: Mapping[Key, Use], period: Tuple[date, date], thresholds: Dict[str, Any]) -> Dict[str, Any]:
    """One limit: what was used of it each day."""
    metric, limit = printable(row["metric"], 40), row["limit_value"]
    entry: Dict[str, Any] = {"metric": metric, "limit": str(limit), "status": UNKNOWN, "rank": 2}
    use = uses.get((row["scope"] or "", row["subject"] or "", row["metric"] or ""), Use(doubt="nobody tells its use"))
    changed = row.get("updated")
    first = max(period[0], changed + timedelta(days=1)) if changed else period[0]
    if use.currency and use.currency != row["currency"]:
        use = Use(doubt=f"its limit is in {printable(row['currency'], 10)}, and results in {use.currency}")
    if limit is None or not limit.is_finite() or limit <= 0:
        use = Use(doubt="its limit is not a number above 0")
    days = {day: value for day, value in use.days.items() if first <= day <= period[1]}
    doubt = use.doubt or ("" if days else "nobody tells its use since it was changed" if changed else "no day is known")
    if doubt:
        entry["text"] = f"{metric}: {doubt}"
        return entry
    with localcontext(EXACT):
        broken = sorted(day for day, value in days.items() if value > limit)
        ratio = row["warning_ratio"]
        near = ratio if ratio is not None and ratio.is_finite() and 0 < ratio < 1 else Decimal("0.8")
        close = sum(1 for value in days.values() if value >= near * limit)
        highest = max(days.values())
    share = ROUNDED.divide(highest, limit)
    entry.update(
        days=len(days),
        highest=str(highest),
        usage=str(round(share, 4)),
        near_days=close,
        breaches=broken,
        since=str(first),
    )
    entry["status"], entry["rank"], entry["text"] = OK, 3, ""
    percent = f"{100 * share:.1f} %"
    bounds = {name: limits(thresholds, f"limit_{name}") for name in ("breaches", "near")}
    missing = (period[1] - first).days + 1 - len(days)
    if _reached(entry, bounds["breaches"], len(broken)) and broken:
        shown = ", ".join(str(day) for day in broken[:SHOWN]) + (" and more" if len(broken) > SHOWN else "")
        entry["text"], entry["rank"] = f"{metric} broken on {plural(len(broken), 'day')} ({shown}), up to {percent}", 0
    elif len(days) < LEAST_DAYS or missing > len(days):
        entry["status"] = UNKNOWN
        entry["text"] = f"{metric}: only {plural(len(days), 'day')} of its use known since {first}"
    elif _reached(entry, bounds["near"], 100 * close / len(days)):
        entry["text"], entry["rank"] = f"{metric} at {100 * near:.0f} % or more on {close} of {len(days)} days", 1
    if entry["status"] != UNKNOWN:
        entry["unused"] = float(100 * share)
    return entry


def _reached(entry: Dict[str, Any], bound: Dict[str, Any], value: float, *, below: bool = False) -> bool:
    """Whether a threshold is reached; the entry has its status then."""
    for state in (CRITICAL, WARNING):
        if bound[state] is not None and (value < bound[state] if below else value >= bound[state]):
            entry["status"] = state
            return True
    return False
