# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole of a recovery point in the logical format: into a database beside the old one, proven, then swapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from .._postgres import globals as shared
from .._postgres import programs, proof, server
from .._postgres.programs import find
from .._postgres.restoring import FREE, as_name, execute, left_out, made_with, run_program, size_of
from .._postgres.statistics import analyzed
from .._postgres.toc import DATA, Contents, Entry, write_list
from .._postgres.unprivileged import Unprivileged
from .._recovery_points.fetch import Download
from .._work.job import RESTORE
from ..checks import OK, Check
from ..errors import ConfigurationError, DatabaseError, RestoreError
from ..refusal import Refusal
from ..words import printable
from . import archive, guards, leftovers, loss, needs
from .files import Files
from .options import parts_of
from .state import State

_SMALL = ("table of contents", "globals")
_FETCHERS = 4


class Logical:
    """What restoring from the logical format needs, whatever is restored."""

    engine = "logical"
    programs: Tuple[str, ...] = ("pg_restore",)

    def __init__(self, options: Dict[str, Any]) -> None:
        self.options = options
        self.target = str(options.get("target_database") or options["database"]["name"])
        self.tools: Dict[str, str] = {}
        self.facts: Dict[str, Any] = {}
        self.sessions: List[str] = []
        self.there: Optional[int] = None
        self.tables = 0
        #: Why nobody can look into the database that is there.
        self.blind = ""
        self.contents: Optional[Contents] = None
        self.tablespaces: List[str] = []
        self.dump = Path()
        self.temporary = ""
        self.apart: Unprivileged

    def prepare(self, job: Any) -> None:
        """Looks at programs, server and the dump's table of contents.

        :raises MaintenanceError: one of these is not there
        """
        try:
            self.tools = {name: find(name, self.options.get("pg_bin_dir")) for name in self.programs}
        except ConfigurationError as error:
            raise ConfigurationError(
                error.message, "Install the PostgreSQL client, or set restore_pg_bin_dir to where it is."
            ) from None
        self.look()
        self.dump = job.folder / "objects/database"
        self.temporary = server.temporary_name(job.place, job.run_id)
        small = [entry for entry in job.point["objects"] if entry["role"] in _SMALL]
        Download(job.s3, self.options["storage"], {**job.point, "objects": small}, job.folder / "objects").run(
            _FETCHERS, job.progress.tick
        )
        recorded = job.point["engine"].get("pg_dump", "0")
        if programs.version(self.tools["pg_restore"])[0] < int(str(recorded).split(".", 1)[0]):
            raise ConfigurationError(
                f"pg_restore is older than the pg_dump {recorded} that made the recovery point.",
                "Install the client of that version, or set restore_pg_bin_dir to it.",
            )
        self.contents = archive.read(self.tools["pg_restore"], self.dump)
        self.tablespaces = sorted(archive.tablespaces(self.contents))
        job.loss = loss.of_point(self.options, job.point, self.there is not None)

    def look(self) -> None:
        """Looks at the server."""
        with server.elsewhere(self.options["database"], self.target) as connection:
            self.facts = server.describe(connection)
            self.there = server.oid_of(connection, self.target)
            self.sessions = server.sessions(connection, self.target)
        self.tables, self.blind = 0, ""
        if self.there is not None:
            try:
                self.tables = server.tables_in(server.named(self.options["database"], self.target))
            except DatabaseError as error:
                # Damaged, half dropped, or closed to keep others out: that is when somebody restores it.
                self.blind = error.message

    def common(self, job: Any) -> List[Refusal]:
        """What forbids any restore from this format."""
        return [
            *guards.of_environment(self.options, job.point),
            *guards.of_server(self.options, self.facts, job.point),
            *guards.of_tablespaces(self.facts, self.tablespaces),
            *needs.missing(self.options["database"], self.target, self.toc, job.point["database"]["extensions"]),
        ]

    def alone(self, job: Any) -> None:
        """Keeps other hosts out until the run ends."""
        job.open.enter_context(server.alone(self.options["database"], job.place, self.target))

    def drop_temporaries(self, job: Any, state: State) -> str:
        """Removes what dead runs left in the making. The locks here and on the server are ours.

        :returns: what there was, in words
        """
        text, warning = leftovers.remove(self.options["database"], self.target, job.place, state, job.kept)
        job.checks = [check for check in job.checks if check.id != "restore.leftovers"] + ([warning] if warning else [])
        return text

    def undo(self, job: Any, state: State) -> None:
        """Removes what was made beside the old data."""
        self.drop_temporaries(job, state)

    def fetch(self, job: Any, objects: List[Dict[str, Any]]) -> None:
        """Brings objects, besides those that prepare brought."""
        wanted = [entry for entry in objects if entry["role"] not in _SMALL]
        point = {**job.point, "objects": wanted}
        download = Download(job.s3, self.options["storage"], point, job.folder / "objects")
        total = sum(int(entry["size"]) for entry in wanted)
        job.progress.phase("fetch", lambda: {"bytes_done": download.bytes_done, "bytes_total": total})
        download.run(max(_FETCHERS, self.options["jobs"]), job.progress.tick)

    def make(self, job: Any, entries: Optional[List[Entry]]) -> Dict[str, Any]:
        """Makes the temporary database and restores into it.

        :param entries: of the table of contents; None for all
        :returns: the option "database" for it
        """
        database = self.options["database"]
        self._roles(job)
        with server.elsewhere(database, self.target) as connection:
            execute(connection, archive.creation(self.toc, self.temporary), RESTORE)
        made = server.named(database, self.temporary)
        how = {"trusted": "source_functions" in self.options["overrides"], "search_path": self.options["search_path"]}
        self.apart = Unprivileged(made, self.toc, self.temporary, insist=guards.insist("source_functions"), **how)
        with server.elsewhere(database, self.target) as connection:
            total = int(job.point["database"]["size"])
            job.progress.phase(
                "restore", lambda: {"bytes_done": size_of(connection, self.temporary), "bytes_total": total}
            )
            first, rest = self.apart.everything() if entries is None else (entries, [])
            self.pg_restore(job, first)
            if "incomplete" in self.options["overrides"]:
                self._incomplete(job, rest)
            else:
                self.pg_restore(job, rest)
        if self.apart.believed:
            text = "Functions of these roles could run with a superuser's rights:"
            text += f" {printable(', '.join(self.apart.believed), 600)}."
            remedy = "See that no role or setting was made meanwhile that nobody knows."
            job.checks.append(
                Check("restore.source_functions", "Functions", "warning", None, message=text, remedy=remedy)
            )
        return made

    @property
    def toc(self) -> Contents:
        """The dump's table of contents, once prepared."""
        if self.contents is None:
            raise RestoreError("The dump's table of contents was not read.", "This is a defect: please report it.")
        return self.contents

    def pg_restore(self, job: Any, entries: List[Entry], *, strict: bool = True) -> None:
        """Restores entries of the dump, each by whom it is safe.

        :param strict: end at the first error
        :raises RestoreError: with PostgreSQL's message
        """

        def run(into: Dict[str, Any], part: List[Entry], *more: str) -> None:
            arguments = [self.tools["pg_restore"], f"--jobs={self.options['jobs']}", "--no-password"]
            arguments += ["--no-subscriptions", f"--dbname={as_name(into['name'])}"]
            arguments += [*more, "--exit-on-error"] if strict else [*more]
            write_list(job.folder / "entries.list", part)
            arguments += [f"--use-list={job.folder / 'entries.list'}", str(self.dump)]
            run_program(arguments, into, job.progress.tick, kind=RESTORE, PGOPTIONS=FREE)

        try:
            with guards.or_trusted():
                self.apart.restore(entries, run)
        except RestoreError as error:
            remedy, trusted = error.remedy, "source_functions" in error.remedy
            if trusted or not strict or self.options["mode"] != "whole":
                raise
            if "incomplete" not in self.options["overrides"]:
                remedy += " If only an index, a key, a trigger or a materialised view cannot be made: choose another,"
                remedy += f" {guards.insist('incomplete')}."
            raise RestoreError(error.message, remedy) from None

    def _incomplete(self, job: Any, entries: List[Entry]) -> None:
        """Restores all up to the rows, and of what comes after them whatever can be made."""
        self.pg_restore(job, [each for each in entries if each.section == DATA])
        try:
            self.pg_restore(job, [each for each in entries if each.section != DATA], strict=False)
        except RestoreError as error:
            # Whatever else it ended of, it was not at its end.
            if "errors ignored on restore" not in error.message:
                raise
            text = f"Not all could be made after the rows, and is missing: {error.message}"
            remedy = "Make what is missing by hand, unique indexes and keys before the application is started."
            check = Check("restore.incomplete", "Left out", "critical", None, message=text, remedy=remedy)
            job.checks.append(check)

    def literals(self, job: Any) -> List[Refusal]:
        """Whether a superuser would run what others wrote, where nobody else can."""
        return needs.literals(self.options["database"], self.target, self.toc, self._globals(job))

    def _globals(self, job: Any) -> shared.Read:
        return archive.roles(self.dump / "globals.sql", made_with(job.point))

    def _roles(self, job: Any) -> None:
        """Makes roles that the server does not have; those that it has stay as they are."""
        found = self._globals(job)
        with server.elsewhere(self.options["database"], self.target) as connection:
            there = {row[0] for row in server.rows(connection, "SELECT rolname FROM pg_roles")}
            missing = [name for name in shared.roles_made(found) if name not in there]
            execute(connection, ["BEGIN", *shared.of_roles(found, set(missing)), "COMMIT"], RESTORE)
        if missing:
            powerful = shared.superusers(found, set(missing))
            text = f"These roles did not exist and were made: {printable(', '.join(missing), 600)}"
            text += f"; superusers, as in the source: {printable(', '.join(powerful), 600)}." if powerful else "."
            text += " None has a password."
            remedy = "Give those that log in their passwords (ALTER ROLE ... PASSWORD)."
            job.checks.append(Check("restore.roles", "Roles", "warning", len(missing), message=text, remedy=remedy))
        if found.unknown:
            job.checks.append(left_out(found.unknown, "restore"))


