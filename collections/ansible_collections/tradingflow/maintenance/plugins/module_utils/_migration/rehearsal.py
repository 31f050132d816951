# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rehearses a migration on a restored copy: forwards under a light load, back, and forwards again."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Set, Tuple

from .._postgres.instance import FULL, Copy
from .._work.job import described
from .._work.progress import Progress
from ..database import connected, quoted
from ..errors import DatabaseError, MaintenanceError, MigrationError
from . import timeline
from .catalogue import Catalogue, catalogue, differences
from .engine import Work, looked, request
from .load import Load, together
from .project import Answers, Project
from .session import Session, opened

#: Of the scratch server, where they differ from a drill's: what is measured here is to hold for a server that keeps
#: what it is given.
SETTINGS: Dict[str, Any] = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_level": "replica",
}
_SIZES = """SELECT n.nspname, c.relname, pg_catalog.pg_total_relation_size(c.oid)::bigint FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""
#: What others may use: partitions are used by their tables.
_THERE = """SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
AND c.relname <> 'alembic_version' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""
_MAPPINGS = "SELECT srvname, CASE WHEN umuser <> 0 THEN usename END FROM pg_catalog.pg_user_mappings ORDER BY 1, 2"
#: Seconds between two looks at who waits for whom.
_LOOK = 0.03


def rehearse(options: Dict[str, Any], copy: Copy, progress: Progress) -> Dict[str, Any]:
    """The rehearsal of what is pending on a copy.

    :param options: see REHEARSAL_SPEC in options.py
    :returns: what engine.plan gives without holder and facts, and: recovery_point, proven, done and timeline (see
        engine.run), again (seconds by revision), downgrades (revision, seconds, error), undone (whether going back left
        what was there before) and left (what differs), load (sessions, tables, done, lost, errors, blocked,
        blocked_seconds), untouched (tables that were locked, and not used by the load), sizes (on, before, after),
        database_bytes (before, after), severed, problem
    """
    database = copy.point["database"]
    result: Dict[str, Any] = {
        "recovery_point": copy.point["id"],
        "proven": copy.proven,
        "database": {"name": database.get("name"), "system_identifier": database.get("system_identifier")},
        "current": [],
        "target": [],
        "heads": [],
        "pending": [],
        "digest": "",
        "refusals": [],
        "done": [],
        "timeline": [],
        "waits": [],
        "again": {},
        "downgrades": [],
        "undone": None,
        "left": [],
        "untouched": [],
        "load": None,
        "sizes": [],
        "database_bytes": None,
        "severed": [],
        "problem": None,
    }
    began = time.monotonic()
    progress.phase("rehearse")
    try:
        _Rehearsal(options, copy, progress, result).all()
    except MaintenanceError as error:
        result["problem"] = described(error)
        if any(words in error.message for words in FULL):
            # That says nothing of the revision.
            remedy = "Free space in restore_drill_scratch_directory: it takes as much again as the migration writes."
            result["problem"].update(kind="ConfigurationError", remedy=remedy)
    result["seconds"] = round(time.monotonic() - began, 3)
    return result


