"""A cluster that pg_upgrade made takes over its stanza: backups, watch, retention and drill of both clusters' backups.

pg_upgrade takes a server of the same major version, too, and makes a cluster with another system identifier of it,
which is what pgBackRest, ledger and retention see of a major upgrade. The tests go on from one another.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

from sandbox.postgres import _environment, _identity
from tests.integration.test_retention_physical import Retained, fates
from tests.integration.wal_fixtures import archiving

SET_UP = ("backup_setup", "-e", "backup_pgbackrest_restart=true")
UPGRADE = ("-e", "backup_pgbackrest_upgrade_stanza=true")


def upgrade(source: Retained) -> None:
    """Stops the server and puts an upgraded cluster in the place of its own, configured as a new one is."""
    source.sandbox("stop", "postgres")
    postgres = source.state["postgres"]
    data, bin_dir = Path(postgres["data_dir"]), Path(postgres["bin_dir"])
    old, new = data.with_name("old"), data.with_name("new")
    data.rename(old)

    def run(program: str, *arguments: str | Path) -> None:
        # pg_upgrade writes beside itself.
        done = subprocess.run(
            [bin_dir / program, *arguments],
            cwd=data.parent,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **_identity(),
        )
        assert not done.returncode, done.stdout

    run("initdb", "-D", new, "-U", "postgres", "--encoding=UTF8", "--locale=C", "--auth=reject", "--no-sync")
    # Not postgresql.auto.conf, with the settings of archiving: that is left to the playbook.
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        shutil.copyfile(old / name, new / name)
    run(
        *("pg_upgrade", "-b", bin_dir, "-B", bin_dir, "-d", old, "-D", new, "-U", "postgres"),
        *("-o", "-c archive_mode=off"),
    )
    new.rename(data)
    shutil.rmtree(old)
    source.sandbox("start", "postgres")
    source.sandbox.state = source.state


@pytest.fixture(scope="module")
def source() -> Iterator[Retained]:
    with archiving() as made:
        yield Retained(made.sandbox)


@pytest.fixture(scope="module")
def before(source: Retained) -> list[dict[str, Any]]:
    """What is backed up before the upgrade: a full and an incremental backup."""
    return [source.made(kind) for kind in ("full", "incr")]


@pytest.fixture(scope="module")
def after(source: Retained, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Upgrades; what says so; and two backups of the new cluster."""
    source.sql("CREATE TABLE kept (i int)")
    source.sql("INSERT INTO kept SELECT generate_series(1, 7)")
    upgrade(source)
    assert source.sql("SELECT count(*) FROM kept") == [(7,)]
    # Its settings are gone, and nobody takes the other cluster's stanza over without being told to.
    with pytest.raises(ConfigurationError, match="does not archive"):
        source.made("incr")
    refused = source.play(*SET_UP)
    assert refused.returncode, refused.output
    assert "backup_pgbackrest_upgrade_stanza=true" in refused.output, refused.output
    assert source.sql("SHOW archive_mode") == [("off",)]
    found = source.watched()["wal_archived"]
    assert (found.status, "archive_mode" in str(found.message)) == ("critical", True), found
    planned = source.play(*SET_UP, *UPGRADE, "--check")
    assert planned.returncode == 0, planned.output
    assert "upgrade the stanza local" in planned.output, planned.output
    done = source.play(*SET_UP, *UPGRADE)
    assert done.returncode == 0, done.output
    again = source.play(*SET_UP, *UPGRADE)
    assert again.returncode == 0, again.output
    assert "changed" not in again.output, again.output
    # An increment of the old cluster's backup is none: pgBackRest makes a full one.
    return [source.made(kind) for kind in ("auto", "full")]


def test_two_clusters_in_one_repository(
    source: Retained, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    old, new = before[0], after[0]
    assert new["engine"]["type"] == "full"
    assert old["database"]["system_identifier"] != new["database"]["system_identifier"]
    version = old["engine"]["archive_id"].split("-")[0]
    assert [point["engine"]["archive_id"] for point in (old, new)] == [f"{version}-1", f"{version}-2"]
    found = source.watched()
    assert {found[name].status for name in ("wal_archived", "wal_gaps", "wal_of_backups")} == {"ok"}, found
    assert found["wal_of_backups"].value == 4


def test_backups_of_both_restore(source: Retained, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    for point in (before[1], after[1]):
        assert source.drilled(point) == {}


def test_retention_after_it(source: Retained, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    """Each cluster's newest stays with what it needs, the old cluster's WAL like the new one's."""
    plan = source.decided()
    found = fates(plan)
    assert {id: kept for id, (kept, _why) in found.items()} == {
        before[0]["id"]: True,
        before[1]["id"]: True,
        after[0]["id"]: False,
        after[1]["id"]: True,
    }
    old, new = (point["engine"]["archive_id"] for point in (before[0], after[0]))
    listed = source.listed()
    (label,) = [each["label"] for each in plan["backups"] if not each["kept"]]
    assert label == after[0]["engine"]["label"]
    chosen = {"backup_retention": {"keep_last": 1}, "backup_engines": ["pgbackrest"]}
    done = source.play("daily", "--tags", "retention", "-e", json.dumps(chosen))
    assert done.returncode == 0, done.output
    left = source.listed()
    assert left.labels == listed.labels - {label}
    # Only what is older than any backup of its cluster.
    for archive, oldest in ((old, before[0]), (new, after[1])):
        needed = {name for name in listed.archives[archive].segments if name >= oldest["engine"]["wal_start"]}
        assert set(left.archives[archive].segments) == needed
    checks = source.watched()
    named = {name: (checks[name].status, checks[name].message) for name in ("wal_gaps", "wal_of_backups")}
    assert {status for status, _message in named.values()} == {"ok"}, named
