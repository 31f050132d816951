"""A cluster that archives into two repositories: either alone restores, and one that is lost is made anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage

from sandbox.postgres import VARIABLE
from tests.conftest import sandbox
from tests.integration.pgbackrest_fixtures import Physical, server

SECOND = {"path": "pgbackrest/second", "cipher_pass": "the second's own: it's \"another\" $one %"}


class Two(Physical):
    """The sandbox with two repositories in its bucket."""

    def set_up(self, folder: Path, *arguments: str) -> str:
        """Runs the role on both."""
        certificate = f"{self.state['postgres']['pgbackrest_dir']}/ca.crt"
        first = {
            name: value for name, value in {**self.repository, "ca_file": certificate}.items() if value is not None
        }
        given = folder / "repositories.json"
        given.touch(mode=0o600)
        given.write_text(json.dumps({"backup_pgbackrest_repositories": [first, {**first, **SECOND}]}))
        done = self.play("backup_setup", "-e", "backup_pgbackrest_restart=true", "-e", f"@{given}", "-vvv", *arguments)
        assert done.returncode == 0, done.output
        self.sandbox.state = self.state
        return done.output

    def keys(self, path: str) -> list[str]:
        storage = self.sandbox.storage
        return [each["Key"] for each in s3_storage.list_keys(s3_storage.client(storage), storage["bucket"], path)]

    def archived(self, path: str, segment: str) -> bool:
        """Whether a segment is in a repository."""
        return any(segment in key for key in self.keys(f"{path}/archive/"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with sandbox("empty", {VARIABLE: server()}) as up:
        made = Two(up)
        made.setup = made.set_up(tmp_path_factory.mktemp("two"))
        yield made


@pytest.fixture(scope="module")
def points(two: Two) -> list[dict[str, Any]]:
    """One in each."""
    two.sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) i")
    made: list[dict[str, Any]] = [
        two.backup("full", pgbackrest={"repository": number})["recovery_point"] for number in (1, 2)
    ]
    return made


def test_both_hold_what_is_archived(two: Two, points: list[dict[str, Any]]) -> None:
    assert [point["engine"]["repository_path"] for point in points] == ["pgbackrest/local", "pgbackrest/second"]
    ((segment,),) = two.sql("SELECT pg_walfile_name(pg_create_restore_point('here'))")
    two.sql("SELECT pg_switch_wal()")
    two.tool().checked("check")
    assert two.archived("pgbackrest/local", segment)
    assert two.archived("pgbackrest/second", segment)
    assert SECOND["cipher_pass"] not in two.setup
    assert two.state["postgres"]["cipher_pass"] not in two.setup


def test_either_alone_restores(two: Two, points: list[dict[str, Any]]) -> None:
    assert two.drilled(points[0]) == {}
    assert two.drilled(points[1], repository=SECOND) == {}
    # Its own key, not the other's.
    assert "drill.objects:pgbackrest" in two.drilled(points[1], repository={"path": SECOND["path"]})


def test_one_that_is_lost_is_made_anew(two: Two, points: list[dict[str, Any]], tmp_path: Path) -> None:
    storage = two.sandbox.storage
    s3 = s3_storage.client(storage)
    for key in two.keys("pgbackrest/local/"):
        s3.delete_object(Bucket=storage["bucket"], Key=key)
    ((segment,),) = two.sql("SELECT pg_walfile_name(pg_create_restore_point('lost'))")
    two.sql("SELECT pg_switch_wal()")
    assert two.drilled(points[1], repository=SECOND) == {}
    assert "create the stanza local" in two.set_up(tmp_path)
    two.tool().checked("check")
    # What was written meanwhile waited for it.
    assert two.archived("pgbackrest/local", segment)
    assert two.archived("pgbackrest/second", segment)
    again = two.backup("auto")["recovery_point"]
    assert again["engine"]["type"] == "full"
    assert two.drilled(again) == {}
