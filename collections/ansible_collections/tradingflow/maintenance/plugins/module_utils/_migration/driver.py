# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs alembic in the project's own Python, of which nothing but alembic is known: a program of its own.

Its source is handed to that Python, so it imports nothing of this collection. One JSON object with the request comes by
standard input; answers go out as one JSON object a line. What env.py and the revisions print goes to standard error.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sys
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional

#: Characters of a statement that are told; its digest is of all of it.
SHOWN = 4000

_SAME_PLACE = """SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND pid = {pid}
AND classid = {classid} AND objid = {objid} AND objsubid = 2
AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"""

_HELD = """SELECT n.nspname, c.relname, c.relkind::text, l.mode FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted
AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"""

_WRITTEN = """SELECT schemaname, relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_catalog.pg_stat_xact_all_tables
WHERE n_tup_ins + n_tup_upd + n_tup_del > 0 AND schemaname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"""


#: Files of tables, indexes and their like: a new one means that all of it was written.
_FILES = """SELECT c.oid, n.nspname, c.relname, c.relkind::text, pg_catalog.pg_relation_filenode(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'i', 'm', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"""
_WAL = "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::bigint"
#: Statements after which is looked which locks are held: a revision may have thousands, which only write rows.
_LOOKED_AT = 500
_INVALID = """SELECT c.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE NOT i.indisvalid AND c.relkind = 'i'"""


class Refused(Exception):
    """The project does what must not be done, or is not what it seems."""

    pgcode: Optional[str] = None


class Teller:
    """Answers, one JSON object a line."""

    def __init__(self) -> None:
        # What else is printed must not be taken for an answer.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def __call__(self, event: str, **facts: Any) -> None:
        self._out.write(json.dumps({"event": event, **facts}, ensure_ascii=True, default=str) + "\n")
        self._out.flush()


