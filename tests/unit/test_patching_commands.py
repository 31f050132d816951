"""What apt-get and dpkg are told, and what dpkg makes of it, in a root of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import commands

from tests.conftest import left_out
from tests.machine.packages import Package
from tests.unit.test_patching_judgement import row


def command(tmp_path: Path, **how: Any) -> list[str]:
    where = commands.Place(tmp_path, tmp_path / "lists", tmp_path / "cache", tmp_path / "apt.conf")
    return commands.install_command(where, [row()], {"conffiles": "keep", "rollback": False, **how})


def dpkg_options(tmp_path: Path, conffiles: str) -> list[str]:
    """What apt-get hands to dpkg."""
    told = command(tmp_path, conffiles=conffiles)
    return [each.partition("=")[2] for each in told if each.startswith("Dpkg::Options::=")]


@pytest.mark.parametrize(
    ("hosts", "conffiles", "becomes"),
    [("--force-confdef --force-confold", "replace", "2\n"), ("--force-confnew", "keep", "mine\n")],
)
def test_what_becomes_of_a_changed_file_is_the_plans_to_say(
    tmp_path: Path, hosts: str, conffiles: str, becomes: str
) -> None:
    """Whatever the host's own apt.conf hands to dpkg before that."""
    if os.geteuid() != 0 or not shutil.which("dpkg"):
        left_out("packages of Debian are put in place by root and dpkg")
    root = tmp_path / "root"
    for folder in ("var/lib/dpkg/info", "var/lib/dpkg/updates"):
        (root / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()

    def install(version: str, *options: str) -> None:
        made = Package("tf-conf", version, files={"etc/tf.conf": f"{version}\n"}).build(tmp_path)
        done = subprocess.run(
            ["dpkg", f"--root={root}", "--force-unsafe-io", *options, "-i", str(made)],
            env={**os.environ, "PATH": commands.ENVIRONMENT["PATH"]},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    install("1")
    (root / "etc/tf.conf").write_text("mine\n", encoding="utf-8")
    install("2", *hosts.split(), *dpkg_options(tmp_path, conffiles))
    assert (root / "etc/tf.conf").read_text(encoding="utf-8") == becomes
