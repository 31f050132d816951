# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a backup, and what a finished one means for the report."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from .._pgbackrest.options import PGBACKREST_SPEC
from .._recovery_points.ids import suffix
from ..checks import CRITICAL, OK, WARNING, Check, unknown, utc_now
from ..database import DATABASE_SPEC
from ..storage import STORAGE_SPEC
from ..words import human, printable
from . import contents, standby

#: Argument spec of the module recovery_point, without "run".
SPEC: Dict[str, Any] = {
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
    "database_identity": {"type": "str"},
    "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
    "environment_name": {"type": "str", "required": True},
    "engine": {"type": "str", "default": "logical", "choices": ["logical", "pgbackrest"]},
    "pgbackrest": {"type": "dict", "options": PGBACKREST_SPEC},
    "application": {
        "type": "dict",
        "options": {"name": {"type": "str"}, "version": {"type": "str"}, "image": {"type": "str"}},
    },
    "data_directory": {"type": "path"},
    "data_excludes": {"type": "list", "elements": "str", "default": []},
    "files_engine": {"type": "str", "default": "archive", "choices": ["archive", "restic"]},
    "files_password": {"type": "str", "no_log": True},
    "files_repository": {"type": "str"},
    "pg_bin_dir": {"type": "path"},
    # Not /tmp, which may live in memory; a private folder is made in it.
    "scratch_directory": {"type": "path", "default": "/var/tmp"},  # noqa: S108
    "scratch_limit": {"type": "int", "default": 2 << 30},
    "jobs": {"type": "int", "default": 2},
    "compression": {"type": "str", "default": "auto", "choices": ["auto", "zstd", "lz4", "gzip", "none"]},
    "compression_level": {"type": "int"},
    "bandwidth_limit": {"type": "int", "default": 0},
    "nice": {"type": "int", "default": 0},
    "verify": {"type": "str", "default": "full", "choices": ["full", "checksum", "none"]},
    "digests": {"type": "str", "default": "full", "choices": ["full", "none"]},
    "part_size": {"type": "int", "default": 16 << 20},
    "lock_mode": {"type": "str", "default": "none", "choices": ["none", "governance", "compliance"]},
    "lock_days": {"type": "int", "default": 30},
}


def summary(result: Dict[str, Any]) -> Dict[str, Any]:
    """What the task returns as recovery_point: contract 4 without the long lists."""
    point = result["recovery_point"]
    return {
        "id": point["id"],
        "key": result["key"],
        "sha256": result["sha256"],
        "environment": point["environment"],
        "database": (result["notes"].get("identity") or {}).get("identity"),
        "another_database": (result["notes"].get("identity") or {}).get("another") or None,
        "created_at": point["created_at"],
        "finished_at": point["finished_at"],
        "size": point["totals"]["bytes"],
        "objects": point["totals"]["objects"],
        "tables": len(point["database"]["tables"]),
        "rows": point["totals"]["rows"],
        "files": point["application"]["files"],
        "engine": point["engine"]["name"],
        "files_engine": point["application"].get("engine") or "archive",
        "compression": point["engine"].get("compression"),
        "label": point["engine"].get("label"),
        "type": point["engine"].get("type"),
        "server_version": point["database"]["server_version"],
        "schema_head": point["database"]["schema_head"],
        "application_version": point["application"]["version"],
        "verified": result["verification"]["ok"] if result["verification"] else None,
    }


def title(engine: str) -> str:
    """What the action is called."""
    return "Daily backup" if engine == "logical" else "Backup by pgBackRest"