class _Rehearsal:
    def __init__(self, options: Dict[str, Any], copy: Copy, progress: Progress, result: Dict[str, Any]) -> None:
        self._copy = copy
        self._progress = progress
        self._result = result
        copy.instance.set_password(options["user"], "migration_database.user")
        # As whoever migrates in earnest: a superuser would not see what that one may not do.
        self._database = {**copy.instance.database(copy.name), "user": options["user"]}
        self._options = {
            **options,
            "database": self._database,
            "expected_digest": None,
            "measure": True,
            "lock_wait": 30,
        }
        self._project = Project(options["project"], self._database)

    def all(self) -> None:
        """Forwards, back, and forwards again.

        :raises MaintenanceError: it went no further; what was measured until then is in the result
        """
        options, result, tick = self._options, self._result, self._progress.tick
        result["severed"] = _severed(self._copy)
        self._let_in()
        with opened(self._database, options, tick) as session:
            session.lock()
            identity = result["database"]
            result.update(looked(options, self._project, session, self._progress))
            # A copy that was restored from a dump has an identity of its own.
            result["database"] = identity
            if result["refusals"] or not result["pending"]:
                return
            there = {timeline.shown(*row) for row in session.rows(_THERE)}
            before, catalog = _sizes(session), self._catalogue()
            sizes = session.rows("SELECT pg_database_size(current_database())")[0][0]
            try:
                self._forwards(session, result, None)
            finally:
                result["waits"] = session.told()
                result["untouched"] = self._untouched(there)
                after = _sizes(session)
                result["sizes"] = _changed(before, after)
                now = session.rows("SELECT pg_database_size(current_database())")[0][0]
                result["database_bytes"] = {"before": int(sizes), "after": int(now)}
            if not self._back(session):
                return
            left = differences(catalog, self._catalogue())
            result["undone"], result["left"] = not left, [each.name for each in left]
            again: Dict[str, Any] = {"pending": result["pending"], "done": [], "timeline": []}
            touched = [name for name in after if any(timeline.shown(*name) == on for on in _locked(result))]
            try:
                self._forwards(session, again, touched)
            except MigrationError as error:
                result["undone"] = False
                result["downgrades"][-1]["error"] = f"The upgrade after it failed: {error.message}"
            result["untouched"] = self._untouched(there)
            result["again"] = {each["revision"]: each["seconds"] for each in again["done"]}

    def _catalogue(self) -> Catalogue:
        with connected(self._database, statement_timeout=600, pinned=True) as connection:
            return catalogue(connection)

    def _let_in(self) -> None:
        """Waits for the server to read its rules again: it lets the role in a moment after the password was set."""
        deadline = time.monotonic() + 20
        while True:
            try:
                with connected(self._database):
                    return
            except DatabaseError:
                if time.monotonic() > deadline:
                    raise
                self._progress.tick()
                time.sleep(0.05)

    def _forwards(self, session: Session, into: Dict[str, Any], touched: Any) -> None:
        """All revisions, under the load; what that met is added to the result's.

        :raises MigrationError: one failed
        """
        load = Load(self._database, self._options["load_sessions"], self._options["load_statements"], touched)
        try:
            with load, connected(self._database, statement_timeout=60, pinned=True) as connection:
                cursor = connection.cursor()

                def watch(answers: Answers) -> None:
                    session.watch(answers)
                    if answers.pid is not None and not answers.error and not answers.of("end"):
                        load.look(cursor, answers.pid)

                work = Work(self._options, self._project, session, self._progress, into, watch, _LOOK)
                for entry in self._result["pending"]:
                    work.revision(entry)
        finally:
            self._met(load)

    def _untouched(self, there: Set[str]) -> List[str]:
        """Tables that the migration locked against others, and that nobody tried to use meanwhile."""
        weak = timeline.MODES[: timeline.MODES.index("ShareUpdateExclusiveLock") + 1]
        locked = {lock["on"] for each in self._result["done"] for lock in each["locks"] if lock["mode"] not in weak}
        return sorted((locked & there) - {*(self._result["load"] or {"tables": []})["tables"]})

    def _met(self, load: Load) -> None:
        known = self._result["load"] or {"done": 0, "lost": 0, "errors": {}, "blocked": [], "tables": []}
        blocked = [*known["blocked"], *load.blocked]
        errors = {
            text: known["errors"].get(text, 0) + load.errors.get(text, 0) for text in {**known["errors"], **load.errors}
        }
        self._result["load"] = {
            "sessions": self._options["load_sessions"],
            "tables": sorted({*known["tables"], *load.tables}),
            "done": known["done"] + load.done,
            "lost": known["lost"] + load.lost,
            "errors": errors,
            "blocked": sorted(blocked, key=lambda each: -float(each["seconds"]))[:20],
            "blocked_seconds": max(together(load.blocked), known.get("blocked_seconds", 0.0)),
        }

    def _back(self, session: Session) -> bool:
        """Each revision undone, the last one first; whether all were."""
        for entry in reversed(self._result["pending"]):
            session.begin()
            began = time.monotonic()
            wanted = request(self._options, session, "downgrade", entry["revision"])
            error = None
            try:
                answers = self._project.ask(wanted, session.watch)
                error = f"{answers.error['kind']}: {answers.error['message']}" if answers.error else None
            except MigrationError as trouble:
                error = trouble.message
            self._result["downgrades"].append(
                {"revision": entry["revision"], "seconds": round(time.monotonic() - began, 3), "error": error}
            )
            if error:
                return False
        return True


def _locked(result: Dict[str, Any]) -> List[str]:
    return [lock["on"] for each in result["done"] for lock in each["locks"]]


def _severed(copy: Copy) -> List[str]:
    """Takes from the copy what would let it write to other servers, and names it: those are no copies."""
    with connected(copy.instance.database(copy.name), statement_timeout=60, pinned=True) as connection:
        cursor = connection.cursor()
        cursor.execute(_MAPPINGS)
        found: List[Tuple[str, Any]] = cursor.fetchall()
        for server, user in found:
            whom = "PUBLIC" if user is None else quoted(user)
            cursor.execute(f"DROP USER MAPPING FOR {whom} SERVER {quoted(server)}")
    return sorted({server for server, _user in found})


def _sizes(session: Session) -> Dict[Tuple[str, str], int]:
    return {(row[0], row[1]): int(row[2] or 0) for row in session.rows(_SIZES)}


def _changed(before: Dict[Tuple[str, str], int], after: Dict[Tuple[str, str], int]) -> List[Dict[str, Any]]:
    """Sizes that differ, the largest difference first."""
    rows = [
        {"on": timeline.shown(*name), "before": before.get(name), "after": after.get(name)}
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]
    return sorted(rows, key=lambda row: -abs(int(str(row["after"] or 0)) - int(str(row["before"] or 0))))[:30]
