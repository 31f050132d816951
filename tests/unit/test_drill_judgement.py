"""The restore drill's judgement and its parts, without a server."""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
import zstandard
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.health import Words
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import application, engines, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill.logical import Logical
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files import files
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files.unpack import unpack
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import instance, proof
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import programs as postgres_programs
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import fetch
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points.fetch import drawn
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, RestoreError
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report import actions

from tests.conftest import COLLECTION, ROOT

AT = "2026-11-23T20:40:30Z"
OPTIONS = {"rto": 14400, "rpo": 3600, "recovery_point": "newest"}


def result(**changes: Any) -> dict[str, Any]:
    return {
        "recovery_point": {
            "id": "20261123T204030Z-3fa9c1",
            "key": "k",
            "sha256": "0" * 64,
            "engine": "logical",
            "created_at": AT,
            "objects": 5,
            "size": 10**6,
            "database_bytes": 10**9,
            "tables": 3,
            "application_version": "1.2.0",
        },
        "unreadable": {},
        "checks": [Check("drill.rows", "Rows restored", "ok", 7).as_dict()],
        "phases": {"prepare": 1.0, "fetch": 10.0, "start": 2.0, "restore": 60.0, "prove": 30.0, "application": 5.0},
        "rto_seconds": 108.0,
        "with_application": True,
        "heartbeat_at": AT,
        "rpo_seconds": 600.0,
        "source": {"bytes": 10**9, "error": None},
        "problem": None,
        "left": None,
        **changes,
    }


def found(**changes: Any) -> tuple[dict[str, Check], dict[str, Any], dict[str, Any]]:
    checks, (action,), summary = options.findings(result(**changes), OPTIONS, AT)
    return {check.id: check for check in checks}, action, summary


def test_good_drill() -> None:
    checks, action, summary = found()
    assert {check.status for check in checks.values()} == {"ok"}
    assert summary == {
        "recovery_point": "20261123T204030Z-3fa9c1",
        "engine": "logical",
        "database_bytes": 10**9,
        "worst_status": "ok",
        "objectives": "ok",
        "rto_seconds": 108.0,
        "rpo_seconds": 600.0,
        "phases": result()["phases"],
    }
    assert [seconds for _, seconds, _, _ in actions.objectives(action["details"])] == [108.0, 108.0, 600.0]


@pytest.mark.parametrize(
    ("source", "value", "status"),
    [
        ({"bytes": 10**9, "error": None}, 108.0, "ok"),
        # Fetch, restore and proof (100 s) grow tenfold, the other 8 s do not.
        ({"bytes": 10**10, "error": None}, 1008.0, "ok"),
        ({"bytes": 2 * 10**11, "error": None}, 20008.0, "critical"),
        ({"bytes": None, "error": None}, 108.0, "ok"),
        ({"bytes": None, "error": "Cannot connect."}, None, "unknown"),
    ],
)
def test_forecast(source: dict[str, Any], value: float | None, status: str) -> None:
    checks, action, summary = found(source=source)
    check = checks["drill.rto_forecast"]
    assert (check.value, check.status) == (value, status)
    assert summary["objectives"] == status
    # The proof stands, whatever the objectives say.
    assert (summary["worst_status"], action["status"]) == ("ok", "ok")


@pytest.mark.parametrize(
    ("seconds", "value", "status"),
    [
        (-100.0, 0.0, "ok"),
        (3599.0, 3599.0, "ok"),
        (3600.0, 3600.0, "critical"),
        (-301.0, None, "unknown"),
        (None, None, "unknown"),
    ],
)
def test_loss_of_data(seconds: float | None, value: float | None, status: str) -> None:
    check = found(rpo_seconds=seconds)[0]["drill.rpo"]
    assert (check.value, check.status) == (value, status)
    assert bool(check.remedy) == (status != "ok")


def test_loss_of_data_is_judged_of_the_newest_only() -> None:
    chosen = {**OPTIONS, "recovery_point": "random"}
    checks, _, summary = options.findings(result(rpo_seconds=10.0**7), chosen, AT)
    (check,) = [check for check in checks if check.id == "drill.rpo"]
    assert (check.status, check.value, check.critical) == ("ok", 10.0**7, None)
    assert (summary["objectives"], summary["rpo_seconds"]) == ("ok", None)


def test_rto_that_is_too_long() -> None:
    check = found(rto_seconds=14400.0)[0]["drill.rto"]
    assert (check.status, check.critical) == ("critical", 14400)


