"""Each trouble on purpose turns exactly the checks it says, and healing brings green back."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import backups, logs, system
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.reading import read
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import UNKNOWN, as_dicts
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import StorageError

from sandbox.layout import Layout, SandboxError, State, mounts_below
from sandbox.processes import alive
from sandbox.trouble import TROUBLES, heal, in_trouble, machine
from sandbox.trouble import begin as begin_trouble
from tests.conftest import ROOT, Playbook, Sandbox, left_out
from tests.integration import test_checks_on_platform
from tests.integration.trading_worker import TABLES

Play = Callable[..., Playbook]


def current(platform: Sandbox) -> dict[str, Any]:
    """The sandbox's state of now."""
    return State(layout(platform)).data


def layout(platform: Sandbox) -> Layout:
    """Where the sandbox is, as its own commands see it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TRADINGFLOW_SANDBOX_STATE", "TRADINGFLOW_SANDBOX_ROOT"):
            patch.setenv(name, platform.environment[name])
        return Layout()


def heal_all(platform: Sandbox) -> str:
    """What `heal` says. In this process: a new one costs more than most healing."""
    return "\n".join(heal(layout(platform)))


def given(spec: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """The options of an area with their defaults."""
    result = ArgumentSpecValidator(spec).validate(arguments)
    assert not result.error_messages
    validated: dict[str, Any] = result.validated_parameters
    return validated


def logged(platform: Sandbox, since: datetime, earlier: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """The checks of what the application has logged.

    :param earlier: the same of an earlier time
    """
    source = {"name": "app", "path": platform.state["app"]["log_file"], "quiet_ok": True, "fresh_ok": True}
    wanted = given(logs.LOGS_SPEC, sources=[source])
    (source,) = wanted["sources"]
    known = {
        kind: [check for check in earlier or [] if check["id"] == f"logs.{kind}:app"]
        for kind in ("errors", "new_errors")
    }
    reading = read(source, since.strftime("%Y-%m-%dT%H:%M:%SZ"))
    return as_dicts(logs.judged(reading, source, wanted, known))


def measure(platform: Sandbox) -> dict[str, str]:
    """Status by check, of all areas that a trouble can touch; of the host only its disks."""
    found = {id: check.status for id, check in test_checks_on_platform.measure(platform).items()}
    host = given(system.SYSTEM_SPEC, mounts=current(platform).get("mounts", []))
    found |= {check.id: check.status for check in system.measure(host) if "small-disk" in check.id}
    quick = {**platform.storage, "connect_timeout": 30, "max_attempts": 1}
    never = {"proven_restore": {"warning": math.inf, "critical": math.inf}}
    keys = {"trusted_key_files": [platform.state["evidence"]["public_key_file"]]}
    wanted = given(backups.CHECKS_SPEC, storage=quick, environment_name="local", thresholds=never, evidence=keys)
    try:
        found |= {check.id: check.status for check in backups.measure(wanted)}
    except StorageError:
        found["backups.measured"] = UNKNOWN
    return found


def bad(found: dict[str, str]) -> dict[str, str]:
    return {id: status for id, status in found.items() if status != "ok"}


def assert_green(platform: Sandbox) -> None:
    assert bad(measure(platform)) == {}


def assert_as_said(turns: dict[str, str], found: dict[str, str]) -> None:
    """Exactly what a trouble says is not ok."""
    expected = {id: status for id in found if (status := in_trouble(turns, id))}
    whole = {key[:-1] for key in turns if key.endswith(".*")}
    named = [key for key in turns if not key.endswith(".*")]
    seen = bad(found)
    assert {id: status for id, status in seen.items() if in_trouble(turns, id) != status} == {}, seen
    for key in named:
        assert [id.partition(":")[0] for id in seen].count(key) == 1, (key, seen)
    for area in whole:
        rest = {id for id in expected if id.startswith(area)}
        assert rest, found
        assert rest <= set(seen), seen


@pytest.fixture(scope="module")
def recovery_point(platform: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One in the environment of inventories/local."""
    back_up(platform, tmp_path_factory.mktemp("scratch"))


