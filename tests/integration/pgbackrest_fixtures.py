"""What the tests of physical backups share: a sandbox on a server that pgBackRest knows, set up by the role."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import options, physical
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import engine as drill
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import options as drill_options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import configuration, program, setup
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import options as pgbackrest_options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import instance, measuring, snapshot
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress

from sandbox.postgres import VARIABLE, backed_up_physically, install, major, wheel
from tests import places
from tests.conftest import ROOT, Playbook, Sandbox, left_out, play_on, sandbox
from tests.control import Control

#: Where a sandbox is.
STATE = ("TRADINGFLOW_SANDBOX_STATE", "TRADINGFLOW_SANDBOX_ROOT")
#: Writes into the server's directory whenever a superuser runs it.
PLANTED = """
CREATE ROLE mallory LOGIN; GRANT CREATE ON DATABASE {database} TO mallory; ALTER ROLE mallory SET search_path = x;
SET SESSION AUTHORIZATION mallory; CREATE SCHEMA mallory; GRANT USAGE ON SCHEMA mallory TO PUBLIC;
CREATE FUNCTION mallory.spring(way text) RETURNS int LANGUAGE plpgsql AS $$ DECLARE each text; BEGIN
  FOREACH each IN ARRAY ARRAY['RESET SESSION AUTHORIZATION', 'RESET ROLE', 'SET ROLE postgres'] LOOP
    BEGIN EXECUTE each; EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP;
  EXECUTE format('COPY (SELECT 1) TO %L', current_setting('data_directory') || '/planted ' || way);
  RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN 1; END $$;
CREATE FUNCTION mallory.trap(way text) RETURNS int LANGUAGE plpgsql IMMUTABLE
  AS $$ BEGIN RETURN mallory.spring(way); END $$;
CREATE TABLE mallory.kept AS SELECT i FROM generate_series(1, 20) i;
CREATE INDEX ON mallory.kept ((i * mallory.trap('index')));
CREATE TABLE mallory.seen AS SELECT i FROM generate_series(1, 20) i;
CREATE STATISTICS mallory.stats ON (i * mallory.trap('statistics')), i FROM mallory.seen;
CREATE VIEW mallory.wrong AS SELECT WHERE mallory.trap('invariant') = 0;
CREATE FUNCTION mallory.pg_is_in_recovery() RETURNS bool LANGUAGE plpgsql
  AS $$ BEGIN PERFORM mallory.trap('path'); RETURN pg_catalog.pg_is_in_recovery(); END $$;
RESET SESSION AUTHORIZATION;
ALTER DATABASE {database} SET search_path = mallory, pg_catalog, public;
ALTER VIEW maintenance.heartbeat RENAME TO heartbeat_of_old;
CREATE VIEW maintenance.heartbeat AS SELECT instance, beat_at + mallory.trap('view') * interval '0' AS beat_at
  FROM maintenance.heartbeat_of_old;
GRANT SELECT ON maintenance.heartbeat TO PUBLIC
"""
UNPLANTED = """
ALTER DATABASE {database} RESET search_path; DROP VIEW maintenance.heartbeat;
ALTER VIEW maintenance.heartbeat_of_old RENAME TO heartbeat; DROP OWNED BY mallory CASCADE; DROP ROLE mallory
"""


def server() -> str:
    """The newest installed server that the installed pgBackRest backs up."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = [path for path in found if (path / "postgres").exists() and major(path) >= 15]
    if not shutil.which("pgbackrest"):
        left_out("no pgBackRest: apt-get install pgbackrest")
    usable = [path for path in found if backed_up_physically(major(path))]
    if not usable:
        left_out("no server that pgBackRest knows in /usr/lib/postgresql: apt-get install postgresql")
    return str(usable[-1])


def newest(than: Path, root: Path) -> Path:
    """Programs of the newest server that the installed pgBackRest backs up: those of the wheel, or the given ones.

    :param root: where the wheel's are copied to, for the server's user
    """
    own = major(wheel() / "pginstall/bin")
    if own <= major(than) or not backed_up_physically(own):
        return than
    root.mkdir()
    return install(root)


