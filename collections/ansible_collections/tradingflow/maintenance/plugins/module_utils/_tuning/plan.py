# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What apply would do: a plan that is approved by its digest, and that names every object by its oid."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from ..checks import Check, utc_now
from ..database import quoted
from ..errors import ConfigurationError
from .catalogue import Index
from .indexes import REVIEW, SAFE, has_to_stay

Operation = Dict[str, Any]

#: In the order in which they are carried out: what is cheap and helps the planner first.
KINDS = ("analyze", "vacuum", "freeze", "statistics", "reindex", "drop")
#: Days for which an approval holds.
MOST_DAYS = 14
#: Seconds by which a clock may have been set back since.
FUTURE = 300
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
NO_SUCH = "There is no plan with the digest {}."
MAKE = "Run without action apply, review the plan in the report, and approve its digest."


def statement(operation: Operation) -> str:
    """The one statement of an operation, made of its kind and names alone."""
    name = f"{quoted(operation['schema'])}.{quoted(operation['name'])}"
    if operation["kind"] == "statistics":
        columns = ", ".join(quoted(column) for column in operation["columns"])
        made = f"{quoted(operation['schema'])}.{quoted(operation['statistics'])}"
        return f"CREATE STATISTICS {made} ON {columns} FROM {name}"
    return {
        "analyze": f"ANALYZE {name}",
        # Giving pages back would lock out all others, a standby's readers for as long as it takes there.
        "vacuum": f"VACUUM (TRUNCATE FALSE) {name}",
        "freeze": f"VACUUM (FREEZE, TRUNCATE FALSE) {name}",
        "reindex": f"REINDEX INDEX CONCURRENTLY {name}",
        "drop": f"DROP INDEX CONCURRENTLY {name}",
    }[str(operation["kind"])]


def recreate(ddl: str) -> str:
    """The definition of a dropped index, so that it comes back without a lock.

    :raises ConfigurationError: it is none
    """
    match = re.match(r"CREATE (UNIQUE )?INDEX ", ddl)
    if not match:
        raise ConfigurationError("A plan holds a definition that is none of an index.", "Nothing was done by it.")
    return f"CREATE {match[1] or ''}INDEX CONCURRENTLY {ddl[match.end() :]}"


def restored(table: str, index: Tuple[str, str], wanted: Dict[str, Any], there: Dict[str, Any]) -> List[str]:
    """Statements that give an index what its definition does not say; what it has already stays as it is.

    :param table: quoted, with its schema
    :param index: schema and name
    :param wanted: its properties as catalogue.Index has them
    """
    name = f"{quoted(index[0])}.{quoted(index[1])}"
    found: List[str] = []
    if "comment" in wanted and "comment" not in there:
        found.append(f"COMMENT ON INDEX {name} IS {literal(wanted['comment'])}")
    for column, target in sorted(wanted.get("targets", {}).items()):
        if column not in there.get("targets", {}):
            found.append(f"ALTER INDEX {name} ALTER COLUMN {int(column)} SET STATISTICS {int(target)}")
    for extension in wanted.get("extensions", ()):
        if extension not in there.get("extensions", ()):
            found.append(f"ALTER INDEX {name} DEPENDS ON EXTENSION {quoted(extension)}")
    if wanted.get("clustered") and not there.get("clustered"):
        found.append(f"ALTER TABLE {table} CLUSTER ON {quoted(index[1])}")
    return found


