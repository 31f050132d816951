# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What recorded statements cost since the last run. What was evicted meanwhile begins anew: nothing is negative."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .._checks.sql import NotMeasured, Row
from .._checks.statements import ENOUGH_CALLS, INSTALL, READ, normalised
from ..checks import OK, WARNING, Check, judge, limits
from ..database import OURS
from ..words import plural

#: Statements of which a report keeps the counts, for the next run to subtract.
MOST_KEPT = 500
#: Characters of a statement that are planned; a longer one is not.
MOST_TEXT = 100_000

EXTENSION = """
SELECT quote_ident(n.nspname) AS schema, current_setting('pg_stat_statements.track', true) AS track,
       current_setting('server_version_num')::int AS version
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'
"""

#: stats_since is there from PostgreSQL 17 on.
STATEMENTS = r"""
SELECT s.queryid::text AS queryid, sum(s.calls)::bigint AS calls, sum(s.total_exec_time)::float8 AS total,
       max(s.max_exec_time)::float8 AS longest, sum(s.rows)::bigint AS rows,
       sum(s.shared_blks_hit + s.shared_blks_read)::bigint AS blocks,
       min(to_jsonb(s) ->> 'stats_since') AS since, min(left(s.query, {most})) AS query
FROM {schema}.pg_stat_statements s
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND s.userid <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
      AND (s.query IS NULL OR position('{ours}' IN s.query) = 0 AND s.query !~* '^\s*copy\s.*\sto\s+stdout\s*;?\s*$')
GROUP BY s.queryid
"""

INFO = "SELECT dealloc, stats_reset::text AS reset FROM {schema}.pg_stat_statements_info"

#: What may stand before a statement's first word: many applications put a comment there that says whose it is.
LEAD = r"(?:[\s(]|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*"
#: Statements that have a plan; COPY, VACUUM, CREATE and so on have none.
OF_ROWS = re.compile(LEAD + r"(select|insert|update|delete|merge|with|values|table)\b", re.IGNORECASE)

STATEMENTS_CHECK = ("tuning.statements", "Slowest statement since the last run")


@dataclass
class Statement:
    """One statement, as it was carried out since the last run, or since it was first recorded.

    :param total: ms
    :param fresh: whether its counts begin after the last run, or nobody knows: then they are not subtracted
    """

    queryid: str
    text: str
    calls: int
    total: float
    longest: float
    rows: int
    blocks: int
    fresh: bool

    @property
    def mean(self) -> float:
        """ms."""
        return self.total / self.calls if self.calls else 0.0


@dataclass
class Recorded:
    """What pg_stat_statements has.

    :param evicted: how often entries were evicted since the last run, or ever when there was none; None when unknown
    """

    statements: List[Statement]
    version: int
    evicted: Optional[int]
    first: bool
    kept: Dict[str, Any]


def recorded(cursor: Any, before: Mapping[str, Any]) -> Recorded:
    """Reads it.

    :param before: what the last run kept, see Recorded.kept
    :raises NotMeasured: it is not there, or hides something
    """
    cursor.execute(EXTENSION)
    row: Optional[Row] = cursor.fetchone()
    if not row:
        raise NotMeasured("pg_stat_statements is not installed in this database.", INSTALL)
    if row["track"] is None:
        raise NotMeasured("pg_stat_statements is installed, but not loaded by the server.", INSTALL)
    if row["track"] == "none":
        raise NotMeasured("pg_stat_statements.track is none.", "Set it to top in postgresql.conf and reload.")
    # Both names are quoted by PostgreSQL, or constants of our own.
    cursor.execute(STATEMENTS.format(schema=row["schema"], ours=OURS, most=MOST_TEXT))
    rows = cursor.fetchall()
    hidden = sum(each["query"] == "<insufficient privilege>" or each["queryid"] is None for each in rows)
    if hidden:
        raise NotMeasured(f"{hidden} statements of other users are hidden from this role.", READ)
    cursor.execute(INFO.format(schema=row["schema"]))
    info = cursor.fetchone()
    kept = before.get("kept")
    past: Mapping[str, Any] = kept if isinstance(kept, dict) else {}
    evicted, same = _evicted(info, past)
    counts = past.get("counts")
    known: Mapping[str, Any] = counts if same and isinstance(counts, dict) else {}
    found = [_since(each, known.get(each["queryid"]), evicted) for each in rows]
    largest = sorted(rows, key=lambda each: -each["total"])[:MOST_KEPT]
    now = {
        "dealloc": info["dealloc"],
        "reset": info["reset"],
        "counts": {each["queryid"]: [each["calls"], each["total"], each["since"]] for each in largest},
    }
    return Recorded([one for one in found if one.calls], row["version"], evicted, not known, now)