def back_up(platform: Sandbox, scratch: Path) -> str:
    """Makes a recovery point and records it; gives its id."""
    made = engine.create(
        {
            **{name: spec.get("default") for name, spec in options.SPEC.items()},
            "environment_name": "local",
            "database": platform.database,
            "storage": platform.storage,
            "application": {"name": "tradingflow", "version": "1.2.3", "image": None},
            "pg_bin_dir": platform.state["postgres"]["bin_dir"],
            "scratch_directory": str(scratch),
            "verify": "none",
        },
        Progress(),
    )
    id = str(made["recovery_point"]["id"])
    ledger.append(
        *(platform.storage, "local", "backup"),
        actor="ada",
        run_id=id,
        subjects=[{"name": made["key"], "digest": {"sha256": made["sha256"]}}],
        content={"id": id, "verified": True},
        signing_key=platform.state["evidence"]["signing_key_file"],
    )
    return id


@pytest.fixture
def trouble(platform: Sandbox, recovery_point: None) -> Iterator[Callable[[str], str]]:
    """trouble(name) brings the sandbox into it, and says what the command said; it is healed in any case."""

    def begin(name: str) -> str:
        try:
            return begin_trouble(layout(platform), name)
        except SandboxError as error:
            if name == "disk-full":
                left_out(str(error))
            raise

    try:
        yield begin
    finally:
        heal_all(platform)


def books(platform: Sandbox) -> dict[str, Any]:
    """A digest of each table of the books."""
    connection = platform.connect("superuser")
    with connection, connection.cursor() as cursor:
        digests = {}
        for table in TABLES:
            cursor.execute(f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} t")
            digests[table] = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'sandbox_trouble'")
        digests["schema of its own"] = cursor.fetchone()
    connection.close()
    return digests


@pytest.mark.parametrize("name", TROUBLES)
def test_turns_exactly_its_checks(platform: Sandbox, trouble: Callable[[str], str], name: str) -> None:
    begun = datetime.now(UTC)
    before = logged(platform, begun)
    assert TROUBLES[name].does in trouble(name)
    found = measure(platform)
    # What is said of logs is of what came since; an outage leaves lines there too, of which nothing is said here.
    if "logs.errors" in TROUBLES[name].turns:
        found |= {check["id"]: check["status"] for check in logged(platform, begun, before)}
    assert_as_said(dict(TROUBLES[name].turns), found)
    assert TROUBLES[name].undone in heal_all(platform)
    assert_green(platform)


def test_a_damaged_point_is_seen_after_the_next_backup_too(
    platform: Sandbox, trouble: Callable[[str], str], tmp_path: Path
) -> None:
    trouble("damaged-backup")
    back_up(platform, tmp_path)
    assert bad(measure(platform)) == {"backups.kept_intact": "critical"}
    heal_all(platform)
    assert_green(platform)


def test_error_burst_is_in_the_applications_own_log(platform: Sandbox, trouble: Callable[[str], str]) -> None:
    log = Path(platform.state["app"]["log_file"])
    before = len(log.read_text(encoding="utf-8"))
    trouble("error-burst")
    heal_all(platform)
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8")[before:].splitlines()]
    errors = [line for line in lines if line["event"] == "order.failed"]
    assert len(errors) == 1200
    assert {(line["level"], line["instance"]) for line in errors} == {("error", "tradingflow-1")}
    assert not (Path(platform.state["data_root"]) / "app/trouble.json").exists()


#: Not those that take the ground from under others: they are added below.
TOGETHER = [name for name in TROUBLES if name not in ("database-down", "storage-down")]


def test_many_at_once_and_every_row_as_it_was(platform: Sandbox, trouble: Callable[[str], str]) -> None:
    before = books(platform)
    for name in TOGETHER:
        if name != "disk-full" or os.getuid() == 0:
            trouble(name)
    trouble("storage-down")
    trouble("database-down")
    # Nobody may end it by the way: not the start that every `make daily` begins with.
    up = platform("up").stdout
    assert [line.split()[0] for line in up.splitlines() if "is left as it is" in line] == ["postgres", "s3", "app"]
    assert "since" in platform("trouble", "--list").stdout
    assert "in trouble on purpose: stuck-transactions, " in platform("status", check=False).stdout
    assert "already" in trouble("database-down")
    state = current(platform)
    holder = state["troubles"]["blocked-sessions"]
    assert alive(holder)
    healed = platform("heal").stdout
    assert all(f"{name}: {TROUBLES[name].undone}" in healed for name in state["troubles"])
    assert not alive(holder)
    assert not current(platform)["troubles"]
    assert "no trouble" in platform("heal").stdout
    assert books(platform) == before
    assert before["schema of its own"] == (0,)
    assert_green(platform)


