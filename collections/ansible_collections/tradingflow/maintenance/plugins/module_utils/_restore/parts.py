# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Single tables or schemas of a recovery point: beside what is there, or in its place."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Set, Tuple, Type

from .._postgres import measuring, programs, proof, server, snapshot
from .._postgres.restoring import FREE, as_name, run_program
from .._postgres.toc import ROWS, Contents, Entry, write_list
from .._work.job import RESTORE
from ..checks import OK, WARNING, Check
from ..database import connected, quoted
from ..errors import ConfigurationError, RestoreError
from ..refusal import Refusal
from ..words import printable
from . import archive, directories, guards, needs
from .live import L, Live
from .logical import Logical
from .moving import Moving
from .replace import check_tree, dependents, late, replace
from .state import State
from .trees import Trees

# Tables by name, with their partitions and children at any depth; what pg_dump writes rows of, and what holds them.
_TREE = """
WITH RECURSIVE tree AS (
  SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND (n.nspname || '.' || c.relname = ANY(%s) OR n.nspname = ANY(%s))
  UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree t ON t.oid = i.inhparent)
SELECT n.nspname, c.relname, c.relkind FROM tree t JOIN pg_class c ON c.oid = t.oid
JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY c.relkind = 'r', c.relispartition, 1, 2"""

# What is over tables that are not among them.
_OVER = """
SELECT c.relispartition, i.inhparent::regclass::text, c.oid::regclass::text FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace m ON m.oid = p.relnamespace
WHERE (n.nspname, c.relname) IN %s AND NOT (m.nspname, p.relname) IN %s"""

#: As whom to look, and at which tables: None for all.
Looker = Tuple[Dict[str, Any], Optional[Set[Tuple[str, str]]]]