def findings(result: Dict[str, Any], started_at: str) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Checks and the action of a backup that ran to its end.

    :param result: of engine.create
    """
    point, size = summary(result), result["recovery_point"]["totals"]["bytes"]
    verification, notes = result["verification"], result["notes"]
    end = suffix(point["engine"])
    seconds = sum(result["phases"].values())
    what = f"{point['type']} backup {point['label']}, " if point["label"] else ""
    source = f"recovery point {point['id']}"
    checks = [
        Check(
            f"backup.completed{end}",
            "Backup completed",
            OK,
            size,
            "bytes",
            message=f"{point['id']}: {what}{point['tables']} tables, {point['rows']:,} rows, {point['files']:,} files"
            f"{_files_of(result['recovery_point']['application'])}, {human(size)} in {seconds:.0f} s.",
            source=source,
            details={"key": point["key"], "sha256": point["sha256"], "phases": result["phases"]},
        )
    ]
    if notes.get("identity"):
        checks.append(contents.identity(notes["identity"], source, end))
    checks += contents.held(result["recovery_point"], notes.get("identity") or {}, source, end)
    verified = bool(verification and verification["ok"])
    if verification is None:
        text = f"{point['id']} was not verified: backup_verify is none."
        checks.append(
            unknown(f"backup.verified{end}", "Backup verified", text, "Set backup_verify to full.", source=source)
        )
    elif verified:
        text = _verified(point["engine"], verification)
        checks.append(Check(f"backup.verified{end}", "Backup verified", OK, True, message=text, source=source))
    else:
        problems = verification["problems"]
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        text = f"{point['id']} does not verify: {'; '.join(problems[:3])}{more}."
        checks.append(
            Check(
                f"backup.verified{end}",
                "Backup verified",
                CRITICAL,
                False,
                message=text,
                remedy="Do not rely on this recovery point. Check the store, then make another backup now.",
                source=source,
                details={"problems": problems[:50]},
            )
        )
    if result["recovery_point"]["engine"].get("exact") is False:
        checks.append(
            Check(
                f"backup.exact{end}",
                "Counts and digests at the restore point",
                WARNING,
                False,
                message=f"{point['id']} cannot be compared row by row with a restore: in "
                f"{notes['restore_point_tries']} tries something was always being committed at the restore point.",
                remedy="Back up when less is written; look for prepared transactions left open (pg_prepared_xacts).",
                source=source,
            )
        )
    changed = notes.get("changed_files") or []
    if changed:
        checks.append(
            Check(
                f"backup.application_files{end}",
                "Application files were still",
                WARNING,
                len(changed),
                message=f"{len(changed)} files changed or vanished while they were read: {', '.join(changed[:5])}.",
                remedy="Back up when the application is quiet, or exclude such files (backup_data_excludes).",
                source=source,
                details={"files": changed[:50]},
            )
        )
    checks += [*standby.findings(notes.get("standby"), source), *_unfound(notes, source), *_secrets(notes, source)]
    ok = verified or verification is None
    action = {
        "id": f"backup.recovery_point{end}",
        "title": title(point["engine"]),
        "status": "ok" if ok else "failed",
        "changed": True,
        "message": next(each.message for each in checks if ok or each.id == f"backup.verified{end}"),
        "started_at": started_at,
        "finished_at": utc_now(),
        "details": {"recovery_point": point, "phases": result["phases"], "notes": _short(notes)},
    }
    return checks, [action]


def _unfound(notes: Dict[str, Any], source: str) -> List[Check]:
    """What a restore will call and what will not find what it names."""
    found = notes.get("unfound") or []
    if not found:
        return []
    more = f", and {len(found) - 3} more" if len(found) > 3 else ""
    text = "A restore has no search_path, in which these do not find what they name: "
    text += f"{printable('; '.join(found[:3]), 900)}{more}."
    remedy = "Give the functions a search_path (ALTER FUNCTION ... SET search_path = ...), or name schemas in them."
    remedy += " Until then restore with restore_search_path (docs/restore.md)."
    details = {"unfound": found[:50]}
    title = "Functions that a restore needs"
    return [
        Check(
            "backup.search_path",
            title,
            WARNING,
            len(found),
            message=text,
            remedy=remedy,
            source=source,
            details=details,
        )
    ]


def _secrets(notes: Dict[str, Any], source: str) -> List[Check]:
    """What has passwords: left out of the dump, or in it."""
    checks = []
    subscriptions, mappings = notes.get("subscriptions") or [], notes.get("user_mappings") or []
    if subscriptions:
        text = f"{len(subscriptions)} subscriptions are not in the dump, as they hold passwords in clear: "
        text += f"{', '.join(subscriptions[:5])}. After a restore they are made by hand."
        title = "Subscriptions left out"
        checks.append(Check("backup.subscriptions", title, OK, len(subscriptions), message=text, source=source))
    if mappings:
        text = f"The dump holds the options of {len(mappings)} user mappings in clear, passwords among them: "
        text += f"{', '.join(mappings[:5])}. Whoever may read the store can read them."
        checks.append(
            Check(
                "backup.user_mappings",
                "User mappings in clear",
                WARNING,
                len(mappings),
                message=text,
                remedy="Back up as a role that is not a superuser and does not own them: then they come without"
                " options. Or keep their passwords elsewhere (passfile, certificate).",
                source=source,
            )
        )
    return checks


def _verified(engine: str, verification: Dict[str, Any]) -> str:
    """What was verified, in words."""
    count, full = verification["objects"], verification["mode"] == "full"
    if engine == "logical":
        how = "read and compared" if full else "compared by the store's checksum"
        return f"All {count} objects {how}; contents agree with catalogue and manifest."
    text = f"All {count} objects are as the store listed them when they were made"
    return f"{text}; pgBackRest read its whole repository and found nothing wrong." if full else f"{text}."


def failure(
    message: str, remedy: str, started_at: str, engine: str = "logical"
) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Check and action of a backup that failed."""
    check = Check(
        f"backup.completed{suffix(engine)}", "Backup completed", CRITICAL, False, message=message, remedy=remedy
    )
    action = {
        "id": f"backup.recovery_point{suffix(engine)}",
        "title": title(engine),
        "status": "failed",
        "changed": False,
        "message": f"{message} {remedy}".rstrip(),
        "started_at": started_at,
        "finished_at": utc_now(),
        "details": {},
    }
    return [check], [action]