@pytest.mark.parametrize(
    ("phase", "id", "before"),
    [
        ("fetch", "drill.objects", set()),
        ("start", "drill.restored", {"drill.objects"}),
        ("restore", "drill.restored", {"drill.objects"}),
        ("files", "drill.application_files", {"drill.objects", "drill.restored"}),
        ("prove", "drill.proven", {"drill.objects", "drill.restored"}),
        ("application", "drill.application", {"drill.objects", "drill.restored"}),
    ],
)
@pytest.mark.parametrize(
    ("kind", "status"),
    [("RestoreError", "critical"), ("DatabaseError", "critical"), ("StorageError", "unknown")],
)
def test_what_ends_it_early_is_never_ok(phase: str, id: str, before: set[str], kind: str, status: str) -> None:
    problem = {"phase": phase, "kind": kind, "message": "It is broken.", "remedy": "Mend it."}
    checks, action, summary = found(problem=problem, rto_seconds=None, rpo_seconds=None, checks=[])
    assert (checks[id].status, checks[id].message, checks[id].remedy) == (status, "It is broken.", "Mend it.")
    assert {name for name, check in checks.items() if check.status == "ok"} == {"drill.recovery_point"} | before
    assert {checks[f"drill.{name}"].status for name in ("rto", "rto_forecast", "rpo")} == {"unknown"}
    assert (summary["worst_status"], action["status"]) == (status, "failed")


def test_newest_unreadable_or_copy_left_behind_is_said() -> None:
    checks, _, summary = found(unreadable={"20261124T204030Z-3fa9c1": "its schema version is not known"})
    assert checks["drill.recovery_point"].status == summary["worst_status"] == "critical"
    checks, _, summary = found(left="/var/tmp/x")
    assert checks["drill.clean"].status == summary["worst_status"] == "warning"


def test_drill_that_was_not_made() -> None:
    for kind, status in (("RestoreError", "critical"), ("LockedError", "unknown"), ("unexpected", "unknown")):
        (check,), (action,) = options.failure("No.", "Do.", kind, AT)
        assert (check.status, action["status"]) == (status, "failed")


def table(name: str, rows: int, digest: str | None, algorithm: str | None = "a") -> dict[str, Any]:
    return {"schema": "s", "name": name, "rows": rows, "digest": digest, "algorithm": algorithm}


def test_rows_without_a_digest_to_compare_with_are_unknown() -> None:
    rows, digests = proof.of_tables([table("t", 1, None, None)], [table("t", 1, None, None)])
    assert (rows.status, digests.status) == ("ok", "unknown")
    _, digests = proof.of_tables([table("t", 1, "1", "a")], [table("t", 1, "1", "b")])
    assert digests.status == "unknown"
    # What is known to be wrong outweighs what is not known.
    _, digests = proof.of_tables(
        [table("t", 1, "1"), table("u", 1, None, None)], [table("t", 1, "2"), table("u", 1, "3")]
    )
    assert digests.status == "critical"
    rows, digests = proof.of_tables([], [])
    assert (rows.status, digests.status) == ("ok", "ok")


def test_partitions_by_hash_are_compared_at_their_root() -> None:
    def table(name: str, rows: int, digest: int | None) -> dict[str, Any]:
        text = None if digest is None else str(digest)
        return {"oid": 1, "schema": "s", "name": name, "rows": rows, "digest": text, "algorithm": "x"}

    roots = {("s", "p1"): ("s", "p"), ("s", "p2"): ("s", "p")}
    recorded = [table("p1", 3, 30), table("p2", 0, 0), table("other", 1, 5)]

    def statuses(*measured: dict[str, Any]) -> list[str]:
        checks = proof.of_tables(*proof.at_roots(recorded, list(measured), roots))
        return [check.status for check in checks]

    other = table("other", 1, 5)
    assert statuses(*recorded) == ["ok", "ok"]
    assert statuses(table("p1", 1, 40), table("p2", 2, -10), other) == ["ok", "ok"]
    # Rows that are others, or fewer, are seen at the root as well.
    assert statuses(table("p1", 1, 40), table("p2", 2, -11), other) == ["ok", "critical"]
    assert statuses(table("p1", 1, 40), table("p2", 1, -10), other) == ["critical", "ok"]
    # A partition that is not there is not made up for by another.
    assert statuses(table("p1", 3, 30), other)[0] == "critical"
    # Tables that are no partitions by hash do not exchange rows.
    assert statuses(*recorded[:2], table("other", 0, 0))[0] == "critical"
    (rows, digests) = proof.of_tables(
        *proof.at_roots(recorded, [table("p1", 1, None), table("p2", 2, None), other], roots)
    )
    assert (rows.status, digests.status) == ("ok", "unknown")
    # What is not known of one is not known of all.
    unread = {**table("p2", 0, None), "rows": None, "unmeasured": "why"}
    (rows, digests) = proof.of_tables(*proof.at_roots(recorded, [table("p1", 3, 30), unread, other], roots))
    assert (rows.status, digests.status) == ("unknown", "unknown")
    assert "s.p (why)" in rows.message


