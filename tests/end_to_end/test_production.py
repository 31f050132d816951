"""docs/production.md, followed from top to bottom on a Debian with systemd; then a restore that stops its units."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, Sandbox, check_out, left_out
from tests.machine import CLUSTER, Machine, machine

PAGE = ROOT / "docs/production.md"
CA_FILE = "/usr/local/share/tradingflow-store.crt"
APP = "app1.production.tradingflow.example"
DATABASE = "db1.production.tradingflow.example"
PASSWORDS = {
    "vault_tradingflow_database_password": "m4int 'word",
    "vault_tradingflow_superuser_password": 'sup3r "word',
    # Of migrations, which this page does not make.
    "vault_tradingflow_owner_password": "0wner's word",
    "vault_tradingflow_pgbackrest_cipher_pass": 'c1pher $word "x"',
    "vault_tradingflow_files_password": "f1les w'rd",
}

UNIT = """\
[Unit]
Description=The sample application
After=postgresql.service

[Service]
User=postgres
WorkingDirectory=/opt/tradingflow/app
Environment=TRADINGFLOW_DATABASE_URL=postgresql+psycopg2:///tradingflow?host=/run/postgresql&port={database_port}
Environment=TRADINGFLOW_PORT={port} TRADINGFLOW_DATA_DIR=/opt/tradingflow/data TRADINGFLOW_VERSION=1.2.3
Environment=TRADINGFLOW_LOG_FILE=/var/log/tradingflow/app.log TRADINGFLOW_IMAGE=none
ExecStartPre=/usr/bin/install -m 0640 -g adm /dev/null /var/log/tradingflow/app.log
ExecStart=/usr/bin/python3 -m sandbox.app
SupplementaryGroups=adm
LogsDirectoryMode=0755
LogsDirectory=tradingflow

