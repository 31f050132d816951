"""What an ended run left in quarantine: it goes on or goes back, and nothing that somebody misses is removed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping import holders, temporary, tree
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.place import QUARANTINE

from tests.unit.test_housekeeping_temporary import HOLD, LATER, applied, cleaner, folder, line, names, tell_tale

__all__ = ["folder"]

pytestmark = pytest.mark.alone


def quarantined(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / os.fsdecode(QUARANTINE)))


def left_behind(folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Path:
    """The only entry, after a run that was killed between its move and the second look."""
    made = cleaner(folder, **options)
    tokens = [item["token"] for item in made.plan()["items"]]
    pid = os.fork()
    if not pid:
        scans: list[None] = []

        def scan() -> Any:
            scans.append(None)
            return os._exit(9) if len(scans) == 2 else real()

        real = holders.scan
        monkeypatch.setattr(temporary, "scan", scan)
        made.apply(tokens)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    (name,) = quarantined(folder)
    return folder / os.fsdecode(QUARANTINE) / name


@contextmanager
def held(path: Path) -> Iterator[int]:
    command = [sys.executable, "-S", "-c", HOLD, "descriptor", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert line(process) == "held\n"
        yield process.pid
        process.communicate("")


def test_in_use_it_goes_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tell_tale(folder, "file")
    with held(left_behind(folder, monkeypatch)) as pid:
        plan = cleaner(folder).plan()
        assert names(plan) == []
        assert plan["strays"] == [{"name": "file", "why": f"in use by process {pid}"}]
        assert plan["kept"] == {}
        found = cleaner(folder).apply([])
    assert found["done"]["restored"] == [{"name": "file", "why": f"in use by process {pid}"}]
    assert found["strays"] == []
    assert path.read_text(encoding="utf-8") == "x" * 5000
    assert quarantined(folder) == []


def test_written_to_since_it_goes_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell_tale(folder, "tree", "inner")
    aside = left_behind(folder, monkeypatch)
    os.utime(aside / "inner", (time.time() + LATER, time.time() + LATER))
    plan = cleaner(folder).plan()
    assert names(plan) == []
    assert plan["strays"] == [{"name": "tree", "why": "changed meanwhile"}]
    assert applied(cleaner(folder))["restored"] == [{"name": "tree", "why": "changed meanwhile"}]
    assert (folder / "tree/inner").exists()


def test_its_place_is_taken_every_run_tells(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held at the second look, written to later: neither ever makes it an entry that may go."""
    path = tell_tale(folder, "file")
    aside = left_behind(folder, monkeypatch)
    theirs = tell_tale(folder, "file")
    theirs.write_text("theirs", encoding="utf-8")
    made = cleaner(folder, keep=["file"])
    with held(aside):
        assert "it stays in quarantine" in applied(made)["failed"][0]["why"]
    os.utime(aside, (time.time() + LATER, time.time() + LATER))
    for _run in range(2):
        (failed,) = applied(made)["failed"]
        assert failed["name"] == "file"
        assert failed["why"].startswith("changed meanwhile; it stays in quarantine as r-")
        assert failed["why"].endswith("File exists")
    assert theirs.read_text(encoding="utf-8") == "theirs"
    theirs.unlink()
    assert [row["name"] for row in applied(made)["restored"]] == ["file"]
    assert path.read_text(encoding="utf-8") == "x" * 5000


