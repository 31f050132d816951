"""A database's host as it is elsewhere: a Debian with systemd, over SSH, as a user who may become root, its own Python.

The tests go on from one another.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Playbook, Sandbox, play_on, start_on
from tests.machine import CLUSTER, NAME, Machine, inventory, machine, waited
from tests.unit.audit_fixtures import VERIFIER

CA_FILE = "/var/tmp/tradingflow-machine-ca.crt"
SERVICE = f"postgresql@{CLUSTER.replace('/', '-')}"
PASSWORDS = {
    "tradingflow_maintenance": "m4int 'word",
    "postgres": 'sup3r "word',
    "cipher": 'c1pher $word "x"',
    "files": "f1les w'rd",
}
UNITS = "/etc/systemd/system/tradingflow-pgbackrest-machine-"
CRON = "/etc/cron.d/tradingflow-pgbackrest-machine"


class Host:
    """The machine with a platform's database on it, and the playbooks against it."""

    def __init__(self, made: Machine, platform: Sandbox, folder: Path) -> None:
        self.machine = made
        self.platform = platform
        self.artifacts = folder / "artifacts"
        self.inventory = folder / "hosts.json"
        users = "; ".join(
            f"{'ALTER' if name == 'postgres' else 'CREATE'} ROLE {name} LOGIN PASSWORD $${PASSWORDS[name]}$$"
            for name in ("tradingflow_maintenance", "postgres")
        )
        made.sql(users, "postgres")
        made.fill(platform)
        database = {"host": "127.0.0.1", "port": made.ports["postgres"], "name": "tradingflow", "sslmode": "require"}
        s3 = platform.state["s3"]
        repository = {name: s3[name] for name in ("bucket", "region", "endpoint", "access_key", "secret_key")}
        self.inventory.write_text(
            inventory(
                made,
                platform.state,
                CA_FILE,
                tradingflow_database={
                    **database,
                    "user": "tradingflow_maintenance",
                    "password": PASSWORDS["tradingflow_maintenance"],
                },
                backup_engines=["pgbackrest"],
                backup_pgbackrest_repositories=[
                    {
                        **repository,
                        "path": "pgbackrest/machine",
                        "ca_file": CA_FILE,
                        "cipher_pass": PASSWORDS["cipher"],
                    }
                ],
                backup_pgbackrest_restart_command=["systemctl", "restart", SERVICE],
                health_check_log_sources=[
                    {
                        "name": "postgresql",
                        "path": "/var/log/postgresql/postgresql-*.log",
                        "quiet_ok": True,
                        "fresh_ok": True,
                    },
                    {"name": "ssh", "kind": "journal", "unit": "ssh.service", "fresh_ok": True},
                ],
                restore_database={**database, "user": "postgres", "password": PASSWORDS["postgres"]},
                restore_cluster={
                    "data_directory": f"/var/lib/postgresql/{CLUSTER}",
                    "config_file": f"/etc/postgresql/{CLUSTER}/postgresql.conf",
                    "stop_command": ["systemctl", "stop", SERVICE],
                    "start_command": ["systemctl", "start", SERVICE],
                },
                restore_pgbackrest={"stanza": "machine"},
            ),
            encoding="utf-8",
        )

    def play(self, name: str, *arguments: str, root: bool = True, **variables: Any) -> Playbook:
        """Runs a playbook on it."""
        done = play_on(
            self.platform,
            self.artifacts,
            name,
            *(("-b",) if root else ()),
            *("-e", json.dumps(variables)),
            *arguments,
            inventory=self.inventory,
        )
        for secret in (*PASSWORDS.values(), self.platform.state["s3"]["secret_key"]):
            assert secret not in done.output
        return done

    def backups(self) -> list[str]:
        """Labels of the stanza's backups."""
        command = "runuser -u postgres -- pgbackrest --stanza=machine --output=json info"
        return [entry["label"] for entry in json.loads(self.machine.run(command))[0]["backup"]]


