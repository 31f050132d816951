"""A file system whose inodes are used up: what is planned still goes, and still nothing else."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping import temporary
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.holders import Holders, scan
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.place import QUARANTINE
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import HousekeepingError

from tests.unit.test_housekeeping_temporary import HOLD, applied, cleaner, folder, line, mount

__all__ = ["folder"]

pytestmark = pytest.mark.alone


def full(folder: Path, *made: Callable[[Path], object]) -> Path:
    """A directory with no inode left."""
    path = folder / "tmp"
    path.mkdir()
    mount("-t", "tmpfs", "-o", f"nr_inodes={1 + len(made)}", "x", path)
    for each in made:
        each(path)
    with pytest.raises(OSError, match="No space left"):
        (path / "more").mkdir()
    return path


def file(name: str) -> Callable[[Path], object]:
    return lambda path: (path / name).write_text("x" * 5000, encoding="utf-8")


def link(path: Path) -> None:
    (path / "a-link").symlink_to("/etc/passwd")


def tree(path: Path) -> None:
    (path / "a-tree").mkdir()


def then(second: Callable[[], None]) -> Callable[[], Holders]:
    """Of looks at all processes: something happens before the second."""
    looks: list[None] = []

    def look() -> Holders:
        looks.append(None)
        if len(looks) == 2:
            second()
        return scan()

    return look


def test_a_plain_file_makes_room_for_the_quarantine(folder: Path) -> None:
    path = full(folder, link, tree, file("file"), file("other"))
    done = applied(cleaner(path))
    assert sorted(row["name"] for row in done["removed"]) == ["a-link", "a-tree", "file", "other"]
    assert (done["kept"], done["failed"], done["missing"]) == ([], [], 0)
    assert done["freed"] >= 2 * 8192
    assert os.listdir(path) == [os.fsdecode(QUARANTINE)]


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.communicate("")


def test_opened_after_the_first_look_it_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, processes: list[subprocess.Popen[str]]
) -> None:
    path = full(folder, file("a"), file("b"))

    def hold() -> None:
        command = [sys.executable, "-S", "-c", HOLD, "descriptor", str(path / "a")]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert line(processes[0]) == "held\n"

    made = cleaner(path)
    tokens = [item["token"] for item in made.plan()["items"]]
    monkeypatch.setattr(temporary, "scan", then(hold))
    done = made.apply(tokens)["done"]
    assert done["kept"] == [{"name": "a", "why": f"in use by process {processes[0].pid}"}]
    assert [row["name"] for row in done["removed"]] == ["b"]
    assert (path / "a").exists()


@pytest.mark.parametrize("change", ["written to", "replaced", "given to others"])
def test_changed_after_the_first_look_it_stays(folder: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    path = full(folder, file("a"), file("b"))

    def changed() -> None:
        if change == "written to":
            (path / "a").write_text("new", encoding="utf-8")
        elif change == "replaced":
            (path / "a").unlink()
            (path / "a").write_text("x" * 5000, encoding="utf-8")
        else:
            os.chown(path / "a", 65534, 65534)

    made = cleaner(path)
    tokens = [item["token"] for item in made.plan()["items"]]
    monkeypatch.setattr(temporary, "scan", then(changed))
    done = made.apply(tokens)["done"]
    assert done["kept"] == [{"name": "a", "why": "changed meanwhile"}]
    assert [row["name"] for row in done["removed"]] == ["b"]
    assert (path / "a").exists()


def test_what_is_to_be_set_aside_for_days_is_not_removed_at_once(folder: Path) -> None:
    path = full(folder, file("a"), file("b"))
    with pytest.raises(HousekeepingError, match="No space left"):
        applied(cleaner(path, quarantine_days=7))
    assert sorted(os.listdir(path)) == ["a", "b"]


def test_no_plain_file_is_planned(folder: Path) -> None:
    """A file that has another name frees no inode. For tmpfs, a second name takes one."""

    def twice(path: Path) -> None:
        os.link(path / "file", path / "kept")

    path = full(folder, link, tree, file("file"), twice)
    with pytest.raises(HousekeepingError, match="No space left"):
        applied(cleaner(path, keep=["kept"]))
    assert sorted(os.listdir(path)) == ["a-link", "a-tree", "file", "kept"]


def test_it_does_not_help_and_that_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = full(folder, file("a"), link)
    real = os.unlink

    def unlink(*arguments: object, **more: object) -> None:
        real(*arguments, **more)  # type: ignore[arg-type]
        file("taken")(path)

    made = cleaner(path)
    tokens = [item["token"] for item in made.plan()["items"]]
    monkeypatch.setattr(os, "unlink", unlink)
    done = made.apply(tokens)["done"]
    assert [row["name"] for row in done["removed"]] == ["a"]
    (failed,) = done["failed"]
    assert failed["name"] == "a-link"
    assert "No space left" in failed["why"]
    assert sorted(os.listdir(path)) == ["a-link", "taken"]


def test_another_run_came_meanwhile_and_what_went_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = full(folder, file("a"), file("b"))
    real = os.unlink
    others: list[int] = []

    def unlink(*arguments: object, **more: object) -> None:
        real(*arguments, **more)  # type: ignore[arg-type]
        if not others:
            (path / os.fsdecode(QUARANTINE)).mkdir(mode=0o700)
            others.append(os.open(path / os.fsdecode(QUARANTINE), os.O_RDONLY))
            fcntl.flock(others[0], fcntl.LOCK_EX)

    made = cleaner(path)
    tokens = [item["token"] for item in made.plan()["items"]]
    monkeypatch.setattr(os, "unlink", unlink)
    done = made.apply(tokens)["done"]
    assert [row["name"] for row in done["removed"]] == ["a"]
    assert done["failed"] == [{"name": "b", "why": "Another run is cleaning this directory."}]
    assert (path / "b").exists()