[Install]
WantedBy=multi-user.target
"""


@dataclass
class Block:
    """A fenced block of the page, and the section it stands in."""

    section: str
    kind: str
    text: str


def blocks() -> list[Block]:
    found: list[Block] = []
    lines: list[str] = []
    section, kind = "", None
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            if kind is not None:
                found.append(Block(section, kind, "\n".join(lines)))
            kind, lines = (line[3:] if kind is None else None), []
        elif kind is not None:
            lines.append(line)
        elif line.startswith("#"):
            section = line.lstrip("# ")
    return found


class Runner:
    """A checkout of its own, and a shell in it whose variables stay from block to block."""

    def __init__(self, folder: Path, made: Machine, platform: Sandbox) -> None:
        self.checkout = folder / "tradingflow maintenance"
        self.home = folder / "home"
        self.home.mkdir()
        self.machine, self.platform = made, platform
        check_out(self.checkout)
        # The environment is the tests' own; the fresh checkout's test makes one.
        (self.checkout / ".venv").symlink_to(ROOT / ".venv")
        for path in (self.checkout / "requirements").iterdir():
            os.utime(path, (0, 0))
        self.variables = folder / "variables"
        self.variables.write_text(f"export HOME={self.home} ANSIBLE_NOCOLOR=1\n", encoding="utf-8")
        self.said = ""

    def shell(self, text: str) -> str:
        """Runs a block; secrets in its output are a failure."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f". '{self.variables}'\n{text}\nexport -p >'{self.variables}'"],
            cwd=self.checkout,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1800,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        for secret in (*PASSWORDS.values(), self.platform.state["s3"]["secret_key"]):
            assert secret not in done.stdout
        return done.stdout

    def exchange(self, path: str, *pairs: tuple[str, str]) -> None:
        """What an operator puts in place of the examples."""
        file = self.checkout / "inventories/mine" / path
        text = file.read_text(encoding="utf-8")
        for old, new in pairs:
            assert old in text, f"{path} has no {old}"
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")

    def fill_inventory(self) -> None:
        s3, ports = self.platform.state["s3"], self.machine.ports
        elsewhere = [f"endpoint: {s3['endpoint']}", f"ca_file: {CA_FILE}"]
        absent = [f"        {name}.production.tradingflow.example:\n" for name in ("app2", "monitor1")]
        self.exchange("hosts", *((line, "") for line in absent))
        self.exchange(
            "group_vars/all/main.yml",
            (f"  host: {DATABASE}\n  port: 5432\n", f"  host: 127.0.0.1\n  port: {ports['postgres']}\n"),
            ("sslmode: verify-full\n  sslrootcert: /etc/ssl/certs/ca-certificates.crt\n", "sslmode: require\n"),
            (
                "  bucket: tradingflow-backups-production\n  region: eu-central-1\n",
                f"  bucket: {s3['bucket']}\n  region: {s3['region']}\n  {elsewhere[0]}\n  {elsewhere[1]}\n"
                "  addressing_style: path\n",
            ),
            (
                '    path: "pgbackrest/{{ tradingflow_environment }}"\n',
                f'    path: "pgbackrest/{{{{ tradingflow_environment }}}}"\n    {elsewhere[0]}\n    {elsewhere[1]}\n',
            ),
            ("      the text of evidence.pub (docs/evidence.md)\n", self._public_key()),
            (f"https://{APP}:3000", f"http://127.0.0.1:{ports['application']}"),
            ("    - https://app2.production.tradingflow.example:3000\n", ""),
            ("health_check_application_replicas: 2", "health_check_application_replicas: 1"),
            ("lock_mode: compliance\n  lock_days: 2557", "lock_mode: governance\n  lock_days: 1"),
            ("/17/", f"/{CLUSTER.split('/')[0]}/"),
            ("@17-", f"@{CLUSTER.split('/')[0]}-"),
        )
        self.exchange(
            "group_vars/tradingflow_database_hosts.yml",
            ("@17-", f"@{CLUSTER.split('/')[0]}-"),
            # It has one disk only, and is new.
            ("health_check_mounts:\n  - path: /var/lib/postgresql\n    disk_space: {warning: 60, critical: 75}\n", ""),
            ("quiet_ok: true}", "quiet_ok: true, fresh_ok: true}"),
        )
        # This machine is somebody's workplace, as in inventories/local.
        self.exchange(
            "group_vars/tradingflow_hosts.yml",
            (
                "  disk_space:",
                "  load: {warning: .inf, critical: .inf}\n  cpu_pressure: {warning: .inf, critical: .inf}\n"
                "  disk_space:",
            ),
        )
        self.exchange(
            "group_vars/tradingflow_application_hosts.yml",
            (
                "kind: journal, unit: tradingflow.service",
                "path: /var/log/tradingflow/*.log, fresh_ok: true, quiet_ok: true",
            ),
        )
        # What ~/.ssh/config would say.
        for name in (APP, DATABASE):
            file = self.checkout / f"inventories/mine/host_vars/{name}.json"
            file.parent.mkdir(exist_ok=True)
            # Both are one machine here, and its root's backups would keep each other out.
            scratch = {"backup_scratch_directory": "/tmp"} if name == DATABASE else {}
            file.write_text(json.dumps({**self.machine.variables, **scratch}), encoding="utf-8")

    def _public_key(self) -> str:
        (key,) = re.findall(r"^-----BEGIN PUBLIC KEY-----\n(.*)\n-----END", self.said, re.MULTILINE)
        return f"      {key}\n"

    def fill_vault(self) -> None:
        s3 = self.platform.state["s3"]
        secrets = {
            **PASSWORDS,
            "vault_tradingflow_storage_access_key": s3["access_key"],
            "vault_tradingflow_storage_secret_key": s3["secret_key"],
            # Of another store, which no run here asks.
            "vault_tradingflow_staging_ledger_access_key": "st4ging's reader",
            "vault_tradingflow_staging_ledger_secret_key": "st4ging's s3cret",
            "vault_tradingflow_evidence_signing_key": (self.checkout / "evidence.key").read_text(encoding="utf-8"),
        }
        path = self.checkout / "inventories/mine/group_vars/all/vault.yml"
        assert set(re.findall(r"^vault_\w+", path.read_text(encoding="utf-8"), re.MULTILINE)) == set(secrets)
        path.write_text(json.dumps(secrets), encoding="utf-8")

    def sql(self, text: str) -> None:
        for mark, secret in (("CHANGE-ME-TOO", "superuser"), ("CHANGE-ME", "database")):
            text = text.replace(f"'{mark}'", f"$${PASSWORDS[f'vault_tradingflow_{secret}_password']}$$")
        assert "CHANGE-ME" not in text
        self.machine.sql(text)

    def units(self, text: str) -> None:
        """As systemd reads them; what they start is looked for in the checkout."""
        name = "tradingflow-daily.timer" if "[Timer]" in text else "tradingflow@daily.service"
        place = self.checkout / "units"
        place.mkdir(exist_ok=True)
        (place / name).write_text(
            text.replace("/opt/tradingflow-maintenance", str(self.checkout).replace(" ", r"\x20")), encoding="utf-8"
        )
        if name.endswith(".timer"):
            done = subprocess.run(
                ["systemd-analyze", "verify", "--recursive-errors=no", name],
                cwd=place,
                env={**os.environ, "SYSTEMD_UNIT_PATH": f"{place}:"},
                capture_output=True,
                text=True,
            )
            assert (done.returncode, done.stderr) == (0, "")

    def follow(self, block: Block) -> None:
        """Does what the page says there, and what it says around it."""
        if block.kind == "sh":
            self.said += self.shell(block.text)
            if "vault.yml.example" in block.text:
                self.fill_inventory()
                self.fill_vault()
        elif block.kind == "sql":
            self.sql(block.text)
        elif block.kind == "ini":
            self.units(block.text)