class Session:
    """What happens in the project's sessions: timeouts before each transaction, and what each statement did."""

    def __init__(self, request: Dict[str, Any], tell: Teller) -> None:
        self._request = request
        self._tell = tell
        self._known: Dict[int, bool] = {}
        self._number = 0
        self._begun = 0.0
        #: Of a rehearsal: where WAL ended, and the files there were, before the statement.
        self._wal = 0
        self._files: Dict[Any, Any] = {}

    def listen(self) -> None:
        """From now on, of whatever engine the project makes."""
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        event.listen(Engine, "begin", self.begin)
        event.listen(Engine, "commit", self.commit)
        event.listen(Engine, "rollback", lambda connection: self._tell("rollback", at=time.monotonic()))
        event.listen(Engine, "before_cursor_execute", self.before, retval=True)
        event.listen(Engine, "after_cursor_execute", self.after)

    def _rows(self, connection: Any, statement: str) -> List[Any]:
        # Beside SQLAlchemy, whose events these are.
        cursor = connection.connection.cursor()
        try:
            cursor.execute(statement)
            return [] if cursor.description is None else list(cursor.fetchall())
        finally:
            cursor.close()

    def begin(self, connection: Any) -> None:
        """Sets the timeouts, and reads them back: a rollback has reset what the last attempt set."""
        raw = id(connection.connection.dbapi_connection)
        autocommit = self._autocommit(connection)
        if raw not in self._known:
            if autocommit:
                raise Refused("env.py connects in autocommit, so that a revision that fails would stay half done.")
            self._prove_place(connection)
        self._known[raw] = autocommit
        scope = "SESSION" if autocommit else "LOCAL"
        wanted = {
            "lock_timeout": 0 if autocommit else self._request["lock_timeout_ms"],
            "statement_timeout": 0 if autocommit else self._request["statement_timeout_ms"],
            "idle_in_transaction_session_timeout": self._request["idle_timeout_ms"],
        }
        if int(connection.dialect.server_version_info[0]) >= 14:
            # A backend whose client was killed ends its statement, too.
            wanted["client_connection_check_interval"] = 1000
        for name, value in wanted.items():
            self._rows(connection, f"SET {scope} {name} = {int(value)}")
        names = ", ".join(f"'{name}'" for name in wanted)
        found = dict(
            self._rows(connection, f"SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ({names})")  # noqa: S608
        )
        wrong = [f"{name} is {found.get(name)}" for name, value in wanted.items() if found.get(name) != str(value)]
        if wrong:
            raise Refused(f"The timeouts could not be set: {'; '.join(wrong)}.")
        path = self._rows(connection, "SELECT pg_catalog.current_schemas(false)::pg_catalog.text[]")[0][0]
        self._tell("begin", autocommit=autocommit, settings=found, path=path)

    def _autocommit(self, connection: Any) -> bool:
        """Whether statements commit by themselves, as the server sees it: then SET LOCAL does nothing."""
        self._rows(connection, "SET LOCAL lock_timeout = 918273")
        return bool(self._rows(connection, "SHOW lock_timeout")[0][0] != "918273ms")

    def _prove_place(self, connection: Any) -> None:
        """That env.py connects to the very database that is being changed, whatever it took its address from."""
        if not self._rows(connection, _SAME_PLACE.format(**self._request["token"]))[0][0]:
            raise Refused(
                "env.py connects to another database than migration_database. See that it takes the address from"
                " what migration_project.environment hands it."
            )
        self._tell("session", pid=self._rows(connection, "SELECT pg_backend_pid()")[0][0])

    def commit(self, connection: Any) -> None:
        """Tells which tables the transaction holds and has written, right before it commits."""
        if self._known.get(id(connection.connection.dbapi_connection)):
            self._tell("commit", autocommit=True)
            return
        held = self._held(connection)
        written = [
            {"schema": s, "name": n, "inserted": i, "updated": u, "deleted": d}
            for s, n, i, u, d in self._rows(connection, _WRITTEN)
        ]
        self._tell("commit", autocommit=False, held=held, written=written, at=time.monotonic())

    def _held(self, connection: Any) -> List[Dict[str, Any]]:
        return [{"schema": s, "name": n, "kind": k, "mode": m} for s, n, k, m in self._rows(connection, _HELD)]

    def before(self, connection: Any, cursor: Any, statement: str, parameters: Any, *_rest: Any) -> Any:
        """Tells a statement before the server has it; what an earlier attempt has done is not done again."""
        self._number += 1
        if self._request.get("measure"):
            self._files = {(row[1], row[2]): row[4] for row in self._rows(connection, _FILES)}
            self._wal = self._rows(connection, _WAL)[0][0]
        self._begun = time.monotonic()
        autocommit = self._known.get(id(connection.connection.dbapi_connection), False)
        if autocommit and statement in self._request.get("skip", []):
            self._tell("skipped", number=self._number, sql=statement[:SHOWN])
            return "SHOW lock_timeout", {}
        told: Any = statement
        if "shown" in self._request and isinstance(parameters, dict) and parameters and hasattr(cursor, "mogrify"):
            told = cursor.mogrify(statement, parameters).decode("utf-8", "replace")
        self._tell(
            "statement",
            number=self._number,
            sql=told[: self._request.get("shown", SHOWN)],
            autocommit=autocommit,
            at=self._begun,
        )
        words = statement.lower()
        # Rather once too often: the server would report success on an index that serves no query.
        if all(word in words for word in ("index", "if", "not", "exists")):
            for (name,) in self._rows(connection, _INVALID):
                shown = re.escape(name.lower().replace('"', '""'))
                if re.search(rf"(?<![\w$]){shown}(?![\w$])", words):
                    refused = Refused(f"The index {name} is invalid, and IF NOT EXISTS would report success on it.")
                    refused.pgcode = "42P07"
                    raise refused
        return statement, parameters

    def after(self, connection: Any, cursor: Any, *_rest: Any) -> None:
        """Tells what the server made of it, and which locks are held now."""
        seconds = round(time.monotonic() - self._begun, 3)
        tag, rows = getattr(cursor, "statusmessage", None), cursor.rowcount
        alone = self._known.get(id(connection.connection.dbapi_connection), False)
        facts: Dict[str, Any] = {}
        if not alone and self._number <= _LOOKED_AT:
            facts["held"] = self._held(connection)
        if self._request.get("measure"):
            facts.update(self._measured(connection))
        self._tell("done", number=self._number, seconds=seconds, tag=tag, rows=rows, **facts)

    def _measured(self, connection: Any) -> Dict[str, Any]:
        """WAL since the statement began, and the size of each file that it made."""
        wal = self._rows(connection, _WAL)[0][0] - self._wal
        made = []
        for row in self._rows(connection, _FILES):
            # By name: an index of a key is dropped and made again when its table is rewritten.
            before = self._files.get((row[1], row[2]))
            if row[4] is not None and before != row[4]:
                size = self._rows(connection, f"SELECT pg_catalog.pg_table_size({int(row[0])})")[0][0]
                made.append(
                    {"schema": row[1], "name": row[2], "kind": row[3], "new": before is None, "bytes": int(size or 0)}
                )
        return {"wal_bytes": int(wal), "files": made}


