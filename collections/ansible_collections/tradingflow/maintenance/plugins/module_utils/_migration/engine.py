# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes a schema: looks where the database is, carries out one revision at a time, and compares."""

from __future__ import annotations

import hashlib
import random
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from .._gates import windows
from .._postgres.snapshot import Snapshot
from .._recovery_points.recent import recent
from .._work.job import MIGRATION, described, outcome
from .._work.progress import Progress
from ..database import AGAIN, connected
from ..errors import ConfigurationError, MaintenanceError, MigrationError
from ..words import plural
from . import phases, rows, timeline
from .facts import Facts
from .outcome import changed, committed_alone, unrepeatable
from .project import Answers, Project
from .refusals import refusals
from .session import Session, opened
from .unfinished import Unfinished
from .verify import verification

_INVALID = """SELECT n.nspname, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT i.indisvalid AND n.nspname !~ '^pg_' ORDER BY 1, 2"""


def plan(options: Dict[str, Any]) -> Dict[str, Any]:
    """What run would do. Changes nothing.

    :returns: database, current, target, heads, pending (revision, title, sql, why, digest, digest_of), digest (of all
        that would run), refusals (name, message, remedy), holder
    :raises MaintenanceError: nothing can be said
    """
    _check(options)
    project = Project(options["project"], options["database"])
    with opened(options["database"], options, lambda: None) as session:
        looking = Facts(session)
        result = looked(options, project, session, Progress())
        phases.judge(options, result)
        with verification(options, session, result, lambda: None) as verifying:
            if verifying is not None:
                verifying.capture()
        result["holder"] = session.holder()
        texts = (entry.get(name) or "" for entry in result["pending"] for name in ("sql", "captured"))
        result["facts"] = looking.result(texts)
    return result


def run(options: Dict[str, Any], progress: Progress) -> Dict[str, Any]:
    """Carries the revisions out.

    :returns: what plan gives, and: done (revision, seconds, attempts, statements), tables (see rows.compare), waits,
        current_after, recovery_point, changed, phases, seconds, and problem with phase, kind, message, remedy and
        state: what ended it early, or None
    :raises MaintenanceError: nothing was begun
    """
    _check(options)
    started = time.monotonic()
    progress.phase("plan")
    result: Dict[str, Any] = {"begun": False}
    try:
        _run(options, progress, result)
    except Exception as error:
        if not result["begun"]:
            raise
        # What was done must be told all the same.
        result["problem"] = result["problem"] or {"phase": progress.name, **_described(error), "state": ""}
    progress.phase("done")
    result["phases"] = {name: round(seconds, 3) for name, seconds in progress.phases.items()}
    result["seconds"] = round(time.monotonic() - started, 3)
    return result


def _run(options: Dict[str, Any], progress: Progress, result: Dict[str, Any]) -> None:
    project = Project(options["project"], options["database"])
    with opened(options["database"], options, progress.tick) as session:
        session.lock()
        result.update(looked(options, project, session, progress))
        phases.judge(options, result)
        result.update(
            done=[],
            timeline=[],
            tables=None,
            waits=[],
            current_after=result["current"],
            recovery_point=None,
            changed=False,
        )
        result.update(problem=None, invalid_indexes=[], dropped_indexes=[], resumed=[])
        progress.phase("compare")
        with verification(options, session, result, progress.tick) as verifying:
            if result["pending"] and not result["refusals"]:
                result["recovery_point"] = recovery_point(options, result["database"])
                work = Work(options, project, session, progress, result)
                result["begun"] = True
                work.all()
                if verifying is not None:
                    progress.phase("compare")
                    verifying.after()
                    if not result["problem"]:
                        verifying.statistics()


def _check(options: Dict[str, Any]) -> None:
    for name in ("lock_timeout", "statement_timeout", "concurrent_deadline"):
        if not 0.001 <= options[name] <= 2_000_000:
            raise ConfigurationError(
                f"migration_{name} is {options[name]}: without a limit, a migration waits for ever and so does all"
                " that comes after it.",
                f"Set migration_{name} to a number of seconds.",
            )
    if options["attempts"] < 1:
        raise ConfigurationError("migration_attempts is less than 1.", "Set at least 1.")


def request(options: Dict[str, Any], session: Session, mode: str, target: str) -> Dict[str, Any]:
    return {
        "mode": mode,
        "target": target,
        "token": session.token,
        "lock_timeout_ms": max(1, int(options["lock_timeout"] * 1000)),
        "statement_timeout_ms": max(1, int(options["statement_timeout"] * 1000)),
        "idle_timeout_ms": max(1, int(options["statement_timeout"] * 1000)),
        "measure": bool(options.get("measure")),
    }