class Physical:
    """A sandbox whose server archives with pgBackRest."""

    def __init__(self, running: Sandbox) -> None:
        self.sandbox = running
        self.setup = ""
        self.artifacts = Path(running.environment["TRADINGFLOW_SANDBOX_STATE"]).parent / "artifacts"

    @property
    def state(self) -> dict[str, Any]:
        """sandbox.json as it is now."""
        return self.sandbox.current

    def play(self, name: str, *arguments: str) -> Playbook:
        """Runs a playbook on it."""
        return play_on(self.sandbox, self.artifacts, name, *arguments)

    def tool(self, **changes: Any) -> program.PgBackRest:
        """pgBackRest of its stanza."""
        return program.PgBackRest({**self.pgbackrest, **changes})

    @property
    def pgbackrest(self) -> dict[str, Any]:
        """The option pgbackrest of recovery_point."""
        postgres = self.sandbox.state["postgres"]
        return {
            **{name: spec.get("default") for name, spec in pgbackrest_options.PGBACKREST_SPEC.items()},
            "stanza": "local",
            "config_file": f"{postgres['pgbackrest_dir']}/pgbackrest.conf",
            "run_as": postgres["run_as"],
        }

    def options(self, **changes: Any) -> dict[str, Any]:
        """Options of recovery_point; those of pgBackRest by pgbackrest={...}."""
        theirs = changes.pop("pgbackrest", {})
        return {
            **{name: spec.get("default") for name, spec in options.SPEC.items()},
            "environment_name": "local",
            "engine": "pgbackrest",
            "pgbackrest": {**self.pgbackrest, **theirs},
            "database": self.sandbox.database,
            "storage": self.sandbox.storage,
            "application": {"name": "tradingflow", "version": "1.2.3", "image": None},
            "scratch_directory": str(self.artifacts.parent),
            "verify": "checksum",
            **changes,
        }

    def backup(self, kind: str = "auto", **changes: Any) -> dict[str, Any]:
        """Makes a recovery point."""
        theirs = {"type": kind, **changes.pop("pgbackrest", {})}
        return physical.create(self.options(pgbackrest=theirs, **changes), Progress())

    @property
    def repository(self) -> dict[str, Any]:
        """Its repository, as drill and set-up know it."""
        names = ("bucket", "endpoint", "region", "access_key", "secret_key", "ca_file")
        return {
            **{name: spec.get("default") for name, spec in configuration.REPOSITORY_SPEC.items()},
            **{name: self.sandbox.storage[name] for name in names},
            "path": "pgbackrest/local",
            "cipher_pass": self.state["postgres"]["cipher_pass"],
        }

    def drill_options(self, point: dict[str, Any], place: Path | str, **changes: Any) -> dict[str, Any]:
        """Options of the drill of a recovery point; those of its repository by repository={...}."""
        repository = {**self.repository, **changes.pop("repository", {})}
        return {
            **{name: spec.get("default") for name, spec in drill_options.SPEC.items()},
            "environment_name": point["environment"],
            "storage": self.sandbox.storage,
            "recovery_point": point["id"],
            "pgbackrest": {"program": None, "process_max": 2, "repositories": [repository]},
            "pg_bin_dir": self.state["postgres"]["bin_dir"],
            "scratch_directory": str(place),
            **changes,
        }

    def drilled(self, point: dict[str, Any], **changes: Any) -> dict[str, str]:
        """Drills a recovery point and gives what is not well; nobody writes heartbeats for these."""
        with tempfile.TemporaryDirectory(prefix="tradingflow-drilled-", dir=places.quick()) as folder:
            os.chmod(folder, 0o711)
            chosen = self.drill_options(point, folder, **changes)
            result = drill.run(chosen, Progress())
        checks, _actions, _summary = drill_options.findings(result, chosen, "2026-11-24T00:00:00Z")
        silent = ("drill.heartbeat:pgbackrest", "drill.rpo:pgbackrest")
        return {each.id: str(each.message) for each in checks if each.status != "ok" and each.id not in silent}

    def sql(self, text: str, database: str | None = None) -> list[Any]:
        """Runs SQL as the superuser."""
        return self.sandbox.sql("superuser", text, database)

    @contextmanager
    def restored(self, point: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Restores by hand up to the restore point, and gives the option "database" of what came up."""
        folder = Path(tempfile.mkdtemp(prefix="tradingflow-restored-", dir=places.quick()))
        engine, user = point["engine"], instance.account(None)
        try:
            folder.chmod(0o711)
            data = folder / "data"
            own = {name: folder / name for name in ("lock", "spool", "log")}
            for path in (data, *own.values()):
                path.mkdir(mode=0o700)
                if user:
                    os.chown(path, user.uid, user.gid)
            # A configuration of its own: pgBackRest's locks know stanzas, not clusters, and asynchronous fetching waits
            # in vain for a segment that the server asks for again.
            config = folder / "restore.conf"
            lines = Path(self.pgbackrest["config_file"]).read_text().splitlines()
            lines = [
                line for line in lines if not line.startswith(("archive-async=", *(f"{name}-path=" for name in own)))
            ]
            at = lines.index("[global]") + 1
            lines[at:at] = [f"{name}-path={path}" for name, path in own.items()]
            config.write_text("\n".join(lines) + "\n")
            config.chmod(0o600)
            if user:
                os.chown(config, user.uid, user.gid)
            self.tool(config_file=str(config)).checked(
                "restore",
                f"--set={engine['label']}",
                "--type=name",
                f"--target={engine['restore_point']}",
                "--target-action=promote",
                f"--pg1-path={data}",
                "--archive-mode=off",
            )
            with running(data, folder / "server.log", self.sandbox) as port:
                yield {**self.sandbox.database, "port": port, "name": point["database"]["name"]}
        finally:
            shutil.rmtree(folder)


@contextmanager
def running(data: Path, log: Path, of: Sandbox) -> Iterator[int]:
    """A server on a data directory until the context ends; gives its port."""
    from sandbox.postgres import _environment, _identity
    from sandbox.processes import free_ports, wait_until

    port = free_ports(["port"], {})["port"]
    with open(log, "wb") as messages:
        process = subprocess.Popen(
            [
                *(f"{of.state['postgres']['bin_dir']}/postgres", "-D", str(data), "-p", str(port)),
                *("-c", "unix_socket_directories=", "-c", "shared_preload_libraries="),
            ],
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            env=_environment(),
            cwd="/",
            **_identity(),
        )
    try:
        wait_until(lambda: promoted(of, port), "the restored server", process=process, log_file=log)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def promoted(of: Sandbox, port: int) -> bool:
    """Whether a restored server has ended its recovery."""
    import psycopg2

    database = of.database
    try:
        connection = psycopg2.connect(
            host=database["host"],
            port=port,
            dbname=database["name"],
            user=database["user"],
            password=database["password"],
            connect_timeout=3,
        )
    except psycopg2.OperationalError:
        return False
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 WHERE NOT pg_is_in_recovery()")
            return cursor.fetchone() is not None
    finally:
        connection.close()


def contents(database: dict[str, Any]) -> dict[str, tuple[int, str]]:
    """Rows and digest of each logged table."""
    with snapshot.opened(database) as taken:
        tables = taken.tables(logged=True)
        results = measuring.Measuring(taken, tables, digests=True, sessions=2).results()
    return {f"{table['schema']}.{table['name']}": (table["rows"], table["digest"]) for table in results}


def recorded(point: dict[str, Any]) -> dict[str, tuple[int, str]]:
    """The same as a recovery point has it."""
    return {f"{t['schema']}.{t['name']}": (t["rows"], t["digest"]) for t in point["database"]["tables"]}


def configure(physical: Physical, **changes: Any) -> None:
    """Sets pgBackRest up as the role does with the local inventory, without a playbook."""
    postgres = physical.state["postgres"]
    folder = postgres["pgbackrest_dir"]
    environment = physical.sandbox.environment
    given = [f"{name}={environment[name]}" for name in (*STATE, VARIABLE)]
    options = {
        **{name: spec.get("default") for name, spec in setup.SPEC.items()},
        "stanza": "local",
        "repositories": [{**physical.repository, "ca_file": f"{folder}/ca.crt"}],
        "database_name": postgres["database"],
        "maintenance_user": postgres["maintenance_user"],
        "config_file": f"{folder}/pgbackrest.conf",
        **{f"{name}_path": f"{folder}/{name}" for name in ("spool", "log", "lock")},
        "run_as": postgres["run_as"],
        "port": postgres["port"],
        "socket_directory": postgres["socket_dir"],
        "database_user": postgres["superuser"],
        "superuser": postgres["superuser"],
        "wait_for_wal": 120,
        "restart": True,
        "restart_command": ["env", "-C", str(ROOT), *given, sys.executable, "-m", "sandbox", "restart", "postgres"],
        **changes,
    }
    setup.Setup(options).run()
    physical.sandbox.state = physical.state


@contextmanager
def set_up(bin_dir: str | None = None, *, by_role: bool = False) -> Iterator[Physical]:
    """A sandbox of its own, set up.

    :param bin_dir: the server's programs, instead of those of the newest installed one
    :param by_role: by the playbook, which takes ten times as long; its output is in setup
    """
    with ExitStack() as stack:
        up = stack.enter_context(sandbox("small", {VARIABLE: bin_dir or server()}, places.quick()))
        made = Physical(up)
        stack.callback((services := Control(up.environment, made.artifacts.parent / "control")).end)
        up.control = services.program
        if by_role:
            done = made.play("backup_setup", "-e", "backup_pgbackrest_restart=true", "-vvv")
            if done.returncode:
                pytest.fail(f"It was not set up:\n{done.output}")
            made.setup = done.output
            up.state = made.state
        else:
            configure(made)
        yield made
