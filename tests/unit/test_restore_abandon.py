"""Giving up a restore: what was there is put back, whatever step it or the giving up was killed in."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import directories
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore.state import State
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, RestoreError


class Killed(Exception):
    """What stands for kill -9."""


class Dying:
    """The module os, until some number of renames."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def rename(self, source: Any, target: Any) -> None:
        if not self.left:
            raise Killed
        self.left -= 1
        os.rename(source, target)


def half_way(folder: Path, *, there: bool = True) -> tuple[State, Path, Path]:
    """A restore that was killed: its state, the place, and the new directory beside it."""
    place, new = folder / "data", folder / ".data.restoring_1"
    for path, name in ((place, "old"), (new, "new")):
        if there or path == new:
            path.mkdir()
            (path / name).touch()
    state = State(folder / "state.json")
    state.begin(id="1", recovery_point="p", started_at="t")
    return state, place, new


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("restoring", [0, 1, 2])
@pytest.mark.parametrize("abandoning", [0, 1, 2, 9])
def test_killed_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool, restoring: int, abandoning: int
) -> None:
    state, place, new = half_way(tmp_path)
    if not exchange:
        monkeypatch.setattr(directories, "_swapped", lambda one, other: False)
    monkeypatch.setattr(directories, "os", Dying(restoring))
    with suppress(Killed):
        directories.exchange(state, "cluster", new, str(place), tmp_path / "data_before_1")
    before = (place / "new").exists()
    monkeypatch.setattr(directories, "os", Dying(abandoning))
    try:
        directories.put_back(state, "cluster", tmp_path / "data_before_2")
    except Killed:
        # Nothing else may be done with it meanwhile: a restore would take the old one for the new one.
        again = State(tmp_path / "state.json")
        if again.run.get("abandon_cluster"):
            with pytest.raises(ConfigurationError, match="restore_abandon=true"):
                again.check_kind("database")
    monkeypatch.setattr(directories, "os", os)
    state = State(tmp_path / "state.json")
    if state.run.get("cluster"):
        directories.put_back(state, "cluster", tmp_path / "data_before_3")
    assert (place / "old").exists()
    assert not state.run.get("cluster")
    assert not state.run.get("abandon_cluster")
    kept = [path for path in tmp_path.glob("data_before_*") if (path / "new").exists()]
    assert len(kept) == before
    assert [each["name"] for each in state.kept] == [str(path) for path in kept]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == sorted(
        ["data", *(path.name for path in kept)]
    )


def test_nothing_was_there_before(tmp_path: Path) -> None:
    state, place, new = half_way(tmp_path, there=False)
    directories.exchange(state, "files", new, str(place), tmp_path / "data_before_1")
    directories.put_back(state, "files", tmp_path / "data_before_2")
    assert not place.exists()
    assert (tmp_path / "data_before_2" / "new").exists()


def test_old_one_was_moved_by_somebody(tmp_path: Path) -> None:
    state, place, new = half_way(tmp_path)
    directories.exchange(state, "cluster", new, str(place), tmp_path / "data_before_1")
    os.rename(tmp_path / "data_before_1", tmp_path / "somewhere")
    with pytest.raises(RestoreError, match="is neither in"):
        directories.put_back(state, "cluster", tmp_path / "data_before_2")
    assert (place / "new").exists()
