# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the database is the one that the environment's earlier recovery points were made of."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from .._postgres.snapshot import Snapshot
from .._recovery_points import store
from .._storage.read import head
from ..database import connected
from ..errors import BackupError

#: Recovery points that are looked at to find the newest that can be read.
LOOKED_AT = 50


def words(found: Dict[str, Any]) -> str:
    """A database's identity, as backup_database_identity states it."""
    return f"{found['name']}@{found['system_identifier'] or 'unknown'}"


def check(options: Dict[str, Any], s3: Any, prefix: str) -> Dict[str, Any]:
    """Compares the database with the newest recovery point before anything is made of it.

    :returns: identity, earlier (id of the recovery point it was compared with, None for none), rows, files and held_by
        (of the newest of the same engine), another (how it differs from that one, and somebody declared it), unknown
        (why nothing can be said)
    :raises BackupError: it is another database
    """
    with connected(options["database"]) as connection:
        snapshot = Snapshot(options["database"], connection)
        found = snapshot.identity()
        snapshot.close()
    return judged(
        found, newest(s3, options["storage"], prefix, options["engine"]), options.get("database_identity") or ""
    )


def newest(s3: Any, storage: Dict[str, Any], prefix: str, engine: str) -> Optional[Dict[str, Any]]:
    """id and database of the newest recovery point that can be read, of any engine; None when there is none.

    With rows and files of the newest of this engine, as others leave out unlogged tables; None when there is none.
    """
    found: Optional[Dict[str, Any]] = None
    for run_id in store.run_ids(s3, storage, prefix)[:LOOKED_AT]:
        if head(s3, storage, f"{prefix}/{run_id}/{store.NAME}") is None:
            continue
        try:
            point = store.read(s3, storage, prefix, run_id)
            whose = {key: point["database"].get(key) for key in ("name", "system_identifier", "schema_head")}
            held = {
                "rows": int(point["totals"]["rows"]),
                "files": int(point["application"]["files"]),
                "held_by": run_id,
            }
            found = found or {"id": run_id, **whose, **dict.fromkeys(held)}
            if point["engine"]["name"] == engine:
                return {**found, **held}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # the daily check says so
    return found


def judged(found: Dict[str, Any], earlier: Optional[Dict[str, Any]], declared: str) -> Dict[str, Any]:
    """See check.

    :param found: name, system_identifier (None when the user may not read it) and schema_head
    :param earlier: the same, and id
    :param declared: backup_database_identity
    """
    if declared and declared != words(found):
        raise BackupError(
            f"The database is {words(found)}, and backup_database_identity says {declared}: nothing was backed up.",
            "Correct tradingflow_database, or backup_database_identity if this is the environment's database now.",
        )
    result: Dict[str, Any] = {"identity": words(found), "earlier": None, "another": "", "unknown": ""}
    if earlier is None:
        return result
    result.update(earlier=earlier["id"], **{key: earlier[key] for key in ("rows", "files", "held_by")})
    differences = _differences(found, earlier)
    if differences and not declared:
        raise BackupError(
            f"The database is not the one that {earlier['id']} was made of: {'; '.join(differences)}."
            " Nothing was backed up.",
            "Correct tradingflow_database. If this is the environment's database from now on, after a move or a major"
            f" upgrade, say so: backup_database_identity: {words(found)}",
        )
    result["another"] = "; ".join(differences)
    if not (found["system_identifier"] and earlier["system_identifier"]):
        where = earlier["id"] if found["system_identifier"] else "the server"
        result["unknown"] = f"the system identifier of {where} is not known"
    return result


def _differences(found: Dict[str, Any], earlier: Dict[str, Any]) -> List[str]:
    differences = []
    if found["name"] != earlier["name"]:
        differences.append(f"its name is {found['name']}, not {earlier['name']}")
    ours, theirs = found["system_identifier"], earlier["system_identifier"]
    if ours and theirs and ours != theirs:
        differences.append(f"its cluster's system identifier is {ours}, not {theirs}")
    if earlier["schema_head"] and not found["schema_head"]:
        differences.append(f"it has no schema head (alembic_version), there it was {', '.join(earlier['schema_head'])}")
    return differences
