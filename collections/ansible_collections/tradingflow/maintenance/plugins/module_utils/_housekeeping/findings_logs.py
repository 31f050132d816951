# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the report says of access logs and of rotation."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, as_action, judge, limits, unknown
from ..words import plural, span
from .access import ENOUGH, REMEMBERED, unusual
from .access_times import times

#: Path of an access log -> baselines of earlier runs, oldest first.
Usual = Callable[[str], List[Dict[str, Any]]]
_ACCESS, _ROTATION, _STATE, _COPIES = "Access log", "Rotation of logs", "State of the rotation", "Logs that are copied"


def access(part: Dict[str, Any], thresholds: Dict[str, Any], usual: Usual) -> Iterator[Check]:
    """The checks of an access log."""
    id, path = f"housekeeping.access:{part['name']}", part["name"]
    if "error" in part:
        yield unknown(id, _ACCESS, part["error"]["message"], part["error"]["remedy"], source=path)
        return
    found = part["found"]
    details = {**found, "baseline": part["baseline"]}
    problem = _doubt(part, limits(thresholds, "unparsed"))
    if problem:
        yield unknown(id, _ACCESS, problem, "See its format, and what else writes to it.", source=path, details=details)
        return
    earlier = usual(path)[-REMEMBERED:]
    text = f"{plural(found['requests'], 'request')} in {span(found['days'] * 86400)}"
    if found["clients"]:
        client, count = found["clients"][0]
        text += f", {100 * count / found['requests']:.0f} % of them from {client}"
    if len(earlier) < ENOUGH:
        text += f"; what is usual is known after {plural(ENOUGH - len(earlier), 'more run')}"
    yield Check(id, _ACCESS, OK, found["requests"], message=f"{text}.", source=path, details=details)
    if found["requests"]:
        yield _errors(part, thresholds)
        if "times" in found:
            yield times(path, found["times"], thresholds)
    if len(earlier) >= ENOUGH:
        what = unusual(part["baseline"], earlier)
        yield Check(
            f"housekeeping.access_unusual:{path}",
            "Unusual in an access log",
            WARNING if what else OK,
            len(what),
            message=f"{'; '.join(what)}." if what else f"As in {len(earlier)} runs before.",
            remedy="Look at the first clients and routes in the details of the access log." if what else "",
            source=path,
        )


def _doubt(part: Dict[str, Any], limit: Dict[str, Any]) -> str:
    """Why what was read is not all; empty when it is."""
    found = part["found"]
    lines = found["requests"] + found["other"] + found["unparsed"]
    if found["damaged"]:
        return f"{plural(len(found['damaged']), 'file')} cannot be read to the end: {found['damaged'][0]}."
    if found["cut"]:
        return "It has more lines than are read: raise maximum_lines, or review fewer days."
    share = 100 * found["unparsed"] / lines if lines else 0.0
    if limit["warning"] is not None and share >= limit["warning"]:
        return f"{share:.1f} % of its lines are not of its format."
    if not found["requests"] and not part["empty_ok"]:
        return f"It has no request in {part['period']:g} days."
    return ""


def _errors(part: Dict[str, Any], thresholds: Dict[str, Any]) -> Check:
    found = part["found"]
    failed = found["classes"]["5xx"]
    share = round(100 * failed / found["requests"], 3)
    first = f", most of {found['failing'][0][0]}" if found["failing"] else ""
    return judge(
        f"housekeeping.access_errors:{part['name']}",
        "Requests that failed",
        share,
        **limits(thresholds, "errors"),
        message=f"{plural(failed, 'request')} of {found['requests']:,} failed with 5xx ({share:g} %){first}.",
        remedy="Look at the application's log for these routes.",
        unit="%",
        source=part["name"],
    )


