"""Programs of Debian packages, unpacked and not installed: nothing starts a daemon, and nobody's machine is changed."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.conftest import left_out

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradingflow-maintenance" / "debian"


def program(name: str, package: str, *, libraries: bool = False) -> tuple[Path, dict[str, str]]:
    """A program and the environment it needs: the one on the PATH, else from its package, kept in the shared cache.

    :param libraries: whether its libraries are unpacked with it
    """
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")
    if found:
        return Path(found), {}
    # One program of a package says nothing of its others.
    folder = CACHE / (package if libraries else f"{package}-{name}")
    if not folder.is_dir():
        if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
            left_out(f"{name} is not installed, and there is no apt to get it by")
        unpack(package, folder, None if libraries else name)
    places = [*folder.glob(f"usr/*bin/{name}"), *folder.glob(f"lib/systemd/{name}")]
    (path,) = (path for path in places if os.access(path, os.X_OK))
    return path, {"LD_LIBRARY_PATH": ":".join(str(each) for each in folder.glob("usr/lib/*-linux-gnu"))}


def unpack(package: str, folder: Path, only: str | None) -> None:
    """A package in a folder that appears complete or not at all.

    :param only: one program of it; None for all of it, and what it depends on among libraries
    """
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "root").mkdir(parents=True)
    try:
        names = [package]
        if only is None:
            told = run("apt-cache", "depends", package)
            words = [line.split() for line in told.splitlines()]
            names += [word[1] for word in words if word[:1] == ["Depends:"] and word[1].startswith("lib")]
        for last in (False, True):
            try:
                run("apt-get", "-qq", "download", *names, cwd=partial)
                break
            except subprocess.CalledProcessError as error:
                if last or os.geteuid() != 0:
                    left_out(f"apt cannot get {package}: {error.stderr.strip()}")
                # Its lists may be old, or not there yet.
                subprocess.run(["apt-get", "-qq", "update"], capture_output=True, timeout=300)
        for archive in partial.glob("*.deb"):
            if only is None:
                run("dpkg-deb", "-x", str(archive), str(partial / "root"))
                continue
            files = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], check=True, stdout=subprocess.PIPE)
            with tarfile.open(fileobj=io.BytesIO(files.stdout)) as inside:
                wanted = [member for member in inside if Path(member.name).name == only and "bin" in member.name]
                inside.extractall(partial / "root", wanted, filter="data")
        try:
            (partial / "root").rename(folder)
        except OSError:
            # Another worker was first.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def run(*command: str, cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=300).stdout