def test_rows_that_could_not_be_counted_are_unknown_and_named() -> None:
    unread = {**table("t", 1, None, None), "rows": None, "unmeasured": "permission denied"}
    known, other = table("t", 3, "1"), table("u", 1, "3")
    for recorded, restored in (([unread, other], [known, other]), ([known, other], [unread, other])):
        rows, digests = proof.of_tables(recorded, restored)
        assert (rows.status, digests.status) == ("unknown", "unknown")
        assert "s.t (permission denied)" in rows.message
        assert "s.t" in digests.message
        assert "s.u" not in rows.message + digests.message
    # That one is missing, or has other rows, is worse than that one is not known.
    rows, _ = proof.of_tables([unread, other], [unread])
    assert rows.status == "critical"


def test_another_version_of_an_extension_is_a_warning() -> None:
    assert proof.of_extensions({"a": "1"}, {"a": "1"}).status == "ok"
    assert proof.of_extensions({"a": "1"}, {"a": "2"}).status == "warning"
    assert proof.of_extensions({"a": "1"}, {}).status == "critical"
    assert proof.of_extensions({}, {"a": "1"}).status == "critical"
    assert proof.equal("x", "X", None, None).status == "ok"
    assert proof.equal("x", "X", None, ["1"]).status == "critical"
    assert proof.equal("x", "X", ["1"], None).status == "critical"


def test_space_is_for_all_that_lies_there_at_once() -> None:
    point = {"database": {"size": 10**10}, "totals": {"bytes": 10**9}, "application": {"bytes": 10**8}}
    assert 13.6 * 10**9 < Logical.space(point) < 14.2 * 10**9


@pytest.mark.parametrize("key", ["/../x", "//x", "/a/../../x", "/"])
def test_object_that_would_lie_elsewhere_is_refused(key: str) -> None:
    point = {
        "id": "ID",
        "objects": [{"key": f"p/ID{key}"}],
        "totals": {"bytes": 1},
        "engine": {"name": "logical"},
        "application": {"files": 0},
        "database": {
            "name": "d",
            "server_version_num": 180000,
            "size": 1,
            "snapshot_at": AT,
            "extensions": {},
            "schema_head": None,
            "large_objects": 0,
            "tables": [],
        },
    }
    with pytest.raises(ValueError, match="not a place for an object"):
        fetch.check_complete(point)
    fetch.check_complete({**point, "objects": [{"key": "p/ID/database/toc.dat"}]})
    with pytest.raises(KeyError):
        fetch.check_complete({**point, "database": {}})


APPLICATION: dict[str, Any] = {
    "command": ["app", "{port}"],
    "environment": {},
    "user": "a b",
    "url": "http://127.0.0.1:{port}",
    "health_path": "/health",
    "ready_path": "",
    "version_path": "",
    "version": None,
    "timeout": 1,
}


@pytest.mark.parametrize("secret", application.SECRET)
def test_no_secret_on_the_applications_command_line(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="command line"):
        application.check_options({**APPLICATION, "command": ["app", f"--url=x{secret}"]})
    application.check_options(APPLICATION)


def test_application_that_cannot_be_started(tmp_path: Path) -> None:
    server: Any = SimpleNamespace(port=5, password="p/w", superuser="s")
    environment = {"URL": "x+{database_url}", "REST": "{database_name} {data_directory} {unknown}", "NUMBER": 1}
    given = {**APPLICATION, "command": ["/nowhere/at all"], "environment": environment}
    child = application.Application(given, server, "d/b", tmp_path / "work", tmp_path)
    assert child._environment == {
        "URL": "x+postgresql://a%20b:p%2Fw@127.0.0.1:5/d%2Fb?sslmode=disable",
        "REST": f"d/b {tmp_path} {{unknown}}",
        "NUMBER": "1",
    }
    with child:
        (check,) = child.start(lambda: None)
    assert check.status == "critical"
    assert "No such file" in check.message


