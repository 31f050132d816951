"""Backtests that hang, fork, fill, peep, lie, crash: none does harm, and none is well."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._isolation import cells, processes
from ansible_collections.tradingflow.maintenance.plugins.module_utils._refresh import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._refresh.probes import Planner
from ansible_collections.tradingflow.maintenance.plugins.module_utils._refresh.store import Store
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import LockedError

from tests.conftest import COLLECTION, ROOT, left_out
from tests.unit.refresh_fixtures import LEAVES, Prices, given, refreshed, strategy, walls, written


@pytest.fixture(scope="module", autouse=True)
def _walls() -> None:
    walls()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("while True: pass", "ran for longer than 2 s"),
        (
            "import os\nfor n in range(40): os.fork() or __import__('time').sleep(50)\nimport time; time.sleep(50)",
            "more than 8",
        ),
        ("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", "and was ended"),
        ("x = b'1' * (300 << 20)", "exit status 1: "),
        (
            "import os, time\nfor n in range(4):\n  if not os.fork():\n    x = b'1' * (90 << 20); time.sleep(50)\n"
            "time.sleep(50)",
            "more memory than",
        ),
        ("open('equity.csv', 'wb').write(b'1' * (9 << 20))", "File too large"),
        ("for n in range(9): open(f'f{n}', 'wb').write(b'1' * (1 << 20))", "No space left"),
        ("import socket; socket.create_connection(('127.0.0.1', 22), 5)", "Network is unreachable"),
        ("open('/etc/passwd').read()", "No such file"),
        ("open('/proc/1/environ').read()", "Permission denied"),
        ("open('/code/strategy.py', 'w')", "Read-only file system"),
        ("open('/written', 'w')", "Read-only file system"),
        ("print('password=hunter2-of-somebody'); raise SystemExit(3)", "exit status 3"),
        ("raise SystemExit(42)", "need not be tried again"),
        # What asks for programs is none of theirs.
        ("import sys; raise SystemExit(7 if sys.stdin.read() == '' else 0)", "exit status 7"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
        ("", "its equity.csv is missing"),
        (f"{LEAVES}\nimport os; os.remove('fills.csv'); os.symlink('/proc/self/environ', 'fills.csv')", "no file"),
        (f"{LEAVES}\nimport os; os.remove('fills.csv'); os.mkfifo('fills.csv')", "no file"),
        (LEAVES.replace("{day},100000", "{day},NaN"), "is no number: NaN"),
        (LEAVES.replace('"trials": 1', '"trials": 0'), "is no number from 1"),
    ],
)
def test_is_unknown_and_says_why(tmp_path: Path, code: str, why: str) -> None:
    found = refreshed(tmp_path, written(tmp_path / "code", code), seconds=2 if "while" in code else 30)
    run = found["run:one"]
    assert (run.status, why in run.message) == ("unknown", True), run.message
    assert "hunter2" not in json.dumps([check.as_dict() for check in found.values()])
    assert found["strategies"].status == "unknown"
    # It was shut off, and nothing is said of what it did not leave.
    assert found["isolation"].status == "ok"
    assert {check.status for id, check in found.items() if id.endswith(":one")} == {"unknown"}


def test_neither_environment_nor_files_have_what_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    secret = tmp_path / "inventory.yml"
    secret.write_text("password: hunter2\n")
    code = f"""
import os, sys
assert "hunter2" not in repr(os.environ), "environment"
assert not os.path.exists({str(secret)!r}), "inventory"
assert not os.path.exists({str(ROOT / "inventories")!r}), "project"
known = set("bin code dev etc in lib lib32 lib64 proc root sbin scratch tmp usr work home opt var".split())
assert set(os.listdir("/")) <= known, "root"
for folder, _folders, names in os.walk("/"):
    if folder.startswith(("/proc", "/usr", sys.base_prefix)): continue
    for name in names:
        assert name not in ("sandbox.json", "shadow", "inventory.yml", "sandbox.json"), (folder, name)
assert os.getuid() not in (0, {os.getuid() or -1}) or {os.geteuid()}, "root"
assert [name for name in os.listdir("/proc") if name.isdecimal()] == ["1", str(os.getpid())], "processes"
{LEAVES}"""
    run = refreshed(tmp_path, written(tmp_path / "code", code))["run:one"]
    assert run.status == "ok", run.message


def test_what_it_started_ends_with_it_and_with_us(tmp_path: Path) -> None:
    marker = f"sleeper-{os.getpid()}"
    code = f"""
import os, time
if not os.fork():
    os.setsid()
    os.execv("/bin/sh", ["/bin/sh", "-c", "sleep 300; : {marker}"])
time.sleep(1)
{LEAVES}"""
    assert refreshed(tmp_path, written(tmp_path / "code", code))["run:one"].status == "ok"
    assert not running(marker)
    # Killed in the middle: the first process in there ends all others.
    code = f"import os, time\nos.system('sleep 301; : {marker}')"
    written(tmp_path / "code", code)
    script = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "collections")!r}]
from pathlib import Path
from tests.unit.refresh_fixtures import refreshed, written
refreshed(Path({str(tmp_path)!r}), written(Path({str(tmp_path / "code")!r}), {code!r}))
"""
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        wait_for(lambda: bool(running(marker)))
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not running(marker))
    # What it left is removed, and the lock is free.
    assert refreshed(tmp_path, written(tmp_path / "code", LEAVES))["run:one"].status == "ok"
    assert list((tmp_path / "store/work").iterdir()) == []


