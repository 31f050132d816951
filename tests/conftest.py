"""Fixtures of all tests. ``platform`` is a small sandbox of the tests' own, apart from the operator's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import psycopg2
import pytest

from tests import control, ready

pytest_plugins = ["tests.times"]

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = ROOT / "collections/ansible_collections/tradingflow/maintenance"
sys.path.insert(0, str(ROOT / "collections"))
sys.path.insert(0, str(ROOT))

# Workers choose ports without knowing of each other, and use them only later: each has its own to choose from.
if (worker := os.environ.get("PYTEST_XDIST_WORKER", "")).removeprefix("gw").isdecimal():
    _first = 20000 + int(worker.removeprefix("gw")) % 12 * 1000
    os.environ["TRADINGFLOW_SANDBOX_PORTS"] = f"{_first}-{_first + 999}"


@dataclass
class Sandbox:
    """A running sandbox.

    :param state: the parsed sandbox.json
    :param environment: variables under which ``python -m sandbox`` and inventories/local find it
    :param file: sandbox.json
    :param control: a program that starts and stops its services like ``python -m sandbox``, see control.py
    """

    state: dict[str, Any]
    environment: dict[str, str]
    file: Path | None = None
    control: str | None = None

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs ``python -m sandbox ARGUMENTS``."""
        cheap = self.control and arguments[0] in control.COMMANDS
        program = [str(self.control)] if cheap else [sys.executable, "-m", "sandbox"]
        return subprocess.run(
            [*program, *arguments],
            cwd=ROOT,
            env=self.environment,
            check=check,
            capture_output=True,
            text=True,
            timeout=600,
        )

    @property
    def current(self) -> dict[str, Any]:
        """The state as it is now, read in this process: a new one costs more than most tests."""
        assert self.file
        state: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        return state

    @property
    def database(self) -> dict[str, Any]:
        """The option "database" of the modules, as the maintenance user."""
        postgres = self.state["postgres"]
        return {
            "host": postgres["host"],
            "port": postgres["port"],
            "name": postgres["database"],
            "user": postgres["maintenance_user"],
            "password": postgres["maintenance_password"],
            "sslmode": "disable",
            "connect_timeout": 5,
            "statement_timeout": 60,
        }

    def connect(self, user: str, database: str | None = None) -> Any:
        """A psycopg2 connection as "superuser" or "owner", by default to the platform's database."""
        postgres = self.state["postgres"]
        return psycopg2.connect(
            host=postgres["host"],
            port=postgres["port"],
            dbname=database or postgres["database"],
            user=postgres[user],
            password=postgres[f"{user}_password"],
        )

    def sql(self, user: str, statement: str, database: str | None = None) -> list[Any]:
        """The rows of a statement that is carried out at once, as for connect()."""
        connection = self.connect(user, database)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    @property
    def storage(self) -> dict[str, Any]:
        """The option "storage" of the modules."""
        s3 = self.state["s3"]
        return {
            "endpoint": s3["endpoint"],
            "region": s3["region"],
            "bucket": s3["bucket"],
            "access_key": s3["access_key"],
            "secret_key": s3["secret_key"],
            "ca_file": s3["ca_file"],
            "prefix": "",
            "addressing_style": "path",
            "connect_timeout": 5,
            "read_timeout": 60,
            "max_attempts": 2,
        }


def left_out(reason: str) -> NoReturn:
    """Leaves a test out with a reason; a failure where nothing may be left out (REQUIRE_ALL=1)."""
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(f"REQUIRE_ALL=1, but: {reason}")
    pytest.skip(reason)


