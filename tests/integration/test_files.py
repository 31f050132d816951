"""The application's files in a real repository: what goes there, what comes back, and what is damaged."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files import (
    application,
    repository,
    restic_process,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files.stored import Stored
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import store
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points.files import restore_files
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ConfigurationError,
    RestoreError,
    StorageError,
)

from tests.conftest import COLLECTION
from tests.integration import files_fixtures, test_backup
from tests.integration.files_fixtures import MARK, PASSWORD, Build, back_up, of_kind, prefix_of, restic_of, stored
from tests.integration.test_backup import THRESHOLDS, client, damage, fetch, keys, left_in

backup_options, database, scratch = test_backup.backup_options, test_backup.database, test_backup.scratch
restic, tree, options_of = files_fixtures.restic, files_fixtures.tree, files_fixtures.options_of
begun = files_fixtures.begun


def intact(chosen: dict[str, Any]) -> Any:
    """The check of the newest recovery point."""
    checks = store.measure(chosen["storage"], chosen["environment_name"], THRESHOLDS)
    return next(check for check in checks if check.id == "backups.newest_intact")


def verified(chosen: dict[str, Any], point: dict[str, Any], mode: str = "full") -> list[str]:
    folder = Path(chosen["scratch_directory"]) / "verify"
    return application.verify_files(chosen, client(chosen), point, mode, folder, lambda: None)


def brought_back(chosen: dict[str, Any], point: dict[str, Any], folder: Path, **how: Any) -> list[str] | None:
    """Restores the files into folder/files, from nothing but the store."""
    objects = folder / "objects"
    (objects / "application").mkdir(parents=True)
    for entry in point["objects"]:
        if "/application/" in entry["key"]:
            (objects / "application" / entry["key"].rsplit("/", 1)[-1]).write_bytes(fetch(chosen, entry["key"]))
    s3, work = client(chosen), folder / "work"
    return restore_files(chosen, point, objects, folder / "files", s3, work, lambda: None, **how)


def looks(root: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below a folder: kind, mode, contents, time, and whom it is linked with."""
    found = {}
    for folder, folders, names in os.walk(root):
        for name in [*folders, *names]:
            path = Path(folder, name)
            status = path.lstat()
            contents: Any = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            kind = stat.S_IFMT(status.st_mode)
            mode = 0 if path.is_symlink() else stat.S_IMODE(status.st_mode)
            found[str(path.relative_to(root))] = (
                kind,
                mode,
                status.st_nlink * path.is_file(),
                contents,
                status.st_mtime_ns,
            )
    return found


@pytest.mark.parametrize("how", ["restic", "archive"])
def test_everything_comes_back_as_it_was(options_of: Build, tree: Path, tmp_path: Path, how: str) -> None:
    chosen = options_of(tree, made=False, data_excludes=["cache", "*.tmp"], files_engine=how)
    result = engine.create(chosen, Progress())
    point = result["recovery_point"]
    jsonschema.validate(point, json.loads((COLLECTION / "schemas/recovery-point-1.json").read_text()))
    assert result["verification"]["problems"] == []
    assert result["notes"]["skipped_files"] == ["closed/fifo", "so*cket"]
    assert result["notes"]["changed_files"] == []
    assert point["application"]["engine"] == how
    assert point["application"]["version"] == "1.2.3"
    assert not left_in(Path(chosen["scratch_directory"]))
    assert brought_back(chosen, point, tmp_path / "back", owners=os.geteuid() == 0) == []
    before = looks(tree)
    gone = {name for name in before if name.startswith("cache") or name.endswith(".tmp")} | {"so*cket", "closed/fifo"}
    assert {name: what for name, what in before.items() if name not in gone} == looks(tmp_path / "back/files")
    assert (tmp_path / "back/files/same").samefile(tmp_path / "back/files/big")