def looked(options: Dict[str, Any], project: Project, session: Session, progress: Progress) -> Dict[str, Any]:
    """Where the database is, and what would run."""
    answers = project.ask(request(options, session, "describe", options["target"]), lambda _answers: progress.tick())
    if answers.error:
        raise MigrationError(
            f"The alembic project cannot be read: {answers.error['kind']}: {answers.error['message']}",
            "Run alembic history in its folder and fix what it says.",
        )
    current = sorted(answers.of("current")[-1]["revisions"])
    facts = answers.of("project")[-1]
    session.path = next((list(event["path"] or []) for event in answers.of("begin")), [])
    pending = facts["pending"]
    for entry in pending:
        # The SQL alone is not all: a revision may do something else where it has a database.
        text = entry["source_sha256"] if entry["sql"] is None else f"{entry['source_sha256']} {entry['sql']}"
        entry["digest"] = hashlib.sha256(text.encode("utf-8")).hexdigest()
        entry["digest_of"] = "sql and source" if entry["sql"] is not None else "source"
    result = {
        "database": _identity(options["database"]),
        "current": current,
        "heads": facts["heads"],
        "target": facts.get("ends_at", []),
        "pending": pending,
        "digest": digest(pending),
    }
    result["refusals"] = refusals(options, result, facts, session)
    return result


def digest(pending: List[Dict[str, Any]]) -> str:
    """One for all that runs, in order."""
    text = "".join(f"{entry['revision']} {entry['digest_of']} {entry['digest']}\n" for entry in pending)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _identity(database: Dict[str, Any]) -> Dict[str, Any]:
    with connected(database) as connection:
        snapshot = Snapshot(database, connection)
        found = snapshot.identity()
        snapshot.close()
    return {"name": found["name"], "system_identifier": found["system_identifier"]}


def recovery_point(options: Dict[str, Any], database: Dict[str, Any]) -> Dict[str, Any]:
    """The recovery point to go back to, see _recovery_points/recent.py.

    :param database: name and system_identifier of the one that is changed
    """
    return recent(options, database, MIGRATION)


def _half_made(session: Session) -> List[str]:
    return [f"{schema}.{name}" for schema, name in session.rows(_INVALID)]


def _described(error: Exception) -> Dict[str, Any]:
    """What ended the work, expected or not."""
    if isinstance(error, MaintenanceError):
        return described(error)
    found: Dict[str, Any] = outcome(lambda: _raised(error))["error"]
    return found


def _raised(error: Exception) -> Dict[str, Any]:
    raise error


