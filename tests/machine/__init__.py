"""A managed host to run playbooks against over SSH: a real Debian with systemd, see sandbox/hosts."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.hosts import machine as machines
from sandbox.processes import free_ports
from tests.conftest import ROOT, Sandbox, left_out

NAME = "db1"
#: The machine's cluster, its version and name, as in Debian's paths.
CLUSTER = "15/main"


class Machine(machines.Machine):
    """A running Debian with a database.

    :param ports: on loopback, of ssh and postgres
    """

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        super().__init__(NAME, folder, ports)

    @property
    def variables(self) -> dict[str, Any]:
        """What an inventory says of it."""
        # A connection that outlives Ansible would keep this test's pipes open.
        return {**super().variables, "ansible_ssh_args": "-o ControlMaster=no"}

    def run(self, command: str, *, text: str = "", check: bool = True) -> str:
        """What a command of the shell prints, as root."""
        done = self.ssh(command, text=text)
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


@contextmanager
def machine(files: dict[str, str], more_ports: list[str] | None = None) -> Iterator[Machine]:
    """Boots one, and ends it.

    :param files: more of its files, by path
    :param more_ports: names of more ports on loopback that are kept free for it
    """
    if (why := machines.missing()) is not None:
        left_out(why)
    archive = machines.image()
    with tempfile.TemporaryDirectory(prefix="tradingflow-machine-", dir="/var/tmp") as name:
        folder = Path(name)
        made = Machine(folder, free_ports(["ssh", "postgres", *(more_ports or [])], {}))
        made.write({f"etc/postgresql/{CLUSTER}/conf.d/test.conf": f"port = {made.ports['postgres']}\n", **files})
        # It does not outlive this process, however that ends.
        command = ["setpriv", "--pdeathsig", "KILL", *made.boot_command(archive)]
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
        try:
            deadline = time.monotonic() + 60
            while not made.up():
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"The Debian host did not start:\n{(folder / 'log').read_text()}")
                time.sleep(0.2)
            yield made
        finally:
            # With it goes the first process of its namespaces, with that one all others, and their control groups.
            process.terminate()
            process.wait(60)


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


def waited(until: Callable[[], bool], seconds: float = 300) -> None:
    """Waits for something on a host: asking is a connection each time."""
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.5)