@pytest.fixture(scope="module")
def host(platform: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    ca = Path(CA_FILE)
    text = Path(platform.state["s3"]["ca_file"]).read_text(encoding="utf-8")
    ca.write_text(text, encoding="utf-8")
    try:
        with machine({CA_FILE.lstrip("/"): text}) as made:
            yield Host(made, platform, tmp_path_factory.mktemp("host"))
    finally:
        ca.unlink()


def steps(done: Playbook) -> list[str]:
    """What backup_setup says that it changed."""
    return re.findall(r"^ +- (.*)", done.output, re.MULTILINE)


def test_set_up(host: Host) -> None:
    refused = host.play("backup_setup", root=False)
    assert refused.returncode
    assert "ansible_become" in refused.output
    planned = host.play("backup_setup", "--check")
    assert planned.returncode == 0, planned.output
    assert "create the stanza machine" in steps(planned)
    # The first time the file's folder is not there either, and is root's.
    first = host.play("backup_setup")
    assert first.returncode == 0, first.output
    assert steps(first) == steps(planned)
    assert "Nothing is archived before the server is restarted" in " ".join(first.output.split())
    again = host.play("backup_setup")
    assert (again.returncode, steps(again)) == (0, []), again.output
    restarted = host.play("backup_setup", backup_pgbackrest_restart=True)
    assert restarted.returncode == 0, restarted.output
    assert steps(restarted) == [f"restart the server: systemctl restart {SERVICE}"]
    assert host.machine.sql("SHOW archive_mode") == "on"
    mode = host.machine.run("stat -c %a:%U /etc/pgbackrest/pgbackrest.conf").strip()
    assert mode == "600:postgres"


def test_timer_and_cron_back_up(host: Host) -> None:
    """Each by itself, within a minute of being set up; one takes the other's place."""
    timed = host.play("backup_setup", backup_pgbackrest_scheduler="timer", backup_pgbackrest_schedule={"incr": "*:*"})
    assert timed.returncode == 0, timed.output
    assert steps(timed) == [f"write {UNITS}incr.service", f"write {UNITS}incr.timer"]
    waited(lambda: len(host.backups()) == 1, 600)
    by_cron = host.play(
        "backup_setup", backup_pgbackrest_scheduler="cron", backup_pgbackrest_schedule={"diff": "* * * * *"}
    )
    assert by_cron.returncode == 0, by_cron.output
    assert steps(by_cron) == [f"remove {UNITS}incr.service", f"remove {UNITS}incr.timer", f"write {CRON}"]
    assert "tradingflow" not in host.machine.run("systemctl list-timers --all")
    waited(lambda: any(label.endswith("D") for label in host.backups()), 600)
    neither = host.play("backup_setup")
    assert (neither.returncode, steps(neither)) == (0, [f"remove {CRON}"]), neither.output
    # One that had begun by then ends first.
    waited(lambda: not host.machine.run("pgrep -f '[t]ype=.*backup' || true").strip(), 300)


#: Puts an object that must not be there yet twice, then one that must be another; with the host's own boto3.
CONDITIONS = """
import json, sys
from botocore.exceptions import ClientError
sys.path.insert(0, "/var/tmp/ours")
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage
options = json.load(sys.stdin)
s3, place = storage.client(options), {"Bucket": options["bucket"], "Key": "condition"}
for condition in ({"IfNoneMatch": "*"}, {"IfNoneMatch": "*"}, {"IfMatch": "another"}, {}):
    try:
        s3.put_object(**place, Body=b"", **condition)
        print("stored")
    except ClientError as error:
        print(storage.error_code(error))
"""


def test_older_boto3_sends_conditions(host: Host) -> None:
    """What keeps two apart, and the ledger whole, must not be lost where the library does not know it."""
    version = host.machine.run("python3 -c 'import boto3; print(boto3.__version__)'")
    assert tuple(map(int, version.split("."))) < (1, 35)
    packed = subprocess.run(
        ["tar", "-C", ROOT / "collections", "-chf", "-", "--exclude=__pycache__", "ansible_collections"],
        check=True,
        capture_output=True,
    ).stdout
    place = "/var/tmp/ours"
    host.machine.run(f"mkdir -p {place} && base64 -d | tar -C {place} -xf -", text=b64encode(packed).decode())
    host.machine.run(f"cat >{place}/conditions.py", text=CONDITIONS)
    options = {**host.platform.storage, "ca_file": CA_FILE}
    said = host.machine.run(f"python3 {place}/conditions.py", text=json.dumps(options)).split()
    assert said == ["stored", "PreconditionFailed", "PreconditionFailed", "stored"]


def test_daily(host: Host) -> None:
    done = host.play("daily", "--tags", "system,logs,backup")
    checks = {check["id"]: check for check in done.report()["checks"] if check["host"] == NAME}
    assert {check["status"] for name, check in checks.items() if name.startswith("backup.")} == {"ok"}, done.output
    assert checks["backup.verified:pgbackrest"]["status"] == "ok"
    for name in ("system.failed_units", "logs.readable:postgresql", "logs.readable:ssh"):
        assert checks[name]["status"] == "ok", checks[name]
    watched = {check["id"]: check["status"] for check in done.report()["checks"] if check["area"] == "backups"}
    # Nothing was restored yet.
    assert watched.pop("backups.proven_restore:pgbackrest") == "critical"
    assert set(watched.values()) == {"ok"}, watched


def test_trouble_is_seen(host: Host) -> None:
    """What systemd and the server's log say; and that it is over."""
    host.machine.run("systemd-run --quiet --unit=broken false")
    port = host.machine.ports["postgres"]
    host.machine.run(f"runuser -u postgres -- psql -qX -p {port} -c 'SELECT 1/0' || true")
    statuses = []
    for _run in range(2):
        checks = {check["id"]: check for check in host.play("daily", "--tags", "system,logs").report()["checks"]}
        named = ("system.failed_units", "logs.new_errors:postgresql")
        statuses.append([checks[name]["status"] for name in named])
        if _run == 0:
            assert "broken.service" in checks["system.failed_units"]["message"]
            assert "division by zero" in checks["logs.new_errors:postgresql"]["message"]
            host.machine.run("systemctl reset-failed broken")
    assert statuses == [["warning", "warning"], ["ok", "ok"]]


def test_audit(host: Host) -> None:
    """What the host logged within a few seconds, in a bundle that the verifier accepts; nothing stays on the host."""
    begin = int(time.time())
    host.machine.run("logger -t audit-test 'order 4711 cancelled, password=hunter2-is-secret'; journalctl --sync")
    # On a busy machine it may be there only by now.
    ready = int(time.time()) + 3
    waited(lambda: time.time() >= ready)
    end = int(time.time())
    done = host.play(
        "audit",
        audit_collection_from=f"{datetime.fromtimestamp(begin, UTC):%Y-%m-%dT%H:%M:%SZ}",
        audit_collection_to=f"{datetime.fromtimestamp(end, UTC):%Y-%m-%dT%H:%M:%SZ}",
        audit_collection_ledger_empty_ok=True,
        audit_collection_settle=0,
        audit_collection_database="{{ restore_database }}",
        audit_collection_tables=[{"name": "orders", "relation": "maintenance.orders", "order": ["order_id"]}],
        audit_collection_logs=[{"name": "postgresql", "path": "/var/log/postgresql/*.log", "empty_ok": True}],
    )
    checks = {check["id"]: check for check in done.report("audit")["checks"]}
    statuses = {name: check["status"] for name, check in checks.items() if name.startswith("audit.source:")}
    # A busy machine's kernel may drop messages, and the journal then says so.
    assert statuses["audit.source:db1/journal"] in ("ok", "warning"), statuses
    names = ("db1/postgresql", "db1/versions", "_platform/orders", "_platform/ledger")
    assert {statuses.get(f"audit.source:{name}") for name in names} == {"ok"}, statuses
    folder = Path(checks["audit.bundle"]["details"]["path"])
    key = host.platform.state["evidence"]["public_key_file"]
    proof = subprocess.run(
        [sys.executable, "-I", VERIFIER, "--public-key", key, "--environment", "machine", folder],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (proof.returncode, proof.stderr) == (0, ""), proof.stdout
    journal = b"".join(gzip.decompress(path.read_bytes()) for path in (folder / f"data/{NAME}/journal").iterdir())
    assert b"order 4711 cancelled" in journal
    assert b"hunter2" not in journal
    assert host.machine.run("ls -d /var/tmp/tradingflow-audit-* || true").strip() == ""


#: The application's files on this host, by its own restic.
FILES: dict[str, Any] = {
    "backup_data_directory": "/opt/tradingflow/data",
    "restore_data_directory": "/opt/tradingflow/data",
    "backup_files_engine": "restic",
    "tradingflow_files_password": PASSWORDS["files"],
}


def test_dump_and_files(host: Host) -> None:
    """With Debian's client and restic, and without the libraries that make it faster."""
    host.machine.run("mkdir -p /opt/tradingflow/data/models && echo weights >/opt/tradingflow/data/models/one")
    done = host.play("daily", "--tags", "backup", backup_engines=["logical"], **FILES)
    checks = {check["id"]: check["status"] for check in done.report()["checks"] if check["host"] == NAME}
    assert set(checks.values()) == {"ok"}, done.output


def test_drill_proves_both(host: Host) -> None:
    """As a user who is nobody in particular: a drill needs no root."""
    done = host.play("drill", root=False, restore_drill_engines=["logical", "pgbackrest"], **FILES)
    assert done.returncode == 0, done.output
    checks = {check["id"]: check["status"] for check in done.report("drill")["checks"]}
    assert {"drill.digests", "drill.digests:pgbackrest", "drill.rpo:pgbackrest"} <= checks.keys()
    assert set(checks.values()) == {"ok"}
    assert host.machine.run("cd /var/tmp/tradingflow-drill-* && find . -type f -size +0") == ""


def test_work_there_ends_when_nobody_watches(host: Host) -> None:
    """The runner is killed, and with it every sign of life: the host has nothing else to go by."""
    host.machine.sql("CREATE TABLE bulk AS SELECT i, repeat(md5(i::text), 20) t FROM generate_series(1, 100000) i")
    slow = {"backup_engines": ["logical"], "backup_bandwidth_limit": 100_000, **FILES}
    arguments = ("-b", "--tags", "backup", "-e", json.dumps(slow))
    running = start_on(host.platform, host.artifacts, "daily", *arguments, inventory=host.inventory)
    # How it ended stays in the job's own folder for whoever asks, until a later run; all else is to go.
    files = "cd /var/tmp/tradingflow-backup-0 && find . -type f ! -name lock ! -path './job-*'"
    waited(lambda: host.machine.run(files) != "", 300)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    waited(lambda: host.machine.run(files) == "", 300)
    host.machine.sql("DROP TABLE bulk")
    again = host.play("daily", "--tags", "backup", backup_engines=["logical"], **FILES)
    checks = {check["id"]: check["status"] for check in again.report()["checks"] if check["host"] == NAME}
    assert set(checks.values()) == {"ok"}, again.output


def test_dump_and_files_come_back(host: Host) -> None:
    before = host.machine.sql("SELECT count(*) FROM executions")
    host.machine.sql("DROP SCHEMA maintenance CASCADE; DELETE FROM executions")
    host.machine.run("rm -r /opt/tradingflow/data/models")
    done = host.play("restore", restore_mode="whole", restore_confirm="machine/tradingflow", **FILES)
    assert done.returncode == 0, done.output
    assert host.machine.sql("SELECT count(*) FROM executions") == before != "0"
    assert host.machine.run("cat /opt/tradingflow/data/models/one") == "weights\n"


def test_back_to_a_second(host: Host) -> None:
    """In place, by systemd, as an operator would."""
    host.machine.sql("CREATE TABLE lost (i int); INSERT INTO lost VALUES (1)")
    moment = host.machine.sql("SELECT clock_timestamp()")
    time.sleep(1)
    host.machine.sql("INSERT INTO lost VALUES (2)")
    host.machine.sql("SELECT pg_switch_wal()")
    wanted: dict[str, Any] = {
        "restore_mode": "point_in_time",
        "restore_target": moment,
        "restore_confirm": "machine/tradingflow",
    }
    planned = host.play("restore", "--check", **wanted)
    assert planned.returncode == 0, planned.output
    done = host.play("restore", **wanted)
    assert done.returncode == 0, done.output
    assert host.machine.sql("SELECT i FROM lost") == "1"
    assert host.machine.run(f"systemctl is-active {SERVICE}").strip() == "active"
    assert "main_before_" in host.machine.run("ls /var/lib/postgresql/15")
    # It archives on, on its own timeline, and the daily knows.
    after = host.play("daily", "--tags", "backup")
    assert {check["status"] for check in after.report()["checks"]} == {"ok"}, after.output
