"""The folder of runs and the witness belong to the project, whatever folder one works in."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils import project


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "my project"
    for folder in (made / "playbooks", made / "inventories/production", tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
    (made / project.MARK).touch()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return made


def test_found_from_the_playbook_the_inventory_or_the_working_directory(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, inventory = str(tmp_path / "installed"), str(place / "inventories/production")
    assert project.within("artifacts", {"playbook_dir": str(place / "playbooks")}) == place / "artifacts"
    assert project.within("a", {"playbook_dir": away, "inventory_dir": inventory}) == place / "a"
    assert project.within("a", {"inventory_dir": None}) == tmp_path / "elsewhere/a"
    monkeypatch.chdir(place / "playbooks")
    assert project.within("a", {"playbook_dir": away}) == place / "a"
    assert project.within(tmp_path / "kept", {"inventory_dir": inventory}) == tmp_path / "kept"


def test_the_machines_own_configuration_is_no_project(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "_SYSTEM", place)
    given = {"playbook_dir": str(place / "playbooks"), "inventory_dir": str(place / "inventories")}
    assert project.within("a", given) == tmp_path / "elsewhere/a"
