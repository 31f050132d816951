# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the report says of housekeeping."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from .._checks.guard import each, escaped
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, as_action, unknown
from ..words import plural, size
from .findings_logs import Usual, access, rotation

Found = Tuple[List[Check], List[Dict[str, Any]]]
#: Entries that nobody looked at to their end.
_NOT_SEEN = "too many files to look at"


def findings(result: Dict[str, Any], thresholds: Dict[str, Any], usual: Usual, started_at: str) -> Found:
    """Checks and actions of what engine.plan or engine.run gives.

    :param usual: see findings_logs
    """
    checks: List[Check] = []
    actions: List[Dict[str, Any]] = []
    won: Dict[str, int] = {}
    applied = False
    for kind, parts in result["classes"].items():
        for part in parts:
            applied = applied or "done" in part
            if kind == "access":
                id = f"housekeeping.access:{part['name']}"
                checks += each(lambda part=part: access(part, thresholds, usual), (id, "Access log"))  # type: ignore[misc]
                continue
            new, more = _part(kind, part, started_at)
            checks += new
            actions += more
            done = part.get("done")
            if (done or "error" not in part) and kind != "rotation":
                count = done["freed"] if done else sum(item["bytes"] for item in part["items"])
                won[_NAMES[kind]] = won.get(_NAMES[kind], 0) + count
    if won or (not applied and result["classes"].keys() - {"access"}):
        # Also a plan by which no space is won may have to be approved.
        checks.append(_space(won, not applied, result["digest"]))
    if not applied and result["tokens"] and "refused" not in result:
        actions.append(_plan(won, result["digest"], started_at))
    if "refused" in result:
        error = result["refused"]
        message = f"{error['message']} {error['remedy']}"
        actions.append(as_action("housekeeping.approval", "Approval", "failed", False, message, started_at, {}))
    return checks, actions


def _part(kind: str, part: Dict[str, Any], started_at: str) -> Found:
    """One part of a class; what nobody expected leaves only its own check unknown."""
    name = part["name"]
    id = f"housekeeping.{kind}" + (f":{name}" if kind in ("temporary", "images") else "")
    try:
        if kind == "rotation":
            return rotation(part, started_at)
        if "error" in part:
            checks = [unknown(id, _NAMES[kind].capitalize(), part["error"]["message"], part["error"]["remedy"])]
            if "done" not in part:
                return checks, []
            # What was done before it is done.
            cleaned = [_cleaned(part, started_at)] if kind == "temporary" else _removed(id, kind, part, started_at)
            return checks, cleaned
        if kind == "temporary":
            return [_temporary(part)], [_cleaned(part, started_at)]
        return [_removals(id, kind, part)], _removed(id, kind, part, started_at)
    except Exception as error:
        return [escaped(id, _NAMES.get(kind, "Rotation of logs").capitalize(), error)], []


def baselines(reports: List[Dict[str, Any]], host: str, path: str) -> List[Dict[str, Any]]:
    """What earlier runs found of an access log, one of each day, oldest first.

    :param reports: oldest first
    """
    found: Dict[str, Dict[str, Any]] = {}
    for report in reports:
        for check in report["checks"]:
            mine = check["host"] == host and check["id"] == f"housekeeping.access:{path}" and check["status"] == OK
            known = check["details"].get("baseline") if mine else None
            if isinstance(known, dict) and known.get("requests_per_day"):
                found[check["observed_at"][:10]] = known
    return list(found.values())


_NAMES = {
    "temporary": "temporary files",
    "journal": "journal",
    "packages": "package cache",
    "kernels": "old kernels",
    "images": "unused images",
}


def _removals(id: str, kind: str, part: Dict[str, Any]) -> Check:
    """The check of a class whose items go one by one."""
    done = part.get("done")
    count = done["freed"] if done else sum(item["bytes"] for item in part["items"])
    number = len(done["removed"]) if done else len(part["items"])
    status, remedy = OK, ""
    message = f"{plural(number, 'item')} {'removed' if done else 'would go'} ({size(count)})"
    if kind == "journal":
        now = part["bytes"]
        message += f"; the journal {'has now' if done else 'has'} {size(now)}"
        if part["strange"]:
            status, remedy = WARNING, "Look at it with journalctl --verify."
            message += f"; {plural(len(part['strange']), 'file is', 'files are')} no journal: {part['strange'][0]}"
    if kind == "images":
        rest = len(part["unused"]) - (0 if done else len(part["items"]))
        message += f"; {plural(rest, 'other image is', 'other images are')} used by no container"
    if kind == "kernels":
        message += f"; these stay: {', '.join(part['protected'])}"
    if done and done["failed"]:
        status, remedy = WARNING, "See the details."
        message += f"; {done['failed'][0]['name']} could not be removed: {done['failed'][0]['why']}"
    details: Dict[str, Any] = {key: part[key] for key in ("unused", "protected", "strange") if key in part}
    title = _NAMES[kind].capitalize()
    return Check(
        id,
        title,
        status,
        count,
        unit="bytes",
        message=f"{message}.",
        remedy=remedy,
        source=part["name"],
        details=details,
    )


