"""The archive that ``make build`` makes, installed where there is no checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import COLLECTION, ROOT, Sandbox


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, but for the collection in ``collections`` and a configuration that knows no other."""
    folder = tmp_path_factory.mktemp("installed")
    built = subprocess.run(
        ["bash", str(ROOT / "tests/ci/build.sh"), str(folder)], check=True, capture_output=True, text=True
    )
    archive = Path(built.stdout.strip())
    assert archive.parent == folder
    (folder / "ansible.cfg").write_text(
        f"[defaults]\ncollections_path = {folder}/collections\nstdout_callback = tradingflow.maintenance.operator\n"
    )
    ansible(folder, "galaxy", "collection", "install", "--offline", "-p", str(folder / "collections"), str(archive))
    return folder


def ansible(folder: Path, program: str, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """Runs ansible-PROGRAM in the folder, with its configuration; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "ansible", program, *arguments],
        cwd=folder,
        env={**os.environ, **(environment or {}), "ANSIBLE_CONFIG": str(folder / "ansible.cfg")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def files(folder: Path) -> set[str]:
    """Of a folder of the checkout, all that belongs to it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return {name for name in listed.stdout.split("\0") if name and (folder / name).is_file()}


def test_everything_is_in_it(installed: Path) -> None:
    collection = installed / "collections/ansible_collections/tradingflow/maintenance"
    expected = files(COLLECTION) - {"galaxy.yml"}  # has become MANIFEST.json
    for folder in ("roles", "playbooks"):
        expected |= {f"{folder}/{name}" for name in files(ROOT / folder)}
    present = {str(path.relative_to(collection)) for path in collection.rglob("*") if path.is_file()}
    assert expected <= present
    assert not [path for path in collection.rglob("*") if path.is_symlink()]
    assert not [name for name in present if name.endswith(".pyc")]


def test_ansible_sees_modules_and_roles(installed: Path) -> None:
    modules = json.loads(ansible(installed, "doc", "--list", "--json", "-t", "module", "tradingflow.maintenance"))
    roles = json.loads(ansible(installed, "doc", "--list", "--json", "-t", "role", "tradingflow.maintenance"))
    prefix = "tradingflow.maintenance."
    assert set(modules) == {prefix + path.stem for path in (COLLECTION / "plugins/modules").glob("[!_]*.py")}
    assert set(roles) == {prefix + path.name for path in (ROOT / "roles").iterdir() if path.is_dir()}


def test_daily_runs_from_it(installed: Path, platform: Sandbox) -> None:
    # What other tests on this sandbox left in its logs is not judged here.
    since = f"health_check_log_since={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    output = ansible(
        installed,
        *("playbook", "-i", str(ROOT / "inventories/local"), "-e", since, "tradingflow.maintenance.daily"),
        environment=platform.environment,
    )
    latest = installed / "artifacts/daily/latest"
    report = json.loads((latest / "report.json").read_text(encoding="utf-8"))
    assert [check for check in report["checks"] if check["status"] != "ok"] == []
    assert report["worst_status"] == "ok"
    assert {check["area"] for check in report["checks"]} >= {"system", "database", "trading", "backup"}
    assert str(latest.resolve() / "report.html") in output
