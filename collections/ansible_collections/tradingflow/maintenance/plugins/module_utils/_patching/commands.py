# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""apt-get and dpkg: how they are called, and in which surroundings."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple

from .._work import scratch
from .._work.asked import asked
from .._work.job import Kind
from .._work.lasting import lasting
from ..errors import PatchingError

PATCHING = Kind("patching", "patching")
#: Nothing asks, nothing restarts by itself, and of two configuration files the host's own stays.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "APT_LISTCHANGES_FRONTEND": "none",
    "APT_LISTBUGS_FRONTEND": "none",
    "NEEDRESTART_SUSPEND": "1",
    "NEEDRESTART_MODE": "l",
}
#: Hooks of an update, which may leave stamps on the host or fetch more.
_CLEAR = "".join(f"#clear APT::Update::{name};\n" for name in ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success"))
#: What dpkg and ucf do with a configuration file that was changed on the host, whatever its own apt.conf says before.
_CONFFILES = {
    "keep": (("--no-force-confnew", "--force-confdef", "--force-confold"), "UCF_FORCE_CONFFOLD"),
    "replace": (("--no-force-confdef", "--no-force-confold", "--force-confnew"), "UCF_FORCE_CONFFNEW"),
}
#: What apt says of a list that it does without; before 2.1 it knows no Error-Mode, and calls that a success.
_NOT_FETCHED = ("Err:", "E: ", "W: Failed to fetch", "W: Some index files failed")
#: Characters of a program's messages that are kept.
_SAID = 4000
#: Seconds after which a place that was left behind is removed.
_AGE = 86400.0


class Place(NamedTuple):
    """Folders of our own for package lists and archives."""

    folder: Path
    lists: Path
    cache: Path
    config: Path


@contextmanager
def place(directory: str) -> Iterator[Place]:
    """A private place, gone at the end. apt's own user passes through it.

    :raises ConfigurationError: it cannot be made
    """
    parent = scratch.base(directory, PATCHING, 0o711)
    for old in parent.glob("plan-*"):
        # Of a run that was killed; what it had begun may have gone on for a while.
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > _AGE:
                shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="plan-", dir=str(parent)) as name:
        folder = Path(name)
        folder.chmod(0o711)
        made = Place(folder, folder / "lists", folder / "cache", folder / "apt.conf")
        for path in (made.lists / "partial", made.cache / "archives/partial"):
            path.mkdir(parents=True)
        made.config.write_text(_CLEAR, encoding="ascii")
        yield made


def run(arguments: List[str], **more: str) -> str:
    """What a program says. It lives on if we are killed: half of its work is worse than all of it.

    :param more: of its environment
    :raises PatchingError: it failed
    """
    try:
        code, said = lasting(arguments, {**ENVIRONMENT, **more})
    except OSError as error:
        raise PatchingError(
            f"{arguments[0]} cannot be run: {error}", "Install it, or look at its permissions."
        ) from None
    if code:
        raise PatchingError(f"{os.path.basename(arguments[0])} failed ({code}): {end_of(said)}")
    return said


def end_of(said: str) -> str:
    """The last lines of what a program said."""
    return " / ".join(line.strip() for line in said[-_SAID:].splitlines() if line.strip())[-800:]


def options(where: Place) -> List[str]:
    return ["-c", str(where.config), "-o", f"Dir::State::Lists={where.lists}", "-o", f"Dir::Cache={where.cache}"]


def update(where: Place) -> None:
    """Fetches the package lists, all of them, into our own place.

    :raises PatchingError: one could not be had
    """
    try:
        said = run(["apt-get", "-q", *options(where), "-o", "APT::Update::Error-Mode=any", "update"])
        missed = [line for line in said.splitlines() if line.startswith(_NOT_FETCHED)]
        if missed:
            raise PatchingError(f"apt-get ended well, and said: {end_of(chr(10).join(missed))}")
    except PatchingError as error:
        raise PatchingError(
            f"The package lists could not be fetched: {error.message}",
            "Check the host's sources of packages and that they are reachable; nothing was planned.",
        ) from None


def configure(conffiles: str) -> None:
    """Ends what an interrupted dpkg began.

    :param conffiles: keep or replace
    """
    flags, ucf = _CONFFILES[conffiles]
    run(["dpkg", *flags, "--configure", "-a"], **{ucf: "1"})


def names(rows: List[Dict[str, Any]]) -> List[str]:
    return [f"{row['package']}:{row['architecture']}={row['to']}" for row in rows]


def install_command(where: Place, rows: List[Dict[str, Any]], how: Dict[str, Any]) -> List[str]:
    """Exactly these versions and nothing else.

    :param how: conffiles, and rollback: only going back may put a lower version in place
    """
    fixed = [f"Dpkg::Options::={option}" for option in _CONFFILES[how["conffiles"]][0]]
    fixed += ["APT::Install-Recommends=0", "APT::Get::AutomaticRemove=0", "DPkg::Use-Pty=0"]
    more = [part for each in fixed for part in ("-o", each)]
    lower = ["--allow-downgrades"] if how["rollback"] else []
    return ["apt-get", "-q", "-y", "--no-remove", *lower, *options(where), *more, "install", *names(rows)]


def download(where: Place, rows: List[Dict[str, Any]], how: Dict[str, Any]) -> None:
    """Has the archives at hand before anything on the host is touched: see install_command.

    :raises PatchingError: one could not be had
    """
    program, *rest = install_command(where, rows, how)
    try:
        run([program, "--download-only", *rest])
    except PatchingError as error:
        raise PatchingError(
            f"The packages could not be downloaded, and nothing was touched: {error.message}",
            "Check the host's sources of packages and that they are reachable, and run it again.",
        ) from None


def install(where: Place, rows: List[Dict[str, Any]], how: Dict[str, Any]) -> None:
    """Puts them in place; which were installed for others only stays known.

    :raises PatchingError: apt-get failed
    """
    try:
        run(install_command(where, rows, how), **{_CONFFILES[how["conffiles"]][1]: "1"})
    finally:
        automatic = [f"{row['package']}:{row['architecture']}" for row in rows if row["automatic"]]
        if automatic:
            # Also of those that apt-get had come to before it failed; of others it changes nothing.
            with suppress(OSError):
                asked(["apt-mark", "-q", "auto", *automatic], ENVIRONMENT, 600)
