# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What retention means for the report, and the plan for people."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ..checks import OK, WARNING, Check, unknown, utc_now
from ..errors import MaintenanceError
from ..words import size
from .decided import Decided, Done
from .engine import ALTERED
from .options import effective_rules

ID, TITLE = "retention.recovery_points", "Retention of recovery points"


def described(decided: Decided, options: Dict[str, Any]) -> Dict[str, Any]:
    """The plan as the task returns it."""
    plan, kept = decided.plan, decided.plan.kept
    oldest = min((point.created_at for point in kept), default=None)
    return {
        "rules": effective_rules(options),
        "stopped": plan.stopped,
        "recovery_points": [
            {
                "id": fate.point.id,
                "created_at": f"{fate.point.created_at:%Y-%m-%dT%H:%M:%SZ}",
                "series": fate.point.series,
                "bytes": fate.point.size,
                "kept": fate.kept,
                "reasons": fate.reasons,
            }
            for fate in plan.fates
        ],
        "rests": [
            {"id": rest.run.id, "why": rest.why, "bytes": decided.freed(rest.run), "kept_because": rest.refused}
            for rest in decided.rests
        ],
        "snapshots": [
            {"repository": each.repository, "snapshot": each.id, "id": each.run_id, "why": each.why}
            for each in decided.files.snapshots
        ],
        "prune": decided.files.repositories,
        "removed_by_others": sorted(decided.removed),
        "unfinished": sorted(decided.young),
        "kept": len(kept),
        "kept_bytes": sum(point.size for point in kept),
        "deleted": len(plan.deleted),
        "freed_bytes": sum(decided.freed(run) for run in decided.going),
        "oldest_reachable": f"{oldest:%Y-%m-%dT%H:%M:%SZ}" if oldest else None,
        "reachable_now": [window.as_dict() for window in decided.reachable[0]],
        "reachable_then": [window.as_dict() for window in decided.reachable[1]],
        "backups": [
            *({"label": label, "kept": False, "why": why} for label, why in decided.backups.going.items()),
            *({"label": label, "kept": True, "why": why} for label, why in decided.backups.staying.items()),
        ],
    }


def lines(plan: Dict[str, Any]) -> List[str]:
    """One line for each recovery point and rest: its fate, id, size and reasons."""
    result = [
        f"{'keep' if each['kept'] else 'delete':<7}{each['id']}  {size(each['bytes']):>9}  {', '.join(each['reasons'])}"
        for each in plan["recovery_points"]
    ]
    for each in plan["rests"]:
        fate = "keep" if each["kept_because"] else "delete"
        why = each["why"].replace("_", " ")
        why += f", {each['kept_because']}" if each["kept_because"] else ""
        result.append(f"{fate:<7}{each['id']}  {size(each['bytes']):>9}  {why}")
    for each in plan["snapshots"]:
        why = f"its files, snapshot {each['snapshot'][:8]} in {each['repository']}, {each['why'].replace('_', ' ')}"
        result.append(f"delete {each['id']}  {'':>9}  {why}")
    for each in plan["backups"]:
        fate = "keep" if each["kept"] else "delete"
        result.append(f"{fate:<7}backup {each['label']}: {each['why']}")
    for each in plan["reachable_then"]:
        result.append(f"{'keep':<7}every moment from {each['from']} to {each['to']} (WAL of {each['archive']})")
    return result


def findings(
    decided: Decided, options: Dict[str, Any], done: Optional[Done], started_at: str
) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """The check and the action.

    :param done: None when nothing was to be changed
    """
    plan = described(decided, options)
    source = f"s3://{options['storage']['bucket']}/{decided.inventory.prefix}/"
    return [_check(decided, plan, done, source)], [_action(decided, plan, done, started_at)]


def _check(decided: Decided, plan: Dict[str, Any], done: Optional[Done], source: str) -> Check:
    problems, remedy = _problems(decided, done)
    details = {
        **{name: plan[name] for name in ("rules", "kept_bytes", "oldest_reachable", "reachable_then", "stopped")},
        "backups": plan["backups"][:50],
        "notes": decided.notes[:20],
        "removed_by_others": plan["removed_by_others"][:20],
        "refused": dict(list(done.refused.items())[:20]) if done else {},
        "locked": [fate.point.id for fate in decided.plan.fates if fate.due and _locked(fate.reasons)][:20],
        "deleted": done.deleted[:100] if done else [],
        "forgotten": done.forgotten[:100] if done else [],
        "records": done.records if done else [],
    }
    text = " ".join([_kept(plan, len(details["locked"])), *problems])
    if done and done.error:
        gone = f"{len(done.deleted)} were deleted before." if done.deleted else "Nothing was deleted."
        text = f"Retention ended early: {done.error.message} {gone}"
        return unknown(ID, TITLE, text, done.error.remedy, source=source, details=details)
    status = WARNING if problems else OK
    return Check(ID, TITLE, status, plan["kept"], message=text, remedy=remedy, source=source, details=details)


def _locked(reasons: List[str]) -> bool:
    return any(reason.startswith("locked until ") for reason in reasons)


