"""Runs of Ansible that are forked are what a whole start of it would be."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests import ready, times

SHOW = ["localhost", "-i", "localhost,", "-c", "local", "-m", "ansible.builtin.debug", "-a"]


def test_a_run_has_its_own_environment_status_and_output(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[float] = []
    monkeypatch.setattr(times, "add", counted.append)
    environment = {**os.environ, "TRADINGFLOW_SHOWN": "first"}
    shows = [*SHOW, "msg={{ lookup('env', 'TRADINGFLOW_SHOWN') }}"]
    for value in ("first", "second"):
        done = ready.run("adhoc", shows, {**environment, "TRADINGFLOW_SHOWN": value})
        assert (done.returncode, f'"msg": "{value}"' in done.stdout) == (0, True), done.stdout
    done = ready.run("playbook", ["nowhere.yml"], environment)
    whole = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "nowhere.yml"], cwd=ready.ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (whole.returncode, whole.stderr)
    assert len(counted) == 3
    assert min(counted) > 0


def test_other_settings_of_ansible_are_read_anew() -> None:
    ready.run("playbook", ["--version"], dict(os.environ))
    done = ready.run("playbook", ["--version"], {**os.environ, "ANSIBLE_COLLECTIONS_PATH": "/nowhere"})
    assert "ansible collection location = /nowhere" in done.stdout


def test_a_run_that_does_not_end_is_ended_and_the_next_one_is_well() -> None:
    sleeps = ["localhost", "-i", "localhost,", "-c", "local", "-m", "ansible.builtin.raw", "-a", "sleep 600"]
    with pytest.raises(subprocess.TimeoutExpired):
        ready.run("adhoc", sleeps, dict(os.environ), timeout=0.1)
    assert ready.run("playbook", ["--version"], dict(os.environ)).returncode == 0
