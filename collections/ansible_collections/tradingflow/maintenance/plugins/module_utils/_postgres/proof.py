# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a restored database is the one in the recovery point: rows, digests, schema, extensions, indexes."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from ..checks import CRITICAL, OK, WARNING, Check, unknown
from ..database import connected, one_line
from ..errors import MaintenanceError
from . import measuring, snapshot

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: Differences that are named in a message, and kept in the details.
SAID, KEPT = 3, 50
#: What is compared with the recovery point, and how it is called.
COMPARED = {
    "rows": "Rows restored",
    "digests": "Contents of the rows",
    "schema_head": "Schema's head",
    "extensions": "Extensions",
    "large_objects": "Large objects",
}
NOT_EXACT = "not comparable, as the recovery point has no counts of exactly the state at its restore point."
AGAIN = "Back up when less is committed, so that a moment is found in which nothing is; read docs/backup.md."
REMEDY = "Do not rely on this recovery point: make another backup now, drill it, and find out what differs."

_INDEXES = """
SELECT c.oid::bigint, n.nspname || '.' || c.relname
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relam = (SELECT oid FROM pg_am WHERE amname = 'btree') AND c.relkind = 'i' AND c.relpersistence <> 't'
  AND i.indisready AND i.indisvalid
ORDER BY pg_relation_size(c.oid) DESC"""

# Each partition with the topmost table above it that is partitioned by hash.
_HASHED = """
WITH RECURSIVE up AS (
  SELECT oid AS leaf, oid AS at, 0 AS height FROM pg_class WHERE relkind = 'r' AND relispartition
  UNION ALL SELECT up.leaf, i.inhparent, up.height + 1 FROM up JOIN pg_inherits i ON i.inhrelid = up.at)
SELECT DISTINCT ON (up.leaf) n.nspname, c.relname, m.nspname, r.relname
FROM up JOIN pg_partitioned_table p ON p.partrelid = up.at AND p.partstrat = 'h'
JOIN pg_class c ON c.oid = up.leaf JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class r ON r.oid = up.at JOIN pg_namespace m ON m.oid = r.relnamespace
ORDER BY up.leaf, up.height DESC"""

Tables = List[Dict[str, Any]]
Roots = Dict[Tuple[str, str], Tuple[str, str]]


def compare(
    database: Dict[str, Any], point: Dict[str, Any], jobs: int, tick: Callable[[], None], *, careful: bool = False
) -> List[Check]:
    """Rows, digests, schema's head, extensions and large objects against the recovery point's.

    :param database: the restored one
    :param careful: a superuser looks, see Snapshot
    :raises DatabaseError: it does not answer
    """
    recorded = point["database"]
    if not point["engine"].get("exact", True):
        # What was counted is of another moment than the restore point: neither likeness nor difference says anything.
        return [unknown(f"drill.{name}", title, f"{title}: {NOT_EXACT}", AGAIN) for name, title in COMPARED.items()]
    with snapshot.opened(database, careful=careful) as taken:
        found = taken.describe()
        # Recovery empties unlogged tables, and they were not recorded.
        logged = point["engine"]["name"] != "logical" or bool(recorded.get("in_recovery"))
        tables = taken.tables(logged=logged)
        digests = any(table["digest"] is not None for table in recorded["tables"])
        session = measuring.Measuring(taken, tables, digests=digests, sessions=max(1, jobs))
        try:
            while not session.finished():
                tick()
                time.sleep(0.02)
        except BaseException:
            session.cancel()
            raise
        measured = session.results()
        roots = hashed(taken) if point["engine"]["name"] == "logical" else {}
    return [
        *of_tables(*at_roots(recorded["tables"], measured, roots)),
        equal("schema_head", COMPARED["schema_head"], recorded["schema_head"], found["schema_head"]),
        of_extensions(recorded["extensions"], found["extensions"]),
        equal("large_objects", COMPARED["large_objects"], recorded["large_objects"], found["large_objects"]),
    ]


def hashed(taken: snapshot.Snapshot) -> Roots:
    """By partition, the topmost table above it that is partitioned by hash, in a cluster's words."""
    rows = taken.rows(_HASHED)
    return {(schema, name): (root_schema, root) for schema, name, root_schema, root in rows}


def at_roots(recorded: Tables, measured: Tables, roots: Roots) -> Tuple[Tables, Tables]:
    """Both with partitions by hash that differ as one table, as an enum's hash is another in each database.

    Rows then lie in other partitions than recorded. Counts and digests add up over them.
    """
    by_root: Dict[Tuple[str, str], Set[Tuple[str, str]]] = {}
    for leaf, root in roots.items():
        by_root.setdefault(root, set()).add(leaf)
    before, after = ({_key(each): each for each in tables} for tables in (recorded, measured))
    summed: Set[Tuple[str, str]] = set()
    roots_before, roots_after = [], []
    for root, leaves in by_root.items():
        mine, theirs = ({leaf: each[leaf] for leaf in leaves & each.keys()} for each in (before, after))
        if mine.keys() != theirs.keys() or _contents(mine) == _contents(theirs):
            continue
        summed |= mine.keys()
        roots_before.append(_sum(root, list(mine.values())))
        roots_after.append(_sum(root, list(theirs.values())))
    recorded, measured = ([each for each in tables if _key(each) not in summed] for tables in (recorded, measured))
    return recorded + roots_before, measured + roots_after


