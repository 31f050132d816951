# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each statement took, waited for and locked, one attempt after the other."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from ..database import quoted
from .project import Answers

#: From the weakest on.
MODES = (
    *("AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock"),
    *("ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"),
)
#: Statements that are kept of one attempt.
MOST = 200
_TABLES = ("r", "p", "m", "f")

Locks = Dict[Tuple[str, str], str]


def strongest(modes: List[str]) -> str:
    """The strongest of some modes, empty without any; one that is not known counts as the strongest."""
    return max(modes, key=lambda mode: MODES.index(mode) if mode in MODES else len(MODES), default="")


def shown(schema: str, name: str) -> str:
    """A table's name, quoted where SQL would need it."""
    return ".".join(part if part.isidentifier() and part == part.lower() else quoted(part) for part in (schema, name))


def of_attempt(
    revision: str,
    attempt: int,
    answers: Answers,
    waits: List[Dict[str, Any]],
    seen: Dict[int, List[Dict[str, Any]]],
    began: float,
) -> List[Dict[str, Any]]:
    """The statements of an attempt.

    :param waits: of this attempt, see session.py
    :param seen: locks of statements outside a transaction, by their numbers
    :param began: when the work began, by the monotonic clock
    :returns: revision, attempt, sql, at and seconds (s since the work began), waited (s), waits (mode, on, seconds,
        blockers), locks that it took (on, mode), mode (the strongest of them, None when nobody saw it), autocommit,
        ended (done, failed), and of a rehearsal wal_bytes and rewritten (on, bytes, new)
    """
    done = {event["number"]: event for event in answers.of("done")}
    failed = answers.of("error")
    found: List[Dict[str, Any]] = []
    before: Locks = {}
    for event in answers.events:
        if event["event"] in ("commit", "rollback"):
            before = {}
        if event["event"] != "statement":
            continue
        end = done.get(event["number"], {})
        if event["autocommit"]:
            held = _locks(seen.get(event["number"], []))
        else:
            held = _locks(end["held"]) if "held" in end else before
        waited = [wait for wait in waits if wait["statement"] == event["number"]]
        # One that failed took nothing with it, but it had asked for this.
        taken = {on: mode for on, mode in held.items() if event["autocommit"] or before.get(on) != mode}
        modes = [*taken.values(), *(wait["mode"] for wait in waited if not end and wait["locktype"] == "relation")]
        ended = failed[-1].get("at", event["at"]) if failed else event["at"]
        found.append(
            {
                "revision": revision,
                "attempt": attempt,
                "sql": " ".join(event["sql"].split())[:300],
                "autocommit": event["autocommit"],
                "at": round(max(0.0, event["at"] - began), 3),
                "seconds": end["seconds"] if end else round(max(0.0, ended - event["at"]), 3),
                "waited": round(sum(wait["seconds"] for wait in waited), 3),
                "waits": [{key: wait[key] for key in ("mode", "on", "seconds", "blockers")} for wait in waited],
                "locks": [{"on": shown(*on), "mode": mode} for on, mode in sorted(taken.items())],
                "mode": strongest(modes) if modes or _looked(event, end, seen) else None,
                "ended": "done" if end else "failed",
                **_measured(end),
            }
        )
        before = held if not event["autocommit"] else before
    return found[:MOST]


def _looked(event: Dict[str, Any], end: Dict[str, Any], seen: Dict[int, List[Dict[str, Any]]]) -> bool:
    """Whether its locks are known: outside a transaction it may have ended between two looks."""
    return event["number"] in seen if event["autocommit"] else "held" in end


def _locks(held: List[Dict[str, Any]]) -> Locks:
    """The strongest mode on each table."""
    locks: Locks = {}
    for each in held:
        if each["kind"] in _TABLES and each["mode"] != "AccessShareLock":
            name = (each["schema"], each["name"])
            locks[name] = strongest([locks.get(name, "AccessShareLock"), each["mode"]])
    return locks


def _measured(end: Dict[str, Any]) -> Dict[str, Any]:
    if "wal_bytes" not in end:
        return {}
    made = [
        {"on": shown(each["schema"], each["name"]), "bytes": each["bytes"], "new": each["new"]} for each in end["files"]
    ]
    return {"wal_bytes": end["wal_bytes"], "rewritten": made}


def held(answers: Answers, seen: Dict[int, List[Dict[str, Any]]]) -> List[Dict[str, Any]]:
    """How long each table was locked in which mode, until the commit: on, mode, seconds; the strongest first."""
    begun: Dict[Tuple[Tuple[str, str], str], float] = {}
    total: Dict[Tuple[Tuple[str, str], str], float] = {}
    started: Dict[int, float] = {}
    for event in answers.events:
        kind = event["event"]
        if kind == "statement":
            started[event["number"]] = event["at"]
        elif kind == "done" and "held" in event:
            for on in _locks(event["held"]).items():
                # It was taken while the statement ran, nobody knows when.
                begun.setdefault(on, started[event["number"]])
        elif kind == "done" and event["number"] in seen:
            for on in _locks(seen[event["number"]]).items():
                total[on] = total.get(on, 0.0) + event["seconds"]
        elif kind in ("commit", "rollback") and not event.get("autocommit"):
            for on, at in begun.items():
                total[on] = total.get(on, 0.0) + max(0.0, event.get("at", at) - at)
            begun = {}
    rows = [{"on": shown(*on), "mode": mode, "seconds": round(value, 3)} for (on, mode), value in total.items()]
    order = {mode: place for place, mode in enumerate(MODES)}
    return sorted(rows, key=lambda row: (-order.get(str(row["mode"]), len(MODES)), -float(str(row["seconds"]))))


def kept(rows: List[Dict[str, Any]], most: int = 400) -> List[Dict[str, Any]]:
    """So many of the statements of all attempts, in their order: above all what failed, waited, or took long."""
    order = sorted(rows, key=lambda row: (row["ended"] == "done", not row["waited"], -float(row["seconds"])))
    return sorted(order[:most], key=lambda row: float(row["at"]))


def at_work(rows: List[Dict[str, Any]], revision: str) -> float:
    """Seconds that a revision's statements took, without their waits; attempts that failed do not count."""
    mine = [row for row in rows if row["revision"] == revision and row["ended"] == "done"]
    return round(sum(max(0.0, float(row["seconds"]) - float(row["waited"])) for row in mine), 3)


def statements(answers: Answers) -> List[Dict[str, Any]]:
    """What was carried out: sql, seconds, tag, autocommit."""
    done = {event["number"]: event for event in answers.of("done")}
    return [
        {
            "sql": " ".join(event["sql"].split())[:500],
            "autocommit": event["autocommit"],
            "seconds": done[event["number"]]["seconds"],
            "tag": done[event["number"]]["tag"],
        }
        for event in answers.of("statement")
        if event["number"] in done
    ]


def at_commit(answers: Answers) -> List[Dict[str, Any]]:
    """The strongest that was held at the end of the transactions: schema, name, mode."""
    held: List[Dict[str, Any]] = []
    for event in answers.of("commit"):
        for each in event.get("held") or []:
            if each["kind"] in ("r", "p", "m", "f") and each["mode"] != "AccessShareLock":
                held.append({key: each[key] for key in ("schema", "name", "mode")})
    return held
