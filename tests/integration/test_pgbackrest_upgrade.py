"""A cluster that pg_upgrade made takes over its stanza: backups, watch, retention and drill of both clusters' backups.

The new server is the newest that the machine's pgBackRest backs up. In Debian trixie (tests/ci/trixie.sh) that is a
major upgrade, from its PostgreSQL 17 to the sandbox's own 18. On Debian 12, whose pgBackRest 2.45 knows nothing newer
than its PostgreSQL 15, it is 15 again: pg_upgrade takes that, too, and makes a cluster with another system identifier
of it, which is most of what pgBackRest, ledger and retention see of a major upgrade. The tests go on from one another.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine as backup
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest.program import find, newest_server
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import engine, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import BackupError, ConfigurationError

from sandbox.layout import write_private
from sandbox.postgres import _environment, _identity, major, version, wheel
from tests.integration.pgbackrest_fixtures import newest, server
from tests.integration.restore_fixtures import bad, remove_cluster, restored
from tests.integration.test_retention_physical import Retained, fates
from tests.integration.wal_fixtures import archiving

SET_UP = ("backup_setup", "-e", "backup_pgbackrest_restart=true")
UPGRADE = ("-e", "backup_pgbackrest_upgrade_stanza=true")

#: An option of every column that servers write since their releases of November 2026 (17.12), and older ones refuse.
MARK = "pg_attver"
UNMARK = f"""
UPDATE pg_attribute
SET attoptions = NULLIF(ARRAY(SELECT each FROM unnest(attoptions) each WHERE each NOT LIKE '{MARK}=%'), '{{}}')
WHERE attoptions IS NOT NULL AND attrelid >= 16384"""


def upgrade(source: Retained) -> None:
    """Stops the server and puts an upgraded cluster in the place of its own, configured as a new one is."""
    state = source.state
    postgres = state["postgres"]
    data, old_programs = Path(postgres["data_dir"]), Path(postgres["bin_dir"])
    programs = newest(old_programs, Path(state["data_root"]) / "newest")
    if MARK.encode() not in (programs / "postgres").read_bytes():
        # pg_upgrade copies it, as an older release's does not know better.
        source.sql(UNMARK)
    source.sandbox("stop", "postgres")
    old, new = data.with_name("old"), data.with_name("new")
    data.rename(old)

    def run(program: str, *arguments: str | Path) -> None:
        # pg_upgrade writes beside itself.
        done = subprocess.run(
            [programs / program, *arguments],
            cwd=data.parent,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **_identity(),
        )
        # It deletes its logs when it is done.
        logs = [path.read_text() for path in new.glob("pg_upgrade_output.d/*/log/*.log")]
        assert not done.returncode, "\n".join([done.stdout, *logs])

    # Pages have checksums unless somebody objects since 18, and pg_upgrade wants the old cluster's to be the same.
    plain = ("--no-data-checksums",) if major(old_programs) < 18 <= major(programs) else ()
    run("initdb", "-D", new, "-U", "postgres", "--encoding=UTF8", "--locale=C", "--auth=reject", "--no-sync", *plain)
    # Not postgresql.auto.conf, with the settings of archiving: that is left to the playbook.
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        shutil.copyfile(old / name, new / name)
    run(
        *("pg_upgrade", "-b", old_programs, "-B", programs, "-d", old, "-D", new, "-U", "postgres"),
        *("-o", "-c archive_mode=off"),
    )
    new.rename(data)
    shutil.rmtree(old)
    postgres.update(bin_dir=str(programs), version=version(programs))
    write_private(Path(source.sandbox("path").stdout.strip()), json.dumps(state))
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
def dumped(source: Retained) -> dict[str, Any]:
    """A logical recovery point from before the upgrade, of an environment of its own."""
    return logical(source, "gzip")


@pytest.fixture(scope="module")
def squeezed(source: Retained) -> dict[str, Any]:
    """Another, compressed as the old server's client does it best: by zstd from 16 on."""
    return logical(source, "auto", "squeezed")


def logical(source: Retained, compression: str, name: str = "dumped") -> dict[str, Any]:
    programs = source.state["postgres"]["bin_dir"]
    chosen = source.options(engine="logical", environment_name=name, pg_bin_dir=programs, compression=compression)
    made: dict[str, Any] = backup.create(chosen, Progress())["recovery_point"]
    return made


@pytest.fixture(scope="module")
def after(
    source: Retained, before: list[dict[str, Any]], dumped: dict[str, Any], squeezed: dict[str, Any]
) -> list[dict[str, Any]]:
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
    # It is another database, until somebody declares it.
    with pytest.raises(BackupError, match="system identifier is") as other:
        source.made("auto")
    declared = other.value.remedy.rpartition("backup_database_identity: ")[2]
    # An increment of the old cluster's backup is none: pgBackRest makes a full one.
    first = source.made("auto", database_identity=declared)
    # What is compared with is the newest: the next one needs no declaration.
    return [first, source.made("full")]


