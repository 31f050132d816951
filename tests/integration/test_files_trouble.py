"""The files' repository in trouble: killed, two at once, store gone; drilled; and through Ansible."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import engine as drill
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files import restic as restic_module
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress

from tests.conftest import Sandbox
from tests.integration import drill_fixtures, files_fixtures, test_backup, test_backup_trouble
from tests.integration.drill_fixtures import NO_HEARTBEAT, statuses
from tests.integration.files_fixtures import PASSWORD, Build, back_up, lock_names, of_kind, prefix_of, stored
from tests.integration.test_backup import Make, damage, fetch, keys, left_in
from tests.integration.test_backup_trouble import SLOW, of_role, processes, role, wait_for
from tests.integration.test_files import intact, verified

backup_options, database, scratch = test_backup.backup_options, test_backup.database, test_backup.scratch
restic, tree, options_of = files_fixtures.restic, files_fixtures.tree, files_fixtures.options_of
begun = files_fixtures.begun
worker, inventory = test_backup_trouble.worker, test_backup_trouble.inventory
drill_options, place = drill_fixtures.drill_options, drill_fixtures.place


@pytest.fixture
def bulk(tree: Path) -> Path:
    """The same with some 12 MB that nothing makes smaller."""
    (tree / "bulk").write_bytes(os.urandom(12 << 20))
    return tree


def at_work(chosen: dict[str, Any]) -> list[int]:
    """Processes of restic that back up to the repository."""
    return processes(f"\0{restic_module.url(chosen['storage'], prefix_of(chosen))}\0")


def test_killed_in_the_middle_then_run_again(options_of: Build, bulk: Path, worker: Any) -> None:
    chosen = options_of(bulk, bandwidth_limit=SLOW)
    first = worker(chosen)
    wait_for(lambda: at_work(chosen) and stored(chosen).keys() & set(lock_names(chosen)))
    first.kill()
    first.wait()
    # restic does not outlive it; its lock does.
    wait_for(lambda: not at_work(chosen), 10)
    assert lock_names(chosen)
    assert not [key for key in keys(chosen) if key.endswith("recovery-point.json")]
    point = back_up(chosen, bandwidth_limit=0)
    assert not lock_names(chosen)
    assert not left_in(Path(chosen["scratch_directory"]))
    assert verified(chosen, point) == []
    assert intact(chosen).status == "ok"


def test_two_hosts_at_once(options_of: Build, bulk: Path, worker: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    chosen = options_of(bulk)
    both = [worker(chosen), worker({**chosen, "scratch_directory": str(tmp_path / "other")})]
    for process in both:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    assert len(of_kind(chosen, "keys/")) == 1
    assert len(of_kind(chosen, "snapshots/")) == 2
    assert intact(chosen).status == "ok"


def test_store_goes_down_during_the_upload(options_of: Build, bulk: Path, platform: Sandbox, worker: Any) -> None:
    chosen = options_of(bulk, bandwidth_limit=SLOW)
    chosen["storage"] = {**chosen["storage"], "max_attempts": 1, "connect_timeout": 2, "read_timeout": 3}
    process = worker(chosen)
    wait_for(lambda: at_work(chosen) and lock_names(chosen))
    platform("stop", "s3")
    try:
        # restic alone would try for a quarter of an hour.
        output, _ = process.communicate(timeout=300)
    finally:
        platform("start", "s3")
    assert process.returncode == 1
    assert output.startswith("StorageError: "), output
    for secret in (chosen["storage"]["secret_key"], PASSWORD):
        assert secret not in output
    assert not at_work(chosen)
    assert not left_in(Path(chosen["scratch_directory"]))
    assert not [key for key in keys(chosen) if key.endswith("recovery-point.json")]


def test_role_shows_no_secret_anywhere(
    options_of: Build, bulk: Path, platform: Sandbox, inventory: Path, tmp_path: Path
) -> None:
    chosen = options_of(bulk)
    names = ("data_directory", "files_engine", "files_password")
    variables = of_role(chosen, bandwidth_limit=8 << 20, **{name: chosen[name] for name in names})
    process = role(platform, inventory, variables, "-vvv")
    lines: set[str] = set()
    while process.poll() is None and not lines:
        for pid in at_work(chosen):
            with contextlib.suppress(OSError):  # It ended while we looked.
                lines.add(Path(f"/proc/{pid}/cmdline").read_bytes().decode())
        time.sleep(0.05)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert any("backup" in line for line in lines), lines
    for secret in (PASSWORD, chosen["storage"]["secret_key"], chosen["database"]["password"]):
        assert secret not in output
        assert json.dumps(secret)[1:-1] not in output
        assert not any(secret in line for line in lines)
    assert re.search(r'"files_engine": "restic"', output)
    assert "PROGRESS backup localhost" in output
    assert len(of_kind(chosen, "snapshots/")) == 1


def test_drill_restores_files_and_finds_what_is_wrong(
    options_of: Build, tree: Path, drill_options: Make, place: Path
) -> None:
    (tree / "closed" / "fifo").unlink()
    chosen = options_of(tree, verify="none")
    point = back_up(chosen)
    wanted = drill_options(chosen, files_password=PASSWORD)
    result = drill.run(wanted, Progress())
    # Its database holds nothing, which is a finding of its own.
    assert statuses(result, wanted) == {**NO_HEARTBEAT, "drill.contents": "critical"}
    assert result["phases"]["files"] > 0
    assert not drill_fixtures.left_in(place)
    victim = of_kind(chosen, "data/")[0]
    body = fetch(chosen, victim)
    damage(chosen, victim, body[:1000] + bytes([body[1000] ^ 1]) + body[1001:])
    result = drill.run(wanted, Progress())
    assert statuses(result, wanted)["drill.application_files"] == "critical"
    assert point["application"]["snapshot"] in json.dumps(result["checks"])
