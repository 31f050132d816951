"""Tablespaces of a cluster that was put aside: they go with it if they are still those, and are nobody else's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._isolation import walls
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import findings, outside, remove
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore.state import State
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

KEPT = "data_before_20261129t120000z_abcdef"


def cluster(place: Path, *locations: Path) -> Path:
    """A data directory with tablespaces, of version 15."""
    (place / "pg_tblspc").mkdir(parents=True)
    (place / "PG_VERSION").write_text("15\n")
    for number, location in enumerate(locations, 16400):
        folder = location / "PG_15_202209061" / "5"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "1234").write_text("rows")
        (place / "pg_tblspc" / str(number)).symlink_to(location)
    return place


@pytest.fixture
def state(tmp_path: Path) -> State:
    """With a cluster that lies aside, with two tablespaces; the location of one has one of another version, too."""
    (tmp_path / "fast" / "PG_17_202406281").mkdir(parents=True)
    (tmp_path / "data_tablespaces_20261129t110000z_fedcba").mkdir()
    made = State(tmp_path / "state.json")
    own = tmp_path / "data_tablespaces_20261129t110000z_fedcba/16401"
    cluster(tmp_path / "home" / KEPT, tmp_path / "fast", own)
    made.keep("directory", str(tmp_path / "home" / KEPT), "P", "then")
    return State(tmp_path / "state.json")


def removed(state: State, kept: Path) -> tuple[list[str], list[str]]:
    """Removes it; gives what went, and what is left."""
    gone, left = remove._gone(state, [("directory", str(kept))])
    remove._directory(str(kept), state)()
    return [f"{each['kind']} {each['name']}" for each in gone], left


def test_they_go_with_it_and_others_of_the_location_stay(state: State, tmp_path: Path) -> None:
    kept = tmp_path / "home" / KEPT
    spaces = [str(path / "PG_15_202209061") for path in (tmp_path / "fast", next(tmp_path.glob("data_t*/*")))]
    (listed,) = remove._aside(state)
    assert sorted(listed["tablespaces"]) == sorted(spaces)
    (check,), _ = findings.removed({"removed": [], "left": [], "kept": [listed]}, "", planned=True)
    assert all(each in check.message for each in spaces)
    gone, left = removed(state, kept)
    assert sorted(gone) == sorted([f"directory {kept}", *(f"tablespace {each}" for each in spaces)])
    assert left == []
    assert not kept.exists()
    assert os.listdir(tmp_path / "fast") == ["PG_17_202406281"]
    # What a restore had made for it is gone altogether.
    assert not list(tmp_path.glob("data_t*"))


def test_what_is_not_what_was_written_down_stays(state: State, tmp_path: Path) -> None:
    """Somebody put another folder there, under the same name."""
    kept, space = tmp_path / "home" / KEPT, tmp_path / "fast/PG_15_202209061"
    space.rename(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", space)
    gone, left = removed(state, kept)
    assert (f"tablespace {space}" in gone, left) == (False, [str(space)])
    assert (space / "5/1234").read_text() == "rows"
    assert not kept.exists()
    (check,), _ = findings.removed({"removed": [], "left": left, "kept": []}, "", planned=False)
    assert f"left as they are: {space}" in check.message


def test_what_an_older_version_put_aside_is_not_known(state: State, tmp_path: Path) -> None:
    kept, space = tmp_path / "home" / KEPT, tmp_path / "fast/PG_15_202209061"
    del state.kept[0]["spaces"]
    (kept / "pg_wal").symlink_to(tmp_path / "moved")
    gone, left = removed(state, kept)
    assert gone == [f"directory {kept}"]
    assert {str(space), str(tmp_path / "moved")} < set(left)
    assert space.is_dir()


@pytest.mark.parametrize("where", ["beside", "running"])
def test_used_by_another_cluster(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """By another way to the same place: nothing at all is removed."""
    kept, other = tmp_path / "home" / KEPT, tmp_path / ("home" if where == "beside" else "far") / "data"
    (tmp_path / "alias").symlink_to(tmp_path / "fast")
    cluster(other, tmp_path / "alias")
    monkeypatch.setattr(walls, "servers_here", lambda: [str(other)] if where == "running" else [])
    with pytest.raises(ConfigurationError, match="uses it now"):
        remove._directory(str(kept), state)
    assert (tmp_path / "fast/PG_15_202209061/5/1234").exists()
    assert kept.exists()


def test_interrupted_and_run_again(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "home" / KEPT

    def full(path: Any) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(shutil, "rmtree", full)
    with pytest.raises(OSError, match="Input"):
        removed(state, kept)
    monkeypatch.undo()
    assert outside.paths(state.kept[0])
    removed(state, kept)
    assert (kept.exists(), os.listdir(tmp_path / "fast")) == (False, ["PG_17_202406281"])