def running(marker: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line, pid = path.read_bytes(), int(path.parts[2])
            if marker.encode() in line and b"-c" in line and b"import sys" not in line and processes.began(pid):
                found.append(pid)
        except OSError:  # It ended while we looked.
            continue
    return [pid for pid in found if pid != os.getpid()]


def wait_for(what: Any) -> None:
    for _turn in range(600):
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_a_user_without_rights_has_the_same_walls(tmp_path: Path) -> None:
    """By a user namespace. The system's Python, as the tests' own may lie where nobody may look."""
    if os.geteuid() or not Path("/usr/bin/python3").exists():
        left_out("backtests as another user: only root can become one")
    code = """
import os, socket, sys
assert 0 not in os.getresuid(), "root"
assert not os.path.exists("/var"), "files"
try:
    socket.create_connection(("127.0.0.1", 22), 5)
except OSError as error:
    assert error.errno == 101, error
try:
    open("/usr/written", "w")
except OSError as error:
    assert error.errno == 30, error
assert "CapEff:\\t0000000000000000" in open("/proc/self/status").read()
open("equity.csv", "w").write("done")
"""
    script = f"""
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from ansible_collections.tradingflow.maintenance.plugins.module_utils._isolation import cells
try:
    target = Path(sys.argv[2])
    ended = cells.run(["/usr/bin/python3", "-c", {code!r}], binds=[], environment={{}}, limits=cells.Limits(seconds=30),
                      outputs=["equity.csv"], target=target)
    print(ended.code, ended.said, (target / "equity.csv").read_text() if ended.code == 0 else "")
except cells.NoCells as error:
    print("unavailable", error)
"""
    # Where a user without rights can read it.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        places = Path(folder) / "collections/ansible_collections/tradingflow/maintenance/plugins"
        shutil.copytree(COLLECTION / "plugins/module_utils", places / "module_utils")
        for path in (places.parent, places.parent.parent, places, places.parents[2]):
            (path / "__init__.py").touch()
        home = Path(folder) / "home"
        (home / "out").mkdir(parents=True)
        for path in (home, home / "out"):
            os.chown(path, 65534, 65534)
        arguments = ["/usr/bin/python3", "-c", script, str(places.parents[3]), str(home / "out")]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd="/")
    if done.stdout.startswith("unavailable"):
        left_out(f"backtests as a user without rights: {done.stdout}")
    assert done.stdout.split() == ["0", "done"], done.stdout + done.stderr


def test_a_second_refresh_does_not_begin(tmp_path: Path) -> None:
    with Store(str(tmp_path / "store")).locked():
        outcome: list[Exception] = []

        def second() -> None:
            try:
                refreshed(tmp_path, strategy())
            except LockedError as error:
                outcome.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert "Another refresh works in" in str(outcome[0])


def test_code_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = written(tmp_path / "code", LEAVES)
    second = Planner.second

    def meddling(*arguments: Any) -> Any:
        (tmp_path / "code/more.py").write_text("# another\n", encoding="utf-8")
        return second(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Planner, "second", meddling)
        found = refreshed(tmp_path, one)
    assert found["run:one"].status == "unknown"
    assert "its code was changed meanwhile" in found["run:one"].message
    # Nothing of it is what the next refresh compares with.
    assert "no earlier refresh" in refreshed(tmp_path, one)["change:one"].message


def test_without_walls_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = 'import sys; sys.stdin.readline(); print(\'{"refused": "unavailable", "text": "no namespaces"}\')'
    monkeypatch.setattr(cells, "PROGRAM", lost)
    found = refreshed(tmp_path, written(tmp_path / "code", LEAVES))
    assert found["isolation"].status == found["run:one"].status == "unknown"
    assert "could not be shut off here: no namespaces" in found["isolation"].message


def test_no_strategy_and_no_prices(tmp_path: Path) -> None:
    assert refreshed(tmp_path)["strategies"].status == "unknown"
    empty = Prices()
    empty.gone = {"X:AAA", "X:BBB"}
    found = refreshed(tmp_path, strategy(), reader=empty)
    assert found["snapshot"].status == found["run:one"].status == "unknown"
    assert "there is no price of it" in found["run:one"].message


def test_one_that_fails_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    bad = {**written(tmp_path / "code", "raise SystemExit(1)"), "strategy": "bad"}
    lost = strategy("lost", code=str(tmp_path / "nothing"))
    good = {**written(tmp_path / "good", LEAVES), "strategy": "good"}
    options = given(tmp_path, [bad, lost, good])
    found = engine.refresh(options, sys.executable, Prices())
    statuses = {check.id: check.status for check in found.checks if check.id.startswith("backtest.run:")}
    assert statuses == {"backtest.run:bad": "unknown", "backtest.run:lost": "unknown", "backtest.run:good": "ok"}
    assert found.record is not None
    assert "unknown" in found.record["strategies"]["bad"]
    assert len(found.record["strategies"]["good"]["outputs"]["equity.csv"]) == 64
