# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a migration, or its plan, means for the report and the ledger."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from .._work.stopped import stopped
from ..checks import CRITICAL, OK, WARNING, Check, as_action, unknown, worst
from ..words import plural, span
from . import compared, phases, timeline

TITLE = "Migration"
#: Characters of a revision's SQL that the report keeps; its digest is of all of it.
_KEPT = 20000

Found = Tuple[List[Check], List[Dict[str, Any]]]


def planned(plan: Dict[str, Any], earlier: Optional[Dict[str, Any]], started_at: str) -> Found:
    """Checks and the action of --check.

    :param plan: of engine.plan
    :param earlier: a migration that did not end, see _ledger/unended.py
    """
    checks = [_pending(plan), *refused(plan), *_earlier(plan, earlier), *compared.checks(plan)]
    checks += phases.checks(plan)
    if plan["holder"]:
        text = f"Another migration is under way: {plan['holder']}."
        checks.append(unknown("migration.lock", "One migrator", text, "Wait for it to end."))
    revisions = ", ".join(f"{entry['revision']} ({entry['title']})" for entry in plan["pending"])
    text = f"Would carry out {revisions}, from {at(plan['current'])}." if revisions else _nothing(plan)
    if plan["refusals"]:
        text = plan["refusals"][0]["message"]
    elif revisions:
        text += f" What would run is known by {plan['digest']}."
    details = {name: plan[name] for name in ("current", "target", "digest")}
    details["pending"] = [
        {**entry, "sql": _cut(entry["sql"]), "captured": _cut(entry.get("captured"))} for entry in plan["pending"]
    ]
    status = "failed" if plan["refusals"] else "planned" if revisions else "ok"
    return checks, [_action(status, False, text, started_at, details)]


def findings(
    result: Dict[str, Any], earlier: Optional[Dict[str, Any]], started_at: str
) -> Tuple[List[Check], List[Dict[str, Any]], Dict[str, Any]]:
    """Checks and the action of a migration, and what the ledger keeps of it.

    :param result: of engine.run
    """
    checks = [_pending(result), *refused(result), *_earlier(result, earlier)]
    if not result["refusals"]:
        checks += [_head(result), *_recovery_point(result), *_revisions(result), *_tables(result), *_waits(result)]
        checks += [*_invalid(result), *_leftovers(result), *_ended(result)]
    checks += [*phases.checks(result), *compared.checks(result)]
    bad = [check for check in checks if check.status != OK]
    count = plural(len(result["done"]), "revision")
    message = f"{count} in {span(result['seconds'])}: the database is at {at(result['current_after'])}."
    if not result["pending"]:
        message = _nothing(result)
    if result["refusals"] or result["problem"]:
        message = sorted(bad, key=lambda check: check.status != CRITICAL)[0].message
    done = "failed" if result["refusals"] or result["problem"] else "ok"
    details = {
        name: result[name] for name in ("current", "current_after", "digest", "done", "waits", "tables", "phases")
    }
    details["timeline"] = timeline.kept(result["timeline"])
    action = _action(done, result["changed"], message, started_at, details)
    return checks, [action], summary(result, worst(check.status for check in checks))


def summary(result: Dict[str, Any], status: str) -> Dict[str, Any]:
    """What the ledger keeps of a migration that ended."""
    return {
        **intent(result),
        "state": "ended",
        "reached": result["current_after"],
        "changed": result["changed"],
        "worst_status": status,
        "problem": (result["problem"] or {}).get("message"),
        "refused": [refusal["name"] for refusal in result["refusals"]],
        "recovery_point": (result["recovery_point"] or {}).get("id"),
        "done": [{key: each[key] for key in ("revision", "seconds", "attempts")} for each in result["done"]],
        "waits": [{key: wait[key] for key in ("mode", "on", "seconds", "blockers")} for wait in result["waits"][:20]],
        "dropped_indexes": result["dropped_indexes"],
        "resumed": result["resumed"],
        **compared.kept(result),
        "seconds": result["seconds"],
    }


def broken(message: str, kind: str, status: str) -> Dict[str, Any]:
    """What the ledger keeps, beside what was set out to do, of a migration that ended without a result."""
    return {
        "state": "ended",
        "reached": None,
        # A defect may have shown itself at any time; all else is said before anything is begun.
        "changed": None if kind == "unexpected" else False,
        "worst_status": status,
        "problem": message,
        "refused": [],
        "done": [],
    }


