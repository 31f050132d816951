# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what the areas handed in to the report as data."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ...module_utils.checks import CRITICAL, STATUSES, UNKNOWN, fails, plain, unknown, worst
from ...module_utils.run import read_spool
from .history import SCHEMA, changes
from .scope import WHOLE, elsewhere
from .words import clean, moment, scrub

ACTION_STATUSES = ("ok", "failed", "skipped", "planned")

#: Longest texts of a report, in characters; what is longer is cut and says so.
LONGEST = {"id": 200, "title": 200, "message": 2000, "remedy": 1000, "source": 300, "value": 300, "unit": 20}
LONGEST_DETAILS = 16_000

_ID = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*(:.+)?")
_COLLECTION = Path(__file__).resolve().parents[3]


def build(
    directory: Path, run: dict[str, Any], *, finished_at: str, fail_on: str, history: list[dict[str, Any]]
) -> dict[str, Any]:
    """The report of a run as data (contract 2, schemas/report-1.json).

    What was expected but handed in nothing, cannot be read, makes no sense or failed is a check of its own.

    :param directory: artifacts/<playbook>/<run id>
    :param run: run_id, environment, playbook, started_at, actor, check_mode, plan: list of {"area", "host"},
        scope (as of scope_of)
    :param finished_at: RFC 3339 UTC
    :param fail_on: warning, critical or never
    :param history: earlier reports, oldest first, see load_history
    """
    records = list(read_spool(directory))
    checks: list[dict[str, Any]] = []
    actions: list[dict[str, Any]] = []
    for record in records:
        area, host = (_name(record[key]) for key in ("area", "host"))
        checks += [_check(item, area, host) for item in _list(record["checks"])]
        actions += [_action(item, area, host) for item in _list(record["actions"])]

    # What the report itself has to say.
    own = [*_unreadable(directory, len(records)), *_failed(actions, checks)]
    answered = {(item["area"], item["host"]) for item in (*checks, *actions, *own)}
    missing = [
        {"area": area, "host": host, "message": f"{area} of {host} was expected and handed in nothing."}
        for area, host in sorted({(_name(item["area"]), _name(item["host"])) for item in run["plan"]})
        if (area, host) not in answered
    ]
    for item in missing:
        remedy = f"See the run's output for {item['host']}: was it unreachable, did the run end early? Then run again."
        own.append(_own("missing", f"{item['area']} reported", item["message"], remedy, item["area"], item["host"]))
    if not checks and not own:
        remedy = "Check the tags and the inventory: no area was asked for."
        own.append(_own("measured", "Anything measured", "Nothing was measured.", remedy, "report", "controller"))
    checks += [{**check, "observed_at": finished_at} for check in own]

    checks = sorted(_merged(checks), key=lambda check: (-STATUSES.index(check["status"]), *(check[k] for k in _ORDER)))
    worst_status = worst(check["status"] for check in checks)
    began, ended = moment(run["started_at"]), moment(finished_at)
    report = {
        "schema": SCHEMA,
        "run_id": run["run_id"],
        "environment": _name(run["environment"]),
        "playbook": _name(run["playbook"]),
        "started_at": run["started_at"],
        "finished_at": finished_at,
        # A clock set back during the run gives no negative time.
        "duration_s": max(0.0, (ended - began).total_seconds()) if began and ended else 0.0,
        "actor": clean(run["actor"], 200, one_line=True),
        "check_mode": bool(run["check_mode"]),
        "scope": scrub(plain(run.get("scope") or WHOLE)),
        "elsewhere": {},
        "fail_on": fail_on,
        "worst_status": worst_status,
        "passed": not fails(worst_status, fail_on),
        "counts": {status: sum(check["status"] == status for check in checks) for status in STATUSES},
        "expected_missing": missing,
        "notes": [clean(note, 1000) for note in run.get("notes") or []],
        "previous_run_id": history[-1]["run_id"] if history else None,
        "changes": {},
        "actions": actions,
        "checks": checks,
        "versions": versions(),
    }
    report["changes"] = changes(report, history)
    report["elsewhere"] = elsewhere(report, history)
    return report


_ORDER = ("area", "host", "id")


def slug(text: str) -> str:
    """Text as the first or second part of a check's id."""
    result = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")[:60]
    return result if result[:1].isalpha() else f"x_{result}".rstrip("_")


def versions() -> dict[str, str]:
    """Versions of what made the report; those that cannot be told are left out."""
    result = {"tool": _tool_version(), "python": platform.python_version()}
    with suppress(metadata.PackageNotFoundError):
        result["ansible-core"] = metadata.version("ansible-core")
    return result


@cache
def _tool_version() -> str:
    """Version of the collection: from MANIFEST.json once it is installed, from galaxy.yml before."""
    for name, pattern in (("MANIFEST.json", r'"version":\s*"([^"]+)"'), ("galaxy.yml", r"(?m)^version:\s*(\S+)")):
        with suppress(OSError):
            found = re.search(pattern, (_COLLECTION / name).read_text(encoding="utf-8"))
            if found:
                return found[1]
    return "unknown"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _name(text: Any) -> str:
    """An area or host as one short line."""
    return clean(text, 200, one_line=True) or "unnamed"


def _own(name: str, title: str, message: str, remedy: str, area: str, host: str) -> dict[str, Any]:
    """A check that the report itself adds: unknown, and not yet observed."""
    check = unknown(f"{slug(area)}.{name}", title, message, remedy, source="what the areas handed in").as_dict()
    return {**check, "area": area, "host": host}


