"""What the ledger knows of an earlier change whose end is not on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger
from ansible_collections.tradingflow.maintenance.plugins.module_utils._ledger import places
from ansible_collections.tradingflow.maintenance.plugins.module_utils._ledger.unended import Unended, unended

from tests.unit.ledger_fixtures import STORAGE, MemoryStore, make_key

BEGUN = {"state": "begun", "database": {"name": "tf"}, "to": ["b"]}
ENDED = {**BEGUN, "state": "ended"}


class Ledger:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.private, self.public = make_key(folder)
        self.witness = folder / "ledger-production.jsonl"
        self.memory = MemoryStore()
        monkeypatch.setattr(places, "client", lambda storage, pool=10: self.memory)

    def append(self, content: dict[str, Any], run_id: str = "r1", kind: str = "migration") -> None:
        options: dict[str, Any] = {"signing_key": self.private, "trusted_keys": [self.public], "witness": self.witness}
        ledger.append(STORAGE, "production", kind, actor="ada", run_id=run_id, subjects=[], content=content, **options)

    def damage(self, number: int) -> None:
        """One bit of a record."""
        (key,) = [name for name in self.memory.objects if name.endswith(f"{number:08d}.json")]
        data = bytearray(self.memory.objects[key])
        data[len(data) // 2] ^= 1
        self.memory.objects[key] = bytes(data)

    def look(self) -> Unended:
        evidence = {"trusted_key_files": [str(self.public)]}
        options = {"storage": STORAGE, "environment_name": "production", "evidence": evidence}
        return unended(options, "migration", {"database": {"name": "tf"}}, "now")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    made = Ledger(tmp_path, monkeypatch)
    made.append({"n": 1}, kind="run")
    made.append(BEGUN)
    return made


def test_what_began_and_what_ended(written: Ledger) -> None:
    found = written.look()
    assert found.began is not None
    assert found.sure == found.began
    assert (found.began["run_id"], found.began["to"]) == ("r1", ["b"])
    assert found.checks("migration", "production") == []
    written.append(ENDED)
    assert written.look() == (None, None)


def test_a_record_that_does_not_verify_may_be_the_end(written: Ledger) -> None:
    written.append(ENDED)
    written.append({"n": 2}, kind="run")
    written.damage(3)
    found = written.look()
    assert found.began is not None
    assert (found.sure, found.unread) == (None, 3)
    (check,) = found.checks("migration", "production")
    assert (check.id, check.status) == ("migration.ledger", "unknown")
    assert "Record 3 of production's ledger" in check.message


def test_a_record_that_does_not_verify_may_be_the_beginning(written: Ledger) -> None:
    written.append({"n": 2}, kind="run")
    written.damage(2)
    assert written.look() == (None, 2)


def test_an_older_one_says_nothing_of_what_came_later(written: Ledger) -> None:
    written.append({"n": 2}, kind="run")
    written.damage(1)
    found = written.look()
    assert (found.unread, found.sure is not None) == (None, True)