def test_only_what_is_new_is_uploaded_and_nobody_can_read_it(options_of: Build, tree: Path, tmp_path: Path) -> None:
    chosen = options_of(tree)
    # restic cuts a file by its repository's random polynomial, into pieces of up to 8 MiB: this one has several.
    with open(tree / "big", "ab") as file:
        file.write(os.urandom(9 << 20))
    first = back_up(chosen)
    before = stored(chosen)
    assert 12 << 20 < sum(before.values()) < 15 << 20
    assert first["application"]["added_bytes"] > 12 << 20
    second = back_up(chosen)
    after = stored(chosen)
    assert sum(after.values()) - sum(before.values()) < 2000
    assert second["application"]["added_bytes"] == 0
    assert second["application"]["tree"] == first["application"]["tree"]
    assert second["application"]["bytes"] == first["application"]["bytes"] > 16 << 20
    with open(tree / "big", "ab") as file:
        file.write(b"more")
    third = back_up(chosen)
    assert 0 < third["application"]["added_bytes"] < 9 << 20
    # What is in the store says nothing to whoever has no password: neither contents nor names.
    for name in stored(chosen):
        body = fetch(chosen, f"{prefix_of(chosen)}/{name}")
        assert MARK not in body
        assert b"empty folder" not in body
    # Each recovery point gives what was there then.
    assert brought_back(chosen, first, tmp_path / "first") == []
    assert brought_back(chosen, third, tmp_path / "third") == []
    assert (tmp_path / "first/files/big").read_bytes() + b"more" == (tmp_path / "third/files/big").read_bytes()
    assert intact(chosen).status == "ok"


def test_loss_of_any_single_object_is_reported(options_of: Build, tree: Path, tmp_path: Path) -> None:
    chosen = options_of(tree, verify="none")
    point = back_up(chosen)
    assert intact(chosen).status == "ok"
    assert verified(chosen, point) == []
    victims = [of_kind(chosen, kind)[0] for kind in ("data/", "index/", "snapshots/", "keys/", "config")]
    victims.append(of_kind(chosen, "data/")[-1])
    for victim in victims:
        body = fetch(chosen, victim)
        for damaged in (None, body[:-1], body[:-1] + bytes([body[-1] ^ 1])):
            damage(chosen, victim, damaged)
            check = intact(chosen)
            assert (check.status, victim in check.message) == ("critical", True), check.message
            for mode in ("checksum", "full"):
                assert victim in " ".join(verified(chosen, point, mode))
            damage(chosen, victim, body)
        # Put back, all is well again.
        assert intact(chosen).status == "ok"
    # What a pack holds is compared with our own record, not with restic's word.
    manifest = next(entry["key"] for entry in point["objects"] if entry["role"] == "application manifest")
    other = json.loads(fetch(chosen, manifest))
    file = next(entry for entry in other["entries"] if entry["path"] == "mark")
    file["sha256"] = "0" * 64
    damage(chosen, manifest, json.dumps(other).encode())
    assert verified(chosen, point) == ["mark has other content than the manifest says"]


def test_loss_before_the_next_backup_is_reported_after_it(options_of: Build, tree: Path, tmp_path: Path) -> None:
    chosen = options_of(tree, verify="none")
    back_up(chosen)
    victim = of_kind(chosen, "data/")[0]
    body = fetch(chosen, victim)
    damage(chosen, victim, body[:1000] + bytes([body[1000] ^ 1]) + body[1001:])
    back_up(chosen)
    check = intact(chosen)
    assert (check.status, f"{victim} has another ETag" in check.message) == ("critical", True), check.message
    damage(chosen, victim, None)
    # Unchanged files are not read again: this backup would not notice.
    point = back_up(chosen)
    check = intact(chosen)
    assert (check.status, victim in check.message) == ("critical", True), check.message
    wrong = verified(chosen, point, "checksum")
    assert "does not exist" in " ".join(wrong)
    assert engine.create({**chosen, "verify": "checksum"}, Progress())["verification"]["ok"] is False
    # docs/backup.md: what is still on the host is stored again.
    restic_of(chosen, tmp_path / "by hand").text("rebuild-index")
    assert engine.create({**chosen, "verify": "full"}, Progress())["verification"]["problems"] == []


