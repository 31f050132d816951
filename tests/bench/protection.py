"""Backup, restore and drill against the engines alone and what else a user would run: same data, same store.

BENCH_SIZES="1 10" (GB of database), BENCH_ROUNDS=1. Needs pgBackRest and a server that it supports; barman-cloud is
measured where it is found. The result goes into docs/benchmarks.md.
"""

from __future__ import annotations

import glob
import json
import os
import pwd
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from tests.conftest import ROOT, Sandbox, sandbox

from . import common
from .backup import JOBS, Bench

DRILL = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: tradingflow.maintenance.restore_drill
"""


def cpu() -> float:
    """Processor time that this machine has spent so far, in s: the servers' part belongs to every contender."""
    fields = [int(field) for field in Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:9]]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Protection(Bench):
    """One database in a sandbox whose server archives by pgBackRest."""

    def __init__(self, running: Sandbox, folder: Path, size: float) -> None:
        super().__init__(running, folder, size)
        self.postgres = running.state["postgres"]
        self.bin = Path(self.postgres["bin_dir"])
        account = pwd.getpwnam(self.postgres["run_as"]) if self.postgres["run_as"] else None
        self.owner = account.pw_uid if account else os.getuid()
        self.group = account.pw_gid if account else os.getgid()
        self.config = Path(self.postgres["pgbackrest_dir"]) / "pgbackrest.conf"
        self.restores = folder / "restores"
        self.restores.mkdir(exist_ok=True)
        for path in (folder, self.restores):
            path.chmod(0o711)

    def as_owner(self, *arguments: str | Path, **environment: str) -> str:
        """Runs a program as the server's user; gives what it printed."""
        done = subprocess.run(
            [str(argument) for argument in arguments],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", **environment},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=self.owner,
            group=self.group,
            extra_groups=[],
        )
        if done.returncode:
            raise RuntimeError(f"{arguments[0]} ended with {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout

    def drop(self) -> None:
        """Gives the space back before the next size."""
        login = {**self.environment, "PGDATABASE": "postgres"}
        subprocess.run(["dropdb", "--force", self.database["name"]], env=login, check=True)
        shutil.rmtree(self.data)

    # Backups. Each leaves what its restore begins with.

    def dump_plain(self, prefix: str) -> None:
        """The manual's script: pg_dump in its plain format, then the upload."""
        folder = self.scratch()
        with open(folder / "db.sql", "wb") as target:
            subprocess.run(["pg_dump"], env=self.environment, check=True, stdout=target)
        self.upload(folder / "db.sql", f"{prefix}/db.sql")

    def dump_directory(self, prefix: str) -> None:
        """pg_dump -Fd -j, then a parallel upload."""
        folder = self.scratch()
        arguments = ["pg_dump", "-Fd", f"-j{JOBS}", "--compress=1", "--no-sync", "-f", str(folder / "db")]
        subprocess.run(arguments, env=self.environment, check=True)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda path: self.upload(path, f"{prefix}/{path.name}"), (folder / "db").iterdir()))

    def pgbackrest(self, command: str, *options: str) -> str:
        """Runs the bare engine with the configuration that the role wrote."""
        return self.as_owner("pgbackrest", f"--config={self.config}", "--stanza=local", *options, command)

    def physical(self, _prefix: str) -> None:
        """pgBackRest alone."""
        self.pgbackrest("backup", "--type=full", "--log-level-console=warn")
        (stanza,) = json.loads(self.pgbackrest("info", "--output=json"))
        self.label = stanza["backup"][-1]["label"]

    def barman_environment(self) -> dict[str, str]:
        storage = self.running.storage
        return {
            "AWS_ACCESS_KEY_ID": storage["access_key"],
            "AWS_SECRET_ACCESS_KEY": storage["secret_key"],
            "AWS_DEFAULT_REGION": storage["region"],
            "AWS_CA_BUNDLE": f"{self.postgres['pgbackrest_dir']}/ca.crt",
            "PGPASSWORD": self.postgres["superuser_password"],
        }

    def barman(self, prefix: str) -> None:
        """barman-cloud-backup, and the WAL that belongs to it."""
        place = ["--endpoint-url", self.running.storage["endpoint"], "--addressing-style", "path"]
        target = [f"s3://{self.running.storage['bucket']}/{prefix}", "bench"]
        login = ["-h", self.postgres["host"], "-p", str(self.postgres["port"]), "-U", self.postgres["superuser"]]
        before = self.segment()
        self.as_owner(
            *(barman("backup"), "--lz4", "--immediate-checkpoint", "-J", str(JOBS), *place, *login, *target),
            **self.barman_environment(),
        )
        wal = Path(self.postgres["data_dir"]) / "pg_wal"
        for path in sorted(wal.iterdir()):
            if re.fullmatch(r"[0-9A-F]{24}(\..*\.backup)?", path.name) and before <= path.name[:24] < self.segment():
                self.as_owner(barman("wal-archive"), *place, *target, str(path), **self.barman_environment())

    def segment(self) -> str:
        """Name of the WAL segment that is being written."""
        return self.ask("SELECT pg_walfile_name(pg_current_wal_lsn())")

    def ask(self, query: str) -> str:
        done = subprocess.run(
            ["psql", "-qXAtc", query], env=self.environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def role(self, prefix: str, engine: str, **options: Any) -> None:
        """Ours, by ansible-playbook: counts, digests, verified in full where the options say nothing else."""
        chosen = {
            "environment": f"bench {engine} {self.size:g}",
            "engines": [engine],
            "pgbackrest_type": "full",
            "pgbackrest_stanza": "local",
            "data_directory": "",
            # Where the drill finds it.
            "storage": self.running.storage,
            **options,
        }
        self.ours(prefix, **chosen)

    def role_logical(self, prefix: str) -> None:
        self.role(prefix, "logical")

    def role_physical(self, prefix: str) -> None:
        self.role(prefix, "pgbackrest")

    # Restores.

    def fetch(self, prefix: str) -> Path:
        """Brings what a contender stored, four objects at a time."""
        folder, bucket = self.scratch() / "fetched", self.running.storage["bucket"]
        folder.mkdir()
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/")
        found = [entry["Key"] for page in pages for entry in page.get("Contents") or []]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda key: self.s3.download_file(bucket, key, str(folder / Path(key).name)), found))
        return folder

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        name = f"{self.database['name']}_restored"
        login = {**self.environment, "PGDATABASE": "postgres"}
        subprocess.run(["createdb", "-T", "template0", name], env=login, check=True)
        try:
            yield name
        finally:
            subprocess.run(["dropdb", "--force", name], env=login, check=True)

    def restore_plain(self, prefix: str) -> None:
        with self.empty_database() as name:
            arguments = ["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", name]
            subprocess.run([*arguments, "-f", self.fetch(prefix) / "db.sql"], env=self.environment, check=True)

    def restore_directory(self, prefix: str) -> None:
        with self.empty_database() as name:
            arguments = ["pg_restore", f"-j{JOBS}", "--exit-on-error", "-d", name, str(self.fetch(prefix))]
            subprocess.run(arguments, env=self.environment, check=True)

    def new_cluster(self) -> Path:
        """An empty folder of the server's user."""
        place = Path(tempfile.mkdtemp(dir=self.restores))
        os.chown(place, self.owner, self.group)
        return place

    def restore_physical(self, _prefix: str) -> None:
        place = self.new_cluster()
        options = [f"--pg1-path={place}", f"--set={self.label}", "--type=immediate", "--target-action=promote"]
        self.pgbackrest("restore", *options, "--log-level-console=warn")
        self.recovered(place)

    def restore_barman(self, prefix: str) -> None:
        place, storage = self.new_cluster(), self.running.storage
        options = ["--endpoint-url", storage["endpoint"], "--addressing-style", "path"]
        target = [f"s3://{storage['bucket']}/{prefix}", "bench"]
        environment = self.barman_environment()
        listed = self.as_owner(barman("backup-list"), "--format=json", *options, *target, **environment)
        (backup,) = json.loads(listed)["backups_list"]
        self.as_owner(barman("restore"), *options, *target, backup["backup_id"], place, **environment)
        words = " ".join([barman("wal-restore"), *options, *target])
        settings = (
            f"restore_command = '{words} %f %p'\nrecovery_target = 'immediate'\nrecovery_target_action = 'promote'\n"
        )
        with open(place / "postgresql.auto.conf", "a", encoding="utf-8") as file:
            file.write(settings)
        (place / "recovery.signal").touch()
        self.recovered(place, **environment)

    def recovered(self, place: Path, **environment: str) -> None:
        """Starts a restored cluster, waits until it takes writes, and takes it away."""
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        log_file = open(self.folder / "server.log", "w", encoding="utf-8")  # noqa: SIM115 - closed with the server
        settings = {"port": port, "archive_mode": "off", "unix_socket_directories": "", "log_min_messages": "warning"}
        server = subprocess.Popen(
            [self.bin / "postgres", "-D", place, *(f"--{name}={value}" for name, value in settings.items())],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", **environment},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            user=self.owner,
            group=self.group,
            extra_groups=[],
        )
        try:
            while not self.writable(port):
                if server.poll() is not None:
                    raise RuntimeError((self.folder / "server.log").read_text(encoding="utf-8")[-3000:])
                time.sleep(0.05)
        finally:
            server.terminate()
            server.wait()
            log_file.close()
            shutil.rmtree(place)

    def writable(self, port: int) -> bool:
        try:
            connection = psycopg2.connect(
                host="127.0.0.1",
                port=port,
                user=self.database["user"],
                password=self.database["password"],
                dbname=self.database["name"],
            )
        except psycopg2.OperationalError:
            return False
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT NOT pg_is_in_recovery()")
                return cursor.fetchone() == (True,)
        finally:
            connection.close()

    def drill(self, engine: str) -> None:
        """Ours: fetched, brought up, every row compared, indexes checked, recorded."""
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        chosen = {
            "environment": f"bench {engine} {self.size:g}",
            "database": self.database,
            "scratch_directory": str(self.restores),
            "engines": [engine],
            "jobs": JOBS,
            "invariants": [],
            "application": {},
            "evidence": {},
        }
        variables = {f"restore_drill_{name}": value for name, value in chosen.items()}
        self.playbook(DRILL, {**variables, "maintenance_run": {"directory": str(run)}})
        (spool,) = (run / "spool").glob("drill@*.json")
        (action,) = json.loads(spool.read_text())["actions"]
        if action["status"] != "ok":
            raise RuntimeError(action["message"])
        self.phases = action["details"]["phases"]

    def drill_logical(self, _prefix: str) -> None:
        self.drill("logical")

    def drill_physical(self, _prefix: str) -> None:
        self.drill("pgbackrest")


