# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a finished restore, or its plan, means for the report and the ledger."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, as_action, judge, unknown, worst
from ..words import human, span
from .outside import with_spaces
from .timeline import words_of

#: What ended a restore, when it was no fault of the recovery point: then nothing is known of it.
NOT_ITS_FAULT = ("StorageError", "ConfigurationError", "LockedError")
TITLE = "Restore"
_TITLES = {
    "archive": "Rest of the log archived",
    "fetch": "Objects fetched",
    "files": "Application's files",
    "prove": "Restored copy proven",
    "swap": "Put in place",
}

Found = Tuple[List[Check], List[Dict[str, Any]]]


def findings(
    result: Dict[str, Any], options: Dict[str, Any], started_at: str
) -> Tuple[List[Check], List[Dict[str, Any]], Dict[str, Any]]:
    """Checks and the action of a restore, and what the ledger keeps of it.

    :param result: of engine.run
    """
    checks = [_chosen(result), *_refused(result), *(Check(**check) for check in result["checks"])]
    checks += _ended(result)
    restored = not result["problem"] and not result["refusals"]
    if restored:
        checks += [*([_loss(result, options, will=False)] if _loses(options) else []), *_kept(result)]
    if result["found"]:
        checks.append(
            Check("restore.found", "An earlier restore", OK, len(result["found"]), message=" ".join(result["found"]))
        )
    if result["unfinished"]:
        text = "The restore was interrupted while it put things in place."
        remedy = "Run it again: it resumes. Or go back to what was there: restore_abandon=true."
        checks.append(Check("restore.unfinished", "Restore ended", CRITICAL, False, message=text, remedy=remedy))
    status = worst(check.status for check in checks)
    point, bad = result["recovery_point"], [check for check in checks if check.status != OK]
    message = f"{_what(result, options)} was restored and proven in {span(result['seconds'])}."
    if result["refusals"] or result["problem"]:
        message = sorted(bad, key=lambda check: check.status != CRITICAL)[0].message
    done = "ok" if restored else "failed"
    loss = _loss(result, options, will=False)
    details = {
        "recovery_point": point["id"],
        "engine": point["engine"],
        "mode": result["mode"],
        "target": result["target"],
        "database_bytes": point["database_bytes"],
        "kept": [f"{each['kind']} {each['name']}" for each in result["kept"]],
        "phases": result["phases"],
        "objectives": [
            _objective("RTO", result["seconds"], options["rto"]),
            _objective("RPO", loss.value, options["rpo"]),
        ]
        if restored
        else [],
    }
    action = _action(done, result["changed"], message, started_at, details)
    return checks, [action], _summary(result, options, status)


def _loses(options: Dict[str, Any]) -> bool:
    """Whether anything that is there is replaced."""
    return options["mode"] != "tables" or bool(options["replace"])


def _what(result: Dict[str, Any], options: Dict[str, Any]) -> str:
    if options["mode"] == "point_in_time":
        return f"{result['target']}, to {result['reached']}"
    return f"{result['recovery_point']['id']} into {result['target']}"


def _objective(name: str, seconds: Any, objective: int) -> Dict[str, Any]:
    status = OK if seconds is not None and seconds < objective else WARNING
    return {"name": name, "seconds": seconds, "objective": objective, "status": status}


def _summary(result: Dict[str, Any], options: Dict[str, Any], status: str) -> Dict[str, Any]:
    problem = result["problem"] or {}
    return {
        "recovery_point": result["recovery_point"]["id"],
        "engine": result["recovery_point"]["engine"],
        "mode": result["mode"],
        "target": result["target"],
        "reached": result.get("reached"),
        "worst_status": status,
        "changed": result["changed"],
        "reason": options.get("reason") or None,
        "overrides": [refusal["word"] for refusal in result["overridden"]],
        "refused": [refusal["name"] for refusal in result["refusals"]],
        "problem": problem.get("message"),
        "seconds": result["seconds"],
        "data_loss_seconds": result["loss"].get("seconds"),
        "kept": [f"{each['kind']} {each['name']}" for each in result["kept"]],
        "phases": result["phases"],
    }


def _chosen(result: Dict[str, Any]) -> Check:
    point, unreadable = result["recovery_point"], result["unreadable"]
    text = f"{point['id']} of {point['environment']}, engine {point['engine']}, snapshot of {point['snapshot_at']}."
    details = {key: point[key] for key in ("key", "sha256", "created_at")}
    if not unreadable:
        return Check("restore.recovery_point", "Recovery point", OK, point["id"], message=text, details=details)
    text = f"{', '.join(list(unreadable)[:3])} cannot be read, and an older one was taken: {text}"
    remedy = "Name the one you want (restore_recovery_point), and make another backup soon."
    return Check(
        "restore.recovery_point", "Recovery point", WARNING, point["id"], message=text, remedy=remedy, details=details
    )


