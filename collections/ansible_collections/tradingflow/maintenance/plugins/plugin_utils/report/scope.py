# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much of its plan a run looked at, and what stands from earlier runs where it did not look.

A partial run (--tags, --skip-tags, --limit) says so wherever it is seen. It neither stands for its cadence nor hides
what an earlier run found.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...module_utils.checks import OK, STATUSES, UNKNOWN, worst
from ...module_utils.run import WHOLE, is_partial, is_whole, standing
from .words import clean, counted, plural

__all__ = ["MOST_OPEN", "PARTIAL", "WHOLE", "elsewhere", "is_partial", "is_whole", "last_whole", "left_out", "narrowed"]
__all__ += ["asked_for", "open_words", "overall", "scope_of", "standing"]

#: In the ids of partial runs, so that folders and keys say it, too.
PARTIAL = "-partial-"

#: What a report carries of findings elsewhere; all of them are counted.
MOST_OPEN = 200


def asked_for(tags: list[str], run_tags: Iterable[str], skip_tags: Iterable[str]) -> bool:
    """Whether Ansible runs something with these tags, as its own rules say."""
    run, skip = set(run_tags) or {"all"}, set(skip_tags)
    own = {*tags, "tagged"} if tags else {"untagged"}
    return bool(run & {"all", *own}) and not skip & {"all", *own}


def scope_of(
    plan: list[dict[str, Any]], *, tags: list[str], skip_tags: list[str], limit: str | None, within: Iterable[str]
) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """The pairs of area and host that a run must hear from, and its scope: what narrowed it, and what it leaves out.

    :param plan: area, hosts and tags of all that the procedure looks at
    :param within: hosts that the limit leaves
    """
    hosts = set(within)
    asked: list[dict[str, str]] = []
    left_out: list[dict[str, str]] = []
    for entry in plan:
        wanted = asked_for(entry["tags"], tags, skip_tags)
        for host in entry["hosts"]:
            (asked if wanted and host in hosts else left_out).append({"area": entry["area"], "host": host})
    if not left_out:
        return asked, dict(WHOLE)
    narrowed = {"tags": [tag for tag in tags if tag != "all"], "skip_tags": list(skip_tags), "limit": limit or None}
    return asked, {"partial": True, **narrowed, "left_out": left_out}


def last_whole(history: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((report for report in reversed(history) if is_whole(report)), None)


def elsewhere(report: dict[str, Any], history: list[dict[str, Any]]) -> dict[str, Any]:
    """Findings that are open where a partial run did not look.

    :returns: run_id and finished_at of the last whole run (None: no whole run is known), counts by status, and the
        findings, worst first, at most so many
    """
    whole = last_whole(history)
    found: list[dict[str, Any]] = []
    if is_partial(report):
        seen = {(check["area"], check["host"]) for check in report["checks"]}
        for place, checks in standing(history).items():
            if place not in seen:
                found += [check for check in checks if check["status"] != OK]
    found.sort(key=lambda check: (-STATUSES.index(check["status"]), check["area"], check["host"], check["id"]))
    kept = ("area", "host", "id", "title", "status", "message", "observed_at", "unit", "remedy")
    measured = ("value", "warning", "critical")
    return {
        "run_id": whole["run_id"] if whole else None,
        "finished_at": whole.get("finished_at") if whole else None,
        "counts": {status: sum(check["status"] == status for check in found) for status in STATUSES if status != OK},
        "checks": [
            {**{key: check.get(key) or "" for key in kept}, **{key: check.get(key) for key in measured}}
            for check in found[:MOST_OPEN]
        ],
    }


def narrowed(report: dict[str, Any]) -> str:
    """What narrowed the run, as it was asked for, e.g. "--tags system --limit web*"; empty for a whole run."""
    scope = report.get("scope") or WHOLE
    if not scope["partial"]:
        return ""
    parts = [
        f"{option} {','.join(given)}"
        for option, given in (("--tags", scope["tags"]), ("--skip-tags", scope["skip_tags"]))
        if given
    ]
    if scope["limit"]:
        parts.append(f"--limit {scope['limit']}")
    return clean(" ".join(parts) or "a part of its plan", 200, one_line=True)


def left_out(report: dict[str, Any], most: int = 8) -> str:
    """What a partial run did not look at, e.g. "application, trading; system of 3 hosts"."""
    scope = report.get("scope") or WHOLE
    looked = {check["area"] for check in report["checks"]}
    hosts: dict[str, list[str]] = {}
    for item in scope["left_out"]:
        hosts.setdefault(item["area"], []).append(item["host"])
    # Of an area that was looked at on some hosts, it matters on which ones it was not.
    parts = [
        f"{area} of {names[0] if len(names) == 1 else plural(len(names), 'host')}" if area in looked else area
        for area, names in hosts.items()
    ]
    more = f" and {len(parts) - most} more" if len(parts) > most else ""
    return clean(", ".join(parts[:most]) + more, 400, one_line=True)


def overall(report: dict[str, Any]) -> str:
    """The status that people are to see first: of a partial run, what is open elsewhere counts as well."""
    if not is_partial(report):
        return str(report["worst_status"])
    open_ = report["elsewhere"]
    found = [status for status, count in open_["counts"].items() if count]
    return worst([report["worst_status"], *found, *([] if open_["run_id"] else [UNKNOWN])])


def open_words(report: dict[str, Any]) -> str:
    """What stands elsewhere, in a sentence; empty for a whole run."""
    if not is_partial(report):
        return ""
    open_ = report["elsewhere"]
    if not open_["run_id"]:
        return "No whole run is known: the rest was never looked at."
    found = counted({**open_["counts"], OK: 0})
    return f"Elsewhere the last runs found {found or 'nothing bad'} (last whole run {open_['run_id']})."