def barman(command: str) -> str:
    """Path of a program of barman-cloud; it is no part of the lock: python -m pip install barman[cloud,lz4]."""
    found = shutil.which(f"barman-cloud-{command}", path=os.environ.get("BENCH_BARMAN") or None)
    if not found:
        raise FileNotFoundError(f"barman-cloud-{command} is neither in BENCH_BARMAN nor on the PATH")
    return found


BACKUPS: dict[str, Callable[[Protection, str], None]] = {
    "manual": Protection.dump_plain,
    "dump": Protection.dump_directory,
    "logical": Protection.role_logical,
    "barman": Protection.barman,
    "pgbackrest": Protection.physical,
    "physical": Protection.role_physical,
}
#: Physical ones first: the others' restores write WAL into the archive, which a drill replays to its end.
RESTORES: dict[str, Callable[[Protection, str], None]] = {
    "pgbackrest": Protection.restore_physical,
    "physical": Protection.drill_physical,
    "barman": Protection.restore_barman,
    "manual": Protection.restore_plain,
    "dump": Protection.restore_directory,
    "logical": Protection.drill_logical,
}
LABELS = {
    "manual": ("the manual's script: `pg_dump`, upload", "the manual's, corrected: download, `psql`"),
    "dump": ("`pg_dump -Fd -j`, then parallel upload", "parallel download, `pg_restore -j`"),
    "logical": ("**ours, logical: `ansible-playbook`, verified in full**", "**ours, logical: whole drill with proof**"),
    "barman": ("`barman-cloud-backup --lz4`", "`barman-cloud-restore`, started"),
    "pgbackrest": ("pgBackRest alone, full, encrypted", "`pgbackrest restore`, started"),
    "physical": (
        "**ours, physical: `ansible-playbook`, verified in full**",
        "**ours, physical: whole drill with proof**",
    ),
}