def _refused(result: Dict[str, Any]) -> List[Check]:
    checks = [
        Check(
            f"restore.refused:{each['name']}",
            "Restore refused",
            CRITICAL,
            False,
            message=each["message"],
            remedy=each["remedy"],
        )
        for each in result["refusals"]
    ]
    for each in result["overridden"]:
        text = f"{each['message']} Overridden ({each['word']}), for the reason on the record."
        checks.append(
            Check(
                f"restore.overridden:{each['name']}",
                "Overridden",
                WARNING,
                each["word"],
                message=text,
                remedy="See that it was meant so.",
            )
        )
    return checks


def _ended(result: Dict[str, Any]) -> List[Check]:
    problem = result["problem"]
    if problem is None:
        return []
    phase = problem["phase"]
    status = UNKNOWN if problem["kind"] in NOT_ITS_FAULT else CRITICAL
    state = "What was there before is untouched or kept aside." if result["changed"] else "Nothing was put in place."
    check = Check(
        f"restore.failed:{phase.replace(' ', '_')}",
        _TITLES.get(phase, "Recovery point restored"),
        status,
        False if status == CRITICAL else None,
        message=f"{problem['message']} {state}",
        remedy=problem["remedy"],
    )
    return [check]


def _loss(result: Dict[str, Any], options: Dict[str, Any], will: bool) -> Check:
    """The data that are lost: a fact that somebody wanted, so no more than a warning."""
    loss = result["loss"]
    id, title = "restore.data_loss", "Data lost"
    if loss.get("seconds") is None and will:
        text = "How much is lost shows when all archived log was replayed."
        remedy = "See in the report of the daily backup since when nothing was archived."
        return Check(id, title, WARNING, None, "s", message=text, remedy=remedy)
    if loss.get("seconds") is None:
        return unknown(
            id, title, "The loss of data was not measured.", "Define the view maintenance.heartbeat.", unit="s"
        )
    verb = "would be" if will else "are"
    text = f"{span(loss['seconds'])} of data {verb} lost: from {loss['back_to']} ({loss['measured_from']})"
    text += f" to {loss['until']} ({loss['measured_until']})."
    remedy = "See whether a later recovery point, or a point in time, can be had."
    return judge(
        id,
        title,
        loss["seconds"],
        unit="s",
        warning=options["rpo"],
        critical=None,
        message=text,
        remedy=remedy,
        details={key: value for key, value in loss.items() if key != "seconds"},
    )


def _kept(result: Dict[str, Any]) -> List[Check]:
    if not result["kept"]:
        return []
    names = ", ".join(with_spaces(each["kind"], each["name"], each.get("tablespaces")) for each in result["kept"])
    text = f"Kept aside until somebody removes it (restore_mode=remove_old, restore_remove_old): {names}."
    return [Check("restore.kept", "Kept aside", OK, len(result["kept"]), message=text)]


def failure(message: str, remedy: str, kind: str, started_at: str) -> Found:
    """Check and action of a restore that was not begun."""
    status = CRITICAL if kind == "RestoreError" else UNKNOWN
    value = False if status == CRITICAL else None
    check = Check("restore.begun", "Restore started", status, value, message=message, remedy=remedy)
    return [check], [_action("failed", False, f"{message} {remedy}".rstrip(), started_at, {})]


def planned(
    plan: Dict[str, Any], options: Dict[str, Any], expected: Optional[Dict[str, Any]], started_at: str
) -> Found:
    """Checks and the action of --check.

    :param plan: of engine.plan
    :param expected: seconds and drill, from the newest drill on the ledger; None when there is none to go by
    """
    point = plan["recovery_point"]
    lasts = "How long it takes is not known: no drill of this engine is on the ledger."
    if expected:
        lasts = f"It should take about {span(expected['seconds'])}, as fast as the drill of {expected['drill']} was."
    text = (
        f"Would {'; '.join(plan['steps'])}. {point['id']} has {point['objects']} objects of {human(point['size'])}, the"
    )
    text += f" database {human(point['database_bytes'])}. {lasts}"
    text += (
        f" Would be kept aside: {'; '.join(plan['kept'])}."
        if plan["kept"]
        else " Nothing is there that would be kept aside."
    )
    checks = [_chosen(plan), *_refused(plan), *_disks(plan), *_timelines(plan)]
    checks += [Check(**check) for check in plan.get("reach") or []]
    checks += [_loss(plan, options, will=True)] if _loses(options) else []
    if plan["unfinished"]:
        said = f"The restore {plan['unfinished'].get('id')} did not end; this run would clean up after it, or go on."
        said += " Going back to what was there is restore_abandon=true."
        checks.append(Check("restore.found", "An earlier restore", OK, 1, message=said))
    details = {"plan": plan, "expected_seconds": expected["seconds"] if expected else None}
    return checks, [_action("failed" if plan["refusals"] else "planned", False, text, started_at, details)]


