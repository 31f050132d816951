# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants; values are parameters.

"""Area trading: breaks as one row of few figures, and what became of those of the last run that measured.

However many breaks there are, the database sends their number, their classes, the first ten, and the names (keys) of
at most 200. A key is the same in every run, so that a break that goes on is known again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from ..checks import utc_now
from ..words import printable
from .sql import Row

#: Keys that are kept, and characters of one: of ten thousand breaks, two have the same with a chance of 1 to 5 million.
KEPT, LENGTH = 200, 12

#: What all breaks of a statement say, as SELECT list. FROM what: columns classes, at, key, and what is worth telling.
#: The keys kept are the smallest ones: of two runs they are of the same breaks, as far as both reach.
SUMMARY = f"""
       (SELECT count(*) FROM {{breaks}}) AS total,
       (SELECT json_object_agg(class, counted) FROM (
            SELECT class, count(*) AS counted FROM {{breaks}}, unnest(classes) AS class GROUP BY class) c) AS classes,
       (SELECT extract(epoch FROM clock_timestamp() - min(at))::float8 FROM {{breaks}}) AS oldest,
       (SELECT count(DISTINCT key) FROM {{breaks}}) AS keyed,
       (SELECT json_agg(key) FROM (SELECT DISTINCT key FROM {{breaks}} ORDER BY key LIMIT {KEPT}) k) AS keys,
       (SELECT json_agg(json_strip_nulls(row_to_json(b))) FROM (
            SELECT b.*{{more}} FROM {{breaks}} b ORDER BY at NULLS FIRST, key LIMIT 10) b) AS first"""


def summary(breaks: str = "breaks", more: str = "") -> str:
    """SUMMARY of a CTE.

    :param more: further columns of the first ten
    """
    return SUMMARY.format(breaks=breaks, more=more)


def key(*parts: str) -> str:
    """SQL: the key of a break from what names it."""
    return f"left(encode(sha256(convert_to(concat_ws('|', {', '.join(parts)}), 'UTF8')), 'hex'), {LENGTH})"


def result(check: str, breaks: str = "breaks", uncovered: str = "0", more: str = "") -> str:
    """One row from the CTEs states, lines and one of breaks: what was compared, and the breaks.

    :param check: its name, for several in one statement
    :param uncovered: SQL: executions that belong to no statement
    :param more: see summary()
    """
    return f"""
