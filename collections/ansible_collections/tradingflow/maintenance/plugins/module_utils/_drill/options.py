# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a drill, and what a finished one means for the report."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from .._backup.options import human
from .._checks import span
from .._pgbackrest.configuration import REPOSITORY_SPEC
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, judge, unknown, utc_now, worst
from ..database import DATABASE_SPEC
from ..storage import STORAGE_SPEC

#: What a drill of a recovery point by pgBackRest needs to know.
PGBACKREST_SPEC: Dict[str, Any] = {
    "program": {"type": "path"},
    "process_max": {"type": "int", "default": 2},
    "repositories": {"type": "list", "elements": "dict", "default": [], "options": REPOSITORY_SPEC},
}
#: Argument spec of the module restore_drill, without "run".
SPEC: Dict[str, Any] = {
    "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
    "environment_name": {"type": "str", "required": True},
    "database": {"type": "dict", "options": DATABASE_SPEC},
    "recovery_point": {"type": "str", "default": "newest"},
    "engine": {"type": "str", "default": "any", "choices": ["any", "logical", "pgbackrest"]},
    "pgbackrest": {"type": "dict", "options": PGBACKREST_SPEC},
    "superuser": {"type": "str"},
    "pg_bin_dir": {"type": "path"},
    # Not /tmp, which may live in memory; a private folder is made in it.
    "scratch_directory": {"type": "path", "default": "/var/tmp"},  # noqa: S108
    "run_as": {"type": "str"},
    "settings": {"type": "dict", "default": {}},
    "jobs": {"type": "int", "default": 2},
    "invariants": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "title": {"type": "str", "required": True},
            "sql": {"type": "str", "required": True},
        },
    },
    "invariant_timeout": {"type": "int", "default": 600},
    "application": {
        "type": "dict",
        "options": {
            "command": {"type": "list", "elements": "str", "required": True},
            "environment": {"type": "dict", "default": {}},
            "user": {"type": "str"},
            "url": {"type": "str", "default": "http://127.0.0.1:{port}"},
            "health_path": {"type": "str", "default": "/health"},
            "ready_path": {"type": "str", "default": "/ready"},
            "version_path": {"type": "str", "default": "/version"},
            "version": {"type": "str"},
            "timeout": {"type": "int", "default": 120},
        },
    },
    "rto": {"type": "int", "default": 14400},
    "rpo": {"type": "int", "default": 3600},
}

#: What ended a drill, when it was no fault of the recovery point: then nothing is known of it.
NOT_ITS_FAULT = ("StorageError", "ConfigurationError", "LockedError")
#: Phases that take longer the larger the database is.
GROWING = ("fetch", "files", "restore", "prove")
#: Seconds by which a heartbeat may be ahead of the clock.
CLOCK_TOLERANCE = 300

TITLE = "Restore drill"
RTO_REMEDY = "Restore with more jobs or on a faster machine, or change the objective (restore_drill_rto)."
RPO_REMEDY = (
    "A logical backup loses everything since its snapshot: archive the write-ahead log continuously, back up as often"
    " as the objective says, or change the objective (restore_drill_rpo)."
)


def findings(
    result: Dict[str, Any], options: Dict[str, Any], started_at: str
) -> Tuple[List[Check], List[Dict[str, Any]], Dict[str, Any]]:
    """Checks and the action of a drill that restored, or tried to, and what the ledger keeps of it.

    :param result: of engine.run
    """
    checks = [_chosen(result), *_ended(result), *(Check(**check) for check in result["checks"])]
    objectives = {
        "RTO": _rto(result, options),
        "RTO, forecast": _forecast(result, options),
        "RPO": _rpo(result, options),
    }
    if result["left"]:
        text = f"The drill could not remove {result['left']}, where a copy of the data lies."
        checks.append(Check("drill.clean", "Drill cleaned up", WARNING, False, message=text, remedy="Remove it."))
    proven, met = (worst(check.status for check in each) for each in (checks, objectives.values()))
    point, bad = result["recovery_point"], [check for check in checks if check.status != OK]
    message = f"{point['id']} was restored and proven in {sum(result['phases'].values()):.0f} s."
    if bad:
        more = f" And {len(bad) - 1} more findings." if len(bad) > 1 else ""
        message = f"{sorted(bad, key=lambda check: check.status != CRITICAL)[0].message}{more}"
    details = {
        "recovery_point": point["id"],
        "engine": point["engine"],
        "objects_bytes": point["size"],
        "database_bytes": point["database_bytes"],
        "phases": result["phases"],
        "objectives": [
            {"name": name, "seconds": check.value, "objective": check.critical, "status": check.status}
            for name, check in objectives.items()
        ],
    }
    action = _action("failed" if proven in (CRITICAL, UNKNOWN) else "ok", message, started_at, details)
    if options["recovery_point"] != "newest":
        # What an older one would lose says nothing of what is lost today.
        result = {**result, "rpo_seconds": None}
    return [*checks, *objectives.values()], [action], summary(result, proven, met)