def test_application_with_words_of_its_own(tmp_path: Path) -> None:
    server: Any = SimpleNamespace(port=5, password="p/w", superuser="s")
    script = (
        "import http.server, sys\n"
        "class Says(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200), self.end_headers(), self.wfile.write(b'bereit')\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Says).serve_forever()\n"
    )
    given = {**APPLICATION, "command": [sys.executable, "-c", script, "{port}"], "timeout": 120}
    child = application.Application(
        {**given, "words": {"healthy": ["Bereit"]}}, server, "d", tmp_path / "one", tmp_path
    )
    with child:
        (check,) = child.start(lambda: None)
        assert (check.status, check.id) == ("ok", "drill.application")
        child._words = Words.of({"healthy": ["ready"]})
        assert child._asked(["/health"]).startswith("/health says ")
    with pytest.raises(ConfigurationError, match="means unhealthy already"):
        application.check_options({**given, "words": {"healthy": ["down"]}})


def packed(folder: Path, *members: tarfile.TarInfo) -> Path:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    path = folder / "data.tar.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(plain.getvalue()))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode = kind, size, target, 0o4755
    return info


def entry(name: str, kind: str = "file", size: int = 0, **more: Any) -> dict[str, Any]:
    return {"path": name, "type": kind, "size": size, "sha256": hashlib.sha256(b"x" * size).hexdigest(), **more}


def test_files_are_unpacked_against_the_manifest(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "file").write_bytes(b"data")
    (source / "a" / os.fsdecode(b"n\xff\n")).write_text("odd")
    os.link(source / "a" / "file", source / "same")
    (source / "link").symlink_to("/nowhere")
    archive = files.Archive(source, [])
    with open(tmp_path / "data.tar.zst", "wb") as target:
        archive.write(target)
    manifest = archive.manifest()
    assert unpack(tmp_path / "data.tar.zst", manifest, tmp_path / "out", lambda: None) == []
    assert (tmp_path / "out/same").read_bytes() == b"data"
    assert (tmp_path / "out/same").samefile(tmp_path / "out/a/file")
    assert os.readlink(tmp_path / "out/link") == "/nowhere"
    assert (tmp_path / "out/a" / os.fsdecode(b"n\xff\n")).read_text() == "odd"
    changed = {"entries": [{**each, "sha256": "0" * 64} if "sha256" in each else each for each in manifest["entries"]]}
    changed["entries"].append(entry("gone"))
    wrong = unpack(tmp_path / "data.tar.zst", changed, tmp_path / "out2", lambda: None)
    assert len([text for text in wrong if "has other content" in text]) == 2
    assert "gone is missing from the archive" in wrong


def test_archive_never_writes_outside(tmp_path: Path) -> None:
    """An archive and manifest of somebody who may write to the store."""
    archive = packed(
        tmp_path,
        member("out", tarfile.SYMTYPE, target=str(tmp_path)),
        member("out/owned", size=1),
        member("../owned", size=1),
        member(f"{tmp_path}/owned", size=1),
        member("hard", tarfile.LNKTYPE, target="../secret"),
        member("device", tarfile.CHRTYPE),
        member("setuid", size=1),
    )
    (tmp_path / "secret").write_text("secret")
    names = [entry(name, size=1) for name in ("out/owned", "../owned", f"{tmp_path}/owned", "setuid")]
    links = [
        entry("out", "symlink", target=str(tmp_path)),
        entry("hard", "hardlink", target="../secret"),
        entry("device"),
    ]
    wrong = unpack(archive, {"entries": names + links}, tmp_path / "home", lambda: None)
    assert len(wrong) == 5
    assert not (tmp_path / "owned").exists()
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["out", "setuid"]
    assert (tmp_path / "home/setuid").stat().st_mode & 0o7777 == 0o755


def test_broken_archive_is_said(tmp_path: Path) -> None:
    (tmp_path / "data.tar.zst").write_bytes(b"no archive")
    (text,) = unpack(tmp_path / "data.tar.zst", {"entries": []}, tmp_path / "home", lambda: None)
    assert "cannot be read" in text


def test_scratch_directory_in_a_data_directory_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "base" / "1").mkdir(parents=True)
    (data / "PG_VERSION").write_text("18")
    (tmp_path / "link").symlink_to(data / "base")
    for path in (data, data / "base" / "1", tmp_path / "link"):
        with pytest.raises(ConfigurationError, match="PostgreSQL data directory"):
            instance.check_place(str(path), None)
    instance.check_place(str(tmp_path), None)
    with pytest.raises(ConfigurationError, match="does not exist"):
        instance.check_place(str(tmp_path / "nowhere"), None)
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigurationError, match="cannot reach"):
        instance.check_place(str(tmp_path), instance.Account("postgres", 1, 1))


def test_server_keeps_to_itself() -> None:
    asked = {"listen_addresses": "*", "archive_mode": "on", "shared_buffers": "1GB"}
    settings = instance.Instance(Path("/nowhere"), {}, None, asked)._settings
    assert (settings["listen_addresses"], settings["archive_mode"]) == ("127.0.0.1", "off")
    assert settings["shared_buffers"] == "1GB"