def check_out(folder: Path) -> None:
    """Copies the project's files, as they are here, into a folder that it makes."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink() or (ROOT / name).exists():
            shutil.copy2(ROOT / name, target, follow_symlinks=False)


@pytest.fixture(scope="session")
def platform() -> Iterator[Sandbox]:
    """A small sandbox, up for the whole session; tests put back what they change in it."""
    with sandbox("small") as running:
        yield running


class sandbox:
    """Context manager: a sandbox of the given size, gone at the end.

    :param variables: more of its environment
    :param place: the folder for its own, see places.py
    """

    def __init__(self, size: str, variables: dict[str, str] | None = None, place: str = "/var/tmp") -> None:
        self.size = size
        self.place = place
        self.variables = variables or {}

    def __enter__(self) -> Sandbox:
        self.folder = Path(tempfile.mkdtemp(prefix="tradingflow-test-", dir=self.place))
        environment = {
            **os.environ,
            "TRADINGFLOW_SANDBOX_STATE": str(self.folder / "state"),
            "TRADINGFLOW_SANDBOX_ROOT": str(self.folder / "root"),
            **self.variables,
        }
        # PostgreSQL runs as another user there when the tests run as root.
        self.folder.chmod(0o755)
        self.running = Sandbox({}, environment)
        done = self.running("up", "--size", self.size, check=False)
        if done.returncode:
            self.__exit__()
            pytest.fail(f"The sandbox did not start:\n{done.stdout}\n{done.stderr}")
        self.running.file = Path(self.running("path").stdout.strip())
        self.running.state = self.running.current
        return self.running

    def __exit__(self, *_: object) -> None:
        self.running("down", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Playbook:
    """A finished ansible-playbook.

    :param output: stdout and stderr together
    """

    returncode: int
    output: str
    artifacts: Path

    def report(self, name: str = "daily") -> dict[str, Any]:
        """The newest report of a playbook, be it a whole run or a partial one."""
        path = max(path for path in (self.artifacts / name).glob("2*/report.json"))
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return report


def _command(
    artifacts: Path, name: str, *arguments: str, inventory: str | Path = ROOT / "inventories/local"
) -> list[str]:
    """The arguments of ``ansible-playbook``, from the checkout's root."""
    return [
        *("-i", str(inventory), f"playbooks/{name}.yml"),
        *("-e", f"tradingflow_artifacts_dir={artifacts}"),
        *arguments,
    ]


def _known(environment: dict[str, str], inventory: Path) -> list[str]:
    """Variables that say once what inventories/local would look up at each of its hundreds of uses."""
    state = Path(environment["TRADINGFLOW_SANDBOX_STATE"])
    if not (inventory / "group_vars").is_dir() or not (state / "sandbox.json").exists():
        return []
    known = state.with_name("known.json")
    with tempfile.NamedTemporaryFile("w", dir=known.parent, delete=False, encoding="utf-8") as file:
        file.write(f'{{"local_sandbox": {(state / "sandbox.json").read_text(encoding="utf-8")}}}')
    # Another playbook may read it right now.
    Path(file.name).replace(known)
    return ["-e", f"@{known}"]


def play_on(
    platform: Sandbox,
    artifacts: Path,
    name: str,
    *arguments: str,
    inventory: str | Path = ROOT / "inventories/local",
    environment: dict[str, str] | None = None,
    timeout: int = 300,
) -> Playbook:
    """Runs a playbook on a sandbox."""
    variables = {**platform.environment, **(environment or {})}
    command = _command(artifacts, name, *_known(variables, Path(inventory)), *arguments, inventory=inventory)
    done = ready.run("playbook", command, variables, timeout)
    return Playbook(done.returncode, done.stdout, artifacts)


def start_on(
    platform: Sandbox,
    artifacts: Path,
    name: str,
    *arguments: str,
    inventory: str | Path = ROOT / "inventories/local",
) -> subprocess.Popen[str]:
    """Starts a playbook on a sandbox, in a session of its own; its output is in stdout."""
    known = _known(platform.environment, Path(inventory))
    command = _command(artifacts, name, *known, *arguments, inventory=inventory)
    return subprocess.Popen(
        [sys.executable, "-c", "from tests import warm; warm.program()", *command],
        cwd=ROOT,
        env=platform.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def play(platform: Sandbox, tmp_path: Path) -> Callable[..., Playbook]:
    """Runs a playbook on the test's sandbox: play("daily", "--tags", "health"). Artifacts go to tmp_path.

    Logs count from the test's own beginning: what earlier tests did to the platform is in them too.
    """
    begun = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def run(name: str, *arguments: str, **how: Any) -> Playbook:
        since = ("-e", f"health_check_log_since={begun}")
        return play_on(platform, tmp_path / "artifacts", name, *since, *arguments, **how)

    return run