def intent(plan: Dict[str, Any]) -> Dict[str, Any]:
    """What the ledger keeps of a migration that begins: should it be killed, the next one knows of it."""
    return {
        "state": "begun",
        "database": plan["database"],
        "from": plan["current"],
        "to": plan["target"],
        "digest": plan["digest"],
        "revisions": [
            {key: entry.get(key) for key in ("revision", "title", "digest", "digest_of", "source_sha256", "phase")}
            for entry in plan["pending"]
        ],
    }


def late(plan: Dict[str, Any], earlier: Optional[Dict[str, Any]], status: str) -> Optional[Dict[str, Any]]:
    """What the ledger gets of an earlier migration whose end nobody could record, once nothing is left to do of it.

    None when there is no such migration, or something is left: then the next one's record says how far it had come.
    None too when the database is elsewhere than the migration was to go: then its revisions were not carried out.

    :param earlier: see _ledger/unended.py
    :param status: the worst of the plan's checks
    """
    if earlier is None or plan["pending"] or plan["refusals"] or plan["holder"]:
        return None
    if not plan["current"] or sorted(earlier.get("to") or []) != sorted(plan["current"]):
        return None
    content = {name: value for name, value in earlier.items() if name not in ("actor", "recorded_at")}
    return {
        **content,
        "state": "ended",
        "reached": plan["current"],
        # Its tables were not compared.
        "worst_status": worst([WARNING, status]),
        "problem": None,
        "refused": [],
        "done": [{"revision": each["revision"]} for each in earlier.get("revisions") or []],
        "late": True,
    }


def failure(message: str, remedy: str, kind: str, started_at: str) -> Found:
    """Check and action of a migration that was not begun."""
    check = stopped("migration.begun", "Migration started", kind, message, remedy)
    return [check], [_action("failed", False, f"{message} {remedy}".rstrip(), started_at, {})]


def _cut(sql: Optional[str]) -> Optional[str]:
    if sql is None or len(sql) <= _KEPT:
        return sql
    return sql[:_KEPT] + f"\n-- and {len(sql) - _KEPT:,} characters more\n"


def at(revisions: Optional[List[str]]) -> str:
    if revisions is None:
        return "a revision that could not be read"
    return ", ".join(revisions) or "no revision"


def _nothing(result: Dict[str, Any]) -> str:
    return f"Nothing to do: the database is at {at(result['current'])}."


def _pending(result: Dict[str, Any]) -> Check:
    pending = result["pending"]
    text = f"{plural(len(pending), 'revision')} from {at(result['current'])} to {at(result['target'])}."
    unseen = [entry["revision"] for entry in pending if entry["sql"] is None]
    text = text if pending else _nothing(result)
    if unseen:
        text += f" What {', '.join(unseen)} will run is not known beforehand: it needs a database for that."
    return Check("migration.pending", "Revisions to carry out", OK, len(pending), message=text)


def refused(result: Dict[str, Any]) -> List[Check]:
    return [
        Check(
            f"migration.refused:{each['name']}",
            "Migration refused",
            CRITICAL,
            False,
            message=each["message"],
            remedy=each["remedy"],
        )
        for each in result["refusals"]
    ]


def _earlier(result: Dict[str, Any], earlier: Optional[Dict[str, Any]]) -> List[Check]:
    if earlier is None:
        return []
    text = f"The migration of {earlier['recorded_at']} ({earlier['run_id']}, {earlier['actor']}) from"
    text += f" {at(earlier.get('from'))} to {at(earlier.get('to'))} did not end. The database is at"
    text += f" {at(result['current'])} now: every revision up to it is whole, and this run goes on from there."
    return [Check("migration.found", "An earlier migration", OK, 1, message=text)]


def _head(result: Dict[str, Any]) -> Check:
    id, title, after = "migration.revision", "Database's revision", result["current_after"]
    if after is None:
        return unknown(id, title, "The database's revision could not be read.", "Look with alembic current.")
    value = ", ".join(after)
    if after == result["target"]:
        return Check(id, title, OK, value, message=f"The database is at {at(after)}, as wanted.")
    text = f"The database is at {at(after)}, not at {at(result['target'])}."
    remedy = "Read why below, fix it, and run it again: it goes on from there."
    return Check(id, title, CRITICAL, value, message=text, remedy=remedy)


def _recovery_point(result: Dict[str, Any]) -> List[Check]:
    point = result["recovery_point"]
    if point is None:
        return []
    text = f"To go back: {point['id']} of {point['created_at']}."
    return [Check("migration.recovery_point", "Recovery point", OK, point["id"], message=text, details=dict(point))]