def _contents(tables: Dict[Tuple[str, str], Dict[str, Any]]) -> Dict[Tuple[str, str], Tuple[Any, Any]]:
    return {key: (table["rows"], table["digest"]) for key, table in tables.items()}


def _key(table: Dict[str, Any]) -> Tuple[str, str]:
    return table["schema"], table["name"]


def _sum(root: Tuple[str, str], tables: Tables) -> Dict[str, Any]:
    digests = [table["digest"] for table in tables]
    uncounted = [table for table in tables if table["rows"] is None]
    algorithms = {table["algorithm"] for table in tables}
    known = None not in digests and len(algorithms) == 1
    return {
        "oid": 0,
        "schema": root[0],
        "name": root[1],
        "rows": None if uncounted else measuring.rows_of(tables),
        "digest": str(sum(int(digest) for digest in digests)) if known else None,
        "algorithm": algorithms.pop() if known else None,
        **({"unmeasured": uncounted[0].get("unmeasured")} if uncounted else {}),
    }


def of_contents(point: Dict[str, Any]) -> List[Check]:
    """That there is nothing to compare: a restore of no data proves nothing."""
    tables = point["database"]["tables"]
    if any(table["rows"] != 0 for table in tables):
        return []
    text = f"The recovery point holds no data: {len(tables)} tables, and not a single row."
    remedy = "Find out where the data are (tradingflow_database), and drill a recovery point that has them."
    return [Check("drill.contents", "Contents of the recovery point", CRITICAL, 0, message=text, remedy=remedy)]


def of_tables(recorded: List[Dict[str, Any]], measured: List[Dict[str, Any]]) -> List[Check]:
    """Row counts and digests by table."""
    there = {(table["schema"], table["name"]): table for table in measured}
    counts: List[str] = []
    digests: List[str] = []
    compared: List[str] = []
    without: List[str] = []
    uncounted: List[str] = []
    for table in recorded:
        label = f"{table['schema']}.{table['name']}"
        copy = there.pop((table["schema"], table["name"]), None)
        if copy is None:
            counts.append(f"{label} is missing")
            continue
        if copy["rows"] is None or table["rows"] is None:
            uncounted.append(f"{label} ({(copy if copy['rows'] is None else table).get('unmeasured')})")
        elif copy["rows"] != table["rows"]:
            counts.append(f"{label} has {copy['rows']} rows instead of {table['rows']}")
        if table["digest"] is None or copy["algorithm"] != table["algorithm"]:
            without.append(label)
        else:
            compared.append(label)
            if copy["digest"] != table["digest"]:
                digests.append(f"{label} has other rows than recorded")
    counts += [f"{schema}.{name} is not in the recovery point" for schema, name in there]
    rows = measuring.rows_of(recorded)
    checks = [
        judged("rows", COMPARED["rows"], counts, f"{len(recorded)} tables with {rows} rows, as recorded.", rows),
        judged(
            "digests", COMPARED["digests"], digests, f"{len(compared)} tables have the recorded digest.", len(compared)
        ),
    ]
    if uncounted and not counts:
        text = f"{len(uncounted)} of {len(recorded)} tables could not be counted, and nothing says whether all their"
        checks[0] = unknown(
            "drill.rows",
            COMPARED["rows"],
            f"{text} rows are there: {'; '.join(uncounted[:SAID])}.",
            "Read the message; often a function does not find another: give it a search_path (ALTER FUNCTION ... SET).",
        )
        checks[0].details = {"uncounted": uncounted[:KEPT]}
    if without and not digests:
        text = f"{len(without)} of {len(recorded)} tables have no digest to compare with: {', '.join(without[:SAID])}."
        checks[1] = unknown(
            "drill.digests",
            COMPARED["digests"],
            f"{text} Their rows were only counted, if at all.",
            "Back up with backup_digests=full, from a server of the drill's kind; see what the backup said of them.",
        )
        checks[1].details = {"without": without[:KEPT]}
    return checks


def of_extensions(recorded: Dict[str, str], found: Dict[str, str]) -> Check:
    """Which extensions there are; another version is a warning, as it is the installed package's."""
    missing = [f"{name} is missing" for name in sorted(recorded.keys() - found.keys())]
    missing += [f"{name} is not in the recovery point" for name in sorted(found.keys() - recorded.keys())]
    others = [
        f"{name} is {found[name]} instead of {version}"
        for name, version in sorted(recorded.items())
        if name in found and found[name] != version
    ]
    check = judged(
        "extensions", COMPARED["extensions"], missing + others, f"{len(recorded)} extensions, as recorded.", len(found)
    )
    if others and not missing:
        check.status, check.remedy = WARNING, "Install the source's versions of the extensions on the drill's host."
    return check


