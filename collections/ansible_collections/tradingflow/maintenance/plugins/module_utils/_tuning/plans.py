# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans of statements, which are planned and never carried out, and the indexes that they lack."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Tuple, Type

from .._checks.sql import Row, first_line
from .._checks.statements import normalised
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, judge, limits, unknown
from ..database import quoted
from ..words import plural, printable
from .catalogue import Index
from .indexes import REVIEW, Advice
from .indexes import UNKNOWN as NOT_KNOWN
from .proof import refuses
from .statements import LEAD, MOST_TEXT, Recorded, Statement

#: From here on PostgreSQL plans a statement with $1 in it.
GENERIC = 160000
#: Rows from which on reading a whole table is worth a word, and the share of them from which on an index is no help.
MANY_ROWS = 10_000
SELECTIVE = 0.1

_READS = re.compile(LEAD + r"(select|with|values|table)\b", re.IGNORECASE)
#: A comparison in a plan's filter: a column and what it is compared by.
_COMPARED = re.compile(r'\(?\(?(?:"([^"]+)"|([a-z_][a-z0-9_$]*))\)?(?:::[a-z ]+)?\s(=|<=|>=|<|>)\s', re.ASCII)

MISSING = ("tuning.missing_indexes", "Indexes that statements lack")


@dataclass
class Measured:
    """What a statement took.

    :param seconds: of planning and execution
    :param blocks: read from the cache or the disk
    """

    seconds: float
    rows: int
    blocks: int


@dataclass
class Plan:
    """How PostgreSQL would carry out a statement.

    :param problem: why there is none
    :param scans: its scans of whole tables: {"schema", "table", "filter", "rows"}
    :param measured: what it took, where it was carried out
    """

    cost: float = 0.0
    summary: str = ""
    problem: str = ""
    scans: List[Row] = field(default_factory=list)
    measured: Optional[Measured] = None


def planned(  # pylint: disable=too-many-arguments
    cursor: Any,
    text: str,
    search_path: List[str],
    version: int,
    errors: Type[BaseException],
    *,
    analyze: bool = False,
) -> Plan:
    """Plans a statement, within a savepoint that gives its locks back. It is not carried out.

    :param analyze: whether it is, where it is proven that it only reads
    """
    if len(text) >= MOST_TEXT:
        return Plan(problem="too long: it was recorded in part")
    if not _READS.match(text):
        return Plan(problem="it writes, and only its owner may have it planned")
    # psycopg2 sends several statements at once, and the second could leave the transaction that cannot write.
    if ";" in text.rstrip().rstrip(";"):
        return Plan(problem="there is a semicolon in it")
    generic = re.search(r"\$\d", text) is not None
    if generic and version < GENERIC:
        return Plan(problem="statements with parameters are planned from PostgreSQL 16 on")
    names = ", ".join(quoted(name) for name in ["pg_catalog", *search_path])
    how = "GENERIC_PLAN, VERBOSE, FORMAT JSON" if generic else "VERBOSE, FORMAT JSON"
    plan = Plan()
    cursor.execute(f"SAVEPOINT plan; SET LOCAL search_path TO {names}")
    try:
        if analyze:
            refused = refuses(cursor, text, names)
            if refused:
                plan = Plan(problem=f"not carried out, as {refused}")
            how = "ANALYZE, BUFFERS, VERBOSE, FORMAT JSON"
        if not plan.problem:
            cursor.execute(f"EXPLAIN ({how}) {text.rstrip().rstrip(';')}")
            told = cursor.fetchone()["QUERY PLAN"]
            plan = _understood((json.loads(told) if isinstance(told, str) else told)[0])
    except errors as error:
        if cursor.connection.closed:
            raise
        plan = Plan(problem=_problem(error))
    cursor.execute("ROLLBACK TO SAVEPOINT plan; RELEASE SAVEPOINT plan")
    return plan


def _understood(told: Row) -> Plan:
    top = told["Plan"]
    plan = Plan(top["Total Cost"], " > ".join(_words(top))[:300], scans=list(_scans(top)))
    if "Execution Time" in told:
        blocks = top.get("Shared Hit Blocks", 0) + top.get("Shared Read Blocks", 0)
        seconds = (told["Planning Time"] + told["Execution Time"]) / 1000
        plan.measured = Measured(seconds, round(top["Actual Rows"]), blocks)
    return plan


def _problem(error: Any) -> str:
    """PostgreSQL's message without the statement's values. Only where it names what is missing are quotes of names."""
    code = error.pgcode or ""
    if code.startswith("P0"):
        return f"a function that planning evaluates failed (SQLSTATE {code})"
    text = first_line(error)
    if not code.startswith("42") or code == "42601":
        text = re.sub(r'"[^"]*"', '"…"', text)
    return re.sub(r"'[^']*'", "'…'", text)


