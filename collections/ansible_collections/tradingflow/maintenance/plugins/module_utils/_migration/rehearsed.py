# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rehearsal means for the report and the ledger."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from .._work.stopped import stopped
from ..checks import CRITICAL, OK, WARNING, Check, as_action, unknown, worst
from ..words import human, plural, span
from . import timeline
from .findings import at, refused
from .timeline import MODES

TITLE = "Rehearsal of the migration"
#: Statements of a revision that the ledger keeps.
_KEPT = 30


def findings(
    result: Optional[Dict[str, Any]], drill: str, options: Dict[str, Any], started_at: str
) -> Tuple[List[Check], List[Dict[str, Any]], Optional[Dict[str, Any]]]:
    """Checks and the action of a rehearsal, and what the ledger keeps of it, None when nothing was rehearsed.

    :param result: of rehearsal.rehearse; None when the drill handed no copy on
    :param drill: what the drill said of itself
    :param options: of the rehearsal
    """
    if result is None:
        text = f"Nothing was rehearsed, as there is no proven copy: {drill}"
        check = unknown("migration.rehearsal", TITLE, text, "See what the drill found, fix it, and run it again.")
        return [check], [_action("failed", text, started_at, {})], None
    checks = [*refused(result), *_whole(result)]
    if not result["refusals"]:
        checks += [*_revisions(result), *_downgrade(result), *_load(result, options), *_severed(result)]
    bad = sorted((check for check in checks if check.status != OK), key=lambda check: check.status != CRITICAL)
    message = bad[0].message if bad else checks[0].message
    failed = bool(result["problem"] or result["refusals"])
    details = {name: result[name] for name in ("recovery_point", "current", "target", "digest", "downgrades", "sizes")}
    details["timeline"] = timeline.kept(result["timeline"])
    details["load_stopped_seconds"] = (result["load"] or {}).get("blocked_seconds")
    details["size_before_bytes"] = (result["database_bytes"] or {}).get("before")
    details["size_after_bytes"] = (result["database_bytes"] or {}).get("after")
    details["duration_s"] = result["seconds"]
    content = None
    if result["pending"] and not result["refusals"]:
        content = summary(result, worst(check.status for check in checks))
    return checks, [_action("failed" if failed else "ok", message, started_at, details)], content


