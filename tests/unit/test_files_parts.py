"""Pieces of the application files' repository that need neither restic nor a store."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files import files, repository, restic
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files.restic_process import error_of
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files.tree import Tree
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files.unpack import unpack_tar


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        ({"endpoint": "https://s3.example:9000/"}, "s3:https://s3.example:9000/b/files/p%20%C3%A9"),
        ({"endpoint": None, "region": "eu-central-1"}, "s3:https://s3.eu-central-1.amazonaws.com/b/files/p%20%C3%A9"),
        ({"region": "cn-north-1"}, "s3:https://s3.cn-north-1.amazonaws.com.cn/b/files/p%20%C3%A9"),
    ],
)
def test_address(storage: dict[str, Any], expected: str) -> None:
    assert restic.url({"bucket": "b", **storage}, "files/p é") == expected


def test_where_the_repository_is() -> None:
    assert repository.prefix_of({"prefix": "x/"}, "env") == "x/files/env"
    assert repository.prefix_of({"prefix": "x/"}, "env", "/other/place/") == "other/place"


def test_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "another")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    given = {"access_key": "a", "secret_key": "s", "session_token": None}
    assert restic._credentials(given) == {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the environment")
    assert restic._credentials({})["AWS_SECRET_ACCESS_KEY"] == "of the environment"


@pytest.mark.parametrize(
    ("line", "gone"),
    [
        ('{"message_type":"error","error":{"Op":"lstat","Path":"/x","Err":2},"during":"archival","item":"/x"}', True),
        ('{"message_type":"error","error":{"message":"lstat /x: no such file or directory"},"item":"/x"}', True),
        ('{"message_type":"error","error":{"Op":"open","Path":"/x","Err":13},"during":"archival","item":"/x"}', False),
        ('{"message_type":"error","error":{"message":"open /x: permission denied"},"item":"/x"}', False),
        ('{"message_type":"status"}', None),
        ("[1]", None),
        ("Fatal: no", None),
    ],
)
def test_errors_of_restic(line: str, gone: bool | None) -> None:
    error = error_of(line)
    assert (error and error["gone"]) == gone


@pytest.mark.parametrize(
    ("application", "expected"),
    [
        ({"files": 0}, None),
        ({"engine": "archive"}, None),
        ({"engine": "restic", "repository": "r", "snapshot": "s"}, ("r", "s")),
        ({"engine": "restic", "repository": "r"}, "incomplete"),
        ({"engine": "kopia", "repository": "r", "snapshot": "s"}, "kopia"),
    ],
)
def test_how_a_recovery_point_has_its_files(application: dict[str, Any], expected: Any) -> None:
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            repository.facts_of({"application": application})
    else:
        assert repository.facts_of({"application": application}) == expected


def test_what_differs_is_named() -> None:
    entry = {"size": 3, "etag": "e"}
    wanted = {"config": {}, **{f"data/{name}": entry for name in "abcd"}}
    there = {"data/a": entry, "data/b": {"size": 2, "etag": "e"}, "data/c": {"size": 3, "etag": "x"}, "keys/k": entry}
    assert repository.compare("p", wanted, there) == [
        "p/config is missing",
        "p/data/b has 2 bytes instead of 3",
        "p/data/c has another ETag than recorded",
        "p/data/d is missing",
    ]
    assert repository.compare("p", {}, {"config": entry}) == ["p/keys/ is empty: nothing can be decrypted"]


def packed(*members: tuple[str, bytes, str, str]) -> io.BytesIO:
    """A tar of (name, type, contents, link) as restic makes one."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, contents, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname, info.mode = kind, len(contents), link, 0o644
            tar.addfile(info, io.BytesIO(contents.encode()))
    target.seek(0)
    return target


def test_what_came_or_changed_meanwhile_is_restored_and_not_judged(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("same", "changed", "lost"):
        (source / name).write_text(name)
    os.link(source / "same", source / "zlink")
    tree = Tree(source, [])
    tree.read()
    (source / "changed").write_text("other")
    (source / "lost").unlink()
    tree.look_again()
    manifest = tree.manifest()
    assert sorted(manifest["changed"]) == ["changed", "lost"]
    members = [
        ("/changed", tarfile.REGTYPE, "other", ""),
        ("/new", tarfile.DIRTYPE, "", ""),
        ("/new/file", tarfile.REGTYPE, "came", ""),
        ("/same", tarfile.REGTYPE, "same", ""),
        ("/zlink", tarfile.REGTYPE, "same", ""),
    ]
    expected = files.Expected(manifest, repository=True)
    assert files.compare_tar(packed(*members), expected) == []
    out = tmp_path / "out"
    assert unpack_tar(packed(*members), manifest, files.Expected(manifest, repository=True), out, lambda: None) == []
    assert (out / "new/file").read_text() == "came"
    assert (out / "zlink").samefile(out / "same")
    # What did not change is judged, and nothing gets out of the folder.
    members[3] = ("/same", tarfile.REGTYPE, "sane", "")
    members.append(("/../escaped", tarfile.REGTYPE, "x", ""))
    wrong = unpack_tar(
        packed(*members), manifest, files.Expected(manifest, repository=True), tmp_path / "2", lambda: None
    )
    assert wrong[0] == "same has other content than the manifest says"
    assert "leads out of the application's folder" in " ".join(wrong)
    assert not (tmp_path / "escaped").exists()
