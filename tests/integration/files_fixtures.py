"""What the tests of the application files' repository share: an odd tree, and backups of it by the real restic."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files import repository
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files.restic import Restic
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress

from tests.conftest import Sandbox, left_out
from tests.integration.test_backup import Make, client

PASSWORD = "f1les 'pass\"word$ ü"
MARK = b"position 4711 of a strategy nobody may read "


@pytest.fixture(scope="session")
def restic() -> str:
    """Path of restic."""
    path = shutil.which("restic")
    if path is None:
        left_out("restic is not installed: apt-get install restic")
    return str(path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Names of any bytes, links, a sparse, an empty and a large file, an empty folder, and what is left out."""
    data = tmp_path / "da $ta [1]"
    data.mkdir()
    (data / "big").write_bytes(os.urandom(3 << 20))
    (data / "mark").write_bytes(MARK * 100)
    (data / "empty").touch()
    (data / "empty folder").mkdir()
    (data / "closed").mkdir(mode=0o750)
    for raw in (b"n\xffot utf-8 '\"% \n", b" blanks ", b"new\nline", "ü".encode(), b"a*b?[c]", b"long" * 60):
        (data / os.fsdecode(raw)).write_bytes(raw)
    with open(data / "sparse", "wb") as file:
        file.truncate(4 << 20)
    os.link(data / "big", data / "same")
    (data / "link").symlink_to("nowhere")
    (data / "odd link").symlink_to(os.fsdecode(b"no\xffwhere"))
    (data / "out").symlink_to("/etc")
    os.mkfifo(data / "closed" / "fifo")
    for folder in ("cache", "$HOME", "sub"):
        (data / folder).mkdir()
        for name in ("x.tmp", "kept", "y\n.tmp", " z.tmp"):
            (data / folder / name).write_text(name)
    with socket.socket(socket.AF_UNIX) as listener:
        place = os.getcwd()
        os.chdir(data)
        listener.bind("so*cket")
        os.chdir(place)
    os.utime(data / "mark", ns=(1, 1_234_567_890_123_456_789))
    (data / "mark").chmod(0o640)
    return data


Build = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def begun(restic: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The objects of an empty repository. restic takes seconds to make one."""
    place = tmp_path_factory.mktemp("repository")
    subprocess.run(
        [restic, "init", "-r", str(place)],
        env={"RESTIC_PASSWORD": PASSWORD, "HOME": str(place)},
        check=True,
        capture_output=True,
    )
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.fixture
def options_of(backup_options: Make, restic: str, begun: dict[str, bytes], platform: Sandbox) -> Build:
    """options_of(data_directory, ...) gives the options of a backup of an empty database and files by restic.

    With made=False there is no repository yet.
    """
    postgres = platform.state["postgres"]
    empty = {
        **platform.database,
        "name": "postgres",
        "user": postgres["superuser"],
        "password": postgres["superuser_password"],
    }

    def build(data: Path, *, made: bool = True, **changes: Any) -> dict[str, Any]:
        chosen = _options(data, changes)
        for name, body in begun.items() if made else ():
            key = f"{prefix_of(chosen)}/{name}"
            client(chosen).put_object(Bucket=chosen["storage"]["bucket"], Key=key, Body=body)
        return chosen

    def _options(data: Path, changes: dict[str, Any]) -> dict[str, Any]:
        return backup_options(
            **{
                "database": empty,
                "data_directory": str(data),
                "files_engine": "restic",
                "files_password": PASSWORD,
                "digests": "none",
                **changes,
            }
        )

    return build


def back_up(chosen: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A recovery point."""
    point: dict[str, Any] = engine.create({**chosen, **changes}, Progress())["recovery_point"]
    return point


def prefix_of(chosen: dict[str, Any]) -> str:
    return repository.prefix_of(chosen["storage"], chosen["environment_name"])


def stored(chosen: dict[str, Any]) -> dict[str, int]:
    """Objects of the repository, with their sizes."""
    prefix = prefix_of(chosen)
    listed = s3_storage.list_keys(client(chosen), chosen["storage"]["bucket"], f"{prefix}/")
    return {entry["Key"][len(prefix) + 1 :]: entry["Size"] for entry in listed}


def of_kind(chosen: dict[str, Any], kind: str) -> list[str]:
    """Keys of the repository's objects of a kind, the largest first."""
    found = {name: size for name, size in stored(chosen).items() if name.startswith(kind)}
    return [f"{prefix_of(chosen)}/{name}" for name in sorted(found, key=lambda name: -found[name])]


def restic_of(chosen: dict[str, Any], folder: Path) -> Restic:
    return Restic(client(chosen), chosen["storage"], prefix_of(chosen), chosen["files_password"], folder)


def lock_names(chosen: dict[str, Any]) -> list[str]:
    return [name for name in stored(chosen) if name.startswith("locks/")]