def _evicted(info: Row, past: Mapping[str, Any]) -> Tuple[int, bool]:
    """How often entries were evicted since, and whether it is still the same count."""
    then = past.get("dealloc")
    same = past.get("reset") == info["reset"] and isinstance(then, int) and then <= info["dealloc"]
    return (info["dealloc"] - (then or 0) if same else info["dealloc"]), same


def _since(row: Row, past: Any, evicted: int) -> Statement:
    """What a statement did since the last run. Without stats_since nobody knows whether it was evicted in between."""
    calls, total, fresh = row["calls"], row["total"], True
    if isinstance(past, list) and len(past) == 3:
        sure = row["since"] == past[2] if row["since"] is not None else not evicted
        if sure and past[0] <= calls and past[1] <= total:
            calls, total, fresh = calls - past[0], total - past[1], False
    text = row["query"] or ""
    return Statement(row["queryid"], text, calls, total, row["longest"], row["rows"], row["blocks"], fresh)


def most_costly(found: Recorded, count: int) -> List[Statement]:
    """Those that took the most time, and those that take longest each time."""
    of_rows = [one for one in found.statements if OF_ROWS.match(one.text)]
    by_total = sorted(of_rows, key=lambda one: -one.total)[:count]
    by_mean = sorted((one for one in of_rows if one.calls >= ENOUGH_CALLS), key=lambda one: -one.mean)[:count]
    return list({one.queryid: one for one in [*by_total, *by_mean]}.values())


def means(earlier: Mapping[str, Any]) -> Dict[str, float]:
    """Statement -> its mean in ms, as the last report said."""
    told = earlier.get("statements")
    found: Dict[str, float] = {}
    for one in told if isinstance(told, list) else ():
        if (
            isinstance(one, dict)
            and isinstance(one.get("queryid"), str)
            and isinstance(one.get("mean_ms"), (int, float))
        ):
            found[one["queryid"]] = float(one["mean_ms"])
    return found


def bars(shown: Any) -> List[List[Any]]:
    """[statement, mean before in ms, mean now in ms] of those that ran often enough since to compare."""
    known = [one for one in shown if one["mean_before_ms"] and one["since_last_run"] and one["calls"] >= ENOUGH_CALLS]
    return [[one["text"][:60], one["mean_before_ms"], one["mean_ms"]] for one in known][:10]


def judged(found: Recorded, shown: List[Dict[str, Any]], thresholds: Dict[str, Any]) -> Check:
    """The slowest statement by its mean, in ms, of those that run again and again.

    :param shown: statements with their plans, for the details
    """
    often = [one for one in found.statements if one.calls >= ENOUGH_CALLS]
    slowest = max(often, key=lambda one: one.mean, default=None)
    since = "since it was recorded" if slowest and slowest.fresh else "since the last run"
    check = judge(
        *STATEMENTS_CHECK,
        round(slowest.mean, 1) if slowest else 0,
        unit="ms",
        **limits(thresholds, "statement_mean"),
        message=f"{normalised(slowest.text)} took {slowest.mean:.3g} ms on average in {slowest.calls:,} calls {since}."
        if slowest
        else f"No statement of other roles was executed {ENOUGH_CALLS} times or more.",
        remedy="Look at its plan in the details, and at the advice on missing indexes.",
        source="pg_stat_statements",
        details={"statements": shown, "evicted": found.evicted, "kept": found.kept},
    )
    if found.evicted:
        when = "ever" if found.first else "since the last run"
        check.message += f" Statements were evicted {plural(found.evicted, 'time')} {when}: some are not seen."
        if check.status == OK:
            check.status, check.remedy = WARNING, "Raise pg_stat_statements.max, at the server's next restart."
    return check