@pytest.mark.parametrize("days", [0, 7])
def test_held_at_the_second_look_and_its_place_taken(folder: Path, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """With a time in quarantine, too, the next run knows that it does not belong there."""
    path = tell_tale(folder, "file")
    real = tree.look

    def look(*arguments: Any, **more: Any) -> Any:
        if more.get("moved"):
            path.write_text("theirs", encoding="utf-8")
            raise tree.Stays("in use by process 1")
        return real(*arguments, **more)

    made = cleaner(folder, quarantine_days=days)
    tokens = [item["token"] for item in made.plan()["items"]]
    monkeypatch.setattr(temporary, "look", look)
    assert "stays in quarantine" in made.apply(tokens)["done"]["failed"][0]["why"]
    monkeypatch.undo()
    (name,) = quarantined(folder)
    assert name.startswith("r-")
    with held(folder / os.fsdecode(QUARANTINE) / name):
        assert [row["name"] for row in made.plan()["strays"]] == ["file"]


def test_in_use_at_the_end_of_its_time_and_its_place_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell_tale(folder, "file")
    applied(cleaner(folder, quarantine_days=7))
    tell_tale(folder, "file")
    made = cleaner(folder, later=LATER + 8 * 86400, quarantine_days=7, keep=["file"])
    tokens = [item["token"] for item in made.plan()["items"]]
    real = holders.scan
    (name,) = quarantined(folder)
    assert name.startswith("q-")
    scans: list[None] = []

    def scan() -> Any:
        scans.append(None)
        found = real()
        if len(scans) == 2:
            status = (folder / os.fsdecode(QUARANTINE) / name).stat()
            found.identities[status.st_dev, status.st_ino] = "process 1"
        return found

    monkeypatch.setattr(temporary, "scan", scan)
    (failed,) = made.apply(tokens)["done"]["failed"]
    assert failed["why"].startswith("in use by process 1; it stays in quarantine as r-")
    assert quarantined(folder) == ["r" + name[1:]]


def test_what_cannot_be_looked_at_again_goes_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tell_tale(folder, "file")
    real = tree.look

    def look(*arguments: Any, **more: Any) -> Any:
        if more.get("moved"):
            raise OSError(5, "Input/output error")
        return real(*arguments, **more)

    made = cleaner(folder)
    tokens = [item["token"] for item in made.plan()["items"]]
    monkeypatch.setattr(temporary, "look", look)
    done = made.apply(tokens)["done"]
    assert done["kept"] == [{"name": "file", "why": "cannot be looked at: Input/output error"}]
    assert path.exists()


def test_half_removed_it_is_ended_and_does_not_go_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The removal itself is what made it young."""
    tell_tale(folder, "tree", "inner")
    made = cleaner(folder)
    tokens = [item["token"] for item in made.plan()["items"]]
    pid = os.fork()
    if not pid:
        monkeypatch.setattr(os, "rmdir", lambda *_arguments, **_more: os._exit(9))
        made.apply(tokens)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    now = cleaner(folder, days=12)
    assert now.plan()["strays"] == []
    assert [row["name"] for row in applied(now)["removed"]] == ["tree"]
    assert sorted(os.listdir(folder)) == [os.fsdecode(QUARANTINE)]
    assert quarantined(folder) == []


def test_left_behind_it_still_has_its_time_in_quarantine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell_tale(folder, "file")
    left_behind(folder, monkeypatch, quarantine_days=7)
    made = cleaner(folder, quarantine_days=7)
    assert names(made.plan()) == ["file"]
    done = applied(made)
    assert (done["removed"], [row["name"] for row in done["quarantined"]]) == ([], ["file"])
    assert quarantined(folder)[0].startswith("q-")
    assert made.plan()["items"] == []


def test_a_name_that_was_cut_is_not_given_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell_tale(folder, "x" * 250)
    aside = left_behind(folder, monkeypatch)
    os.utime(aside, (time.time() + LATER, time.time() + LATER))
    (failed,) = applied(cleaner(folder))["failed"]
    assert failed["why"].endswith("its own name was too long to be kept")
    assert quarantined(folder) == [aside.name]


def test_its_move_alone_does_not_make_it_young(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(tell_tale(folder, "file"), (1, 1))
    left_behind(folder, monkeypatch)
    made = cleaner(folder, later=0)
    assert made.plan()["strays"] == []
    assert [row["name"] for row in applied(made)["removed"]] == ["file"]