def _kept(plan: Dict[str, Any], locked: int) -> str:
    verb = "is" if plan["kept"] == 1 else "are"
    text = f"{_count(plan['kept'], 'recovery point')} ({size(plan['kept_bytes'])}) {verb} kept"
    text += f", back to {plan['oldest_reachable']}" if plan["oldest_reachable"] else ""
    text += f"; {locked} of them only by the store's lock" if locked else ""
    return f"{text}." if plan["rules"] else f"{text}. No rule is set, so none is ever deleted."


def _problems(decided: Decided, done: Optional[Done]) -> Tuple[List[str], str]:
    """What somebody must look at, and what to do next."""
    problems, remedies = [], []
    refused = [fate for fate in decided.plan.fates if fate.refused]
    waiting = [rest for rest in decided.rests if rest.refused and rest.refused == decided.plan.stopped]
    if decided.plan.stopped and (refused or waiting):
        problems.append(f"{len(refused) + len(waiting)} are due, and nothing is deleted: {decided.plan.stopped}.")
        remedies.append("Fix that first; retention then resumes by itself.")
    elif refused:
        series = len({fate.point.series for fate in refused})
        problems.append(f"{len(refused)} in {series} series are due, and stay: {refused[0].reasons[0]}.")
        remedies.append("Drill a restore of the newest of that series, or name them in backup_retention_hold.")
    altered = [fate.point.id for fate in decided.plan.fates if fate.point.held == ALTERED]
    if altered:
        problems.append(f"{_named(altered)} was changed since it was recorded in the ledger.")
        remedies.append("Find out who changed it; restore the older version of its recovery-point.json.")
    if decided.removed:
        problems.append(f"{_named(decided.removed)} was deleted by somebody else, not by retention.")
        remedies.append(
            "Find out who did. In a versioned bucket, removing the delete markers brings it back. "
            "To let it be, name it in backup_retention_hold."
        )
    if decided.inventory.unreadable and not problems:
        problems.append(f"{_named(list(decided.inventory.unreadable))} cannot be read.")
        remedies.append("Restore the older version of its recovery-point.json.")
    if done and done.refused:
        first = next(iter(done.refused.values()))
        problems.append(f"The store refused {_count(len(done.refused), 'deletion')}: {first}")
        remedies.append("Nothing is lost; the next run tries again.")
    stuck = decided.files.problems + (done.waiting if done else [])
    if stuck:
        problems.append(stuck[0] + (f" And {len(stuck) - 1} more." if len(stuck) > 1 else ""))
        remedies.append("The files of what was deleted stay until then; the next run goes on.")
    return problems, " ".join(remedies)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _named(ids: List[str]) -> str:
    return min(ids) + (f" and {len(ids) - 1} more" if len(ids) > 1 else "")


def _action(decided: Decided, plan: Dict[str, Any], done: Optional[Done], started_at: str) -> Dict[str, Any]:
    going, repositories = len(decided.going), decided.files.repositories
    if done is None:
        status, count, freed = "planned", going, plan["freed_bytes"]
        text = f"Would delete {_count(plan['deleted'], 'recovery point')}"
        if going > plan["deleted"]:
            text += f" and {_count(going - plan['deleted'], 'unfinished backup')} or remainder"
    else:
        count, freed = len(done.deleted), done.freed
        # What the store refuses is the check's warning: a failed action would be critical at every run.
        status = "failed" if done.error else "ok" if count or repositories else "skipped"
        text = f"Deleted {count} of {going} that were due"
    if decided.plan.stopped:
        text = f"Nothing is deleted: {decided.plan.stopped}"
    elif not going and repositories:
        verb = "Would forget" if done is None else "Forgot"
        count_of = len(decided.files.snapshots) if done is None else len(done.forgotten)
        text = f"{verb} {_count(count_of, 'snapshot')} of application files that nothing refers to"
    elif not going:
        text = "Nothing to delete"
    else:
        text += f" ({size(freed)})"
    return {
        "id": "retention.recovery_points",
        "title": "Retention",
        "status": status,
        "changed": bool(done and (done.deleted or done.forgotten)),
        "message": f"{text}. {_count(plan['kept'], 'recovery point')} stay{'s' if plan['kept'] == 1 else ''}.",
        "started_at": started_at,
        "finished_at": utc_now(),
        "details": {
            "deleted": count,
            "freed_bytes": freed,
            **{
                name: plan[name]
                for name in ("kept", "kept_bytes", "oldest_reachable", "reachable_now", "reachable_then")
            },
            "plan": lines(plan)[:500],
        },
    }


def failure(error: MaintenanceError, started_at: str) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Check and action when it could not even be decided. Nothing was deleted."""
    check = unknown(ID, TITLE, f"{error.message} Nothing was deleted.", error.remedy)
    action = {
        "id": "retention.recovery_points",
        "title": "Retention",
        "status": "failed",
        "changed": False,
        "message": f"{error.message} {error.remedy}".rstrip(),
        "started_at": started_at,
        "finished_at": utc_now(),
        "details": {},
    }
    return [check], [action]
