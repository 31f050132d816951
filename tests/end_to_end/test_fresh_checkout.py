"""``make daily`` in a fresh clone, by an ordinary user, in a folder whose name is no help."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.processes import alive
from tests.conftest import check_out, left_out

NOBODY = 65534


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A clone of what is committed and changed here, owned by an ordinary user."""
    folder = Path(tempfile.mkdtemp(prefix="tradingflow-test-", dir="/var/tmp"))
    clone = folder / "a b'c ü" / "checkout"
    check_out(clone)
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(folder)], check=True)
    folder.chmod(0o755)
    yield clone
    shutil.rmtree(folder, ignore_errors=True)


def as_ordinary_user() -> list[str]:
    if os.getuid():
        return []
    # env: setpriv itself may still start what only root can read.
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env"]


def usable_python() -> str:
    """A Python that an ordinary user can run and that can make environments."""
    for candidate in (sys.base_prefix + "/bin/python3", "/usr/bin/python3"):
        code = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
        try:
            if not subprocess.run(
                [*as_ordinary_user(), candidate, "-c", code], cwd="/", capture_output=True
            ).returncode:
                return candidate
        except OSError:
            continue
    left_out("no Python with venv that an ordinary user can run (on Debian: apt-get install python3-venv)")
    raise AssertionError


def test_make_daily_from_nothing(checkout: Path) -> None:
    kept = ("PATH", "LANG", "LC_ALL")
    certificates = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_CERT", "UV_"))}
    environment = {name: os.environ[name] for name in kept if name in os.environ} | certificates
    # No shim of the calling user's, and no home, as a service account has none: nothing but git, make and Python.
    environment |= {
        "HOME": "/proc",
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    }

    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*as_ordinary_user(), "make", *arguments, f"PYTHON={usable_python()}"],
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1800,
        )

    try:
        done = make("daily")
        assert done.returncode == 0, done.stdout
        report = json.loads((checkout / "artifacts/daily/latest/report.json").read_text(encoding="utf-8"))
        assert report["worst_status"] == "ok"
        state = json.loads((checkout / ".sandbox/sandbox.json").read_text(encoding="utf-8"))
    finally:
        down = make("sandbox-down")
    assert down.returncode == 0, down.stdout
    assert not Path(state["data_root"]).exists()
    assert not any(alive(state[service]) for service in ("postgres", "s3", "app"))
    assert not (checkout / ".sandbox/sandbox.json").exists()