def rotation(part: Dict[str, Any], started_at: str) -> "tuple[List[Check], List[Dict[str, Any]]]":
    """Checks and actions of the rotation."""
    if "error" in part:
        error = part["error"]
        checks = [unknown("housekeeping.rotation", _ROTATION, error["message"], error["remedy"])]
        # What was done before it is done.
        return checks, _set_up(part, started_at) if "done" in part else []
    checks = [_rotated(part), _state(part)]
    copies = part["copied"]
    checks.append(
        Check(
            "housekeeping.rotation_copies",
            _COPIES,
            WARNING if copies else OK,
            len(copies),
            message=f"copytruncate loses what is written meanwhile: {'; '.join(copies[:5])}." if copies else "None.",
            remedy="Use create, and have the program open its log again (housekeeping_rotation)." if copies else "",
            source="configuration of logrotate",
            details={"copied": copies},
        )
    )
    return checks, _set_up(part, started_at)


def _set_up(part: Dict[str, Any], started_at: str) -> List[Dict[str, Any]]:
    done = part.get("done")
    rows = done["written"] + done["failed"] if done else part["items"]
    if not rows:
        return []
    names = ", ".join(row["name"] for row in rows)
    status = "planned" if not done else "failed" if done["failed"] else "ok"
    message = f"{names}: {done['failed'][0]['why']}" if done and done["failed"] else f"{names}."
    changed = bool(done and done["written"])
    details = dict(done) if done else {"items": part["items"]}
    return [as_action("housekeeping.rotation", "Set up the rotation", status, changed, message, started_at, details)]


def _rotated(part: Dict[str, Any]) -> Check:
    done = part.get("done") or {"failed": []}
    problems = [f"logrotate says: {each}" for each in part["errors"]]
    problems += [f"{row['name']} could not be written: {row['why']}" for row in done["failed"]]
    # One that was just repaired may have nothing to say: no log was ever rotated.
    never = "" if any(row["what"] == "state" for row in done.get("written", [])) else part["never"]
    if never:
        problems.append(f"{never} is missing or empty: logrotate has never run, or has its state elsewhere")
    problems += [f"{row['log']} was not rotated for {row['days']:g} days" for row in part["late"]]
    problems += [f"{row['log']} is rotated by nobody" for row in part["unrotated"]]
    if "done" in part:
        problems += [f"{row['name']} is not as it is to be" for row in part["items"] if row["what"] == "configuration"]
    status = WARNING if problems else OK
    if not part["logs"]:
        # What it does not tell of may be late, or rotated by nobody.
        status = UNKNOWN
        problems.insert(0, "logrotate names no log")
    remedy = "Correct the configuration of logrotate, or manage it by housekeeping_rotation."
    if never:
        remedy = "See that its timer runs (logrotate.timer), or set housekeeping_rotation_state."
    return Check(
        "housekeeping.rotation",
        _ROTATION,
        status,
        len(problems),
        message=f"{'; '.join(problems[:5])}." if problems else f"{plural(part['logs'], 'log')} rotated in time.",
        remedy=remedy if problems else "",
        source="logrotate -d",
        details={"problems": problems},
    )


def _state(part: Dict[str, Any]) -> Check:
    repaired = [row for row in (part.get("done") or {"written": []})["written"] if row["what"] == "state"]
    faults = part["faults"]
    status, message, remedy = OK, "It is understood.", ""
    if faults:
        status = CRITICAL
        message = f"logrotate stops reading at {faults[0]}, and logs after that are rotated late or never."
        remedy = "Have it carried out (in the weekly: housekeeping_approved), and it is repaired from the files there."
    elif repaired:
        status = WARNING
        message = f"It was damaged, and was repaired from the files that are there; kept as {repaired[0]['kept']}."
        remedy = "Find out what damaged it: a full disk, or a host that was cut off."
    return Check(
        "housekeeping.rotation_state",
        _STATE,
        status,
        len(faults),
        message=message,
        remedy=remedy,
        source="state file of logrotate",
        details={"faults": faults},
    )
