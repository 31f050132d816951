# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads everything in one transaction that cannot write, and judges it. One part that fails leaves the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from .._checks.guard import escaped
from .._checks.replication import READ as READ_STATISTICS
from .._checks.sql import NotMeasured, ask, first_line, reading
from .._checks.statements import normalised
from ..checks import OK, WARNING, Check, as_action, unknown, utc_now
from ..words import plural
from . import bloat, findings, plans, settings, statements, tables
from .catalogue import NO_CATALOGUE, Index, indexes, without_catalogue
from .options import checked
from .plan import planned, statement, write
from .usage import Watched, uses
from .work import WHERE

try:
    import psycopg2
    import psycopg2.errors
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: Id of a check -> its newest details in earlier reports, empty for none.
Before = Callable[[str], Mapping[str, Any]]

STATEMENTS = (statements.STATEMENTS_CHECK, plans.MISSING)
INDEXES = (findings.UNUSED, findings.DUPLICATES, findings.INVALID, findings.USAGE)


@dataclass
class Analysis:
    """What an analysis hands over.

    :param record: what the ledger keeps
    """

    checks: List[Check]
    actions: List[Dict[str, Any]] = field(default_factory=list)
    record: Dict[str, Any] = field(default_factory=dict)
    plan: Dict[str, Any] = field(default_factory=dict)


PLANNED = ("tuning.planned", "What apply would do")


def analyse(options: Dict[str, Any], before: Before) -> Analysis:
    """A whole analysis; it changes nothing.

    :param options: see options.SPEC
    :raises MaintenanceError: an option makes no sense, or the database does not answer
    """
    options = checked(options)
    found: List[Check] = []
    thresholds = options["thresholds"]
    with reading(options["database"], options["timeout"]) as cursor:
        # A relation that somebody locks must not hold us up, nor those who queue behind us.
        cursor.execute("SET LOCAL lock_timeout TO '1s'")
        read: List[List[Index]] = []

        def of_indexes() -> List[Check]:
            known = indexes(cursor, psycopg2.errors.LockNotAvailable)
            read.append(known)
            counted = uses(cursor, options["database"], options["replicas"], options["timeout"])
            watched = Watched.from_data(before(findings.UNUSED[0]), counted.servers[0].system)
            now = counted.servers[0].now
            return findings.of_indexes(known, counted, watched, options["cycle_days"], thresholds, now)

        found += part(cursor, of_indexes, INDEXES)
        # None when the catalogue could not be read: that is not a database without indexes.
        known = read[0] if read else None
        found += part(cursor, lambda: bloat.measured(cursor, known, options, psycopg2.Error), bloat.PLANNED)
        for probe in tables.PROBES:
            found += ask(cursor, probe, thresholds, READ_STATISTICS)
        found += part(cursor, lambda: of_settings(cursor, options), settings_planned(options))
        found += part(cursor, lambda: of_statements(cursor, known, options, before), STATEMENTS)
        for query in options["queries"]:
            name = f"tuning.plan:{query['name']}", f"Plan of {query['name']}"
            found += part(cursor, lambda query=query: of_query(cursor, query, options), (name,))  # type: ignore[misc]
        plans_made: List[Dict[str, Any]] = []
        found += part(cursor, lambda: of_plan(cursor, known, found, options, plans_made), (PLANNED,))
    plan = plans_made[0] if plans_made else {}
    if plan and options["plans"]:
        write(plan, options["plans"])
    started = utc_now()
    actions = [
        as_action(
            f"tuning.{one['kind']}:{one['schema']}.{one['name']}",
            f"{one['kind']} {one['schema']}.{one['name']}",
            "planned",
            False,
            statement(one),
            started,
            {},
        )
        for one in plan.get("operations", ())[:200]
    ]
    actions += charts(found, started)
    return Analysis(found, actions, record(found, plan), plan)


TABLES = """
SELECT c.oid::bigint AS oid, n.nspname || '.' || c.relname AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm', 'p')
"""


def of_plan(
    cursor: Any, known: Optional[List[Index]], found: List[Check], options: Dict[str, Any], made: List[Dict[str, Any]]
) -> List[Check]:
    """The plan of what was found, put into made, and its check.

    :raises NotMeasured: the indexes are not known
    """
    if known is None:
        raise NotMeasured(*NO_CATALOGUE)
    cursor.execute(WHERE)
    where = cursor.fetchone()
    cursor.execute(TABLES)
    tables_there = {row["name"]: row["oid"] for row in cursor.fetchall()}
    database = {key: where[key] for key in ("system", "name", "oid")}
    plan = planned(found, known, tables_there, database, options["drop_indexes"], options["extended_statistics"])
    made.append(plan)
    text = f"{plural(len(plan['operations']), 'operation')}, digest {plan['digest']}." if plan["digest"] else "Nothing."
    if plan["refused"]:
        text = f"{plan['refused'][0]}. {text}"
    return [
        Check(
            *PLANNED,
            WARNING if plan["refused"] else OK,
            len(plan["operations"]),
            message=text,
            remedy="Take it out of database_tuning_drop_indexes or database_tuning_extended_statistics."
            if plan["refused"]
            else "",
            source="this analysis",
            details=dict(plan),
        )
    ]