def _unreadable(directory: Path, readable: int) -> Iterator[dict[str, Any]]:
    """A check for each file of the spool that read_spool had to skip: its findings are not known."""
    paths = sorted((directory / "spool").glob("*.json"))
    if len(paths) == readable:
        return
    for path in paths:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            record = None
        if isinstance(record, dict) and {"area", "host", "checks", "actions"} <= record.keys():
            continue
        area, _separator, host = path.name.removesuffix(".json").partition("@")
        area, host = (_name(unquote(part)) for part in (area, host.partition("@")[0]))
        message = f"What {area} handed in for {host} cannot be read."
        yield _own("readable", f"{area} readable", message, f"Look at spool/{path.name}, then run again.", area, host)


def _check(given: Any, area: str, host: str) -> dict[str, Any]:
    """A check as handed in, made to fit the contract; one that makes no sense is unknown."""
    data = plain(given) if isinstance(given, dict) else {}
    check: dict[str, Any] = {}
    for key in ("id", "title", "message", "remedy", "source", "unit"):
        text = data.get(key)
        check[key] = clean("" if text is None else text, LONGEST[key], one_line=key not in ("message", "remedy"))
    for key in ("value", "warning", "critical"):
        value = data.get(key)
        check[key] = (
            clean(json.dumps(value) if isinstance(value, (dict, list)) else value, LONGEST["value"])
            if isinstance(value, (str, dict, list))
            else value
        )
    check |= {"status": data.get("status"), "details": _details(data.get("details")), "area": area, "host": host}
    observed = moment(data.get("observed_at"))
    doubts = []
    if not _ID.fullmatch(check["id"]):
        doubts.append(f"its id was {check['id'] or 'empty'!r}")
        check["id"] = f"{slug(area)}.{slug(check['id'] or 'nameless')}"
    elif len(str(data["id"])) > LONGEST["id"]:
        # Two long ids must stay two.
        check["id"] = (
            f"{str(data['id'])[:120]}…{hashlib.sha256(str(data['id']).encode(errors='replace')).hexdigest()[:16]}"
        )
        check["id"] = clean(check["id"], one_line=True)
    if check["status"] not in STATUSES:
        doubts.append(f"its status was {clean(check['status'], 40)!r}")
    if check["status"] == "ok" and check["value"] is None:
        doubts.append("it was ok without a value")
    if observed is None:
        doubts.append("it does not say when it was observed")
    check["observed_at"] = (
        data["observed_at"] if observed and str(data["observed_at"]).endswith("Z") else _stamp(observed)
    )
    check["title"] = check["title"] or check["id"]
    if doubts:
        check["message"] = f"{check['message']} (Not to be relied on: {'; '.join(doubts)}.)".strip()
        check["remedy"] = check["remedy"] or "Report this as a defect of the check."
        # What was critical stays so.
        check["status"] = CRITICAL if check["status"] == CRITICAL else UNKNOWN
    return check


def _stamp(observed: Any) -> str:
    return f"{observed:%Y-%m-%dT%H:%M:%SZ}" if observed else "1970-01-01T00:00:00Z"


def _details(given: Any) -> dict[str, Any]:
    """Details with clean text and of bounded size; keys beyond it are named."""
    if given is None or given == {}:
        return {}
    data: dict[str, Any] = scrub(given, 4000) if isinstance(given, dict) else {"given": scrub([given], 4000)[0]}
    if len(json.dumps(data)) <= LONGEST_DETAILS:
        return data
    kept: dict[str, Any] = {}
    left = LONGEST_DETAILS
    for key, value in data.items():
        left -= len(json.dumps({key: value}))
        if left < 0:
            break
        kept[key] = value
    return {**kept, "left_out": f"{len(data) - len(kept)} of {len(data)} details were too large"}


def _action(given: Any, area: str, host: str) -> dict[str, Any]:
    """An action as handed in, made to fit the contract; one without a sensible status failed."""
    data = plain(given) if isinstance(given, dict) else {}
    action: dict[str, Any] = {"id": clean(data.get("id") or "nameless", 200, one_line=True)}
    action["title"] = clean(data.get("title") or action["id"], LONGEST["title"], one_line=True)
    action["status"] = data.get("status")
    action["changed"] = bool(data.get("changed"))
    action["message"] = clean(data.get("message") or "", LONGEST["message"])
    if action["status"] not in ACTION_STATUSES:
        action["message"] = f"{action['message']} (Its status was {clean(action['status'], 40)!r}.)".strip()
        action["status"] = "failed"
    for key in ("started_at", "finished_at"):
        action[key] = clean(data[key], 40) if moment(data.get(key)) else None
    return {**action, "details": _details(data.get("details")), "area": area, "host": host}


def _failed(actions: list[dict[str, Any]], checks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A critical check for each failed action of an area and host that has none of its own."""
    told = {(check["area"], check["host"]) for check in checks if check["status"] == CRITICAL}
    for action in actions:
        if action["status"] != "failed" or (action["area"], action["host"]) in told:
            continue
        name, _separator, instance = action["id"].removeprefix(f"{action['area']}.").partition(":")
        check = _own(
            slug(name) + (f":{instance}" if instance else ""),
            action["title"],
            action["message"] or f"{action['title']} failed.",
            "Read the run's output, fix it and run again.",
            action["area"],
            action["host"],
        )
        yield {**check, "status": CRITICAL, "value": "failed"}


def _merged(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One check per host and id: of several the worst, and it says so."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for check in checks:
        groups.setdefault((check["host"], check["id"]), []).append(check)
    result = []
    for group in groups.values():
        kept = max(group, key=lambda check: STATUSES.index(check["status"]))
        if len(group) > 1:
            named = ", ".join(dict.fromkeys(check["status"] for check in group))
            message = f"{kept['message']} (Handed in {len(group)} times, as {named}; the worst counts.)".strip()
            kept = {**kept, "message": message}
        result.append(kept)
    return result