def _revisions(result: Dict[str, Any]) -> List[Check]:
    checks = []
    titles = {entry["revision"]: entry["title"] for entry in result["pending"]}
    for each in result["done"]:
        text = f"{titles[each['revision']]}: {plural(len(each['statements']), 'statement')} in {span(each['seconds'])}"
        text += f", at attempt {each['attempts']}." if each["attempts"] > 1 else "."
        id = f"migration.applied:{each['revision']}"
        checks.append(Check(id, "Revision carried out", OK, each["seconds"], "s", message=text, details=each))
    return checks


def _tables(result: Dict[str, Any]) -> List[Check]:
    tables = result["tables"]
    if tables is None:
        return []
    id, title = "migration.untouched_tables", "Untouched tables"
    text = f"{plural(len(tables['unchanged']), 'table')} hold what they held."
    for name, words in (
        ("touched", "Touched by the migration"),
        ("made", "Made"),
        ("by_others", "Changed by others meanwhile"),
    ):
        text += f" {words}: {_listed(tables[name])}." if tables[name] else ""
    details = {name: names[:50] for name, names in tables.items() if name != "unchanged"}
    if tables["unexplained"] or tables["unmeasured"]:
        text = f"Not known to hold what they held: {_listed(tables['unexplained'] + tables['unmeasured'])}. {text}"
        remedy = "Compare them with the recovery point: a statement outside a transaction may have changed them."
        return [unknown(id, title, text, remedy, details=details)]
    if tables["gone"]:
        text = f"Gone: {_listed(tables['gone'])}. {text}"
        remedy = "See that it was meant so; the recovery point has them."
        return [Check(id, title, WARNING, len(tables["gone"]), message=text, remedy=remedy, details=details)]
    return [Check(id, title, OK, len(tables["unchanged"]), message=text, details=details)]


def _listed(names: List[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _waits(result: Dict[str, Any]) -> List[Check]:
    waits = result["waits"]
    if not result["pending"]:
        return []
    id, title = "migration.lock_waits", "Waits for locks"
    total = round(sum(wait["seconds"] for wait in waits), 3)
    if not waits:
        return [Check(id, title, OK, 0.0, "s", message="It was not seen waiting for a lock.")]
    longest = max(waits, key=lambda wait: wait["seconds"])
    text = f"{plural(len(waits), 'wait')}, {span(total)} together; the longest for {longest['mode']} on {longest['on']}"
    text += f", held by {'; '.join(longest['blockers'][:3])}." if longest["blockers"] else "."
    return [Check(id, title, OK, total, "s", message=text, details={"waits": waits[:20]})]


def _invalid(result: Dict[str, Any]) -> List[Check]:
    names = result["invalid_indexes"]
    if not names:
        return []
    text = f"{plural(len(names), 'index is', 'indexes are')} invalid: {_listed(names)}."
    text += " Not proven to be this migration's, so left as they are."
    remedy = "Find out whose they are; drop each (DROP INDEX CONCURRENTLY), and make it anew."
    return [Check("migration.invalid_indexes", "Invalid indexes", WARNING, len(names), message=text, remedy=remedy)]


def _leftovers(result: Dict[str, Any]) -> List[Check]:
    dropped, resumed = result["dropped_indexes"], result["resumed"]
    if not dropped and not resumed:
        return []
    texts = []
    if dropped:
        names = _listed([each["index"] for each in dropped])
        texts.append(f"{plural(len(dropped), 'invalid index', 'invalid indexes')} of this migration dropped: {names}.")
    if resumed:
        found = _listed([each["found"] for each in resumed])
        texts.append(f"{plural(len(resumed), 'statement')} left out, done by an earlier attempt: {found}")
    details = {"dropped": dropped[:50], "resumed": resumed[:50]}
    count = len(dropped) + len(resumed)
    return [Check("migration.leftovers", "Half done before", OK, count, message=" ".join(texts), details=details)]


def _ended(result: Dict[str, Any]) -> List[Check]:
    problem = result["problem"]
    if problem is None:
        return []
    text = f"{problem['message']} {problem['state']}".rstrip()
    return [stopped("migration.failed", "Migration ended", problem["kind"], text, problem["remedy"])]


def _action(status: str, changed: bool, message: str, started_at: str, details: Dict[str, Any]) -> Dict[str, Any]:
    return as_action("migration.migrate", TITLE, status, changed, message, started_at, details)