def equal(name: str, title: str, recorded: Any, found: Any) -> Check:
    """Whether a value is the recorded one."""
    if recorded is None:
        text = f"{title}: nothing is recorded, and nothing was restored."
        problems = [] if found is None else [f"it is {found}, and nothing is recorded"]
        return judged(name, title, problems, text, "none")
    shown = ", ".join(map(str, found)) if isinstance(found, list) else found
    problems = [] if found == recorded else [f"it is {found} instead of {recorded}"]
    return judged(name, title, problems, f"{title}: {shown}, as recorded.", shown if shown != "" else "none")


def judged(name: str, title: str, problems: List[str], good: str, value: Any) -> Check:
    """A check that is critical when anything differs."""
    if not problems:
        return Check(f"drill.{name}", title, OK, value, message=good)
    more = f", and {len(problems) - SAID} more" if len(problems) > SAID else ""
    return Check(
        f"drill.{name}",
        title,
        CRITICAL,
        value,
        message=f"{title}: {'; '.join(problems[:SAID])}{more}.",
        remedy=REMEDY,
        details={"problems": problems[:KEPT]},
    )


def indexes(database: Dict[str, Any], jobs: int, tick: Callable[[], None], *, full: bool = True) -> Check:
    """amcheck over all B-tree indexes.

    :param full: each with its whole table, all of whose rows it must hold, which reads the table once for each
    :raises DatabaseError: the database does not answer
    """
    title = "B-tree indexes"
    with connected(database, pinned=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'")
        if cursor.fetchone() is None:
            remedy = "Install PostgreSQL's contrib modules on the drill's host."
            return unknown("drill.indexes", title, "amcheck is not installed: no index was checked.", remedy)
        # The platform's event triggers and settings are no business of ours.
        cursor.execute("SET session_replication_role = replica; SET default_transaction_read_only = off")
        if connection.server_version >= 170000:
            cursor.execute("SET event_triggers = off")
        # In a schema of its own: nothing of the platform's is looked at or shadowed.
        cursor.execute("CREATE SCHEMA tradingflow_restore_drill")
        cursor.execute("SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'amcheck'")
        row: Optional[Tuple[str]] = cursor.fetchone()
        if row is None:
            cursor.execute("CREATE EXTENSION amcheck SCHEMA tradingflow_restore_drill")
        schema = row[0] if row else "tradingflow_restore_drill"
        check = f"SELECT {schema}.bt_index_check(%s::pg_catalog.oid::pg_catalog.regclass, %s)"
        cursor.execute(_INDEXES)
        todo: List[Tuple[int, str]] = cursor.fetchall()[::-1]
    total, problems, unchecked, errors = len(todo), [], [], []
    lock = threading.Lock()

    def work() -> None:
        try:
            # Not pinned: functions of indexes may need the path, and amcheck runs them as the table's owner.
            with connected(database) as session, session.cursor() as worker:
                while True:
                    with lock:
                        if not todo:
                            return
                        oid, name = todo.pop()
                    try:
                        worker.execute(check, (oid, full))
                    except (psycopg2.errors.IndexCorrupted, psycopg2.errors.DataCorrupted) as error:
                        with lock:
                            problems.append(f"{name}: {one_line(error)}")
                    except psycopg2.Error as error:
                        if session.closed:
                            raise
                        # A function of the index that does not find another, say: of this one nothing is known.
                        with lock:
                            unchecked.append(f"{name}: {one_line(error)}")
        except MaintenanceError as error:
            with lock:
                errors.append(error)
                todo.clear()

    threads = [threading.Thread(target=work, name="amcheck", daemon=True) for _each in range(max(1, jobs))]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        tick()
        time.sleep(0.02)
    if errors:
        raise errors[0]
    if unchecked and not problems:
        text = f"{len(unchecked)} of {total} B-tree indexes could not be checked: {'; '.join(unchecked[:SAID])}."
        remedy = "Read the message; a function that does not find another needs a search_path (ALTER FUNCTION ... SET)."
        return unknown("drill.indexes", title, text, remedy, details={"unchecked": unchecked[:KEPT]})
    text = f"{total} B-tree indexes hold all rows of their tables, in order."
    if not full:
        text = f"{total} B-tree indexes are in order; that they hold all rows of their tables was not looked at."
    return judged("indexes", title, problems, text, total)


def renamed(check: Check) -> Check:
    """A check of the drill's proof as one of the restore's."""
    check.id = check.id.replace("drill.", "restore.", 1)
    check.remedy = check.remedy.replace("drill's", "restore's")
    return check