@pytest.mark.parametrize(
    ("command", "name"),
    [("trouble", "blocked-sessions"), ("trouble", "stale-backup"), ("heal", "stale-venue-statement")],
)
def test_killed_half_way(platform: Sandbox, trouble: Callable[[str], str], command: str, name: str) -> None:
    """Killed at a moment that each run chooses anew: heal ends it whatever was done."""
    before = books(platform)
    if command == "heal":
        trouble(name)
    arguments = [command] + [name] * (command == "trouble")
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", *arguments], cwd=ROOT, env=platform.environment, stdout=subprocess.DEVNULL
    )
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        record = current(platform).get("troubles", {}).get(name)
        if (record is not None) == (command == "trouble"):
            time.sleep(os.getpid() % 5 / 100)
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    trouble(name)
    assert_as_said(dict(TROUBLES[name].turns), measure(platform))
    heal_all(platform)
    assert books(platform) == before
    assert_green(platform)


def test_what_cannot_be_healed_now_is_kept(platform: Sandbox, trouble: Callable[[str], str]) -> None:
    trouble("unhealthy-app")
    trouble("position-break")
    platform("stop", "postgres")
    try:
        done = platform("heal", check=False)
    finally:
        platform("start", "postgres")
    assert done.returncode == 1
    assert "position-break: connection to server" in done.stderr
    assert "run heal again" in done.stderr
    assert list(current(platform)["troubles"]) == ["position-break"]
    assert heal_all(platform) == f"position-break: {TROUBLES['position-break'].undone}"
    assert_green(platform)


def test_what_makes_no_sense_is_said(platform: Sandbox, tmp_path: Path) -> None:
    done = platform("trouble", "bad-luck", check=False)
    assert done.returncode == 1
    assert "no trouble 'bad-luck', only: stuck-transactions" in done.stderr
    elsewhere = {"TRADINGFLOW_SANDBOX_STATE": str(tmp_path / "state"), "TRADINGFLOW_SANDBOX_ROOT": str(tmp_path / "r")}
    nothing = Sandbox({}, {**os.environ, **elsewhere})
    done = nothing("trouble", "dead-strategy", check=False)
    assert done.returncode == 1
    assert done.stderr == "sandbox: There is no sandbox. Run: python -m sandbox up\n"
    assert nothing("heal").stdout == "There is no trouble.\n"


def test_without_root_no_disk_is_filled(platform: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "mounts_below", lambda _root: set())
    monkeypatch.setattr("os.getuid", lambda: 1000)
    with pytest.raises(SandboxError, match="by root only"):
        begin_trouble(layout(platform), "disk-full")
    assert not current(platform).get("troubles")


def test_a_disk_goes_with_its_sandbox(platform: Sandbox, tmp_path: Path) -> None:
    if os.getuid():
        left_out("only root can mount a file system")
    alone = layout(platform)
    alone.root = tmp_path / "a b"
    alone.prepare_root()
    (alone.root / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", alone.root / "disk"], check=True)
    assert mounts_below(alone.root) == {alone.root / "disk"}
    alone.remove_root()
    assert not alone.root.exists()
    assert not mounts_below(tmp_path)


def test_by_make_and_by_the_playbook(platform: Sandbox, trouble: Callable[[str], str], play: Play) -> None:
    def make(*arguments: str) -> str:
        return subprocess.run(
            ["make", *arguments, f"PYTHON={sys.executable}"],
            cwd=ROOT,
            env=platform.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=900,
        ).stdout

    names = ["dead-strategy", "limit-breach", "invalid-index", *(["disk-full"] if os.getuid() == 0 else [])]
    assert all(f"\n{name}: " in "\n" + make("trouble") for name in names)
    for name in names:
        make("trouble", f"NAME={name}")
    turns = {id: status for name in names for id, status in TROUBLES[name].turns.items()}
    done = play("daily", "--tags", "health,trading,verify")
    assert done.returncode != 0
    assert_as_said(turns, {check["id"]: check["status"] for check in done.report()["checks"]})
    assert "trend-coins" in done.output
    healed = make("heal")
    assert all(f"{name}: " in healed for name in names)
    assert_green(platform)