def reads(text: str) -> bool:
    """Whether a statement is one of those that are planned."""
    return _READS.match(text) is not None


def _nodes(node: Row) -> Iterator[Row]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _words(top: Row) -> Iterator[str]:
    for node in _nodes(top):
        on = node.get("Index Name") or node.get("Relation Name")
        yield f"{node['Node Type']}{f' on {printable(on, 63)}' if on else ''}"


def _scans(top: Row) -> Iterator[Row]:
    for node in _nodes(top):
        if node["Node Type"] == "Seq Scan":
            yield {
                "schema": node.get("Schema", ""),
                "table": node["Relation Name"],
                "alias": node.get("Alias", ""),
                "filter": node.get("Filter", ""),
                "rows": node["Plan Rows"],
            }


COLUMNS = """
SELECT c.oid::bigint AS oid, c.reltuples AS rows,
       (SELECT json_object_agg(a.attname, a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND c.relkind IN ('r', 'm')
"""


def wanted(scan: Row, columns: Dict[str, int]) -> List[str]:
    """Columns of an index that a filter could go by: those that are compared for equality, then one by range."""
    text = scan["filter"].replace(f"{scan['alias']}.", "")
    # Only conditions that all have to hold narrow anything down.
    if " OR " in text or "SubPlan" in text:
        return []
    equal: List[str] = []
    ranged: List[str] = []
    for match in _COMPARED.finditer(text):
        name = match[1] or match[2]
        if name in columns:
            (equal if match[3] == "=" else ranged).append(name)
    ranged = [name for name in ranged if name not in equal]
    return list(dict.fromkeys([*equal, *ranged[:1]]))[:3]


class Missing:
    """Looks for indexes that plans lack, and asks HypoPG whether the planner would use them."""

    def __init__(self, cursor: Any, indexes: List[Index], options: Row, errors: Type[BaseException]) -> None:
        self.cursor, self.indexes, self.options, self.errors = cursor, indexes, options, errors
        cursor.execute(
            "SELECT quote_ident(n.nspname) AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
            "WHERE e.extname = 'hypopg'"
        )
        row = cursor.fetchone()
        self.hypopg: Optional[str] = row["schema"] if row else None
        self.found: Dict[Tuple[str, ...], Advice] = {}

    def look(self, statement: Statement, plan: Plan, version: int) -> None:
        """Candidates of one plan."""
        for scan in plan.scans:
            self.cursor.execute(COLUMNS, {"schema": scan["schema"], "table": scan["table"]})
            table = self.cursor.fetchone()
            if not table or table["rows"] < MANY_ROWS or scan["rows"] > SELECTIVE * table["rows"]:
                continue
            columns = wanted(scan, table["columns"] or {})
            key = (scan["schema"], scan["table"], *columns)
            if not columns or key in self.found or self._there(table, columns):
                continue
            names = ", ".join(quoted(name) for name in columns)
            create = f"CREATE INDEX CONCURRENTLY ON {quoted(scan['schema'])}.{quoted(scan['table'])} ({names})"
            self.found[key] = self._advice(statement, plan, scan, create, version)

    def _there(self, table: Row, columns: List[str]) -> bool:
        """Whether an index begins with these columns: then the planner knows why it reads the whole table."""
        numbers = {table["columns"][name] for name in columns}
        return any(
            one.table_oid == table["oid"]
            and one.valid
            and set(one.keys[: len(numbers)]) == numbers
            and not one.predicate
            for one in self.indexes
        )

    def _advice(self, statement: Statement, plan: Plan, scan: Row, create: str, version: int) -> Advice:
        name = f"{scan['schema']}.{scan['table']}"
        evidence = {
            "statement": normalised(statement.text),
            "queryid": statement.queryid,
            "calls": statement.calls,
            "total_ms": round(statement.total, 1),
            "cost": plan.cost,
        }
        if self.hypopg is None:
            text = (
                "a statement reads the whole table for few rows; HypoPG is not installed, so that nobody knows the gain"
            )
            return Advice("", name, NOT_KNOWN, text, create, evidence=evidence)
        after = self._tried(statement, create, version)
        if after is None:
            return Advice("", name, NOT_KNOWN, "HypoPG could not try it", create, evidence=evidence)
        evidence["cost_with_it"] = after.cost
        if after.cost > 0.7 * plan.cost:
            return Advice("", name, NOT_KNOWN, "the planner would hardly use it", evidence=evidence)
        text = f"its cost would be {after.cost:,.0f} instead of {plan.cost:,.0f}; every write would cost more"
        return Advice("", name, REVIEW, text, create, evidence=evidence)

    def _tried(self, statement: Statement, create: str, version: int) -> Optional[Plan]:
        after = Plan(problem="not tried")
        self.cursor.execute("SAVEPOINT hypothetical")
        try:
            self.cursor.execute(
                f"SELECT {self.hypopg}.hypopg_create_index(%(create)s)", {"create": create.replace("CONCURRENTLY ", "")}
            )  # fmt: skip
            after = planned(self.cursor, statement.text, self.options["search_path"], version, self.errors)
        except self.errors:
            if self.cursor.connection.closed:
                raise
        # It is of the session, not of the transaction: the next plan would have it, too.
        self.cursor.execute(
            f"ROLLBACK TO SAVEPOINT hypothetical; RELEASE SAVEPOINT hypothetical; SELECT {self.hypopg}.hypopg_reset()"
        )
        return None if after.problem else after

    def judged(  # pylint: disable=too-many-arguments
        self, recorded: Recorded, unplanned: int, writes: int, thresholds: Dict[str, Any]
    ) -> Check:
        """One check of all candidates."""
        advice = list(self.found.values())
        sure = [one for one in advice if one.verdict == REVIEW]
        open_ones = [one for one in advice if one.verdict == NOT_KNOWN and one.statement]
        text = f"{plural(len(sure), 'index', 'indexes')} would help, by HypoPG's plans." if self.hypopg else ""
        text = text or "No statement that could be planned reads a large table for few rows."
        if writes:
            text += f" {plural(writes, 'statement writes', 'statements write')}, and nobody looked at what they lack."
        check = judge(
            *MISSING,
            len(sure),
            **limits(thresholds, "missing_indexes"),
            message=text,
            remedy="Review each in the details; create what is wanted in a migration.",
            source="pg_stat_statements, EXPLAIN",
            details={
                "hypopg": self.hypopg is not None,
                "version": recorded.version,
                "unplanned": unplanned,
                "advice": [one.as_data() for one in advice[:50]],
            },
        )
        if open_ones:
            first = open_ones[0]
            told = f"{plural(len(open_ones), 'candidate')}; {first.table}: {first.reason}."
            if check.status == CRITICAL:
                check.message = f"{check.message} {told}"
                return check
            check.status, check.value, check.message = UNKNOWN, None, told
            check.remedy = "Install HypoPG and run again, or try the index in the rehearsal of a migration."
        elif unplanned and check.status == OK:
            check.status, check.value = UNKNOWN, None
            check.message = f"{plural(unplanned, 'statement')} that only read could not be planned. {text}"
            check.remedy = "Name the schemas in database_tuning_search_path; parameters need PostgreSQL 16."
        return check