class Parts(Logical):
    """Tables into a schema beside, and from there in place when that is asked for."""

    programs: Tuple[str, ...] = ("pg_restore", "pg_dump")

    def prepare(self, job: Any) -> None:
        if not self.options["tables"] and not self.options["schemas"]:
            raise ConfigurationError(
                "No tables are named.", "Set restore_tables (schema.table) or restore_schemas, or another mode."
            )
        super().prepare(job)
        if programs.version(self.tools["pg_dump"])[0] < self.facts["version"] // 10000:
            raise ConfigurationError(
                "pg_dump is older than the server.", "Install the client of its version, or set restore_pg_bin_dir."
            )
        self.copied: Contents
        self.schema = f"restored_{server.lower_id(job.point['id'])}"

    def objects(self, job: Any) -> List[Dict[str, Any]]:
        """What is fetched: as far as it can be told before partitions are known."""
        tables = [tuple(name.split(".", 1)) for name in self.options["tables"]]
        tables += [(each["schema"], each["name"]) for each in job.point["database"]["tables"] if self._asked(each)]
        return self._data(job, [(each[0], each[-1]) for each in tables])

    def _asked(self, table: Dict[str, Any]) -> bool:
        return (
            f"{table['schema']}.{table['name']}" in self.options["tables"] or table["schema"] in self.options["schemas"]
        )

    def _data(self, job: Any, tables: List[Tuple[str, str]]) -> List[Dict[str, Any]]:
        numbers = {entry.number for entry in archive.rows_of(self.toc, tables) if entry.kind == ROWS}
        return [entry for entry in job.point["objects"] if archive.data_file(entry["key"]) in numbers]

    def settle(self, job: Any, state: State) -> None:
        """A run of this mode changes anything only in one step at its end: what is left is in the making."""
        self.alone(job)
        before, left = dict(state.run), self.drop_temporaries(job, state)
        if before or left:
            job.found.append(f"The restore {before.get('id', 'before')} did not end.{left} This run starts over.")
        state.check_kind("database", "files", "cluster")
        directories.remove_made(before)
        state.end()

    def refusals(self, job: Any, planning: bool) -> List[Refusal]:
        """What forbids it."""
        found = self.common(job)
        if self.there is None:
            text = f"There is no database {self.target}, into which tables could be restored."
            found.append(Refusal("target", text, "Restore the whole (restore_mode: whole), or correct the name."))
            return found
        with connected(server.named(self.options["database"], self.target), pinned=True) as connection:
            if server.rows(connection, "SELECT FROM pg_namespace WHERE nspname ~ %s", (f"^{self.schema}(_[0-9]+)?$",)):
                text = f"The schema {self.schema} exists already in {self.target}: what an earlier restore put there."
                remedy = f"Look at it; if it can go: restore_mode=remove_old, restore_remove_old=[{self.schema}]"
                found.append(Refusal("schema", text, remedy))
            always = server.always_on(connection)
            if self.options["replace"]:
                trees = self._trees()
                found += [*trees.refusals(connection, planning=planning), *needs.published(connection, trees.names)]
                found += [*needs.acting(connection, trees.names), *late(connection, sorted(trees.names))]
        found += needs.logins(self.options["database"], self.target, self.temporary, self.toc, live=True)
        found += self.literals(job)
        if always:
            text = f"Event triggers that are always on may forbid what a restore does: {', '.join(always)}."
            remedy = "Disable them for the time of the restore (ALTER EVENT TRIGGER ... DISABLE)."
            found.append(Refusal("event_triggers", text, remedy))
        if self.options["replace"]:
            found += guards.of_application(self.options, self.sessions, self.target)
            names = ", ".join([*self.options["tables"], *(f"{schema}.*" for schema in self.options["schemas"])])
            what = f"The rows of {names} in {self.target} would be replaced (and kept aside)."
            found += guards.of_confirmation(self.options, self.target, self.tables, what)
        return found + self.space(job).refusals()

    def _trees(self) -> Trees:
        return Trees(self.toc, self.options["tables"], self.options["schemas"])

    def space(self, job: Any) -> guards.Space:
        """What is needed where: the compressed rows here, and three times the rows on the server."""
        space, size = guards.Space(), sum(int(entry["size"]) for entry in self.objects(job))
        ratio = max(1.0, int(job.point["database"]["size"]) / max(1, int(job.point["totals"]["bytes"])))
        space.need(self.options["scratch_directory"], 2 * size)
        space.need(self.facts["data_directory"], int(3 * size * ratio) + (64 << 20))
        return space

    def plan(self, job: Any) -> Dict[str, Any]:
        """What would be done."""
        names = ", ".join([*self.options["tables"], *(f"all of {schema}" for schema in self.options["schemas"])])
        steps = [f"restore {names} into the schema {self.schema} of {self.target}, compare with the recovery point"]
        kept = []
        if self.options["replace"]:
            steps.append("replace the rows of the tables there")
            kept.append(f"the rows that are there now, in schemas named {server.kept_name('<schema>', job.run_id)}")
        space = self.space(job)
        return {"target": self.target, "steps": steps, "kept": kept, "disks": space.plan(), "unseen": space.unseen}

    def work(self, job: Any, state: State) -> None:
        """Restores beside, proves, and replaces when asked."""
        made = self.make(job, archive.without_rows(self.toc))
        leaves, holders = self._tables(made)
        self._check_types(made, leaves + holders)
        self._check_moved(made, leaves)
        target = server.named(self.options["database"], self.target)
        if self.options["replace"]:
            trees = self._trees()

            def check(connection: Any) -> None:
                check_tree(connection, leaves, holders)
                trees.check(connection, self.options["overrides"])

            with connected(target, pinned=True) as connection:
                check(connection)
        self.fetch(job, self._data(job, leaves))
        job.progress.phase("restore")
        self.pg_restore(job, archive.rows_of(self.toc, leaves))
        job.progress.phase("prove")
        recorded = self._recorded(job, leaves)
        self._prove(job, [(self.apart.reader, None)], recorded, {})
        job.progress.phase("put beside")
        schemas = self._into_schemas(made, leaves + holders)
        self.apart.end()
        with guards.or_trusted(), self._live(job, "t", Live) as live:
            self._copy(job, made, live, sorted(schemas.values()))
            job.progress.phase("prove beside")
            self._prove(job, live.lookers(), recorded, schemas)
            self._hand_over(job, made, live, sorted(schemas.values()))
        job.changed = True
        with server.elsewhere(self.options["database"], self.target) as connection:
            server.drop(connection, self.temporary)
        self._say(job, target, schemas, leaves)
        if self.options["replace"]:
            job.progress.phase("swap")
            with guards.or_trusted(), self._live(job, "s", Moving) as live:
                unset = replace(
                    live,
                    leaves,
                    check,
                    schemas,
                    recorded,
                    job.run_id,
                    lambda name: self._keep(job, state, name),
                    state.end,
                )
            text = f"{len(leaves)} tables have the rows of the recovery point, and no foreign key is broken."
            job.checks.append(Check("restore.replaced", "Tables in place", OK, len(leaves), message=text))
            if unset:
                text = "These sequences were left as they are, as the tables' owners have no right to set them:"
                text += f" {printable(', '.join(unset), 600)}."
                remedy = "Where one is behind the rows of its table, set it by hand (SELECT setval(...))."
                job.checks.append(
                    Check("restore.sequences", "Sequences", WARNING, len(unset), message=text, remedy=remedy)
                )

    def _keep(self, job: Any, state: State, name: str) -> None:
        """A schema has the rows that were replaced."""
        state.keep("schema", f"{self.target}: {name}", job.point["id"], state.run["started_at"])
        job.kept.append({"kind": "schema", "name": name})

    def _tables(self, made: Dict[str, Any]) -> Tuple[List[Tuple[str, str]], List[Tuple[str, str]]]:
        with connected(made, statement_timeout=0, pinned=True) as connection:
            found = server.rows(connection, _TREE, (self.options["tables"], self.options["schemas"]))
        names = [f"{schema}.{name}" for schema, name, _kind in found]
        missing = [name for name in self.options["tables"] if name not in names]
        double = [name for name in self.options["tables"] if names.count(name) > 1]
        if double:
            raise ConfigurationError(
                f"Points in names make these mean several tables: {', '.join(double)}.",
                "Restore their schemas (restore_schemas), or the whole beside under another name.",
            )
        missing += [f"{each}.*" for each in self.options["schemas"] if each not in {row[0] for row in found}]
        if missing:
            raise ConfigurationError(
                f"The recovery point has no such tables: {', '.join(missing)}.",
                "Write schema.table as the database has it, without quotes; views and functions are not tables.",
            )
        leaves = [(schema, name) for schema, name, kind in found if kind == "r"]
        return leaves, [(schema, name) for schema, name, kind in found if kind == "p"]

    def _check_types(self, made: Dict[str, Any], tables: List[Tuple[str, str]]) -> None:
        """Raises ConfigurationError when the database there does not have a type that the tables have."""
        gone = needs.types_gone(made, server.named(self.options["database"], self.target), tables)
        if gone:
            raise ConfigurationError(
                f"These tables have columns of types that {self.target} does not have any more: {', '.join(gone)}.",
                "Make the types there again, as they were (CREATE TYPE, CREATE DOMAIN), and run this again; or restore"
                " the whole beside it (restore_target_database with another name, restore_parts: [database]) and copy"
                " the rows from there.",
            )

    def _check_moved(self, made: Dict[str, Any], leaves: List[Tuple[str, str]]) -> None:
        """Raises ConfigurationError when rows may come into other partitions than those that are restored."""
        moved = [table for table, _into in archive.moved(self.toc, leaves)]
        if not moved:
            return
        with snapshot.opened(made) as taken:
            roots = proof.hashed(taken)
        for table in moved:
            root = roots.get(table)
            beside = {leaf for leaf, other in roots.items() if root and other == root} - set(leaves)
            if root and beside:
                raise ConfigurationError(
                    f"Rows of {'.'.join(table)} come into other partitions of {'.'.join(root)} here than in the"
                    " source, as it is partitioned by the hash of an enum.",
                    f"Restore the whole of {'.'.join(root)}.",
                )

    def _recorded(self, job: Any, leaves: List[Tuple[str, str]]) -> List[Dict[str, Any]]:
        wanted = set(leaves)
        return [each for each in job.point["database"]["tables"] if (each["schema"], each["name"]) in wanted]

    def _prove(self, job: Any, lookers: List[Looker], recorded: List[Dict[str, Any]], schemas: Dict[str, str]) -> None:
        names = {(schemas.get(each["schema"], each["schema"]), each["name"]): each for each in recorded}
        measured: List[Dict[str, Any]] = []
        roots: proof.Roots = {}
        for database, those in lookers:
            with snapshot.opened(database) as taken:
                wanted = set(names) if those is None else those & set(names)
                tables = [table for table in taken.tables() if (table["schema"], table["name"]) in wanted]
                roots.update(proof.hashed(taken))
                sessions = max(1, self.options["jobs"])
                measured += measuring.Measuring(taken, tables, digests=True, sessions=sessions).results()
        job.progress.tick()
        for each in measured:
            each["schema"] = names[each["schema"], each["name"]]["schema"]
        sources = {name: source for source, name in schemas.items()}
        roots = {(sources.get(schema, schema), name): root for (schema, name), root in roots.items()}
        checks = [proof.renamed(check) for check in proof.of_tables(*proof.at_roots(recorded, measured, roots))]
        job.checks = [check for check in job.checks if check.id not in {each.id for each in checks}] + checks
        wrong = [check for check in checks if check.status == "critical"]
        if wrong:
            raise RestoreError(
                f"The restored tables are not the recovery point's: {wrong[0].message}",
                "Choose another recovery point.",
            )

    def _into_schemas(self, made: Dict[str, Any], tables: List[Tuple[str, str]]) -> Dict[str, str]:
        sources = sorted({schema for schema, _name in tables})
        names = [self.schema] if len(sources) == 1 else [f"{self.schema}_{n}" for n in range(1, len(sources) + 1)]
        schemas = dict(zip(sources, names))  # noqa: B905 equal lengths
        with connected(made, statement_timeout=0, pinned=True) as connection:
            server.run(connection, "SET default_transaction_read_only = off; SET session_replication_role = replica")
            for name in names:
                server.run(connection, f"CREATE SCHEMA {quoted(name)}")
            # A part of a tree would become a part of the tree that is there, and its rows rows of that.
            for partition, over, part in server.rows(connection, _OVER, (tuple(tables), tuple(tables))):
                how = f"{over} DETACH PARTITION {part}" if partition else f"{part} NO INHERIT {over}"
                server.run(connection, f"ALTER TABLE {how}")
            for schema, name in tables:
                source = f"{quoted(schema)}.{quoted(name)}"
                server.run(connection, f"ALTER TABLE {source} SET SCHEMA {quoted(schemas[schema])}")
        return schemas

    def _live(self, job: Any, letter: str, of: Type[L]) -> L:
        target = server.named(self.options["database"], self.target)
        trusted = "source_functions" in self.options["overrides"]
        owners = {each.owner for each in self.toc.entries if each.owner}
        return of(target, f"{self.temporary}_{letter}", job.place, owners=owners, trusted=trusted)

    def _copy(self, job: Any, made: Dict[str, Any], live: Live, schemas: List[str]) -> None:
        folder, tick = job.folder / "beside", job.progress.tick
        arguments = [
            self.tools["pg_dump"],
            "-Fd",
            f"--file={folder}",
            "--no-password",
            f"--jobs={self.options['jobs']}",
        ]
        arguments += [f"--schema={schema}" for schema in schemas]
        run_program([*arguments, f"--dbname={as_name(made['name'])}"], made, tick, kind=RESTORE)
        live.may_make(made, schemas)
        self.copied = archive.read(self.tools["pg_restore"], folder)
        entries = [each for each in archive.of_copies(self.copied) if each.kind != "ACL"]
        for owners, part in live.parts(entries):
            with live.making(owners) as database:
                self._into(job, database, part, f"{FREE} {live.options}")

    def _hand_over(self, job: Any, made: Dict[str, Any], live: Live, schemas: List[str]) -> None:
        live.hand_over(made, schemas)
        rights = [each for each in archive.of_copies(self.copied) if each.kind == "ACL"]
        if rights:
            self._into(job, live.target, rights, f"{FREE} {server.quiet(self.facts['version'])}")
        with live.superuser() as connection:
            live.finished(connection, schemas)

    def _into(self, job: Any, database: Dict[str, Any], entries: List[Entry], options: str) -> None:
        """Restores entries of the copies into the database that is there, all or none."""
        write_list(job.folder / "copies.list", entries)
        into = [self.tools["pg_restore"], "--single-transaction", "--exit-on-error", "--no-password", "--no-owner"]
        into += [f"--use-list={job.folder / 'copies.list'}", f"--dbname={as_name(database['name'])}"]
        into.append(str(job.folder / "beside"))
        try:
            run_program(into, database, job.progress.tick, kind=RESTORE, PGOPTIONS=options)
        except RestoreError as error:
            if "does not exist" not in error.message:
                raise
            remedy = f"Read PostgreSQL's message. If a function of {self.target} does not find what it names, give it a"
            remedy += " search_path there (ALTER FUNCTION ... SET search_path = ...), and run this again:"
            remedy += " restore_search_path does not change functions that are in use."
            raise RestoreError(error.message, remedy) from None

    def _say(self, job: Any, target: Dict[str, Any], schemas: Dict[str, str], leaves: List[Tuple[str, str]]) -> None:
        where = ", ".join(f"{source} in {name}" for source, name in schemas.items())
        text = f"{len(leaves)} tables of {where}, beside what is there: rows, indexes, keys and sequences."
        text += " Triggers, rules, policies and foreign keys to other tables were left out."
        job.checks.append(Check("restore.beside", "Tables beside", OK, len(leaves), message=text))
        found = dependents(target, leaves)
        text = (
            f"What hangs on the tables in {self.target}: {'; '.join(found[:10])}."
            if found
            else "Nothing hangs on them."
        )
        details = {"dependents": found}
        job.checks.append(Check("restore.dependents", "Dependents", OK, len(found), message=text, details=details))