class Whole(Logical):
    """Database, application files, or both."""

    def __init__(self, options: Dict[str, Any]) -> None:
        super().__init__(options)
        self.files = Files(options)
        self.done = False
        self.files_done = False

    @property
    def with_database(self) -> bool:
        """Whether the database is asked for."""
        return "database" in parts_of(self.options)

    def objects(self, job: Any) -> List[Dict[str, Any]]:
        """What has to be fetched."""
        roles = [*self.files.roles] if self.files.wanted(job.point) else []
        roles += ["data", *_SMALL] if self.with_database else []
        return [entry for entry in job.point["objects"] if entry["role"] in roles]

    def settle(self, job: Any, state: State) -> None:
        """What a dead run left: in place what was put in place, gone what was not."""
        state.check_kind("cluster")
        self.alone(job)
        before = dict(state.run)
        left = self.drop_temporaries(job, state)
        if not before and not left:
            return
        same = before.get("recovery_point") == job.point["id"] and before.get("mode") == "whole"
        self.files_done = self.files.settle(job, state, before)
        if before.get("database"):
            self._settle_database(job, state, before)
        kept_on = same and (self.done or self.files_done)
        if not kept_on:
            self.done = self.files_done = False
        id, since = before.get("id", "an earlier one"), before.get("started_at", "a time that is not known")
        text = f"The restore {id} of {since} did not end.{left}"
        if kept_on:
            text += f" Its {'database' if self.done else 'files'} had been put in place: this run resumes after that."
        else:
            text += " This run starts over."
        job.found.append(text)
        state.begin(**(before if kept_on else {}))

    def _settle_database(self, job: Any, state: State, before: Dict[str, Any]) -> None:
        moving = before["database"]
        with server.elsewhere(self.options["database"], moving["target"]) as connection:
            self.done = server.name_of(connection, moving["oid"]) == moving["target"] == self.target
            if self.done and moving["kept"] and server.oid_of(connection, moving["kept"]) is not None:
                state.keep("database", moving["kept"], before["recovery_point"], before["started_at"])
                job.kept.append({"kind": "database", "name": moving["kept"]})

    def refusals(self, job: Any, planning: bool) -> List[Refusal]:
        """What forbids it."""
        other = self.target != self.options["database"]["name"]
        found = [*self.common(job), *guards.of_parts(self.options, job.point, beside=other)]
        found += guards.of_application(self._disturbed(job), self.sessions, self.target)
        if self.with_database and not self.done:
            what = f"The database {self.target} would be replaced (and kept aside) without a look into it: {self.blind}"
            there = self.tables or int(bool(self.blind))
            found += guards.of_confirmation(self.options, self.target, there, what if self.blind else "")
            found += needs.logins(self.options["database"], self.target, self.temporary, self.toc)
            found += self.literals(job)
        if self.files.wanted(job.point) and not self.files_done:
            found += self.files.refusals(job, self.target, asked=self.with_database and bool(self.tables or self.blind))
        return found + self.space(job).refusals()

    def _disturbed(self, job: Any) -> Dict[str, Any]:
        """The options, without the application when it uses neither the database nor the files."""
        beside = self.target != self.options["database"]["name"] and not self.files.wanted(job.point)
        return {**self.options, "application": None} if beside else self.options

    def space(self, job: Any) -> guards.Space:
        """What is needed where."""
        space = guards.Space()
        space.need(self.options["scratch_directory"], sum(int(entry["size"]) for entry in self.objects(job)))
        if self.with_database and not self.done:
            space.need(self.facts["data_directory"], int(job.point["database"]["size"] * 1.25) + (512 << 20))
        if self.files.wanted(job.point) and not self.files_done:
            space.need(self.options["data_directory"], int(job.point["application"].get("bytes") or 0))
        return space

    def plan(self, job: Any) -> Dict[str, Any]:
        """What would be done."""
        steps, kept = [], []
        if self.with_database:
            steps.append(f"restore the database beside {self.target}, compare it with the recovery point, swap the two")
            if self.there is not None:
                kept.append(f"database {server.kept_name(self.target, job.run_id)}")
        if self.files.wanted(job.point):
            steps.append(
                f"unpack {job.point['application']['files']} files beside {self.options['data_directory']}, swap"
            )
            kept += self.files.planned(job)
        space = self.space(job)
        return {"target": self.target, "steps": steps, "kept": kept, "disks": space.plan(), "unseen": space.unseen}

    def work(self, job: Any, state: State) -> None:
        """Everything beside first, then the swaps."""
        database = self.with_database and not self.done
        files = self.files.wanted(job.point) and not self.files_done
        self.fetch(job, self.objects(job) if database else [e for e in self.objects(job) if e["role"] != "data"])
        oid = self._beside(job) if database else 0
        if files:
            self.files.unpack(job, state)
        job.progress.phase("swap")
        if database:
            self._swap(job, state, oid)
        if files:
            self.files.swap(job, state)

    def undo(self, job: Any, state: State) -> None:
        super().undo(job, state)
        self.files.undo(state)

    def _beside(self, job: Any) -> int:
        made = self.make(job, None)
        # The same phase, without the connection that measured it.
        job.progress.phase("restore")
        job.checks += [check for check in [analyzed(made, job.progress.tick, "restore")] if check]
        with server.elsewhere(self.options["database"], self.target) as connection:
            oid = server.oid_of(connection, self.temporary)
        job.progress.phase("prove")
        checks = [
            proof.renamed(check)
            for check in proof.compare(self.apart.reader, job.point, self.options["jobs"], job.progress.tick)
        ]
        job.checks += checks
        wrong = [check for check in checks if check.status == "critical"]
        if wrong:
            raise RestoreError(
                f"The restored database is not the recovery point's, and was not put in place: {wrong[0].message}",
                "The old database is untouched. Choose another recovery point.",
            )
        job.loss.update(loss.of_restored(self.apart.reader))
        self.apart.end()
        return int(oid or 0)

    def _swap(self, job: Any, state: State, oid: int) -> None:
        with server.elsewhere(self.options["database"], self.target) as connection:
            there = server.oid_of(connection, self.target)
            kept = server.kept_name(self.target, job.run_id) if there is not None else None
            state.note(database={"oid": oid, "target": self.target, "kept": kept})
            try:
                server.swap(connection, self.temporary, self.target, kept)
            except RestoreError:
                # It was rolled back; whatever else went wrong, the next run looks what came of it.
                state.note(database=None)
                raise
        job.changed = True
        if kept:
            state.keep("database", kept, job.point["id"], state.run["started_at"])
            job.kept.append({"kind": "database", "name": kept})
        text = f"The database {self.target} is the recovery point's."
        job.checks.append(Check("restore.database", "Database in place", OK, self.target, message=text))