def summary(result: Dict[str, Any], proven: str, met: str) -> Dict[str, Any]:
    """What the ledger keeps of a drill; worst_status is of the proof, objectives of RTO and RPO."""
    return {
        "recovery_point": result["recovery_point"]["id"],
        "engine": result["recovery_point"]["engine"],
        "worst_status": proven,
        "objectives": met,
        "rto_seconds": result["rto_seconds"],
        "rpo_seconds": result["rpo_seconds"],
        "phases": result["phases"],
    }


def _chosen(result: Dict[str, Any]) -> Check:
    point, unreadable = result["recovery_point"], result["unreadable"]
    id, title = "drill.recovery_point", "Recovery point drilled"
    details = {"key": point["key"], "sha256": point["sha256"], "created_at": point["created_at"]}
    if not unreadable:
        text = f"{point['id']}: {point['tables']} tables, {human(point['size'])} in {point['objects']} objects."
        return Check(id, title, OK, point["id"], message=text, details=details)
    why = "; ".join(f"{run_id} cannot be read ({text})" for run_id, text in list(unreadable.items())[:3])
    return Check(
        id,
        title,
        CRITICAL,
        point["id"],
        message=f"{why}: {point['id']} was drilled instead.",
        remedy="Make another backup now; restore an older version of recovery-point.json if the bucket keeps versions.",
        details={**details, "unreadable": unreadable},
    )


def _ended(result: Dict[str, Any]) -> List[Check]:
    point, problem, phases = result["recovery_point"], result["problem"], result["phases"]
    fetched = Check(
        "drill.objects",
        "Objects fetched",
        OK,
        point["objects"],
        message=f"{point['objects']} objects, {human(point['size'])}, each with the recorded SHA-256.",
    )
    restored = Check(
        "drill.restored",
        "Recovery point restored",
        OK,
        True,
        message=f"Restored into a scratch instance in {phases.get('restore', 0):.0f} s.",
    )
    if problem is None:
        return [fetched, restored]
    order = [fetched] if problem["phase"] != "fetch" else []
    order += [restored] if problem["phase"] in ("files", "prove", "application") else []
    failed = {
        "fetch": fetched,
        "files": Check("drill.application_files", "Application's files", CRITICAL, False),
        "prove": Check("drill.proven", "Restored copy proven", CRITICAL, False),
        "application": Check("drill.application", "Application on the restored copy", CRITICAL, False),
    }.get(problem["phase"], restored)
    failed.message, failed.remedy = problem["message"], problem["remedy"]
    failed.status = UNKNOWN if problem["kind"] in NOT_ITS_FAULT else CRITICAL
    failed.value = False if failed.status == CRITICAL else None
    return [*order, failed]


def _rto(result: Dict[str, Any], options: Dict[str, Any]) -> Check:
    id, title, seconds = "drill.rto", "Recovery time (RTO)", result["rto_seconds"]
    limit: Dict[str, Any] = {"warning": None, "critical": options["rto"]}
    if seconds is None:
        text = "The recovery time was not measured: the drill did not come to its end."
        return unknown(id, title, text, "See what the drill says, put it right, and drill again.", unit="s", **limit)
    until = "a healthy application" if result["with_application"] else "a proven database; no application was started"
    text = f"{span(seconds)} from the start to {until}; the objective is {span(options['rto'])}."
    return judge(id, title, seconds, unit="s", **limit, message=text, remedy=RTO_REMEDY)