def literal(text: str) -> str:
    """A constant of SQL, whatever standard_conforming_strings says."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def digest(operations: Sequence[Operation], database: Dict[str, str], made_at: str) -> str:
    """Of what would be done, where, and when it was planned: nobody approves next week's plan with this one."""
    text = json.dumps([database, list(operations), made_at], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def planned(
    checks: Iterable[Check],
    indexes: Sequence[Index],
    tables: Dict[str, int],
    database: Dict[str, str],
    drops: Sequence[str],
    statistics: Sequence[Dict[str, Any]],
) -> Dict[str, Any]:
    """The plan of an analysis.

    :param tables: schema.name of each table -> oid
    :param database: system, name and oid of the database
    :param drops: indexes that a person named; one that was advised against is refused
    :param statistics: extended statistics that a person declared
    :returns: {"digest", "made_at", "database", "operations", "refused": [reasons]}
    """
    by_name = {one.full: one for one in indexes}
    operations: List[Operation] = []
    advised: Dict[str, Dict[str, Any]] = {}
    for check in checks:
        for advice in check.details.get("advice", ()):
            if advice.get("statement", "").startswith("DROP") and advice["verdict"] in (SAFE, REVIEW):
                advised.setdefault(advice["index"], advice)
            if advice["verdict"] == SAFE and advice.get("target"):
                operation = _operation(advice, by_name, tables)
                if operation and operation not in operations:
                    operations.append(operation)
    refused: List[str] = []
    wanted = set(drops)
    for name in sorted(wanted):
        reason, found = _may_drop(name, by_name, advised, wanted)
        if found is None:
            refused.append(f"{name} is not dropped: {reason}")
        else:
            operations.append(found)
    for each in statistics:
        table = f"{each['schema']}.{each['table']}"
        if table not in tables:
            refused.append(f"no statistics {each['name']}: there is no table {table}")
            continue
        operations.append(
            {
                "kind": "statistics",
                "schema": each["schema"],
                "name": each["table"],
                "oid": tables[table],
                "statistics": each["name"],
                "columns": list(each["columns"]),
            }
        )
    # What is dropped need not be rebuilt before.
    gone = {one["oid"] for one in operations if one["kind"] == "drop"}
    operations = [one for one in operations if one["kind"] != "reindex" or one["oid"] not in gone]
    operations.sort(key=lambda one: (KINDS.index(one["kind"]), one["schema"], one["name"]))
    made_at = utc_now()
    return {
        "digest": digest(operations, database, made_at) if operations else "",
        "made_at": made_at,
        "database": database,
        "operations": operations,
        "refused": refused,
    }


def _operation(advice: Dict[str, Any], indexes: Dict[str, Index], tables: Dict[str, int]) -> Optional[Operation]:
    schema, name = advice["target"]
    first = advice["statement"].split(" ")[0]
    kind = "freeze" if advice["statement"].startswith("VACUUM (FREEZE)") else first.lower()
    if kind == "reindex":
        index = indexes.get(f"{schema}.{name}")
        return {"kind": kind, "schema": schema, "name": name, "oid": index.oid} if index else None
    oid = tables.get(f"{schema}.{name}")
    return {"kind": kind, "schema": schema, "name": name, "oid": oid} if oid else None


def _may_drop(name: str, indexes: Dict[str, Index], advised: Dict[str, Dict[str, Any]], all_drops: Any) -> Any:
    """Why an index that somebody named must not go and None; or "" and the operation."""
    index, advice = indexes.get(name), advised.get(name)
    if index is None:
        return "there is no such index", None
    if advice is None:
        return has_to_stay(index) or "no advice of this run says that it may go", None
    if index.partitioned or index.parent is not None:
        return "one of a partitioned table cannot be dropped without a lock on all of it: use a migration", None
    if not index.definition:
        return "its definition is hidden by a lock, so that nobody could bring it back", None
    kept = advice.get("evidence", {}).get("kept")
    if kept in all_drops:
        return f"{kept}, which is to take its place, is to be dropped as well", None
    return "", {
        "kind": "drop",
        "schema": index.schema,
        "name": index.name,
        "oid": index.oid,
        "ddl": index.definition,
        "properties": index.properties,
        "kept": kept or "",
        "kept_ddl": (indexes[kept].definition or "") if kept else "",
    }


def write(plan: Dict[str, Any], folder: str) -> None:
    """Keeps a plan under its digest: what is approved today is what is carried out tomorrow."""
    if not plan["digest"]:
        return
    place = Path(folder)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = place / f"{plan['digest']}.json"
    new = place / f".{plan['digest']}.{os.getpid()}"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(
            {key: plan[key] for key in ("digest", "made_at", "database", "operations")}, file, indent=1, sort_keys=True
        )
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def age(made_at: str) -> float:
    """Seconds since a plan was made.

    :raises ValueError: it does not say when
    """
    return time.time() - datetime.fromisoformat(made_at.replace("Z", "+00:00")).timestamp()


def approved(wanted: str, folder: str) -> Dict[str, Any]:
    """The plan of a digest, as it was when it was approved.

    :raises ConfigurationError: there is none, or it is not what its digest says
    """
    if not _DIGEST.match(wanted):
        raise ConfigurationError("Action apply needs the digest of an approved plan (expected_digest).", MAKE)
    path = Path(folder) / f"{wanted}.json"
    try:
        plan: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        operations, made_at = plan["operations"], plan["made_at"]
        old = age(made_at)
        if digest(operations, plan["database"], made_at) != wanted or any(
            one["kind"] not in KINDS for one in operations
        ):
            raise ValueError
    except FileNotFoundError:
        raise ConfigurationError(NO_SUCH.format(wanted[:12]), MAKE) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigurationError(f"The plan {path.name} is not what its digest says, or unreadable.", MAKE) from None
    if old < -FUTURE:
        # It would hold for longer, and hide that statistics were reset since.
        raise ConfigurationError(
            f"The plan {wanted[:12]} is of the future: the clock was ahead when it was made, or is behind now.",
            f"Set the clock right. {MAKE}",
        )
    if old > MOST_DAYS * 86400:
        raise ConfigurationError(
            f"The plan {wanted[:12]} is older than {MOST_DAYS} days: what it rests on has changed.", MAKE
        )
    return plan