SELECT '{check}' AS check, (SELECT count(*) FROM states) AS places,
       (SELECT count(*) FROM states WHERE reason IS NOT NULL) AS unreliable,
       (SELECT json_agg(s) FROM (SELECT venue, account, reason, as_of FROM states WHERE reason IS NOT NULL
                                 ORDER BY venue, account LIMIT 10) s) AS reasons,
       (SELECT min(as_of) FROM states WHERE reason IS NULL) AS cutoff,
       (SELECT coalesce(sum(counted), 0)::bigint FROM lines) AS lines,
       {uncovered} AS uncovered, {summary(breaks, more)}"""


TOLERANCES = """
    tolerances AS (
        SELECT * FROM jsonb_to_recordset(%(tolerances)s::jsonb)
            AS t (instrument text, quantity numeric, price numeric, fee numeric)
    )"""


def tolerance(what: str, instrument: str) -> str:
    """SQL: the tolerance of an instrument, else that of all (*), else none."""
    one = f"SELECT {what} FROM tolerances WHERE instrument = "
    return f"coalesce(({one}{instrument}), ({one}'*'), 0)"


@dataclass
class Carried:
    """What became of the breaks of the run before.

    :param since: key -> when it was first seen
    :param new: here now and not before; resolved: the other way round; carried: in both. Of keys that only one of the
        runs kept, nobody knows, and they are in none of these
    :param unseen: there before, and what they were in could not be compared now: they are carried on
    :param partial: whether there are more breaks than keys
    :param compared: whether there was a run to compare with
    """

    since: Dict[str, str] = field(default_factory=dict)
    new: List[str] = field(default_factory=list)
    carried: List[str] = field(default_factory=list)
    resolved: List[str] = field(default_factory=list)
    unseen: List[str] = field(default_factory=list)
    partial: bool = False
    compared: bool = False


def carry(row: Row, before: Optional[Row], whole: bool, now: str) -> Carried:
    """Compares the keys of now with those of the last run that measured.

    :param row: keys (sorted) and keyed, see SUMMARY
    :param before: the details of that run's check, as outcome() made them; None when there was none
    :param whole: whether all that should be compared was
    :param now: RFC 3339
    """
    keys = row["keys"] or []
    result = Carried(partial=row["keyed"] > len(keys))
    earlier, truncated = _earlier(before)
    if earlier is None:
        result.since = dict.fromkeys(keys, now)
        return result
    result.compared = True
    # Beyond the last key that was kept, a run does not know.
    end, end_before = max(keys, default=""), max(earlier, default="")
    for each in keys:
        if each in earlier:
            result.carried.append(each)
        elif not truncated or each <= end_before:
            result.new.append(each)
        result.since[each] = earlier.get(each, now)
    for each, since in earlier.items():
        if each in result.since or (result.partial and each > end):
            continue
        if whole:
            result.resolved.append(each)
        else:
            result.unseen.append(each)
            result.since[each] = since
    return result


def _earlier(before: Optional[Row]) -> Tuple[Optional[Dict[str, str]], bool]:
    """Key -> when it was first seen, and whether there were more; None if the report does not say so."""
    if before is None or not isinstance(before.get("keys"), dict):
        return None, False
    found: Dict[str, str] = {}
    for since, keys in before["keys"].items():
        for each in keys if isinstance(keys, list) else []:
            found[str(each)] = str(since)
    return found, bool(before.get("keys_left_out"))


def outcome(row: Row, before: Optional[Row], whole: bool = True) -> Tuple[Dict[str, Any], str]:
    """Details of breaks, and what to say of those of the run before (empty when there were none).

    :param row: see SUMMARY
    :param before: details of the last run's check
    :param whole: whether all that should be compared was
    """
    now = utc_now()
    found = carry(row, before, whole, now)
    details: Dict[str, Any] = {"count": row["total"]}
    if row["total"]:
        details.update(classes=row["classes"], oldest_s=row["oldest"])
    if found.compared:
        details.update(new=len(found.new), carried=len(found.carried), resolved=len(found.resolved))
        if found.unseen:
            details["not_compared"] = len(found.unseen)
    by_time: Dict[str, List[str]] = {}
    kept = sorted(found.since)[:KEPT]
    for each in kept:
        by_time.setdefault(found.since[each], []).append(each)
    left_out = row["keyed"] + len(found.unseen) - len(kept)
    details.update(keys=by_time, **({"keys_left_out": left_out} if left_out > 0 else {}))
    carried = [found.since[each] for each in found.carried]
    if carried:
        details["first_seen"] = min(carried)
    if row["first"]:
        details["first"] = [
            {
                **{
                    name: printable(value, 60) if isinstance(value, str) else value
                    for name, value in one.items()
                    if name not in ("key", "here", "possible")
                },
                "first_seen": found.since.get(one["key"], now),
            }
            for one in row["first"]
        ]
    return details, _words(found, carried)


def _words(found: Carried, carried: List[str]) -> str:
    """The changes since the last run, for people."""
    if not found.compared or not (found.since or found.resolved):
        return ""
    since = f"carried (the longest since {min(carried)})" if carried else ""
    counted = ((found.new, "new"), (found.carried, since), (found.resolved, "resolved"))
    parts = [f"{len(keys)} {word}" for keys, word in (*counted, (found.unseen, "could not be compared")) if keys]
    if not parts:
        return ""
    only = f", of {KEPT} that are kept" if found.partial else ""
    return f" Since the last run: {', '.join(parts)}{only}."