def query(cursor: Any, asked: Row, options: Row, version: int, errors: Type[BaseException]) -> Check:
    """The plan of one statement that an operator names, such as the manual's."""
    name = printable(asked["name"], 63)
    id, title = f"tuning.plan:{name}", f"Plan of {name}"
    analyze = asked["analyze"]
    plan = planned(cursor, asked["sql"], options["search_path"], version, errors, analyze=analyze)
    source = "EXPLAIN (ANALYZE, BUFFERS)" if analyze else "EXPLAIN"
    if plan.problem:
        remedy = "Correct it in database_tuning_queries, or let the role read its tables."
        if analyze:
            remedy = "Have it planned only (analyze: false), or write it so that it can be proven that it only reads."
        return unknown(id, title, f"{title}: {plan.problem}.", remedy, source=source)
    large = []
    for scan in plan.scans:
        cursor.execute(COLUMNS, {"schema": scan["schema"], "table": scan["table"]})
        row = cursor.fetchone()
        if row and row["rows"] >= MANY_ROWS:
            large.append(f"{scan['schema']}.{scan['table']}")
    # Filters hold the statement's values.
    scans = [{key: value for key, value in scan.items() if key != "filter"} for scan in plan.scans[:20]]
    took = plan.measured
    text = f"{plan.summary}, cost {plan.cost:,.0f}."
    if took:
        text = f"{plan.summary}, {plural(took.rows, 'row')} in {took.seconds:.3g} s, {plural(took.blocks, 'block')}."
    return Check(
        id,
        title,
        WARNING if large else OK,
        round(plan.cost, 1),
        message=f"It reads the whole of {', '.join(large)}: {text}" if large else text,
        remedy="See whether an index serves its condition and its order." if large else "",
        source=source,
        details={
            "plan": plan.summary,
            "scans": scans,
            "statement": normalised(asked["sql"]),
            **({"seconds": took.seconds, "rows": took.rows, "blocks": took.blocks} if took else {}),
        },
    )
