# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a data update, or its plan, means for the report and the ledger."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from .._work.stopped import status_of, stopped
from ..checks import CRITICAL, OK, WARNING, Check, as_action, unknown, worst
from ..words import human, plural, span
from .book import ASKED, DONE, UNDOING, UNDONE
from .options import PURGE, RUN, UNDO

TITLE = "Data update"
#: How an update is in the database once an action has ended. Of a purge it says nothing.
_ENDS = {RUN: (DONE, UNDONE), UNDO: (UNDONE,)}

Found = Tuple[List[Check], List[Dict[str, Any]]]


def planned(plan: Dict[str, Any], started_at: str) -> Found:
    """Checks and the action of --check.

    :param plan: of engine.plan
    """
    checks = [*_expected(plan), *_refused(plan), *_purging(plan)]
    if plan["holder"]:
        text = f"Another data update is under way: {plan['holder']}."
        checks.append(unknown("data_update.lock", "One at a time", text, "Wait for it to end."))
    text = plan["nothing"] or _would(plan)
    if plan["refusals"]:
        text = plan["refusals"][0]["message"]
    status = "failed" if plan["refusals"] else "planned" if plan["wanted"] else "ok"
    return checks, [_action(status, False, text, started_at, _details(plan))]


def findings(result: Dict[str, Any], started_at: str) -> Tuple[List[Check], List[Dict[str, Any]], Dict[str, Any]]:
    """Checks and the action of a data update, and what the ledger keeps of it.

    :param result: of engine.run
    """
    checks = [*_expected(result), *_refused(result), *_purging(result)]
    if not result["refusals"]:
        checks += [*_recovery_point(result), *_rows(result), *_verified(result), *_undone(result), *_waits(result)]
        checks += _ended(result)
    bad = sorted((check for check in checks if check.status != OK), key=lambda check: check.status != CRITICAL)
    text = result["nothing"] or _did(result)
    failed = bool(result["refusals"] or result["problem"])
    if failed:
        text = bad[0].message
    details = {**_details(result), "update": result["update_after"], "waits": result["waits"]}
    details.update({name: result[name] for name in ("timeline", "verified", "undo", "phases")})
    action = _action("failed" if failed else "ok", result["changed"], text, started_at, details)
    return checks, [action], summary(result, worst(check.status for check in checks))


def intent(plan: Dict[str, Any]) -> Dict[str, Any]:
    """What the ledger keeps of a data update that begins."""
    return {
        "state": "begun",
        **{name: plan[name] for name in ("action", "change", "reason", "database", "role", "digest")},
        "table": (plan["table"] or {}).get("name"),
        "sql": plan.get("sql"),
        "rows": plan.get("count"),
        # A plan says which would go, a result which went.
        "purged": plan["gone"] if "gone" in plan else [each["number"] for each in plan.get("go", [])],
    }


def summary(result: Dict[str, Any], status: str) -> Dict[str, Any]:
    """What the ledger keeps of a data update that ended."""
    after = result["update_after"] or {}
    return {
        **intent(result),
        "state": "ended",
        "worst_status": status,
        "changed": result["changed"],
        "update": {name: after.get(name) for name in ("number", "state", "rows", "batches", "restored", "ended_at")},
        "verified": result["verified"],
        "undo": result["undo"],
        "problem": (result["problem"] or {}).get("message"),
        "refused": [refusal["name"] for refusal in result["refusals"]],
        "recovery_point": (result["recovery_point"] or {}).get("id") or after.get("recovery_point"),
        "waits": result["waits"],
        "seconds": result["seconds"],
    }


def broken_off(message: str, kind: str) -> Dict[str, Any]:
    """What the ledger keeps, beside what was set out to do, of a data update that ended without a result.

    Whether it changed anything is not known.
    """
    return {
        "state": "ended",
        "worst_status": status_of(kind),
        "changed": None,
        "purged": None,
        "problem": message,
    }