class Work:
    """The revisions one after the other, and what came of them in the result.

    :param watch: called again and again while a revision runs; without it the session looks for waits only
    :param pause: seconds between two looks
    """

    def __init__(
        self,
        options: Dict[str, Any],
        project: Project,
        session: Session,
        progress: Progress,
        result: Dict[str, Any],
        watch: Optional[Callable[[Answers], None]] = None,
        pause: float = 0.1,
    ) -> None:
        self._pause = pause
        self._watch = watch or session.watch
        self._began = time.monotonic()
        self._options = options
        self._project = project
        self._session = session
        self._progress = progress
        self._result = result
        self._events: List[Dict[str, Any]] = []
        self._changed = False
        #: The revision under way: what it is, what it has answered, its attempt, and when it began.
        self._under_way: Optional[Tuple[Dict[str, Any], Answers, int, float]] = None
        self._invalid = _half_made(session)
        self._unfinished = Unfinished(options, session, progress.tick)
        result["dropped_indexes"], result["resumed"] = self._unfinished.dropped, self._unfinished.resumed

    def all(self) -> None:
        """All that are pending; what ends it early becomes the problem."""
        options, progress, result = self._options, self._progress, self._result
        try:
            progress.phase("measure")
            full = options["digests"] == "full"
            before = rows.measure(options["database"], full, options["jobs"], progress.tick)
            for entry in result["pending"]:
                progress.phase(f"revision {entry['revision']}")
                self.revision(entry)
            progress.phase("verify")
            after = rows.measure(options["database"], full, options["jobs"], progress.tick)
            result["tables"] = rows.compare(before, after, self._events)
        except Exception as error:
            result["problem"] = {"phase": progress.name, **_described(error), "state": ""}
        result["waits"] = self._session.told()
        result["current_after"] = None
        try:
            # Ours may be what has died.
            with opened(options["database"], options, progress.tick) as session:
                result["current_after"] = self._current(session)
                result["invalid_indexes"] = _half_made(session)
        except Exception as error:
            result["problem"] = result["problem"] or {"phase": "verify", **_described(error), "state": ""}
        if self._under_way and self._under_way[0]["revision"] in (result["current_after"] or []):
            # It was whole before we lost sight of it.
            self._done(*self._under_way)
        # What broke off outside a transaction has changed something, too, when it left half an index.
        result["changed"] = bool(
            self._changed
            or self._unfinished.dropped
            or result["invalid_indexes"] != self._invalid
            or result["current_after"] not in (None, result["current"])
        )
        if result["problem"]:
            result["problem"]["state"] = self._state()

    def _current(self, session: Session) -> List[str]:
        answers = self._project.ask(request(self._options, session, "describe", self._options["target"]))
        if answers.error:
            raise MigrationError(f"The database's revision cannot be read: {answers.error['message']}")
        return sorted(answers.of("current")[-1]["revisions"])

    def revision(self, entry: Dict[str, Any]) -> None:
        """One revision, tried again when others were in its way.

        :raises MigrationError: it failed
        """
        options, began = self._options, time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            if not self._session.still_locked():
                raise MigrationError(
                    "The migrator's lock was lost: the connection that held it broke.", "Run it again."
                )
            if windows.over(options.get("window_ends")):
                raise MigrationError(
                    f"The window ended at {options['window_ends']}, before the revision {entry['revision']}.",
                    "Run it again in the next window: it goes on from where the database is.",
                )
            self._session.begin()
            self._unfinished.before(entry)
            asked = request(options, self._session, "upgrade", entry["revision"])
            asked["skip"] = self._unfinished.skipped
            answers = Answers()
            self._under_way = (entry, answers, attempt, began)
            try:
                self._project.ask(asked, self._watch, self._pause, answers)
            finally:
                # Whoever died, the project or our own session: what was committed is on the record.
                self._events += answers.events
                self._changed = self._changed or changed(answers)
                self._result["timeline"] += timeline.of_attempt(
                    entry["revision"], attempt, answers, self._session.of_attempt(), self._session.seen, self._began
                )
            if not answers.error:
                self._done(*self._under_way)
                return
            half = [event["sql"] for event in committed_alone(answers)]
            once = unrepeatable(answers)
            cleared = self._unfinished.after(entry, answers, resume=not once)
            again = not once and (cleared or (answers.error["code"] in AGAIN and not half))
            if not again or (attempt >= options["attempts"] and not cleared):
                raise self._failed(entry, answers, attempt, half, once)
            if cleared:
                continue
            # Others who retry must not meet us every time.
            pause = min(options["retry_pause"] * 2 ** (attempt - 1), 60) * random.uniform(0.5, 1.5)  # noqa: S311
            until = time.monotonic() + pause
            # Out of the line: while we do not wait in it, nobody waits behind us.
            patience = until + options["blocker_wait"]
            while time.monotonic() < until or (time.monotonic() < patience and not self._session.others_gone()):
                self._progress.tick()
                time.sleep(0.1)

    def _done(self, entry: Dict[str, Any], answers: Answers, attempt: int, began: float) -> None:
        self._under_way = None
        self._result["done"].append(
            {
                "revision": entry["revision"],
                "seconds": round(time.monotonic() - began, 3),
                "attempts": attempt,
                "statements": timeline.statements(answers),
                "held": timeline.at_commit(answers),
                "locks": timeline.held(answers, self._session.seen),
            }
        )

    def _failed(
        self, entry: Dict[str, Any], answers: Answers, attempt: int, half: List[str], once: List[str]
    ) -> MigrationError:
        error = answers.error or {"kind": "", "message": ""}
        text = f"Revision {entry['revision']} failed"
        text += f" at attempt {attempt}" if attempt > 1 else ""
        blockers = list(dict.fromkeys(who for wait in self._session.waits for who in wait["blockers"]))
        text += f": {error['message']}"
        if half:
            said = " ".join(half[-1].split())
            text += (
                f". {plural(len(half), 'statement')} outside a transaction had been carried out, the last: {said[:200]}"
            )
        text += f". {self._unfinished.said}" if self._unfinished.said else ""
        if blockers:
            text += f". In its way: {'; '.join(blockers[:5])}"
        remedy = "Read the message and correct the revision."
        if error.get("code") in AGAIN or blockers:
            remedy = "Find out what those sessions do, wait for them or have them ended, then run it again."
        if once:
            text += f". Committed before that, and not to be carried out twice: {', '.join(once[:5])}"
            remedy = (
                "Do not run it again as it is: see what it has changed, and take that back, or out of the revision."
            )
        return MigrationError(text, remedy)

    def _state(self) -> str:
        """In words, where the database was left."""
        result = self._result
        current = result["current_after"]
        if current is None:
            return "At which revision the database is, could not be read."
        text = f"The database is at {', '.join(current) or 'no revision'}"
        if current == result["current"]:
            text += ", where it was"
        if current == result["target"]:
            text += ", where it should be"
        text += "."
        if result["invalid_indexes"]:
            text += f" Invalid indexes: {', '.join(result['invalid_indexes'][:5])}."
        return text