def _removed(id: str, kind: str, part: Dict[str, Any], started_at: str) -> List[Dict[str, Any]]:
    done = part.get("done")
    rows = done["removed"] + done["failed"] if done else part["items"]
    if not rows:
        return []
    status = "planned" if not done else "failed" if done["failed"] else "ok"
    message = f"{plural(len(rows), 'item')}."
    if done and done["failed"]:
        message = f"{done['failed'][0]['name']} could not be removed: {done['failed'][0]['why']}"
    details = {key: done[key] for key in ("removed", "failed")} if done else {"items": _shown(rows)}
    changed = bool(done and done["removed"])
    return [as_action(id, f"Remove: {_NAMES[kind]}", status, changed, message, started_at, details)]


def _shown(rows: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "token"} for row in rows]


_TEMPORARY = "Temporary files"


def _temporary(part: Dict[str, Any]) -> Check:
    done = part.get("done")
    total = done["freed"] if done else sum(item["bytes"] for item in part["items"])
    kept = sum(each["count"] for each in part["kept"].values())
    left = f"{plural(part['young'], 'entry is', 'entries are')} too young, {kept:,} kept for other reasons"
    status, remedy = OK, ""
    if done:
        message = f"{plural(len(done['removed']), 'entry', 'entries')} removed ({size(total)})"
        if done["quarantined"]:
            message += f", {len(done['quarantined']):,} set aside"
        if done["kept"] or done["missing"]:
            message += f", {len(done['kept']) + done['missing']:,} left because they changed or came into use"
        message += f"; {left}."
    else:
        message = f"{plural(len(part['items']), 'entry', 'entries')} would go ({size(total)}); {left}."
    if part["later"]:
        status = WARNING
        message += f" {part['later']:,} more may go, beyond the most of one run."
        remedy = "Run it again, or raise housekeeping_maximum."
    if any(reason.startswith("cannot be looked at") for reason in part["kept"]):
        status, remedy = WARNING, "Look at the entries in the details."
    if _NOT_SEEN in part["kept"]:
        status = UNKNOWN
        message += " Not everything was looked at."
        remedy = "Raise housekeeping_look_at, or see what makes so many files."
    strays = part.get("strays", [])
    if strays:
        status, remedy = (
            CRITICAL,
            "Have it carried out (in the weekly with housekeeping_approved): they get their places back.",
        )
        message += f" {plural(len(strays), 'entry', 'entries')} that an earlier run left in quarantine, such as "
        message += f"{strays[0]['name']}: {strays[0]['why']}."
    if done and done.get("restored"):
        message += f" {plural(len(done['restored']), 'entry', 'entries')} put back from quarantine."
    if done and done["failed"]:
        # What stays in quarantine although it is in use is missed by somebody.
        stuck = [row for row in done["failed"] if "stays in quarantine" in row["why"]]
        status = CRITICAL if stuck else max(status, WARNING, key=(OK, WARNING, UNKNOWN).index)
        row = (stuck or done["failed"])[0]
        message += f" {plural(len(done['failed']), 'entry', 'entries')} failed, such as {row['name']}: {row['why']}."
        remedy = "Put back by hand what is in use; see the details." if stuck else "See the details."
    return Check(
        f"housekeeping.temporary:{part['name']}",
        _TEMPORARY,
        status,
        total,
        unit="bytes",
        message=message,
        remedy=remedy,
        source=part["name"],
        details={
            "kept": part["kept"],
            "young": part["young"],
            **({"strays": strays} if strays else {}),
            **({"failed": done["failed"]} if done else {}),
        },
    )


def _cleaned(part: Dict[str, Any], started_at: str) -> Dict[str, Any]:
    done = part.get("done")
    rows = _shown(part.get("items", []))
    title = f"Clean up {part['name']}"
    if not done:
        total = size(sum(row["bytes"] for row in rows))
        message = f"{plural(len(rows), 'entry', 'entries')} would go ({total})." if rows else "Nothing to do."
        status, details = ("planned" if rows else "skipped"), {"entries": rows}
    else:
        parts = {"removed": done["removed"], "set aside": done["quarantined"], "put back": done.get("restored", [])}
        told = [f"{plural(len(of), 'entry', 'entries')} {what}" for what, of in parts.items() if of]
        message = f"{', '.join(told)} ({size(done['freed'])} won)." if told else "Nothing was done."
        if done["failed"]:
            message += f" {done['failed'][0]['name']} failed: {done['failed'][0]['why']}."
        status = "failed" if done["failed"] else "ok" if told else "skipped"
        details = {key: done.get(key, []) for key in ("removed", "quarantined", "kept", "restored", "failed")}
    changed = bool(done and (done["removed"] or done["quarantined"] or done.get("restored")))
    return as_action(f"housekeeping.clean:{part['name']}", title, status, changed, message, started_at, details)


def _plan(freed: Dict[str, int], digest: str, started_at: str) -> Dict[str, Any]:
    """What is approved by its digest: who reads no more than the end of a run has it there."""
    message = f"{size(sum(freed.values()))} would be won. The plan is known by {digest}."
    details = {"digest": digest}
    return as_action("housekeeping.plan", "Housekeeping", "planned", False, message, started_at, details)


def _space(freed: Dict[str, int], planning: bool, digest: str) -> Check:
    total = sum(freed.values())
    plan = f" Digest of the plan: {digest}." if planning else ""
    each = ": " + ", ".join(f"{name} {size(count)}" for name, count in freed.items()) if freed else ""
    return Check(
        "housekeeping.space",
        "Space won",
        OK,
        total,
        unit="bytes",
        message=f"{size(total)} {'would be' if planning else 'were'} won{each}.{plan}",
        source="what the removed files held",
        details={**freed, **({"digest": digest} if planning else {})},
    )