class Result:
    """What one size cost: wall and CPU in s by "backup"/"restore" and contender, bytes stored, phases of ours."""

    def __init__(self, bench: Protection) -> None:
        self.size = bench.size
        self.bytes = bench.bytes()
        self.costs: dict[tuple[str, str], list[common.Cost]] = {}
        self.stored: dict[str, int] = {}
        self.phases: dict[tuple[str, str], dict[str, float]] = {}

    def add(
        self, kind: str, name: str, bench: Protection, work: Callable[[Protection, str], None], prefix: str
    ) -> None:
        bench.phases = {}
        begun, spent = time.monotonic(), cpu()
        work(bench, prefix)
        cost = common.Cost(time.monotonic() - begun, cpu() - spent)
        self.costs.setdefault((kind, name), []).append(cost)
        if bench.phases:
            self.phases[kind, name] = bench.phases
        print(
            f"{self.size:g} GB: {kind} {name} {cost.wall:.1f} s, {cost.cpu:.1f} s CPU {bench.phases or ''}", flush=True
        )

    def wall(self, kind: str, name: str) -> float:
        return statistics.median(cost.wall for cost in self.costs[kind, name])

    def cpu(self, kind: str, name: str) -> float:
        return statistics.median(cost.cpu for cost in self.costs[kind, name])


