"""Programs of Debian packages, unpacked and not installed: nothing starts a daemon, and nobody's machine is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
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
    folder = CACHE / package
    if not folder.is_dir():
        if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
            left_out(f"{name} is not installed, and there is no apt to get it by")
        unpack(package, folder, libraries)
    (path,) = (path for path in folder.glob(f"usr/*bin/{name}") if os.access(path, os.X_OK))
    return path, {"LD_LIBRARY_PATH": ":".join(str(each) for each in folder.glob("usr/lib/*-linux-gnu"))}


def unpack(package: str, folder: Path, libraries: bool) -> None:
    """A package, and what it depends on among libraries, in a folder that appears complete or not at all."""
    partial = folder.with_name(f"{package}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "root").mkdir(parents=True)
    try:
        names = [package]
        if libraries:
            told = run("apt-cache", "depends", package)
            words = [line.split() for line in told.splitlines()]
            names += [word[1] for word in words if word[:1] == ["Depends:"] and word[1].startswith("lib")]
        try:
            run("apt-get", "-qq", "download", *names, cwd=partial)
        except subprocess.CalledProcessError as error:
            left_out(f"apt cannot get {package}: {error.stderr.strip()}")
        for archive in partial.glob("*.deb"):
            run("dpkg-deb", "-x", str(archive), str(partial / "root"))
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