def test_objectives_of_the_report_take_anything() -> None:
    assert actions.objectives({}) == []
    assert actions.objectives({"objectives": "x"}) == []
    given = [None, {"name": "a", "status": "ok"}, {"name": "b", "seconds": None, "objective": 5, "status": "unknown"}]
    assert actions.objectives({"objectives": given}) == [("b", None, 5.0, "unknown")]


def test_readme_names_every_check_and_invariant() -> None:
    readme = (ROOT / "roles/restore_drill/README.md").read_text(encoding="utf-8")
    code = "".join(
        path.read_text(encoding="utf-8") for path in (COLLECTION / "plugins/module_utils/_drill").glob("*.py")
    )
    made = set(re.findall(r'"(drill\.[a-z_]+)"', code)) | {
        f"drill.{name}" for name in re.findall(r'(?:judged|equal)\(\s*"([a-z_]+)"', code)
    }
    assert len(made) > 12
    # The action's own id, and what only ever stands for a proof or a removal that broke off.
    assert made - {"drill.restore", "drill.snapshot_at"} <= set(re.findall(r"drill\.[a-z_]+", readme))
    invariants = yaml.safe_load((ROOT / "roles/restore_drill/vars/main.yml").read_text())["__restore_drill_invariants"]
    for invariant in invariants:
        assert f"`{invariant['name']}`" in readme


def server(folder: Path, version: int, *missing: str) -> str:
    folder.mkdir(parents=True)
    for name in {*Logical.programs} - {*missing}:
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}.1'\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_programs_are_found_where_distributions_put_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {version: server(tmp_path / f"debian/{version}/bin", version) for version in (9, 15, 18)}
    only_client = server(tmp_path / "client", 18, "postgres", "initdb")
    monkeypatch.setattr(postgres_programs, "INSTALLED", (str(tmp_path / "debian/*/bin"), str(tmp_path / "pgsql-*/bin")))
    monkeypatch.setenv("PATH", only_client)

    def chosen(recorded: int, **given: Any) -> set[str]:
        point = {"database": {"server_version_num": recorded * 10000}}
        return {str(Path(path).parent) for path in engines.tools(given, Logical, point).values()}

    # All from one place, although psql is in the PATH.
    assert chosen(15) == {places[15]}
    assert chosen(16) == {places[18]}
    assert chosen(9) == {places[9]}
    with pytest.raises(ConfigurationError, match=r"(initdb|postgres) was not found"):
        chosen(19)
    with pytest.raises(ConfigurationError, match="of PostgreSQL 15, the recovery point of 16"):
        chosen(16, pg_bin_dir=places[15])
    # Named are those of one of two versions: the other's own are taken where they are, and never others.
    assert chosen(15, pg_bin_dir=places[9]) == {places[15]}
    assert chosen(15, pg_bin_dir=places[18]) == {places[18]}
    with pytest.raises(ConfigurationError, match=r"(initdb|postgres) was not found"):
        chosen(15, pg_bin_dir=only_client)
    monkeypatch.setenv("PATH", places[18])
    assert chosen(15) == {places[18]}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("pg_restore: error: could not write: No space left on device", ConfigurationError),
        # Where half a block still had room.
        (
            'ERROR: could not extend file "base/1/2": wrote only 4096 of 8192 bytes HINT: Check free disk space.',
            ConfigurationError,
        ),
        # Nor is it its fault that the programs cannot read it.
        (
            "pg_restore: warning: archive is compressed, but this installation does not support compression"
            " (this build does not support compression with zstd) -- no data will be available",
            ConfigurationError,
        ),
        ("pg_restore: error: could not read from input file: end of file", RestoreError),
    ],
)
def test_a_full_disk_says_nothing_of_the_recovery_point(said: str, kind: type[Exception]) -> None:
    assert type(instance.failed(said, "Read it.")) is kind


def test_a_recovery_point_is_drawn_again_by_its_seed() -> None:
    ids = [f"202611{day}T020000Z-abcdef" for day in range(28, 9, -1)]
    first = drawn(ids, "run-1")
    assert sorted(first, reverse=True) == ids[1:]
    # In whatever order they are listed, by whatever process.
    assert drawn([ids[0], *reversed(ids[1:])], "run-1") == first
    assert first[0] == "20261114T020000Z-abcdef"
    assert len({drawn(ids, f"run-{number}")[0] for number in range(20)}) > 5
    assert drawn(ids[:1], "run-1") == ids[:1]
    assert drawn([], "run-1") == []