def late(plan: Dict[str, Any], earlier: Optional[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    """What the ledger gets of an earlier update whose end nobody could record, by the books in the database.

    None when there is no such update, or the books do not say that it ended since it began.

    :param earlier: see _ledger/unended.py
    """
    update = plan.get("update")
    if earlier is None or update is None or plan["refusals"] or plan["holder"]:
        return None
    action = earlier.get("action")
    if action != plan["action"] or update["state"] not in _ENDS.get(action, ()):
        return None
    # What began may have been killed before it touched the books: then they speak of an older one.
    if update["digest"] != earlier.get("digest") or not _since(update["ended_at"], earlier["recorded_at"]):
        return None
    # An undo that somebody asked for is no problem; an update that undid itself is one.
    problem = update["problem"] if action == RUN and update["problem"] != ASKED else None
    content = {name: value for name, value in earlier.items() if name not in ("actor", "recorded_at")}
    return {
        **content,
        "state": "ended",
        # The books say how it ended, and nothing of what was seen on the way.
        "worst_status": CRITICAL if problem else WARNING,
        "changed": update["rows"] > 0,
        "update": {name: update.get(name) for name in ("number", "state", "rows", "batches", "restored", "ended_at")},
        "verified": None,
        "problem": problem,
        "refused": [],
        "recovery_point": update["recovery_point"],
        "late": True,
    }


def _since(ended_at: Optional[str], recorded_at: str) -> bool:
    """Whether an update ended after a record was written.

    :param ended_at: as PostgreSQL writes it in UTC, 2026-11-30 01:02:03.4+00
    :param recorded_at: as the ledger does, 2026-11-30T01:02:03Z
    """
    if not ended_at or not ended_at.endswith("+00"):
        return False
    return f"{ended_at[:19].replace(' ', 'T')}Z" > recorded_at


def found(earlier: Optional[Dict[str, Any]]) -> List[Check]:
    """That the ledger does not have the end of an earlier update."""
    if earlier is None:
        return []
    text = (
        f"The data update of {earlier['recorded_at']} ({earlier['run_id']}, {earlier['actor']}) has no end on record."
    )
    text += " The books in the database say how far it is, and this run goes on from there."
    return [Check("data_update.found", "An earlier data update", OK, 1, message=text)]


def failure(message: str, remedy: str, kind: str, started_at: str) -> Found:
    """Check and action of a data update that was not begun."""
    check = stopped("data_update.begun", "Data update started", kind, message, remedy)
    return [check], [_action("failed", False, f"{message} {remedy}".rstrip(), started_at, {})]


def _details(result: Dict[str, Any]) -> Dict[str, Any]:
    names = ("action", "change", "reason", "digest", "table", "sql", "count", "sample", "estimate", "invariants")
    return {name: result[name] for name in (*names, "go", "stay") if name in result}


def _would(plan: Dict[str, Any]) -> str:
    if plan["action"] == PURGE:
        return f"Would remove the before-images of {plural(len(plan['go']), 'update')}."
    update = plan["update"]
    if plan["going_back"]:
        text = f"Would undo update {update['number']} of {update['rows']} rows ({update['restored']} are put back)."
    elif update is not None and update["state"] == "running":
        text = f"Would go on with update {update['number']}:"
        text += f" {update['rows']} of about {update['planned']} rows are changed."
    else:
        estimate = plan["estimate"]
        text = f"Would change {plural(plan['count'], 'row')} of {plan['table']['name']} in"
        text += f" {plural(estimate['batches'], 'batch', 'batches')}: about {span(estimate['seconds'])} and"
        text += f" {human(estimate['wal_bytes'])} of WAL."
        if not estimate["measured"]:
            text += " The time is a guess: nothing has been measured on this table."
    return f"{text} What would run is known by {plan['digest']}."


def _did(result: Dict[str, Any]) -> str:
    if result["action"] == PURGE:
        return f"The before-images of {plural(len(result['gone']), 'update')} are gone."
    after, seconds = result["update_after"] or {}, span(result["seconds"])
    if result["undo"]:
        return f"{plural(result['undo']['restored'], 'row')} put back in {seconds}."
    rows = plural(after.get("rows", 0), "row")
    return f"{rows} changed in {plural(after.get('batches', 0), 'batch', 'batches')}, {seconds}."


def _expected(result: Dict[str, Any]) -> List[Check]:
    table = result["table"]
    if table is None:
        return []
    id, title = "data_update.planned", "Rows to change"
    if result["nothing"]:
        return [Check(id, title, OK, 0, message=result["nothing"])]
    if result["count"] is None:
        return []
    text = f"{plural(result['count'], 'row')} of {table['name']}, told apart by {', '.join(table['key']) or 'nothing'}."
    if table["triggers"]:
        names = ", ".join(f"{each['name']} ({each['function']}, {each['when']})" for each in table["triggers"])
        text += f" Triggers run with each: {names}. What they do elsewhere is not undone."
    if table["references"]:
        text += f" Foreign keys on what is set: {', '.join(table['references'])}."
    if table["generated"]:
        text += f" The server computes {', '.join(table['generated'])} anew."
    return [Check(id, title, OK, result["count"], message=text, details=_details(result))]


def _refused(result: Dict[str, Any]) -> List[Check]:
    return [
        Check(
            f"data_update.refused:{each['name']}",
            "Data update refused",
            CRITICAL,
            False,
            message=each["message"],
            remedy=each["remedy"],
        )
        for each in result["refusals"]
    ]


def _purging(result: Dict[str, Any]) -> List[Check]:
    if result["action"] != PURGE:
        return []
    text = f"{plural(len(result['go']), 'update')} that ended before {result['before']} and that nothing needs."
    kept = [f"{each['change']} ({each['why']})" for each in result["stay"]]
    if kept:
        text += f" Kept: {'; '.join(kept[:5])}" + (f" and {len(kept) - 5} more." if len(kept) > 5 else ".")
    return [Check("data_update.purge", "Before-images to remove", OK, len(result["go"]), message=text)]


def _recovery_point(result: Dict[str, Any]) -> List[Check]:
    point = result["recovery_point"]
    if point is None:
        return []
    text = f"To go back: {point['id']} of {point['created_at']}."
    return [Check("data_update.recovery_point", "Recovery point", OK, point["id"], message=text, details=dict(point))]


def _rows(result: Dict[str, Any]) -> List[Check]:
    after = result["update_after"]
    if result["action"] == PURGE or result["nothing"]:
        return []
    id, title = "data_update.rows", "Rows changed"
    if after is None and not (result["unread"] or result["changed"]):
        return [Check(id, title, OK, 0, message="No row: nothing was begun.")]
    if after is None:
        return [unknown(id, title, "How far the update is could not be read.", "Run it again: it goes on from there.")]
    text = (
        f"{plural(after['rows'], 'row')} in {plural(after['batches'], 'batch', 'batches')} since {after['began_at']}."
    )
    stands = after["rows"]
    if after["state"] in (UNDOING, UNDONE):
        stands -= after["restored"]
        text += f" {plural(after['restored'], 'row')} of them put back."
    elif result["update"] and result["update"]["rows"] and result["update"]["number"] == after["number"]:
        text += f" {plural(result['update']['rows'], 'row')} of them by an earlier run."
    return [Check(id, title, OK, stands, message=text, details={"update": after})]


def _verified(result: Dict[str, Any]) -> List[Check]:
    found = result["verified"]
    if found is None:
        return []
    rows = f"{plural(found['rows'], 'row')} changed, each with its before-image"
    text = f"{rows}, {found['planned']} matched at first."
    if found["invariants"]:
        text += f" {plural(len(found['invariants']), 'invariant')} hold."
    checks = [Check("data_update.verified", "Data update verified", OK, found["rows"], message=text, details=found)]
    id, title = "data_update.remaining", "Rows that match now"
    late, touched, behind = (found[f"matching_{name}"] for name in ("untouched", "touched", "behind_bound"))
    text = f"{late + behind} that were not changed, and {touched} that were and still match."
    if late or behind:
        text = (
            f"{plural(late + behind, 'row')} began to match while it ran, {behind} of them with a key behind the last"
        )
        text += f" one at the start. {plural(touched, 'row')} that it changed still match."
        remedy = "Find out who writes such rows; another change, with an id of its own, changes these too."
        checks.append(Check(id, title, WARNING, late + behind, message=text, remedy=remedy))
    else:
        checks.append(Check(id, title, OK, 0, message=text))
    return checks


def _undone(result: Dict[str, Any]) -> List[Check]:
    undo = result["undo"]
    if undo is None:
        return []
    id, title = "data_update.undone", "Data update undone"
    left = sum(undo["counts"].values())
    text = f"{plural(undo['restored'], 'row')} put back."
    if not left:
        return [Check(id, title, OK, undo["restored"], message=text, details=undo)]
    counts = ", ".join(f"{count} {why}" for why, count in undo["counts"].items())
    keys = ", ".join("/".join(each["key"]) for each in undo["rows"][:10])
    text += f" {left} that others changed since were left alone ({counts}): {keys}" + (" ..." if left > 10 else ".")
    remedy = "Look at each: tradingflow_data_update.left_alone has their keys, and its images what they held."
    return [Check(id, title, WARNING, undo["restored"], message=text, remedy=remedy, details=undo)]


def _waits(result: Dict[str, Any]) -> List[Check]:
    if result["action"] == PURGE or result["nothing"]:
        return []
    waits = result["waits"]
    total = round(sum(waits.values()), 3)
    text = ", ".join(f"{span(seconds)} for {reason}" for reason, seconds in waits.items())
    text = f"It waited between batches: {text}." if waits else "It did not wait between batches."
    if result["attempts"]:
        text += f" {plural(result['attempts'], 'transaction')} began anew because others were in the way."
    return [Check("data_update.waits", "Waits", OK, total, "s", message=text)]


def _ended(result: Dict[str, Any]) -> List[Check]:
    problem = result["problem"]
    if problem is None:
        return []
    text = f"{problem['message']} {problem['state']}".rstrip()
    return [stopped("data_update.failed", "Data update ended", problem["kind"], text, problem["remedy"])]


def _action(status: str, changed: bool, message: str, started_at: str, details: Dict[str, Any]) -> Dict[str, Any]:
    return as_action("data_update.update", TITLE, status, changed, message, started_at, details)