def _timelines(plan: Dict[str, Any]) -> List[Check]:
    """What can be reached on which timeline."""
    found = plan.get("timelines")
    if not found:
        return []
    text = f"The archive has {'; '.join(words_of(each, plan['since']) for each in found)}."
    text += f" This recovery would follow the log to timeline {plan['timeline']}."
    details = {"timelines": found, "oldest_backup_ended": plan["since"]}
    return [Check("restore.timelines", "Timelines", OK, len(found), message=text, details=details)]


def _disks(plan: Dict[str, Any]) -> List[Check]:
    checks = []
    for disk in plan["disks"]:
        text = f"About {human(disk['needed_bytes'])} are needed, {human(disk['free_bytes'])} are free."
        checks.append(
            Check(f"restore.space:{disk['place']}", "Free space", OK, disk["free_bytes"], "bytes", message=text)
        )
    if any(refusal["name"] == "space" for refusal in plan["refusals"]):
        checks = []
    for place in plan["unseen"]:
        text = f"Whether the disk of {place} has room is not known: it is not on this host."
        checks.append(Check(f"restore.space:{place}", "Free space", WARNING, None, message=text, remedy="Look there."))
    return checks


def removed(result: Dict[str, Any], started_at: str, *, planned: bool) -> Found:
    """Check and action of what was removed, or would be."""
    names = ", ".join(f"{each['kind']} {each['name']}" for each in result["removed"]) or "nothing"
    gone = [each["name"] for each in result["removed"]]
    aside = [each for each in result["kept"] if each["name"] not in gone]
    left = ", ".join(
        f"{with_spaces(each['kind'], each['name'], each.get('tablespaces'))} (since {each['at']})" for each in aside
    )
    text = f"{'Would remove' if planned else 'Removed'}: {names}. Still aside: {left or 'nothing'}."
    if result.get("left"):
        text += f" Not recognised as theirs, and left as they are: {', '.join(result['left'])}."
    check = Check("restore.removed", "Removed what lay aside", OK, len(result["removed"]), message=text)
    return [check], [_action("planned" if planned else "ok", not planned, text, started_at, {})]


def abandoned(result: Dict[str, Any], options: Dict[str, Any], started_at: str, *, planned: bool) -> Found:
    """Check and action of a restore that was abandoned, or would be.

    :param result: of abandon.run, or abandon.plan
    """
    run, refusals = result["unfinished"], result["refusals"]
    text = f"{'Would' if planned else 'Did'} {'; '.join(result['steps'])}."
    if refusals:
        text = refusals[0]["message"]
    elif not planned:
        text = f"The restore {run.get('id')} was abandoned"
        text += "." if run.get("mode") == "tables" else ": what was there before is in place again."
        facts = result["server"]
        text += f" The server is a primary on timeline {facts['timeline']}." if facts else ""
        text += f" {result['left']}" if result.get("left") else ""
    checks = _refused({"refusals": refusals, "overridden": []})
    if not refusals:
        title = "Would be abandoned" if planned else "Restore abandoned"
        stays = [each["name"] for each in result.get("kept") or [] if each["kind"] == "schema"]
        status = WARNING if stays and run.get("mode") == "tables" else OK
        remedy = "The tables have the rows of the recovery point. To go back, put the old ones in place by hand, in one"
        remedy += f" transaction (DELETE FROM, INSERT INTO ... SELECT * FROM): they are in {', '.join(stays)}."
        remedy = remedy if status == WARNING else ""
        checks.append(Check("restore.abandoned", title, status, run.get("id"), message=text, remedy=remedy))
        checks += _kept({"kept": result.get("kept") or []})
        checks += [Check(**check) for check in result.get("checks") or []]
    done = "failed" if refusals else "planned" if planned else "ok"
    details = {"restore": run.get("id"), "reason": options.get("reason") or None, "steps": result["steps"]}
    return checks, [_action(done, bool(result.get("changed")), text, started_at, details)]


def given_up(result: Dict[str, Any], options: Dict[str, Any]) -> Dict[str, Any]:
    """What the ledger keeps of a restore that was abandoned, and of which recovery point; nothing when it was refused.

    :param result: of abandon.run
    """
    run = result["unfinished"]
    if result["refusals"] or not run.get("subject"):
        return {}
    content = {
        "recovery_point": run["recovery_point"],
        "mode": run["mode"],
        "target": run["target"],
        "abandoned": run["id"],
        "changed": True,
        "reason": options.get("reason") or None,
        "kept": [f"{each['kind']} {each['name']}" for each in result["kept"]],
    }
    return {"restore": content, "recovery_point": run["subject"]}


def _action(status: str, changed: bool, message: str, started_at: str, details: Dict[str, Any]) -> Dict[str, Any]:
    return as_action("restore.restore", TITLE, status, changed, message, started_at, details)