def _forecast(result: Dict[str, Any], options: Dict[str, Any]) -> Check:
    id, title = "drill.rto_forecast", "Recovery time forecast for today's size"
    limit: Dict[str, Any] = {"warning": None, "critical": options["rto"]}
    source, recorded = result["source"], result["recovery_point"]["database_bytes"]
    if result["rto_seconds"] is None:
        text = "There is no forecast: the drill did not come to its end."
        return unknown(id, title, text, "See what the drill says, put it right, and drill again.", unit="s", **limit)
    if source["error"]:
        text = f"There is no forecast, as the source's size today is not known: {source['error']}"
        remedy = "Check the database; in a disaster, take the recovery time as measured."
        return unknown(id, title, text, remedy, unit="s", **limit)
    today = recorded if source["bytes"] is None else source["bytes"]
    ratio = today / recorded if recorded else 1.0
    growing = sum(result["phases"].get(name, 0.0) for name in GROWING)
    seconds = round(max(result["rto_seconds"] - growing, 0.0) + growing * ratio, 3)
    speed = recorded / growing if growing else 0.0
    of = "the source today" if source["bytes"] is not None else "the recovery point, as no source is named"
    text = f"{span(seconds)} for {human(today)}, the size of {of}, at {human(speed)}/s over {', '.join(GROWING)}."
    details = {"database_bytes": today, "drilled_bytes": recorded, "bytes_per_s": round(speed)}
    return judge(id, title, seconds, unit="s", **limit, message=text, remedy=RTO_REMEDY, details=details)


def _rpo(result: Dict[str, Any], options: Dict[str, Any]) -> Check:
    id, title, seconds = "drill.rpo", "Data loss if the disaster were now (RPO)", result["rpo_seconds"]
    limit: Dict[str, Any] = {"warning": None, "critical": options["rpo"]}
    if seconds is None:
        text = "The loss of data was not measured: the restored copy has no heartbeat."
        remedy = "Define the view maintenance.heartbeat (docs/sandbox.md), and see what the drill says."
        return unknown(id, title, text, remedy, unit="s", **limit)
    at = result["heartbeat_at"]
    if seconds < -CLOCK_TOLERANCE:
        text = f"The newest heartbeat in the restored copy, {at}, is {span(-seconds)} in the future: a clock is wrong."
        return unknown(id, title, text, "Synchronise the clocks of database and drill.", unit="s", **limit)
    seconds = max(seconds, 0.0)
    if options["recovery_point"] != "newest":
        text = (
            f"The newest heartbeat in the restored copy is of {at}. Not judged: another than the newest was asked for."
        )
        return Check(id, title, OK, seconds, "s", message=text, details={"heartbeat_at": at})
    text = f"The newest heartbeat in the restored copy is of {at}: {span(seconds)} would be lost;"
    text += f" the objective is {span(options['rpo'])}."
    return judge(id, title, seconds, unit="s", **limit, message=text, remedy=RPO_REMEDY, details={"heartbeat_at": at})


def failure(message: str, remedy: str, kind: str, started_at: str) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Check and action of a drill that was not made."""
    status = CRITICAL if kind == "RestoreError" else UNKNOWN
    value = False if status == CRITICAL else None
    check = Check("drill.restored", "Recovery point restored", status, value, message=message, remedy=remedy)
    return [check], [_action("failed", f"{message} {remedy}".rstrip(), started_at, {})]


def planned(plan: Dict[str, Any], last: Any, started_at: str) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Checks and the action of --check.

    :param plan: of engine.plan
    :param last: seconds that the last drill took until the application was healthy, None when there was none
    """
    point, needed, free = plan["recovery_point"], plan["scratch_needed_bytes"], plan["scratch_free_bytes"]
    took = f"The last drill took {span(last)}." if isinstance(last, (int, float)) else "No drill has been made before."
    text = (
        f"Would restore {point['id']} ({point['objects']} objects, {human(point['size'])}; database of"
        f" {human(point['database_bytes'])}) into a scratch instance in {plan['scratch_directory']}, which needs about"
        f" {human(needed)} of {human(free)} free. {took}"
    )
    space = judge(
        "drill.space",
        "Free space for the drill",
        free,
        unit="bytes",
        warning=None,
        critical=needed,
        below=True,
        message=f"{human(free)} are free in {plan['scratch_directory']}, about {human(needed)} are needed.",
        remedy="Free space there, or choose another restore_drill_scratch_directory.",
    )
    return [_chosen(plan), space], [_action("planned", text, started_at, {"plan": plan, "last_drill_seconds": last})]


def _action(status: str, message: str, started_at: str, details: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "id": "drill.restore",
        "title": TITLE,
        "status": status,
        "changed": False,
        "message": message,
        "started_at": started_at,
        "finished_at": utc_now(),
        "details": details,
    }