def charts(found: List[Check], started: str) -> List[Dict[str, Any]]:
    """What statements take since the last run, beside what they took before it; none without an earlier run."""
    for check in found:
        if check.id == statements.STATEMENTS_CHECK[0]:
            bars = statements.bars(check.details.get("statements", ()))
            title = "Mean time of statements, before and since the last run"
            drawn = {"charts": [{"kind": "changes", "title": title, "unit": "ms", "bars": bars}]}
            return [as_action(check.id, title, OK, False, "", started, drawn)] if bars else []
    return []


def of_settings(cursor: Any, options: Dict[str, Any]) -> List[Check]:
    """Settings and pools."""
    cursor.execute(settings.READ)
    return list(settings.judged(cursor.fetchall(), options))


def settings_planned(options: Dict[str, Any]) -> Tuple[Tuple[str, str], ...]:
    """Their ids and titles."""
    return (settings.SETTINGS, settings.POOLS) if options["pools"] else (settings.SETTINGS,)


def of_statements(cursor: Any, known: Optional[List[Index]], options: Dict[str, Any], before: Before) -> List[Check]:
    """Recorded statements with their plans, and the indexes that these lack; unknown when those there are, are."""
    earlier = before(statements.STATEMENTS_CHECK[0])
    recorded = statements.recorded(cursor, earlier)
    means = statements.means(earlier)
    missing = plans.Missing(cursor, known or [], options, psycopg2.Error)
    shown: List[Dict[str, Any]] = []
    unplanned, writes = 0, 0
    for one in statements.most_costly(recorded, options["statements"]):
        plan = plans.planned(cursor, one.text, options["search_path"], recorded.version, psycopg2.Error)
        unplanned += bool(plan.problem) and plans.reads(one.text)
        writes += not plans.reads(one.text)
        if not plan.problem and known is not None:
            missing.look(one, plan, recorded.version)
        shown.append(
            {
                "queryid": one.queryid,
                "text": normalised(one.text),
                "calls": one.calls,
                "total_ms": round(one.total, 1),
                "mean_ms": round(one.mean, 2),
                "mean_before_ms": means.get(one.queryid),
                "max_ms": round(one.longest, 1),
                "since_last_run": not one.fresh,
                "plan": plan.summary or f"unknown: {plan.problem}",
            }
        )
    thresholds = options["thresholds"]
    return [
        statements.judged(recorded, shown, thresholds),
        missing.judged(recorded, unplanned, writes, thresholds)
        if known is not None
        else without_catalogue(*plans.MISSING),
    ]


def of_query(cursor: Any, query: Dict[str, Any], options: Dict[str, Any]) -> List[Check]:
    """The plan of one statement that an operator names."""
    cursor.execute("SELECT current_setting('server_version_num')::int AS version")
    return [plans.query(cursor, query, options, cursor.fetchone()["version"], psycopg2.Error)]


def part(cursor: Any, judged: Callable[[], List[Check]], planned: Tuple[Tuple[str, str], ...]) -> List[Check]:
    """The checks of one part, within a savepoint; all of them unknown when it fails.

    :raises psycopg2.Error: the connection is lost
    """
    cursor.execute("SAVEPOINT part")
    try:
        found = judged()
    except psycopg2.Error as error:
        if cursor.connection.closed:
            raise
        text = first_line(error)
        found = [
            unknown(id, title, f"{title}: the statement failed: {text}.", READ_STATISTICS) for id, title in planned
        ]
    except NotMeasured as error:
        found = [unknown(id, title, f"{title}: {error.message}", error.remedy) for id, title in planned]
    except Exception as error:
        found = [escaped(id, title, error) for id, title in planned]
    cursor.execute("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
    return found


def record(found: List[Check], plan: Dict[str, Any]) -> Dict[str, Any]:
    """What the ledger keeps: what was found, without the evidence, which is in the report."""
    return {
        "method": METHOD,
        "plan": plan.get("digest", ""),
        "checks": {check.id: {"status": check.status, "value": check.value} for check in found},
        "advice": {
            check.id: {key: check.details[key] for key in ("safe", "review", "unknown", "stay")}
            for check in found
            if "stay" in check.details
        },
    }


#: Of this analysis; raised when verdicts come about in another way.
METHOD = 1
