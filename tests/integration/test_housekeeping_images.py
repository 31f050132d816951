"""Unused images of a real podman, with its own storage."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.images import Images
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import HousekeepingError

from tests.conftest import left_out
from tests.images import layer


class Podman:
    """A podman whose images and containers are in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arguments = ["--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]

    def run(self, *arguments: str) -> str:
        command = ["podman", "--log-level=error", *self.arguments, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout.strip()

    def image(self, name: str) -> str:
        """An image of one file; its id."""
        archive = self.folder / "layer.tar"
        archive.write_bytes(layer(("file", name * 100)))
        return self.run("import", "--quiet", str(archive), name).rpartition("sha256:")[2]

    def images(self, *declared: str) -> Images:
        return Images("podman", declared, self.arguments)


@pytest.fixture
def podman() -> Iterator[Podman]:
    if os.geteuid() or not shutil.which("podman"):
        left_out("podman needs root here, and is not installed" if os.geteuid() else "podman is not installed")
    # podman refuses a place whose name is longer than 50 characters.
    with tempfile.TemporaryDirectory(prefix="images", dir="/var/tmp") as folder:
        yield Podman(Path(folder))


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


def test_only_unused_ones_that_are_declared(podman: Podman) -> None:
    assert podman.images().plan() == {"items": [], "unused": []}
    used, declared, other = (podman.image(f"localhost/{name}:1") for name in ("used", "declared", "other"))
    podman.run("create", "--name", "holds", "localhost/used:1", "/file")
    made = podman.images(f"sha256:{declared}", used)
    plan = made.plan()
    assert names(plan["unused"]) == ["localhost/declared:1", "localhost/other:1"]
    assert names(plan["items"]) == ["localhost/declared:1"]
    assert made.apply([])["done"]["removed"] == []
    # It came into use after the plan.
    tokens = [item["token"] for item in plan["items"]]
    podman.run("create", "--name", "late", "localhost/declared:1", "/file")
    assert made.apply(tokens)["done"]["removed"] == []
    podman.run("rm", "late")
    after = made.apply(tokens)
    assert names(after["done"]["removed"]) == ["localhost/declared:1"]
    assert names(after["unused"]) == ["localhost/other:1"]
    assert set(podman.run("images", "--no-trunc", "--quiet").replace("sha256:", "").split()) == {used, other}


def test_a_program_that_does_not_answer_is_not_one_without_images(tmp_path: Path) -> None:
    with pytest.raises(HousekeepingError, match="cannot be asked"):
        Images(str(tmp_path / "none"), []).plan()
    with pytest.raises(HousekeepingError, match="failed"):
        Images("false", []).plan()


def test_parents_without_a_name_stay(podman: Podman) -> None:
    """A program that removes an image takes those it was made from along, where nothing else names them."""
    parent = podman.image("localhost/parent:1")
    podman.run("create", "--name", "makes", parent, "/file")
    child = podman.run("commit", "--quiet", "makes", "localhost/child:1").rpartition("sha256:")[2]
    podman.run("rm", "makes")
    podman.run("untag", "localhost/parent:1")
    made = podman.images(child)
    plan = made.plan()
    assert names(plan["items"]) == ["localhost/child:1"]
    assert names(made.apply([item["token"] for item in plan["items"]])["done"]["removed"]) == ["localhost/child:1"]
    assert podman.run("images", "--all", "--no-trunc", "--quiet").replace("sha256:", "").split() == [parent]