def planned(options: Dict[str, Any], started_at: str) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Check and action of --check: what is pending is known once there is a copy."""
    text = f"Would carry out what is pending up to {options['target']} on that copy as {options['user']}, under"
    text += f" {plural(options['load_sessions'], 'session')} of load, undo it, and carry it out again."
    return [Check("migration.rehearsal", TITLE, OK, options["target"], message=text)], [
        _action("planned", text, started_at, {})
    ]


def summary(result: Dict[str, Any], status: str) -> Dict[str, Any]:
    """What the ledger keeps: the budget of each revision, by the digest of what it runs."""
    done = {each["revision"]: each for each in result["done"]}
    back = {each["revision"]: each for each in result["downgrades"]}
    load = result["load"] or {}
    revisions = []
    for entry in result["pending"]:
        name = entry["revision"]
        kept = {key: entry[key] for key in ("revision", "title", "digest", "digest_of", "source_sha256")}
        kept["done"] = name in done
        if name in done:
            rows = [row for row in result["timeline"] if row["revision"] == name and row["ended"] == "done"]
            slow = sorted(rows, key=lambda row: -float(row["seconds"]))[:_KEPT]
            kept.update(
                seconds=done[name]["seconds"],
                attempts=done[name]["attempts"],
                locks=done[name]["locks"][:_KEPT],
                wal_bytes=sum(row.get("wal_bytes", 0) for row in rows),
                rewritten_bytes=rewritten(rows),
                work_seconds=timeline.at_work(result["timeline"], name),
                statements=[
                    {key: row.get(key) for key in ("sql", "seconds", "waited", "mode", "wal_bytes")} for row in slow
                ],
                again_seconds=result["again"].get(name),
                downgrade=back.get(name),
            )
        revisions.append(kept)
    return {
        "state": "ended",
        "database": result["database"],
        "recovery_point": result["recovery_point"],
        "proven": result["proven"],
        "from": result["current"],
        "to": result["target"],
        "digest": result["digest"],
        "revisions": revisions,
        "undone": result["undone"],
        "left": result["left"][:_KEPT],
        "blocked_seconds": load.get("blocked_seconds"),
        "longest_blocked": (load.get("blocked") or [None])[0],
        "load": {**{key: load.get(key) for key in ("sessions", "done")}, "tables": len(load.get("tables") or [])},
        "database_bytes": result["database_bytes"],
        "worst_status": status,
        "problem": (result["problem"] or {}).get("message"),
        "seconds": result["seconds"],
    }


def rewritten(rows: List[Dict[str, Any]]) -> int:
    """Bytes of files that statements made anew, of tables and indexes that there were before, and of new ones."""
    return sum(int(each["bytes"]) for row in rows for each in row.get("rewritten", []))


def _whole(result: Dict[str, Any]) -> List[Check]:
    id, pending, done = "migration.rehearsal", result["pending"], result["done"]
    if result["refusals"]:
        return []
    problem = result["problem"]
    if problem:
        text = f"{len(done)} of {plural(len(pending), 'revision')} rehearsed. {problem['message']}"
        return [stopped(id, TITLE, problem["kind"], text, problem["remedy"])]
    if not pending:
        text = f"Nothing to rehearse: the copy is at {at(result['current'])}."
        return [Check(id, TITLE, OK, 0, message=text)]
    total = round(sum(each["seconds"] for each in done), 3)
    sizes = result["database_bytes"]
    text = (
        f"{plural(len(done), 'revision')} from {at(result['current'])} to {at(result['target'])} in {span(total)} on a"
    )
    text += f" copy of {result['recovery_point']}, known by {result['digest']}."
    text += f" The database: {human(sizes['before'])} before, {human(sizes['after'])} after."
    details = {"sizes": result["sizes"], "proven": result["proven"]}
    return [Check(id, TITLE, OK, total, "s", message=text, details=details)]


def _revisions(result: Dict[str, Any]) -> List[Check]:
    checks = []
    titles = {entry["revision"]: entry["title"] for entry in result["pending"]}
    for each in result["done"]:
        rows = [row for row in result["timeline"] if row["revision"] == each["revision"]]
        text = f"{titles[each['revision']]}: {span(each['seconds'])}"
        text += f", at attempt {each['attempts']}" if each["attempts"] > 1 else ""
        text += f"; {locks_told(each['locks'])}"
        unseen = sum(row["mode"] is None and row["ended"] == "done" for row in rows)
        text += f" (of {plural(unseen, 'statement')} they were not seen)" if unseen else ""
        text += f"; {human(sum(row.get('wal_bytes', 0) for row in rows))} of WAL"
        text += f", {human(rewritten(rows))} written anew."
        id = f"migration.rehearsed:{each['revision']}"
        details = {"locks": each["locks"][:20], "statements": rows[:30]}
        checks.append(Check(id, "Revision rehearsed", OK, each["seconds"], "s", message=text, details=details))
    return checks


def locks_told(locks: List[Dict[str, Any]], most: int = 3) -> str:
    """The strongest locks, in words."""
    strong = [lock for lock in locks if lock["mode"] not in MODES or MODES.index(lock["mode"]) >= 3]
    if not strong:
        return "no lock that others wait for"
    told = ", ".join(f"{lock['mode']} on {lock['on']} for {span(lock['seconds'])}" for lock in strong[:most])
    return told + (f" and {len(strong) - most} more" if len(strong) > most else "")


def _downgrade(result: Dict[str, Any]) -> List[Check]:
    id, title, tried = "migration.downgrade", "Downgrade", result["downgrades"]
    if not tried:
        return []
    remedy = "Going back in earnest takes the recovery point. Correct the downgrade, if it is to be a way back."
    wrong = [each for each in tried if each["error"]]
    if wrong:
        text = f"{wrong[0]['revision']} could not be undone: {wrong[0]['error']}"
        return [Check(id, title, WARNING, False, message=text, remedy=remedy)]
    if not result["undone"]:
        names = result["left"]
        text = f"It ran, but the schema is not what it was before the upgrade: {', '.join(names[:5])}"
        text += f" and {len(names) - 5} more." if len(names) > 5 else "."
        return [Check(id, title, WARNING, False, message=text, remedy=remedy)]
    total = round(sum(each["seconds"] for each in tried), 3)
    text = f"Undone in {span(total)}, and the schema was what it had been. Rows that were lost are not told by that."
    return [Check(id, title, OK, total, "s", message=text)]


def _load(result: Dict[str, Any], options: Dict[str, Any]) -> List[Check]:
    id, title, load = "migration.load_blocked", "Load stopped by the migration", result["load"]
    if load is None:
        return []
    if not load["sessions"]:
        return [unknown(id, title, "There was no load.", "Set migration_rehearsal_sessions.")]
    if not load["done"]:
        remedy = "See whether the role that migrates may read the tables."
        said = f": {next(iter(load['errors']))}" if load["errors"] else "."
        return [unknown(id, title, f"The load carried nothing out{said}", remedy)]
    if load["lost"] or result["untouched"]:
        text = f"{plural(load['lost'], 'session')} of the load ended early"
        text += f": {next(iter(load['errors']), 'nobody knows why')}." if load["lost"] else "."
        remedy = "See whether the role that migrates may use all tables, and rehearse again."
        if result["untouched"]:
            text = f"Locked, and not used by the load: {', '.join(result['untouched'][:5])}."
        text += " Whether it would stop others is not known."
        return [unknown(id, title, text, remedy, details={"load": load, "untouched": result["untouched"]})]
    bound = options["lock_timeout"]
    longest = load["blocked"][0] if load["blocked"] else None
    text = f"{plural(load['sessions'], 'session')} carried out {plural(load['done'], 'statement')} on"
    text += f" {plural(len(load['tables']), 'table')}; "
    text += f"stopped for {span(load['blocked_seconds'])}" if longest else "none was seen stopped"
    text += f", the longest a {longest['kind']} of {longest['on']} for {span(longest['seconds'])}." if longest else "."
    if load["errors"]:
        first, count = max(load["errors"].items(), key=lambda pair: int(pair[1]))
        text += f" {plural(sum(load['errors'].values()), 'statement')} failed, {count} of them: {first}."
    value = longest["seconds"] if longest else 0.0
    status = WARNING if value >= bound else OK
    remedy = (
        "Everybody waits that long: write it so that the lock is short (docs/migration.md)." if status != OK else ""
    )
    return [Check(id, title, status, value, "s", warning=bound, message=text, remedy=remedy, details={"load": load})]


def _severed(result: Dict[str, Any]) -> List[Check]:
    if not result["severed"]:
        return []
    text = f"The copy lost its user mappings for {', '.join(result['severed'])}: what a revision does there was not"
    text += " rehearsed, and nothing was written there."
    return [Check("migration.foreign_servers", "Foreign servers", WARNING, len(result["severed"]), message=text)]


def _action(status: str, message: str, started_at: str, details: Dict[str, Any]) -> Dict[str, Any]:
    return as_action("migration.rehearse", TITLE, status, False, message, started_at, details)
