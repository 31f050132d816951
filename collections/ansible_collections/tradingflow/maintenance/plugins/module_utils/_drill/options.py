# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a drill, and what a finished one means for the report."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from .._checks.health import words_spec
from .._pgbackrest.configuration import REPOSITORY_SPEC
from .._recovery_points.fetch import ANY
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, as_action, judge, worst
from ..database import DATABASE_SPEC
from ..storage import STORAGE_SPEC
from ..words import human, plural, span
from . import objectives

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
    "seed": {"type": "str"},
    "files_password": {"type": "str", "no_log": True},
    "engine": {"type": "str", "default": ANY, "choices": [ANY, "logical", "pgbackrest"]},
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
    "index_check": {"type": "str", "default": "full", "choices": ["full", "structure"]},
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
            "words": words_spec(),
        },
    },
    "rto": {"type": "int", "default": 14400},
    "rpo": {"type": "int", "default": 3600},
}

_AS_RECORDED = {
    "logical": "with the recorded SHA-256",
    "pgbackrest": "with the recorded size and ETag, and each file in them with pgBackRest's checksum",
}
#: What ended a drill, when it was no fault of the recovery point: then nothing is known of it.
NOT_ITS_FAULT = ("StorageError", "ConfigurationError", "LockedError")
TITLE = "Restore drill"


def findings(
    result: Dict[str, Any], options: Dict[str, Any], started_at: str
) -> Tuple[List[Check], List[Dict[str, Any]], Dict[str, Any]]:
    """Checks and the action of a drill that restored, or tried to, and what the ledger keeps of it.

    :param result: of engine.run
    """
    checks = [_chosen(result), *_ended(result), *(Check(**check) for check in result["checks"])]
    measured = {
        "RTO": objectives.rto(result, options),
        "RTO, forecast": objectives.forecast(result, options),
        "RPO": objectives.rpo(result, options),
    }
    if result["left"]:
        text = f"The drill could not remove {result['left']}, where a copy of the data lies."
        checks.append(Check("drill.clean", "Drill cleaned up", WARNING, False, message=text, remedy="Remove it."))
    proven, met = (worst(check.status for check in each) for each in (checks, measured.values()))
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
            for name, check in measured.items()
        ],
    }
    status = "failed" if proven in (CRITICAL, UNKNOWN) else "ok"
    action = _action(status, message, started_at, details, point["engine"])
    if not objectives.of_today(result, options):
        result = {**result, "rpo_seconds": None}
    return _named([*checks, *measured.values()], point["engine"]), [action], summary(result, proven, met)


def _named(checks: List[Check], engine: str) -> List[Check]:
    """Checks by ids of their engine: the drills of one run stand beside each other."""
    for check in checks:
        check.id += suffix(engine)
    return checks


def summary(result: Dict[str, Any], proven: str, met: str) -> Dict[str, Any]:
    """What the ledger keeps of a drill; worst_status is of the proof, objectives of RTO and RPO."""
    return {
        "recovery_point": result["recovery_point"]["id"],
        "engine": result["recovery_point"]["engine"],
        "database_bytes": result["recovery_point"]["database_bytes"],
        "worst_status": proven,
        "objectives": met,
        "rto_seconds": result["rto_seconds"],
        "rpo_seconds": result["rpo_seconds"],
        "phases": result["phases"],
        **({"drawn": result["recovery_point"]["drawn"]} if result["recovery_point"].get("drawn") else {}),
    }


def _chosen(result: Dict[str, Any]) -> Check:
    point, unreadable = result["recovery_point"], result["unreadable"]
    id, title = "drill.recovery_point", "Recovery point drilled"
    details = {"key": point["key"], "sha256": point["sha256"], "created_at": point["created_at"]}
    drawn = point.get("drawn")
    if drawn:
        details["drawn"] = drawn
    if not unreadable:
        text = f"{point['id']}: {point['tables']} tables, {human(point['size'])} in {point['objects']} objects."
        if drawn:
            text += f" Drawn from {plural(drawn['among'], 'recovery point')} by the seed {drawn['seed']}."
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
        message=f"{point['objects']} objects, {human(point['size'])}, each {_AS_RECORDED[point['engine']]}.",
    )
    seconds = sum(phases.get(name, 0.0) for name in ("restore", "replay", "promote"))
    restored = Check(
        "drill.restored",
        "Recovery point restored",
        OK,
        True,
        message=f"Restored into a scratch instance in {seconds:.0f} s.",
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


def failure(
    message: str, remedy: str, kind: str, started_at: str, engine: str = ANY
) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Check and action of a drill that was not made.

    :param engine: that was asked for
    """
    status = CRITICAL if kind == "RestoreError" else UNKNOWN
    value = False if status == CRITICAL else None
    check = Check("drill.restored", "Recovery point restored", status, value, message=message, remedy=remedy)
    return _named([check], engine), [_action("failed", f"{message} {remedy}".rstrip(), started_at, {}, engine)]


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
    details = {"plan": plan, "last_drill_seconds": last}
    action = _action("planned", text, started_at, details, point["engine"])
    return _named([_chosen(plan), space], point["engine"]), [action]


def suffix(engine: str) -> str:
    """What tells checks of an engine from those of the dump, whose have no suffix."""
    return "" if engine in (ANY, "logical") else f":{engine}"


def _action(status: str, message: str, started_at: str, details: Dict[str, Any], engine: str) -> Dict[str, Any]:
    return as_action(
        f"drill.restore{suffix(engine)}",
        TITLE if not suffix(engine) else f"{TITLE} of a backup by pgBackRest",
        status,
        False,
        message,
        started_at,
        details,
    )
