# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this package; values are parameters.

"""Area trading: when we say that something was executed, against when the venue says so.

Cut-offs, days of fees and reports go by these times: an hour of daylight saving that one side applied twice changes no
quantity and no price, and is seen here only.
"""

from __future__ import annotations

import math
from typing import Any, Dict, Iterator, List, Tuple

from ..checks import Check, judge, limits
from ..words import plural, printable
from .sql import NotMeasured, Probe, Row, Views, doubted, scope

#: Time zones are apart by multiples of this, in s; and how far from one a shift of the zone may be besides.
QUARTER, NEAR = 900, 60
#: Shifts that are alike within this are those of a clock, in s.
ALIKE = 1

SIDE = "(SELECT venue, account, venue_execution_id AS id, instrument, executed_at, "
SIDE += f"{scope('e')} AS scope FROM maintenance.{{view}} e)"

# Grouped by the nearest quarter of an hour: however many executions there are, what comes back is a few groups.
TIMES_SQL = f"""
WITH amended AS MATERIALIZED (
    SELECT venue, {scope("e")} AS scope, reference AS id FROM maintenance.executions e WHERE reference IS NOT NULL
    INTERSECT
    SELECT venue, {scope("e")}, reference FROM maintenance.venue_executions e WHERE reference IS NOT NULL
),
-- What both sides took back or replaced counts for neither.
pairs AS MATERIALIZED (
    SELECT o.venue, o.account, o.id, o.instrument, o.executed_at AS ours, t.executed_at AS theirs,
           CASE WHEN isfinite(o.executed_at) AND isfinite(t.executed_at)
                THEN extract(epoch FROM o.executed_at - t.executed_at)::float8 END AS shift
    FROM {SIDE.format(view="executions")} o
    JOIN {SIDE.format(view="venue_executions")} t ON t.venue = o.venue AND t.id = o.id AND t.scope = o.scope
    LEFT JOIN amended a ON a.venue = o.venue AND a.id = o.id AND a.scope = o.scope
    WHERE a.id IS NULL
),
groups AS MATERIALIZED (
    SELECT venue, round(shift / {QUARTER})::bigint AS quarters, min(shift) AS least, max(shift) AS most,
           count(*) AS counted, count(*) FILTER (WHERE abs(shift) >= %(apart)s) AS apart
    FROM pairs GROUP BY 1, 2
)
SELECT EXISTS (SELECT FROM maintenance.executions) AS any,
       (SELECT coalesce(sum(counted), 0)::bigint FROM groups) AS pairs,
       (SELECT coalesce(sum(apart), 0)::bigint FROM groups) AS apart,
       (SELECT coalesce(sum(counted), 0)::bigint FROM groups WHERE quarters IS NULL) AS undated,
       (SELECT max(greatest(abs(least), abs(most))) FROM groups) AS worst,
       (SELECT json_agg(g) FROM (
            SELECT *, sum(counted) OVER (PARTITION BY venue)::bigint AS pairs FROM groups
            ORDER BY apart DESC, venue, quarters LIMIT 10) g WHERE apart > 0) AS groups,
       (SELECT json_agg(p) FROM (
            SELECT * FROM pairs WHERE shift IS NULL OR abs(shift) >= %(apart)s
            ORDER BY abs(shift) DESC NULLS FIRST, venue, id LIMIT 10) p) AS first
"""

TITLE = "Times of executions against the venues' statements"
ZONE = (
    "Find out which side is wrong: time zone and daylight saving where executed_at is written, of our side and of what "
    "loads the statements. Correct the times: days, cut-offs and reports go by them."
)
SYNC = (
    "Check time synchronisation, and that executed_at is the venue's time of execution and not when it was received or "
    "loaded. Correct what differs, or raise the threshold execution_times where it is meant to."
)


def is_zone(group: Row) -> bool:
    """Whether times are apart as those of two time zones are."""
    middle = QUARTER * (group["quarters"] or 0)
    return bool(middle) and all(abs(group[end] - middle) <= NEAR for end in ("least", "most"))


def told(group: Row) -> str:
    """One group of executions whose times are apart, for people."""
    count, pairs, low, high = group["apart"], group["pairs"], abs(group["least"]), abs(group["most"])
    who = f"all {pairs:,} executions" if count == pairs > 1 else f"{count:,} of {plural(pairs, 'execution')}"
    text = f"{who} at {printable(group['venue'], 40)} {'is' if count == 1 else 'are'} "
    # Of the group some may be within the threshold: it is the far end that counts.
    far = max(low, high)
    alike = group["counted"] == count and abs(group["most"] - group["least"]) <= ALIKE
    text += "" if alike or is_zone(group) else "up to "
    text += f"{far:,.0f} s" if alike or is_zone(group) or far >= 100 else f"{far:,.3g} s"
    text += " later" if group["most"] > 0 and high >= low else " earlier"
    text += " here than in the venue's statements"
    if is_zone(group):
        return f"{text} (time zone or daylight saving?)"
    return f"{text} (a clock that is wrong?)" if alike and count > 1 else text


def times(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """By how many seconds the two sides' times of an execution differ, at most."""
    row = rows[0]
    if not row["any"]:
        raise NotMeasured("there is no execution.", "See whether the platform trades, and the view.")
    if not row["pairs"]:
        raise NotMeasured(
            "no execution of ours is in a venue's statement.", "See what trading.reconcile_executions says."
        )
    groups = row["groups"] or []
    worst = round(row["worst"] or 0, 3)
    text = f"The times of {plural(row['pairs'], 'execution')} are those of the venues' statements, to {worst:g} s."
    if groups:
        text = "; ".join(told(group) for group in groups[:3])
        text = f"{text[0].upper()}{text[1:]}"
        seen = sum(group["apart"] for group in groups[:3])
        text += f"; and {row['apart'] - seen:,} others." if row["apart"] > seen else "."
    details: Dict[str, Any] = {"compared": row["pairs"], "count": row["apart"]}
    if groups:
        details["groups"] = [
            {**{name: group[name] for name in ("venue", "apart", "pairs")},
             "from_s": round(group["least"], 3), "to_s": round(group["most"], 3), "time_zone": is_zone(group)}
            for group in groups
        ]  # fmt: skip
    if row["first"]:
        details["first"] = [
            {key: printable(value, 60) if isinstance(value, str) else value for key, value in one.items()}
            for one in row["first"]
        ]
    check = judge(
        "trading.execution_times",
        TITLE,
        worst,
        unit="s",
        **limits(thresholds, "execution_times"),
        message=text,
        remedy=ZONE if any(is_zone(group) for group in groups) else SYNC,
        source="views maintenance.executions and venue_executions",
        details=details,
    )
    if row["undated"]:
        details["undated"] = row["undated"]
        text = f"{plural(row['undated'], 'execution has', 'executions have')} no time on one side."
        remedy = "Correct executed_at in the views maintenance.executions and venue_executions."
        check = doubted(check, text, remedy)
    yield check


def apart(limit: Row) -> float:
    """From how many seconds on times are counted as apart."""
    known = [value for value in (limit["warning"], limit["critical"]) if value is not None]
    return float(min(known, default=math.inf))


COLUMNS = dict.fromkeys(("venue", "account", "venue_execution_id", "reference", "instrument"), "text")
COLUMNS["executed_at"] = "time"
VIEWS: Views = {"executions": COLUMNS, "venue_executions": COLUMNS}
PROBES: Tuple[Probe, ...] = (
    Probe(
        (("trading.execution_times", TITLE),),
        "views maintenance.executions and venue_executions",
        TIMES_SQL,
        times,
        VIEWS,
        facts=("scopes",),
    ),
)