def test_restore_of_what_is_damaged(
    options_of: Build, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = options_of(tree, verify="none")
    point = back_up(chosen)
    victim = of_kind(chosen, "data/")[0]
    body = fetch(chosen, victim)
    damage(chosen, victim, body[:1000] + bytes([body[1000] ^ 1]) + body[1001:])
    wrong = brought_back(chosen, point, tmp_path / "altered")
    assert wrong is not None
    assert "restic cannot read snapshot" in wrong[0]
    # restic would try for a quarter of an hour to read what is not there.
    monkeypatch.setattr(restic_process, "SILENCE", 1.0)
    damage(chosen, victim, None)
    try:
        missing = str(brought_back(chosen, point, tmp_path / "missing"))
    except RestoreError as error:
        missing = str(error)
    assert victim in missing or "restic cannot read snapshot" in missing
    damage(chosen, victim, body)
    with pytest.raises(ConfigurationError, match="does not open"):
        brought_back({**chosen, "files_password": "wr0ng-passw0rd"}, point, tmp_path / "password")
    # The repository keeps its promise, the manifest names a file that never was.
    manifest = next(entry["key"] for entry in point["objects"] if entry["role"] == "application manifest")
    other = json.loads(fetch(chosen, manifest))
    other["entries"].append({"path": "never", "type": "file", "size": 1, "mode": "0644", "sha256": "0", "mtime": 0})
    damage(chosen, manifest, json.dumps(other).encode())
    assert brought_back(chosen, point, tmp_path / "never") == ["never is missing from the archive"]


def test_files_that_change_meanwhile(
    options_of: Build, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "written").write_text("before")
    (tree / "removed").write_text("before")
    store_files = Stored._store

    def meanwhile(self: Stored, *again: str) -> tuple[int, str]:
        (tree / "written").write_text("after it")
        (tree / "removed").unlink(missing_ok=True)
        (tree / "new").write_text("came")
        return store_files(self, *again)

    monkeypatch.setattr(Stored, "_store", meanwhile)
    chosen = options_of(tree)
    result = engine.create(chosen, Progress())
    assert result["verification"]["problems"] == []
    assert sorted(result["notes"]["changed_files"]) == ["removed", "written"]
    checks = {check.id: check for check in options.findings(result, "2026-11-24T00:00:00Z")[0]}
    assert checks["backup.application_files"].status == "warning"
    assert brought_back(chosen, result["recovery_point"], tmp_path / "back") == []
    assert (tmp_path / "back/files/written").read_text() == "after it"
    assert (tmp_path / "back/files/new").read_text() == "came"


def test_plan_changes_nothing_and_says_how(options_of: Build, tree: Path) -> None:
    chosen = options_of(tree, made=False)
    (planned,) = options.planned(engine.plan(chosen), "2026-11-24T00:00:00Z")
    assert f"to {prefix_of(chosen)} by restic" in planned["message"]
    assert "to be made" in planned["message"]
    assert stored(chosen) == {}
    assert not list(Path(chosen["scratch_directory"]).iterdir())
    (planned,) = options.planned(engine.plan({**chosen, "files_engine": "archive"}), "2026-11-24T00:00:00Z")
    assert "as an archive" in planned["message"]


def test_what_is_refused(options_of: Build, tree: Path) -> None:
    chosen = options_of(tree)
    for change, words in (
        ({"files_password": "wr0ng-passw0rd"}, "does not open"),
        ({"files_password": ""}, "no password"),
        ({"lock_mode": "governance"}, "cannot lock"),
    ):
        for work in (engine.plan, lambda given: engine.create(given, Progress())):
            with pytest.raises(ConfigurationError, match=words) as caught:
                work({**chosen, **change})
            assert caught.value.remedy
            assert "wr0ng-passw0rd" not in str(caught.value)
            assert PASSWORD not in str(caught.value)
    assert not [key for key in keys(chosen) if key.endswith(store.NAME)]


def test_without_restic(options_of: Build, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None if name == "restic" else f"/bin/{name}")
    with pytest.raises(ConfigurationError, match="restic was not found"):
        application.application_root(options_of(tree))


def test_made_once_however_many_begin(options_of: Build, tree: Path, tmp_path: Path) -> None:
    chosen = options_of(tree, made=False, files_engine="archive")
    errors: list[BaseException] = []

    def make(number: int) -> None:
        try:
            folder = tmp_path / f"work {number}"
            folder.mkdir()
            repository.ensure(restic_of(chosen, folder), folder)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=make, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(of_kind(chosen, "keys/")) == 1
    opened = restic_of(chosen, tmp_path)
    assert opened.snapshots() == []
    assert opened.check() == []
    # Killed between the two objects, the next one ends it; a config that is lost later is never made anew.
    damage(chosen, f"{prefix_of(chosen)}/config", None)
    repository.ensure(opened, tmp_path)
    assert opened.snapshots() == []
    back_up(chosen, files_engine="restic")
    damage(chosen, f"{prefix_of(chosen)}/config", None)
    with pytest.raises(StorageError, match="has lost its object config"):
        repository.ensure(opened, tmp_path)