def measure(bench: Protection, rounds: int) -> Result:
    """All backups, then all restores of them, in rounds."""
    result = Result(bench)
    for number, name in common.interleaved(list(BACKUPS), rounds):
        prefix = f"bench/{bench.size:g}/{number}/{name}"
        before = everything(bench)
        try:
            result.add("backup", name, bench, BACKUPS[name], prefix)
        except FileNotFoundError as error:
            print(f"{name} is not measured: {error}")
            continue
        result.stored[name] = everything(bench) - before
    for number, name in common.interleaved(list(RESTORES), rounds):
        if ("backup", name) in result.costs:
            result.add("restore", name, bench, RESTORES[name], f"bench/{bench.size:g}/{number}/{name}")
    return result


def everything(bench: Protection) -> int:
    """Bytes in the store."""
    pages = bench.s3.get_paginator("list_objects_v2").paginate(Bucket=bench.running.storage["bucket"])
    return sum(int(entry["Size"]) for page in pages for entry in page.get("Contents") or [])


def table(results: list[Result]) -> str:
    """The results in Markdown."""
    lines = []
    for kind, column in (("backup", 0), ("restore", 1)):
        stored = " stored MB |" if kind == "backup" else ""
        head = "".join(f" {result.size:g} GB: s | CPU s | against the manual |{stored}" for result in results)
        lines += [f"| {kind} |{head}", "|---|" + ("--:|" * (3 + bool(stored))) * len(results)]
        for name, labels in LABELS.items():
            cells = ""
            for result in results:
                if (kind, name) not in result.costs:
                    cells += " not measured | | |" + (" |" if stored else "")
                    continue
                wall, cpu_time = result.wall(kind, name), result.cpu(kind, name)
                cells += f" {wall:.1f} | {cpu_time:.1f} | {result.wall(kind, 'manual') / wall:.1f} times as fast |"
                cells += f" {result.stored[name] / 1e6:.0f} |" if stored else ""
            lines.append(f"| {labels[column]} |{cells}")
        lines.append("")
    for result in results:
        lines.append(f"- {result.size:g} GB: database of {result.bytes / 1e6:.0f} MB on disk.")
        for (kind, name), phases in result.phases.items():
            words = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in phases.items() if seconds >= 0.05)
            lines.append(f"  - ours, {name}, phases of the {'drill' if kind == 'restore' else kind} in s: {words}.")
    return "\n".join(lines)


def server() -> str:
    """The programs of the newest distribution's server that the installed pgBackRest knows."""
    given = os.environ.get("TRADINGFLOW_SANDBOX_POSTGRES")
    found = sorted(glob.glob("/usr/lib/postgresql/1[5-9]/bin"))
    if not given and not found:
        raise SystemExit(
            "The benchmark of protection needs a distribution's PostgreSQL and pgBackRest (docs/sandbox.md)."
        )
    return given or found[-1]


@contextmanager
def protected() -> Iterator[tuple[Sandbox, Path]]:
    """A sandbox on a distribution's server, set up for physical backups, and a folder."""
    os.environ["TRADINGFLOW_SANDBOX_POSTGRES"] = server()
    folder = Path(tempfile.mkdtemp(prefix="tradingflow-bench-", dir="/var/tmp"))
    try:
        with sandbox("small") as running:
            if not running.state["postgres"]["pgbackrest"]:
                raise SystemExit("The installed pgBackRest does not know this server.")
            setup = ["-m", "ansible", "playbook", "-i", "inventories/local", "playbooks/backup_setup.yml"]
            restart = ["-e", "backup_pgbackrest_restart=true"]
            environment = {**running.environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
            common.run([sys.executable, *setup, *restart], environment)
            yield running, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Measures and writes the page."""
    sizes, rounds = os.environ.get("BENCH_SIZES", "1 10"), os.environ.get("BENCH_ROUNDS", "1")
    command = f'BENCH=protection BENCH_SIZES="{sizes}" BENCH_ROUNDS={rounds} make bench'
    results = []
    with protected() as (running, folder):
        for size in sizes.split():
            bench = Protection(running, folder, float(size))
            bench.fill()
            results.append(measure(bench, int(rounds)))
            common.write("protection", command, table(results))
            bench.drop()
    print(table(results))
