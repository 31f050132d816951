"""Old files of other backups: what goes by name and age, and what never does."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention import local_files
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

DAY = 86400


def made(path: Path, days: float, body: str = "x") -> Path:
    path.write_text(body)
    os.utime(path, (time.time() - days * DAY,) * 2)
    return path


def options(path: Path | str, *patterns: str, days: int = 30) -> dict[str, Any]:
    return {"directories": [{"path": str(path), "patterns": list(patterns or ["db_*.sql"]), "days": days}]}


def test_what_is_old_and_fits_goes(tmp_path: Path) -> None:
    folder, outside = tmp_path / "backups", tmp_path / "outside"
    for each in (folder, outside, folder / "db_inner.sql"):
        each.mkdir()
    old, older = made(folder / "db_1.sql", 31), made(folder / "db_0.sql", 400, "longer")
    kept = [
        made(folder / "db_2.sql", 29),
        made(folder / "notes.txt", 400),
        made(folder / "DB_3.sql", 400),
        made(folder / "db_inner.sql" / "db_4.sql", 400),
        made(outside / "db_5.sql", 400),
    ]
    link = folder / "db_6.sql"
    link.symlink_to(kept[-1])
    os.utime(link, (0, 0), follow_symlinks=False)
    planned = local_files.clean(options(folder), check=True)
    assert old.exists()
    said = local_files.clean(options(folder))
    assert said == planned == {"deleted": [str(older), str(old)], "freed_bytes": 7, "problems": {}, "changed": True}
    assert not old.exists()
    assert not older.exists()
    assert all(each.exists() for each in (*kept, link))
    assert local_files.clean(options(folder))["deleted"] == []


def test_a_folder_that_is_a_link_or_none_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    old = made(folder / "db_1.sql", 100)
    (tmp_path / "link").symlink_to(folder)
    said = local_files.clean(options(tmp_path / "link"))
    assert (said["deleted"], list(said["problems"])) == ([], [str(tmp_path / "link")])
    ((check,), (action,)) = local_files.findings(said, False, "2026-11-24T00:00:00Z")
    assert (check.status, action["status"]) == ("warning", "failed")
    assert old.exists()
    said = local_files.clean(options(tmp_path / "nowhere"))
    assert (said["deleted"], said["problems"]) == ([], {})


@pytest.mark.parametrize(
    ("path", "patterns", "days"),
    [
        ("/", ["db_*.sql"], 30),
        ("/backups", ["db_*.sql"], 30),
        ("backups/db", ["db_*.sql"], 30),
        ("/srv/backups/../../etc/x", ["db_*.sql"], 30),
        ("/srv/backups", ["*"], 30),
        ("/srv/backups", ["?*.*"], 30),
        ("/srv/backups", ["../db_*.sql"], 30),
        ("/srv/backups", [], 30),
        ("/srv/backups", ["db_*.sql"], 0),
    ],
)
def test_what_makes_no_sense_is_refused(path: str, patterns: list[str], days: int) -> None:
    with pytest.raises(ConfigurationError):
        local_files.clean({"directories": [{"path": path, "patterns": patterns, "days": days}]}, check=True)