def test_two_clusters_in_one_repository(
    source: Retained, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    old, new = before[0], after[0]
    assert new["engine"]["type"] == "full"
    assert old["database"]["system_identifier"] != new["database"]["system_identifier"]
    majors = [int(point["database"]["server_version_num"]) // 10000 for point in (old, new)]
    assert majors == [major(Path(server())), major(Path(source.state["postgres"]["bin_dir"]))]
    own = major(wheel() / "pginstall/bin")
    if newest_server(find()[1]) >= own:
        assert majors[1] == own
    assert [point["engine"]["archive_id"] for point in (old, new)] == [f"{majors[0]}-1", f"{majors[1]}-2"]
    found = source.watched()
    assert {found[name].status for name in ("wal_archived", "wal_gaps", "wal_of_backups")} == {"ok"}, found
    assert found["wal_of_backups"].value == 4


def newer(id: str, dumped: dict[str, Any], after: list[dict[str, Any]]) -> list[str]:
    """The check that warns: a new major version brings pg_stat_statements in another version, too."""
    old, new = (int(point["database"]["server_version_num"]) // 10000 for point in (dumped, after[0]))
    return [id] if old != new else []


def test_backups_of_both_restore(
    source: Retained, before: list[dict[str, Any]], dumped: dict[str, Any], after: list[dict[str, Any]]
) -> None:
    """The programs that are named are the new server's; the old cluster's own are found beside them."""
    for point in (before[1], after[1]):
        assert source.drilled(point) == {}
    # A dump goes by the new programs; nobody writes heartbeats for it either.
    found = {id: said for id, said in source.drilled(dumped).items() if id not in ("drill.heartbeat", "drill.rpo")}
    assert list(found) == newer("drill.extensions", dumped, after), found


def test_old_dump_into_the_new_server(
    source: Retained, dumped: dict[str, Any], squeezed: dict[str, Any], after: list[dict[str, Any]]
) -> None:
    postgres = source.state["postgres"]
    admin = {"user": postgres["superuser"], "password": postgres["superuser_password"]}
    chosen = {
        **{name: spec.get("default") for name, spec in options.SPEC.items()},
        "environment_name": "dumped",
        "database": {**source.sandbox.database, **admin},
        "storage": source.sandbox.storage,
        "pg_bin_dir": postgres["bin_dir"],
        "scratch_directory": str(source.artifacts.parent),
        "recovery_point": dumped["id"],
        "target_database": "moved",
    }
    (refusal,) = engine.plan(chosen)["refusals"]
    assert "restore_system_identifier" in refusal["remedy"], refusal
    new = after[0]["database"]["system_identifier"]
    checks, _result, _summary = restored({**chosen, "system_identifier": new})
    found = bad(checks)
    assert list(found) == newer("restore.extensions", dumped, after), found
    assert checks["restore.digests"].value == len(dumped["database"]["tables"]) > 20
    assert source.sql("SELECT count(*) FROM orders", "moved") == [(0,)]
    if squeezed["engine"]["compression"] != "zstd":
        return
    # The sandbox's own client was built without it: said before anything is begun, and no fault of the backup.
    other = {**chosen, "environment_name": "squeezed", "recovery_point": squeezed["id"]}
    with pytest.raises(ConfigurationError, match="with zstd") as caught:
        engine.plan(other)
    assert "restore_pg_bin_dir" in str(caught.value.remedy)


def test_old_cluster_does_not_come_back_in_place(
    source: Retained, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    """In the new one's place its server could not start on it; elsewhere its own does, with its last change."""
    asked = ("restore", "-e", "restore_mode=point_in_time", "-e", "restore_application_way=none")
    state = source.state
    data = Path(state["postgres"]["data_dir"])
    moment = datetime.fromisoformat(after[0]["created_at"]) - timedelta(seconds=1)
    majors = [int(point["database"]["server_version_num"]) // 10000 for point in (before[1], after[0])]
    refused = source.play(*asked, "-e", f"restore_target={moment.isoformat()}", "--check")
    assert refused.returncode, refused.output
    said = " ".join(refused.output.split())
    if majors[0] != majors[1]:
        assert f"The cluster in {data} is of PostgreSQL {majors[1]}" in said, refused.output
        assert f"the recovery point {before[1]['id']} of {majors[0]}" in said, refused.output
    else:
        assert f"not {before[1]['database']['system_identifier']}" in said, refused.output
    folder, port = data.with_name("elsewhere"), state["postgres"]["port"] + 1
    elsewhere = {
        "restore_cluster": {"data_directory": str(folder), "elsewhere": True},
        "restore_database": "{{ tradingflow_database | combine({'user': local_sandbox.postgres.superuser,"
        f" 'password': local_sandbox.postgres.superuser_password, 'port': {port}}}) }}}}",
        "restore_recovery_point": before[1]["id"],
        "restore_target_type": "latest",
    }
    try:
        done = source.play(*asked, "-e", json.dumps(elsewhere))
        assert done.returncode == 0, done.output
        source.sandbox.state["postgres"]["port"] = port
        assert source.sql("SELECT count(*) FROM kept") == [(7,)]
        assert source.sql("SELECT current_setting('server_version_num')::int / 10000") == [(majors[0],)]
        assert source.sql("SHOW archive_mode") == [("off",)]
    finally:
        source.sandbox.state = source.state
        remove_cluster(folder)


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
        before_it = set(listed.archives[archive].segments)
        # What the server archives meanwhile is none of retention's.
        needed = {name for name in before_it if name >= oldest["engine"]["wal_start"]}
        assert set(left.archives[archive].segments) & before_it == needed
    checks = source.watched()
    named = {name: (checks[name].status, checks[name].message) for name in ("wal_gaps", "wal_of_backups")}
    assert {status for status, _message in named.values()} == {"ok"}, named