def planned(plan: Dict[str, Any], started_at: str) -> List[Dict[str, Any]]:
    """The action of --check.

    :param plan: of an engine's plan
    """
    engine = plan.get("engine", "logical")
    application = f"{plan['files']} files ({human(plan['file_bytes'])}{_kept_in(plan)}) to {plan['to']}"
    if engine == "logical":
        text = (
            f"Would dump {plan['database']} ({plan['tables']} tables, {human(plan['table_bytes'])}) and "
            f"{application}, by {plan['compression']}; "
            f"{human(plan['scratch_free_bytes'])} free in {plan['scratch_directory']}."
        )
    else:
        text = (
            f"Would make a backup of type {plan['type']} of {plan['database']} and its whole cluster "
            f"({human(plan['cluster_bytes'])}) with pgBackRest {plan['pgbackrest']}, stanza {plan['stanza']}, and "
            f"take {application}; the newest backup is {plan['newest_backup'] or 'none'}."
        )
    return [
        {
            "id": f"backup.recovery_point{suffix(engine)}",
            "title": title(engine),
            "status": "planned",
            "changed": False,
            "message": text,
            "started_at": started_at,
            "finished_at": utc_now(),
            "details": {"plan": plan},
        }
    ]


def _files_of(application: Dict[str, Any]) -> str:
    if application.get("engine") != "restic":
        return ""
    return f" ({human(application['bytes'])}, {human(application['added_bytes'])} new)"


def _kept_in(plan: Dict[str, Any]) -> str:
    if "files_repository" not in plan:
        return ", as an archive" if plan["files"] else ""
    begun = "to be made" if plan["snapshots"] is None else f"{plan['snapshots']} snapshots"
    return f", what is new of them to {plan['files_repository']} by restic {plan['restic']}: {begun}"


def _short(notes: Dict[str, Any]) -> Dict[str, Any]:
    return {name: value[:20] if isinstance(value, list) else value for name, value in notes.items()}
