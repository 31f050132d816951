"""A managed host to run playbooks against over SSH: a real Debian with systemd, see debian.sh."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox.processes import free_ports
from tests.conftest import ROOT, Sandbox, left_out

SCRIPT = Path(__file__).with_name("debian.sh")
NAME = "db1"
#: The machine's cluster, its version and name, as in Debian's paths.
CLUSTER = "15/main"


class Machine:
    """A running Debian.

    :param ports: on loopback, of ssh and postgres
    """

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self.folder = folder
        self.ports = ports
        self.key = folder / "key"
        self.known = folder / "known_hosts"
        self._options = ["-F", "none", "-o", f"UserKnownHostsFile={self.known}", "-o", "StrictHostKeyChecking=yes"]

    @property
    def variables(self) -> dict[str, Any]:
        """What an inventory says of it."""
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.ports["ssh"],
            "ansible_user": "maintenance",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": " ".join(self._options),
            # A connection that outlives Ansible would keep this test's pipes open.
            "ansible_ssh_args": "-o ControlMaster=no",
        }

    def run(self, command: str, *, text: str = "", check: bool = True) -> str:
        """What a command of the shell prints, as root."""
        done = subprocess.run(
            [
                *("ssh", *self._options, "-i", str(self.key), "-p", str(self.ports["ssh"]), "-o", "ConnectTimeout=5"),
                *("maintenance@127.0.0.1", "sudo", "sh", "-euc", shlex.quote(command)),
            ],
            input=text,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def sql(self, statements: str, database: str = "tradingflow") -> str:
        """What psql prints of statements, as the server's superuser."""
        return self.run(
            f"runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -p {self.ports['postgres']} {database}",
            text=statements,
        ).strip()

    def fill(self, platform: Sandbox) -> None:
        """Makes its database "tradingflow" a copy of the sandbox's."""
        postgres = platform.state["postgres"]
        dumped = subprocess.run(
            [
                *(f"{postgres['bin_dir']}/pg_dump", "--no-owner", "--no-privileges", "-h", postgres["host"]),
                *("-p", str(postgres["port"]), "-U", postgres["superuser"], "-d", postgres["database"]),
            ],
            env={"PGPASSWORD": postgres["superuser_password"]},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        self.sql("CREATE DATABASE tradingflow", "postgres")
        # A newer server's setting, which this one does not know.
        self.sql(dumped.replace("SET transaction_timeout = 0;\n", ""))

    def up(self) -> bool:
        """Whether everything on it has started."""
        return self.run("systemctl is-system-running", check=False).strip() in ("running", "degraded")


@contextmanager
def machine(files: dict[str, str], more_ports: list[str] | None = None) -> Iterator[Machine]:
    """Boots one, and ends it.

    :param files: more of its files, by path
    :param more_ports: names of more ports on loopback that are kept free for it
    """
    if os.getuid() != 0:
        left_out("a Debian host needs root")
    for program in ("debootstrap", "zstd", "ssh", "ssh-keygen", "unshare", "setpriv"):
        if not shutil.which(program):
            left_out(f"a Debian host needs {program}: apt-get install debootstrap openssh-client util-linux zstd")
    archive = _script("archive").strip()
    _script("build", archive)
    with tempfile.TemporaryDirectory(prefix="tradingflow-machine-", dir="/var/tmp") as name:
        folder = Path(name)
        made = Machine(folder, free_ports(["ssh", "postgres", *(more_ports or [])], {}))
        _write(made, files)
        process = subprocess.Popen(["bash", SCRIPT, "boot", archive, folder], cwd=ROOT, start_new_session=True)
        try:
            deadline = time.monotonic() + 60
            while not made.up():
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"The Debian host did not start:\n{(folder / 'log').read_text()}")
                time.sleep(0.2)
            yield made
        finally:
            # With it goes the first process of its namespaces, and with that one all others.
            process.send_signal(signal.SIGKILL)
            process.wait()
            for hierarchy in ("systemd", "unified", "."):
                _remove_group(Path("/sys/fs/cgroup") / hierarchy / folder.name)


def _script(*arguments: str) -> str:
    done = subprocess.run(["bash", SCRIPT, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=900)
    if done.returncode:
        pytest.fail(f"debian.sh {arguments[0]}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return done.stdout


def _write(made: Machine, files: dict[str, str]) -> None:
    """Its own keys, ports and names, over the image."""
    root = made.folder / "files"
    for path, kind in ((made.key, "client"), (root / "etc/ssh/ssh_host_ed25519_key", "host")):
        path.parent.mkdir(parents=True, exist_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", kind, "-f", str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    public = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="utf-8")
    made.known.write_text(f"[127.0.0.1]:{made.ports['ssh']} {public}", encoding="utf-8")
    wanted = {
        # The name is not among them, as on many hosts: sudo then complains at the beginning of each answer.
        "etc/hosts": "127.0.0.1 localhost\n",
        "etc/hostname": f"{NAME}\n",
        "etc/ssh/sshd_config.d/test.conf": f"ListenAddress 127.0.0.1\nPort {made.ports['ssh']}\nUseDNS no\n",
        "home/maintenance/.ssh/authorized_keys": made.key.with_suffix(".pub").read_text(encoding="utf-8"),
        f"etc/postgresql/{CLUSTER}/conf.d/test.conf": f"port = {made.ports['postgres']}\n",
        **files,
    }
    for name, text in wanted.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "home/maintenance/.ssh").chmod(0o700)
    (root / "etc/ssh/ssh_host_ed25519_key").chmod(0o600)


def _remove_group(group: Path) -> None:
    """Removes a control group, once the kernel has done with its processes."""
    deadline = time.monotonic() + 10
    while group.is_dir():
        for path in [*sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True), group]:
            with suppress(OSError):
                path.rmdir()
        if group.is_dir():
            assert time.monotonic() < deadline, f"{group} is still in use"
            time.sleep(0.1)


def inventory(made: Machine, state: dict[str, Any], ca_file: str, **variables: Any) -> str:
    """An inventory as JSON: the runner is this machine, everything else is the Debian, as its maintenance user.

    :param state: of a sandbox, whose store is used
    :param ca_file: of the store's CA, on either machine
    """
    s3 = {name: state["s3"][name] for name in ("endpoint", "region", "bucket", "access_key", "secret_key")}
    groups = ("hosts", "backup", "pgbackrest", "drill", "restore", "patching")
    return json.dumps(
        {
            "all": {
                "hosts": {NAME: made.variables},
                "vars": {
                    "tradingflow_environment": "machine",
                    "tradingflow_storage": {**s3, "ca_file": ca_file, "addressing_style": "path"},
                    "tradingflow_evidence": {
                        "signing_key_file": state["evidence"]["signing_key_file"],
                        "trusted_key_files": [state["evidence"]["public_key_file"]],
                        "lock_mode": "governance",
                        "lock_days": 1,
                    },
                    **variables,
                },
                "children": {
                    "tradingflow_runner": {
                        "hosts": {
                            "localhost": {
                                "ansible_connection": "local",
                                "ansible_python_interpreter": "{{ ansible_playbook_python }}",
                            }
                        }
                    },
                    **{f"tradingflow_{group}": {"hosts": {NAME: {}}} for group in groups},
                },
            }
        }
    )
