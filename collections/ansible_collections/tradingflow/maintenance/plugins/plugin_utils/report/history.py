# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Earlier reports of a playbook: loading them, and what changed since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...module_utils.checks import CRITICAL, OK, STATUSES, UNKNOWN
from .scope import PARTIAL, is_whole, standing

SCHEMA = "urn:tradingflow:maintenance:report:1"

#: Checks by which an area says that it as a whole could not be measured.
WHOLE_AREA = ("missing", "measured", "finished", "readable")
#: Their checks are of work done: where there was less to do, fewer of them are no loss.
PROCEDURES = ("migrate", "rehearse", "data_update", "restore", "window", "patch", "release", "major", "soak", "promote")

_NEEDED = ("run_id", "started_at", "worst_status", "counts", "checks")


def load_history(
    artifacts_root: Path, playbook: str, *, environment: str, limit: int = 30, before: str | None = None
) -> list[dict[str, Any]]:
    """Earlier reports of a playbook in an environment, oldest first.

    Reads the newest ``limit`` files, and further ones until a whole run is among them. Broken reports, those of another
    schema or environment and those of check mode are left out.

    :param before: a run id; only runs before it
    """
    found: list[dict[str, Any]] = []
    read = 0
    try:
        names = sorted(
            (path.name for path in (artifacts_root / playbook).iterdir() if not path.is_symlink()), reverse=True
        )
    except OSError:
        return []
    for name in names:
        if read >= limit:
            if limit <= 0 or read >= limit + 100 or any(is_whole(report) for report in found):
                break
            # What lies between may be many partial runs; their names say so.
            if PARTIAL in name:
                continue
        # Run ids begin with the time: their order is that of the runs.
        if before is not None and name >= before:
            continue
        try:
            text = (artifacts_root / playbook / name / "report.json").read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        read += 1
        try:
            report = json.loads(text)
            wanted = report["schema"] == SCHEMA and report["environment"] == environment and not report["check_mode"]
            if wanted and all(key in report for key in _NEEDED) and all(_sound(check) for check in report["checks"]):
                found.append(report)
        except (ValueError, TypeError, KeyError):
            continue
    return found[::-1]


def _sound(check: Any) -> bool:
    return check["status"] in STATUSES and {"host", "id", "area", "value", "title", "unit"} <= check.keys()


def of_check(history: list[dict[str, Any]], host: str, id: str, *, unmeasured: bool = False) -> list[dict[str, Any]]:
    """What earlier reports say of one check, oldest first.

    :param unmeasured: also of runs that could not measure it (unknown)
    """
    return [
        check
        for report in history
        for check in report["checks"]
        if check["host"] == host and check["id"] == id and (unmeasured or check["status"] != UNKNOWN)
    ]


def changes(report: dict[str, Any], history: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What changed by (host, id), each against the last run that measured it.

    :returns: new (bad now, ok or unheard of before), worse, lost (no longer measured, or critical before and unknown
        now), better, resolved (ok now, bad before); each a list of host, area, id, title, unit, before, after
        (statuses, None when there is none), value_before, value_after. Without an earlier run all are empty.
    """
    result: dict[str, list[dict[str, Any]]] = {key: [] for key in ("new", "worse", "lost", "better", "resolved")}
    if not history:
        return result
    # A run with tags measures some areas only; what it left out is compared with the run before it.
    last = {(check["host"], check["id"]): check for earlier in history for check in earlier["checks"]}
    now = {(check["host"], check["id"]): check for check in report["checks"]}
    for key, check in now.items():
        before = last.get(key)
        kind = _kind(before["status"] if before else None, check["status"])
        if kind:
            result[kind].append(_change(before, check))
    if report["check_mode"]:
        return result

    places: dict[tuple[str, str], set[str]] = {}
    for check in report["checks"]:
        places.setdefault((check["area"], check["host"]), set()).add(check["id"])
    worked = {
        (item["area"], item["host"], item["id"].rpartition(".")[2])
        for item in report["actions"]
        if item["status"] == "ok"
    }
    working = report["playbook"] in PROCEDURES
    for check in (check for checks in standing(history).values() for check in checks):
        if (check["host"], check["id"]) not in now and not (working and check["status"] == OK):
            kind = _fate(check, places.get((check["area"], check["host"]), set()), worked)
            if kind:
                result[kind].append(_change(check, None))
    return result


def _fate(check: dict[str, Any], here: set[str], worked: set[tuple[str, str, str]]) -> str | None:
    """What it means that a check that was there before is not in this run: resolved, lost or nothing.

    :param here: ids of this run's checks of the same area and host
    :param worked: area, host and name of this run's actions that went well
    """
    id, name = check["id"], _name(check["id"])
    parts = {other for other in here if _name(other) not in WHOLE_AREA}
    if not here:
        # This run did not look there.
        return None
    back = name in WHOLE_AREA or (check["area"], check["host"], name) in worked
    if parts and (back or (":" not in id and any(other.startswith(f"{id}:") for other in parts))):
        # It stood for an area, an action or all instances of a check, and these are back.
        return None if check["status"] == OK else "resolved"
    if not parts or id.partition(":")[0] in parts:
        # The area, or all instances of the check, could not be measured: that is told as such.
        return "lost" if check["status"] in (CRITICAL, UNKNOWN) else None
    return "lost"


def _kind(before: str | None, after: str) -> str | None:
    if before == after:
        return None
    if before in (None, OK):
        return None if after == OK else "new"
    if after == OK:
        return "resolved"
    if (before, after) == (CRITICAL, UNKNOWN):
        # Not better: nobody knows.
        return "lost"
    return "worse" if STATUSES.index(after) > STATUSES.index(before or OK) else "better"


def _name(id: str) -> str:
    return id.partition(".")[2]


def _change(before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
    known = after or before or {}
    return {
        **{key: known[key] for key in ("host", "area", "id", "title", "unit")},
        "before": before["status"] if before else None,
        "after": after["status"] if after else None,
        "value_before": before["value"] if before else None,
        "value_after": after["value"] if after else None,
    }


def series(history: list[dict[str, Any]], report: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any] | None]]:
    """Each check of the report over the runs, oldest first, this run last; None where a run has none."""
    runs = [*history, report]
    result: dict[tuple[str, str], list[dict[str, Any] | None]] = {
        (check["host"], check["id"]): [None] * len(runs) for check in report["checks"]
    }
    for place, run in enumerate(runs):
        for check in run["checks"]:
            points = result.get((check["host"], check["id"]))
            if points is not None:
                points[place] = check
    return result
