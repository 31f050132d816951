# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packages: archives that apt has kept, and kernels that apt itself would remove, as far as nobody may need them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
from typing import Any, Collection, Dict, List, Optional, Set

from .._work.asked import asked
from .._work.lasting import lasting
from ..errors import HousekeepingError
from ..words import printable
from .concluded import concluded

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "NEEDRESTART_SUSPEND": "1",
}
#: Without files of its own: a simulation would write these two.
_SIMULATED = ("-s", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=")
_KERNEL = re.compile(r"linux-(?:image|headers|modules|modules-extra)-(?:unsigned-)?(\d+\.\d+\.\d.*)")
_REMOVED = re.compile(r"(?:Remv|Purg) (\S+)")


def _token(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


class Archives:
    """Archives that apt has fetched: apt-get clean would remove them, and what comes meanwhile along with them."""

    def __init__(self, folder: str = "/var/cache/apt/archives") -> None:
        self.folder = folder

    def plan(self) -> Dict[str, Any]:
        """What would go. Nothing is changed."""
        return {"items": [{key: row[key] for key in ("name", "bytes", "token")} for row in self._files()]}

    def apply(self, tokens: Collection[str]) -> Dict[str, Any]:
        """Removes what was planned, while apt is kept away.

        :raises HousekeepingError: apt is at work
        """
        done: Dict[str, Any] = {"removed": [], "failed": [], "freed": 0}
        rows = [row for row in self._files() if row["token"] in tokens]
        if not rows:
            return concluded(self.plan, done)
        lock = os.open(os.path.join(self.folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise HousekeepingError("apt is at work.", "Run it again when it has ended.") from None
            for row in rows:
                try:
                    os.unlink(row["path"])
                    done["removed"].append({"name": row["name"], "bytes": row["bytes"]})
                    done["freed"] += row["bytes"]
                except OSError as error:
                    done["failed"].append({"name": row["name"], "why": error.strerror})
        finally:
            os.close(lock)
        return concluded(self.plan, done)

    def _files(self) -> List[Dict[str, Any]]:
        rows = []
        for folder, ending in ((self.folder, ".deb"), (os.path.join(self.folder, "partial"), "")):
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except FileNotFoundError:
                continue
            except OSError as error:
                # What is half fetched only root sees.
                raise HousekeepingError(
                    f"{folder} cannot be read: {error.strerror}.", "Run it as root (become: true)."
                ) from None
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if entry.name.endswith(ending) and stat.S_ISREG(status.st_mode):
                    token = _token(entry.path, status.st_ino, status.st_mtime_ns, status.st_size)
                    row = {"name": printable(entry.name, 300), "path": entry.path}
                    rows.append({**row, "bytes": status.st_blocks * 512, "token": token})
        return rows


class Kernels:
    """Old kernels of a Debian."""

    def __init__(
        self, running: str, links: Collection[str] = ("/vmlinuz", "/vmlinuz.old", "/boot/vmlinuz", "/boot/vmlinuz.old")
    ):
        self.running = running
        self.links = links

    def plan(self) -> Dict[str, Any]:
        """What would go. Nothing is changed.

        :raises HousekeepingError: apt does not say
        """
        installed = self._installed()
        wanted = _removals(self._apt(*_SIMULATED, "autoremove"))
        kept = protected(installed, self.running, self._linked())
        items = []
        for name in sorted(wanted):
            release = release_of(name)
            if release is not None and release not in kept and name in installed:
                version, size = installed[name]
                items.append({"name": name, "version": version, "bytes": size, "token": _token(name, version)})
        return {"items": items, "running": self.running, "protected": sorted(kept)}

    def apply(self, tokens: Collection[str]) -> Dict[str, Any]:
        """Has apt remove what was planned, if it would remove nothing else with it.

        :raises HousekeepingError: it would
        """
        rows = [row for row in self.plan()["items"] if row["token"] in tokens]
        done: Dict[str, Any] = {"removed": [], "failed": [], "freed": 0}
        if rows:
            names = sorted(row["name"] for row in rows)
            would = _removals(self._apt(*_SIMULATED, "-o", "APT::Get::AutomaticRemove=0", "purge", *names))
            if would != set(names):
                others = ", ".join(sorted(would ^ set(names)))
                raise HousekeepingError(
                    f"apt would not remove these kernels alone: {printable(others)}.",
                    "Remove them by hand: apt-get autoremove.",
                )
            why = "still installed"
            try:
                self._purge(names)
            except HousekeepingError as error:
                why = error.message
            try:
                left = self._installed()
            except HousekeepingError as error:
                # Not one counts as removed.
                left = dict.fromkeys(names)
                why = f"nobody knows what is left: {error.message}"
            for row in rows:
                part = {"name": row["name"], "bytes": row["bytes"]}
                if row["name"] in left:
                    done["failed"].append({**part, "why": why})
                else:
                    done["removed"].append(part)
                    done["freed"] += row["bytes"]
        return concluded(self.plan, done)

    def _apt(self, *arguments: str) -> str:
        try:
            answer = asked(["apt-get", *arguments], _ENVIRONMENT, 1800)
        except (OSError, TimeoutError) as error:
            raise HousekeepingError(
                f"apt-get cannot be asked: {error}.", "Set housekeeping_kernels to false."
            ) from None
        if answer.status:
            said = printable(" ".join(answer.messages.decode("utf-8", "replace").split()), 300)
            raise HousekeepingError(
                f"apt-get {' '.join(arguments[-3:])} failed: {said}.", "Put the packages right first."
            )
        return answer.text

    def _purge(self, names: List[str]) -> None:
        """Has apt remove packages. It is never killed amid its work, by no time limit and by no lost connection.

        :raises HousekeepingError: it failed
        """
        options = ["-y", "-q", "-o", "APT::Get::AutomaticRemove=0", "-o", "DPkg::Use-Pty=0"]
        try:
            code, said = lasting(["apt-get", *options, "purge", *names], _ENVIRONMENT)
        except OSError as error:
            raise HousekeepingError(f"apt-get cannot be run: {error}.", "Look at its permissions.") from None
        if code:
            # Its last lines say what happened.
            raise HousekeepingError(f"apt-get purge failed ({code}): {printable(' '.join(said.split())[-300:], 300)}.")

    def _installed(self) -> Dict[str, Any]:
        """Packages of kernels: version, and bytes on the disk."""
        form = "${Package}\\t${db:Status-Abbrev}\\t${Version}\\t${Installed-Size}\\n"
        try:
            answer = asked(["dpkg-query", "-W", "-f", form, "linux-*"], _ENVIRONMENT, 300)
        except (OSError, TimeoutError) as error:
            raise HousekeepingError(f"dpkg cannot be asked: {error}.", "Set housekeeping_kernels to false.") from None
        said = printable(" ".join(answer.messages.decode("utf-8", "replace").split()), 300)
        # With status 1 it also says that nothing goes by such a name.
        if answer.status and not (answer.status == 1 and "no packages found" in said):
            raise HousekeepingError(f"dpkg-query failed: {said}.", "Put dpkg's database right first.")
        found = {}
        for line in answer.text.splitlines():
            name, state, version, size = line.split("\t")
            if state.startswith("ii") and release_of(name) is not None:
                found[name] = (version, int(size or 0) * 1024)
        return found

    def _linked(self) -> Set[str]:
        """The releases that the boot loader's links name."""
        found = set()
        for link in self.links:
            try:
                found.add(os.path.basename(os.readlink(link)).partition("-")[2])
            except OSError:
                continue
        return found


def _removals(said: str) -> Set[str]:
    """The packages that a simulation of apt-get removes."""
    return {match[1].partition(":")[0] for match in map(_REMOVED.match, said.splitlines()) if match}


def release_of(name: str) -> Optional[str]:
    """The release of a package of a kernel, as uname -r says it; None for others, such as linux-image-amd64."""
    match = _KERNEL.fullmatch(name)
    return match[1] if match else None


def protected(installed: Collection[str], running: str, linked: Collection[str]) -> Set[str]:
    """The releases that stay: the running one, those of the links, and the two newest."""
    images = {release_of(name) or "" for name in installed if name.startswith("linux-image-")}
    return {running, *linked, *sorted(images, key=_order)[-2:]}


def _order(release: str) -> List[Any]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|[^\d.+~-]+", release)]