class Project:
    """An alembic project.

    :raises Exception: whatever alembic raises
    """

    def __init__(self, request: Dict[str, Any]) -> None:
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        self._request = request
        self._buffer = io.StringIO()
        self.config = Config(
            request["config"], ini_section=request["section"], output_buffer=self._buffer, stdout=io.StringIO()
        )
        for name, value in request.get("settings", {}).items():
            self.config.set_section_option(request["section"], name, value.replace("%", "%%"))
        self.script = ScriptDirectory.from_config(self.config)

    @contextmanager
    def _environment(self, work: Callable[[Any, Any], Any], **options: Any) -> Iterator[None]:
        from alembic.runtime.environment import EnvironmentContext

        with EnvironmentContext(self.config, self.script, fn=work, **options) as environment:
            configure = environment.configure

            def configured(*arguments: Any, **chosen: Any) -> None:
                # Whatever env.py says: a revision is done whole or not at all.
                chosen.update(transaction_per_migration=True, transactional_ddl=True)
                configure(*arguments, **chosen)

            environment.configure = configured  # type: ignore[method-assign]
            # What env.py calls is a function of the module alembic.context, which looks the method up by its name.
            yield

    def current(self) -> List[str]:
        """The revisions that the database says it has; nothing is made in it."""
        found: List[str] = []

        def look(revisions: Any, _context: Any) -> List[Any]:
            found.extend(revisions)
            return []

        with self._environment(look, dont_mutate=True):
            self.script.run_env()
        return found

    def describe(self, current: List[str], target: str) -> Dict[str, Any]:
        """Heads, and the revisions between what the database has and the target, in the order they would run."""
        known = {each.revision: each for each in self.script.walk_revisions()}
        facts: Dict[str, Any] = {
            "heads": sorted(self.script.get_heads()),
            "unknown": [each for each in current if each not in known],
            "pending": [],
            "problem": None,
        }
        if facts["unknown"] or (target == "head" and len(facts["heads"]) > 1):
            return facts
        try:
            wanted = self.script.get_revisions(target)
            facts["target"] = sorted(each.revision for each in wanted if each is not None)
            steps = self.script._upgrade_revs(target, tuple(current))
        except Exception as error:
            facts["problem"] = str(error)
            return facts
        have = list(current)
        for step in steps:
            revision = step.revision
            entry = self._entry(revision)
            entry.update(self._sql(have, revision.revision))
            facts["pending"].append(entry)
            have = [each for each in have if each not in entry["down"]] + [revision.revision]
        facts["ends_at"] = sorted(have)
        return facts

    def _entry(self, revision: Any) -> Dict[str, Any]:
        with open(revision.path, "rb") as source:
            digest = hashlib.sha256(source.read()).hexdigest()
        down = revision.down_revision
        return {
            "revision": revision.revision,
            "down": [down] if isinstance(down, str) else list(down or []),
            "title": " ".join((revision.doc or "").split()),
            "file": os.path.basename(revision.path),
            "phase": getattr(revision.module, "phase", None),
            "source_sha256": digest,
        }

    def _sql(self, have: List[str], revision: str) -> Dict[str, Any]:
        """The SQL of one revision as alembic writes it without a database, None where it needs one."""
        self._buffer.seek(0)
        self._buffer.truncate()
        try:
            with self._environment(
                lambda heads, _context: self.script._upgrade_revs(revision, heads),
                as_sql=True,
                starting_rev=tuple(have) or None,
                destination_rev=revision,
            ):
                self.script.run_env()
        except BaseException as error:  # env.py may call sys.exit
            if isinstance(error, KeyboardInterrupt):
                raise
            return {"sql": None, "why": f"{type(error).__name__}: {error}"[:500]}
        return {"sql": self._buffer.getvalue(), "why": None}

    def upgrade(self, revision: str) -> None:
        """One revision."""

        def steps(heads: Any, _context: Any) -> Any:
            found = self.script._upgrade_revs(revision, heads)
            if [each.revision.revision for each in found] != [revision]:
                raise Refused(f"The database is not where {revision} begins: it is at {', '.join(heads) or 'nothing'}.")
            return found

        with self._environment(steps, destination_rev=revision):
            self.script.run_env()

    def build(self, targets: List[str], reached: Callable[[str], None]) -> None:
        """All revisions up to each of the targets."""
        for target in targets:

            def steps(heads: Any, _context: Any, target: str = target) -> Any:
                return self.script._upgrade_revs(target, heads)

            with self._environment(steps, destination_rev=target):
                self.script.run_env()
            reached(target)

    def downgrade(self, revision: str) -> None:
        """One revision undone."""
        from alembic.runtime.migration import MigrationStep

        def steps(heads: Any, _context: Any) -> Any:
            if revision not in heads:
                raise Refused(f"The database is not at {revision}: it is at {', '.join(heads) or 'nothing'}.")
            script = self.script.get_revision(revision)
            return [MigrationStep.downgrade_from_script(self.script.revision_map, script)]

        with self._environment(steps, destination_rev=revision):
            self.script.run_env()


def main(request: Dict[str, Any]) -> int:
    """Does what is asked, and tells it."""
    tell = Teller()
    try:
        os.chdir(request["directory"])
        sys.path.insert(0, request["directory"])
        project = Project(request)
        if request["mode"] == "describe":
            Session(request, tell).listen()
            current = project.current()
            tell("current", revisions=current)
            tell("project", **project.describe(current, request["target"]))
        elif request["mode"] == "build":
            Session(request, tell).listen()
            project.build(request["targets"], lambda revision: tell("reached", revision=revision))
        else:
            Session(request, tell).listen()
            work = project.downgrade if request["mode"] == "downgrade" else project.upgrade
            work(request["target"])
        tell("end")
        return 0
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        cause: Optional[Any] = getattr(error, "orig", None) or error
        code = getattr(cause, "pgcode", None) or getattr(cause, "sqlstate", None)
        text = " ".join(str(cause).split())[:2000]
        tell("error", kind=type(error).__name__, message=text, code=code, at=time.monotonic())
        return 1


if __name__ == "__main__":
    raise SystemExit(main(json.loads(sys.stdin.readline())))