def start_application(made: Machine, platform: Sandbox) -> None:
    """The sample application as a unit, on a copy of the sandbox's database."""
    made.fill(platform)
    library = importlib.util.find_spec("sqlalchemy")
    assert library
    assert library.origin
    packages = Path(library.origin).parent.parent
    command: list[str | Path] = [
        "tar",
        "-chf",
        "-",
        "--exclude=__pycache__",
        "-C",
        ROOT,
        "sandbox/__init__.py",
        "sandbox/app",
    ]
    command += ["-C", packages, "sqlalchemy", "typing_extensions.py"]
    packed = subprocess.run(command, check=True, capture_output=True).stdout
    made.run(
        "mkdir -p /opt/tradingflow/app /opt/tradingflow/data/models; echo weights >/opt/tradingflow/data/models/one"
    )
    made.run("base64 -d | tar -C /opt/tradingflow/app -xf -", text=b64encode(packed).decode())
    unit = UNIT.format(database_port=made.ports["postgres"], port=made.ports["application"])
    made.run("cat >/etc/systemd/system/tradingflow.service", text=unit)
    made.run(
        "chown -R postgres: /opt/tradingflow && systemctl daemon-reload && systemctl enable --now tradingflow.service"
    )


@pytest.fixture(scope="module")
def runner(platform: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    if not shutil.which("systemd-analyze"):
        left_out("apt-get install systemd")
    ca = Path(CA_FILE)
    text = Path(platform.state["s3"]["ca_file"]).read_text(encoding="utf-8")
    made = machine({CA_FILE.lstrip("/"): text}, more_ports=["application"])
    ca.write_text(text, encoding="utf-8")
    try:
        with made as host:
            start_application(host, platform)
            yield Runner(tmp_path_factory.mktemp("runner"), host, platform)
    finally:
        ca.unlink()


def test_page_from_top_to_bottom(runner: Runner) -> None:
    for block in blocks():
        if block.section != "An application in Kubernetes":
            runner.follow(block)
    report = json.loads((runner.checkout / "artifacts/daily/latest/report.json").read_text(encoding="utf-8"))
    assert {check["id"]: check["message"] for check in report["checks"] if check["status"] != "ok"} == {}
    assert {check["host"] for check in report["checks"]} == {APP, DATABASE, "localhost"}
    drill = json.loads((runner.checkout / "artifacts/drill/latest/report.json").read_text(encoding="utf-8"))
    assert {"drill.digests", "drill.digests:pgbackrest"} <= {check["id"] for check in drill["checks"]}
    restore = sorted((runner.checkout / "artifacts/restore").glob("*/report.json"))[-1]
    planned = {check["id"]: check["status"] for check in json.loads(restore.read_text(encoding="utf-8"))["checks"]}
    refused = {id for id, status in planned.items() if status == "critical"}
    assert refused == {"restore.refused:confirmation"}


def test_restore_stops_and_starts_the_units(runner: Runner) -> None:
    host = runner.machine
    before = host.sql("SELECT count(*) FROM executions")
    started = "systemctl show -P ExecMainStartTimestampMonotonic tradingflow.service"
    first = host.run(started)
    host.sql("DELETE FROM executions")
    runner.shell("ansible-playbook playbooks/restore.yml -e restore_confirm=production/tradingflow")
    assert host.sql("SELECT count(*) FROM executions") == before != "0"
    assert host.run(started) != first
    assert host.run("systemctl is-active tradingflow.service").strip() == "active"
