# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which versions apt would put in place of which, by apt's own solver in this process: nothing on the host changes."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from ..errors import PatchingError

INSTALL = "Install Debian's package python3-apt on the host, and let its /usr/bin/python3 run the module."


def apt() -> Any:
    """The module apt_pkg.

    :raises PatchingError: it is not there
    """
    try:
        import apt_pkg
    except ImportError:
        raise PatchingError("apt cannot be asked: Python has no module apt_pkg here.", INSTALL) from None
    return apt_pkg


def compare(one: str, other: str) -> int:
    """Two versions, as Debian compares them.

    :raises PatchingError: see apt
    """
    return int(apt().version_compare(one, other))


class Solver:
    """apt's view of the host, with package lists of our own.

    :param options: of the module
    :param lists: folder of the lists
    :param cache: folder that apt may write its cache to
    :raises PatchingError: apt cannot read its own state
    """

    def __init__(self, options: Dict[str, Any], lists: Path, cache: Path) -> None:
        self.options = options
        self.apt = apt()
        try:
            self.apt.init_config()
            self.apt.config.set("Dir::State::Lists", str(lists))
            self.apt.config.set("Dir::Cache", str(cache))
            self.apt.config.set("APT::Install-Recommends", "0")
            self.apt.init_system()
            self.cache = self.apt.Cache(None)
            self.depcache = self.apt.DepCache(self.cache)
        except self.apt.Error as error:
            raise PatchingError(f"apt cannot read the host's packages: {error}", "Look with apt-get check.") from None
        self.records = self.apt.PackageRecords(self.cache)

    def installed(self) -> List[Any]:
        """The installed packages, in the order of their names."""
        found = [package for package in self.cache.packages if package.current_ver is not None]
        return sorted(found, key=lambda package: (package.name, package.architecture))

    def broken(self) -> int:
        """Packages whose dependencies are not met as it is."""
        return int(self.depcache.broken_count)

    def held(self) -> List[str]:
        """Packages that somebody holds (apt-mark showhold)."""
        return [package.get_fullname(True) for package in self.installed() if self._held(package)]

    def check(self) -> None:
        """That what is asked for can be found at all: "nothing newer" would be said of it otherwise.

        :raises PatchingError: no source gives security updates, or a named package is not installed
        """
        lists = [file for file in self.cache.file_list if not file.not_source]
        origins = self.options["security_origins"]
        if self.options["scope"] == "security" and not any(matches(file, o) for file in lists for o in origins):
            known = sorted({_named(file) for file in lists})
            raise PatchingError(
                f"None of the host's package sources gives security updates. It has: {', '.join(known) or 'none'}.",
                "Add the security repository to the host's apt sources, or describe it in patching_security_origins.",
            )
        missing = sorted(set(self.options["packages"]) - {package.name for package in self.installed()})
        if missing:
            raise PatchingError(
                f"Not installed on this host: {', '.join(missing)}.",
                "Correct patching_packages: names without architecture, of packages that each of the hosts has.",
            )

    def states(self) -> Dict[str, List[str]]:
        """Packages that dpkg has not done with, by what is to be done: configure, or install anew."""
        names = {
            self.apt.CURSTATE_INSTALLED: "",
            self.apt.CURSTATE_CONFIG_FILES: "",
            self.apt.CURSTATE_NOT_INSTALLED: "",
            self.apt.CURSTATE_UNPACKED: "configure",
            self.apt.CURSTATE_HALF_CONFIGURED: "configure",
            self.apt.CURSTATE_HALF_INSTALLED: "reinstall",
        }
        # Triggers are not in apt_pkg's vocabulary; what is in none is never good.
        for number in (7, 8):
            names.setdefault(number, "configure")
        found: Dict[str, List[str]] = {"configure": [], "reinstall": [], "unrecognised": []}
        for package in sorted(self.cache.packages, key=lambda package: package.name):
            what = names.get(package.current_state, "unrecognised")
            if package.inst_state in (self.apt.INSTSTATE_REINSTREQ, self.apt.INSTSTATE_HOLD_REINSTREQ):
                what = "reinstall"
            if what:
                found[what].append(package.get_fullname(True))
        return found

    def solve(self) -> Tuple[List[Dict[str, Any]], List[Dict[str, Any]]]:
        """What would be taken and what is kept although there is something newer.

        :raises PatchingError: the solver says that the host's packages are broken
        """
        targets, kept = self._targets()
        excluded: Dict[Any, str] = {}
        while True:
            bad = self._mark([target for target in targets if target[0].id not in excluded])
            if bad is None:
                break
            package, why = bad
            excluded[package.id] = why
        for package, version, _reason in targets:
            if package.id in excluded:
                kept.append(self._kept(package, version, *excluded[package.id].split(": ", 1)))
        reasons = {package.id: reason for package, _version, reason in targets}
        rows = [self._row(package, reasons.get(package.id, "dependency")) for package in self._changed()]
        return rows, sorted(kept, key=lambda entry: (entry["package"], entry["architecture"]))

    def back(self, rows: List[Dict[str, Any]]) -> List[str]:
        """Why going back to the versions of now would not be possible; nothing when it would.

        What is installed now is consistent. Going back leaves what was added in its place, so that only that can be in
        the way: what is added is put beside the versions of now, and something is then broken or gone.
        """
        why = [f"{row['package']} {row['from']} is not to be had any more" for row in rows if not row["previous"]]
        added = [row for row in rows if row["from"] is None]
        self._reset()
        for row in added:
            package = self.cache[row["package"], row["architecture"]]
            self.depcache.set_candidate_ver(package, self._version(package, row["to"]))
            self.depcache.mark_install(package, False, False)
        if added and (self.depcache.broken_count or self.depcache.del_count):
            names = ", ".join(row["package"] for row in added)
            why.append(f"what is added ({names}) does not go with the old versions, and would have to be removed")
        return why

    def package(self, name: str, architecture: str) -> Any:
        """A package, None when apt does not know it."""
        try:
            return self.cache[name, architecture]
        except KeyError:
            return None

    def source_of(self, package: Any, text: str) -> Any:
        """A version that can be had from a source, None when it cannot."""
        found = [version for version in package.version_list if version.ver_str == text]
        return next((version for version in found if any(True for _file in self._sources(version))), None)

    def exactly(self, wanted: List[Tuple[Any, Any]]) -> Tuple[List[Dict[str, Any]], List[str]]:
        """The rows of putting exactly these versions in place, also lower ones; and why that cannot be done."""
        why = [f"{package.name} is held" for package, _version in wanted if self._held(package)]
        self._reset()
        for package, version in wanted:
            self.depcache.set_candidate_ver(package, version)
        for package, _version in wanted:
            # Nothing else is taken along for it: what they need is there, or it is not the state of before.
            self.depcache.mark_install(package, False, False)
        gone = [other.name for other in self.cache.packages if self.depcache.marked_delete(other)]
        if gone:
            why.append(f"{', '.join(sorted(gone))} would have to be removed")
        broken = [other.name for other in self.cache.packages if self.depcache.is_inst_broken(other)]
        if broken:
            why.append(f"dependencies of {', '.join(sorted(broken))} would not be met, and it would have to be removed")
        marked = self._changed()
        if {package.id for package in marked} != {package.id for package, _version in wanted} and not why:
            why.append("apt does not put exactly these versions in place")
        return ([], why) if why else ([self._row(package, "back") for package in marked], [])

    def unsure(self, rows: List[Dict[str, Any]]) -> List[str]:
        """Versions of which a plan cannot tell the archive: apt-get takes any of that version, and so may approve none.

        Two sources with the same version and not the same in it, or one that states no SHA-256.
        """
        found = []
        for row in rows:
            archives: Dict[str, Set[str]] = {}
            for version in self.cache[row["package"], row["architecture"]].version_list:
                if version.ver_str == row["to"]:
                    for file, index in version.file_list:
                        if not file.not_source:
                            archives.setdefault(self._digest(file, index), set()).add(_named(file))
            if len(archives) != 1 or "" in archives:
                names = ", ".join(sorted(set().union(*archives.values())))
                found.append(f"{row['package']} {row['to']} ({names})")
        return found

    def size(self, rows: List[Dict[str, Any]]) -> Tuple[int, int]:
        """Bytes to download, and bytes more on the disk afterwards."""
        return sum(row["download"] for row in rows), sum(row["grows"] for row in rows)

    def _reset(self) -> None:
        self.depcache = self.apt.DepCache(self.cache)

    def _version(self, package: Any, text: str) -> Any:
        return next(version for version in package.version_list if version.ver_str == text)

    def _mark(self, targets: List[Tuple[Any, Any, str]], *, looking: bool = False) -> Optional[Tuple[Any, str]]:
        """Marks all targets; the first that cannot be had without breaking or removing something, and why."""
        self._reset()
        wanted: Dict[Any, Any] = {}
        for package, version, _reason in targets:
            wanted[package.id] = version
            self.depcache.set_candidate_ver(package, version)
        held = {package.id for package in self.installed() if self._held(package)}
        for package, _version, _reason in targets:
            why = self._blocked(package)
            # Who touches what must stay is only looked for, one by one, when somebody does: it reads all packages.
            if why is None and looking:
                why = self._touched(held)
            if why is not None:
                return package, why
        return self._mark(targets, looking=True) if not looking and self._touched(held) else None

    def _blocked(self, package: Any) -> Optional[str]:
        """Why a package that was just marked cannot be had, at little cost."""
        self.depcache.mark_install(package, True, False)
        if self.depcache.del_count:
            gone = [other.name for other in self.cache.packages if self.depcache.marked_delete(other)]
            return f"would remove: {', '.join(sorted(gone))}"
        if self.depcache.broken_count or not self.depcache.marked_upgrade(package):
            return "unsolvable: its dependencies cannot be met"
        return None

    def _touched(self, held: Set[Any]) -> Optional[str]:
        """Which package is marked that must stay."""
        for other in self._changed():
            if other.id in held:
                return f"needs held: {other.name} is held"
            if self.depcache.marked_downgrade(other):
                return f"would downgrade: {other.name}"
        return None

    def _changed(self) -> List[Any]:
        found = [
            package
            for package in self.cache.packages
            if self.depcache.marked_install(package)
            or self.depcache.marked_upgrade(package)
            or self.depcache.marked_downgrade(package)
        ]
        return sorted(found, key=lambda package: (package.name, package.architecture))

    def _held(self, package: Any) -> bool:
        return bool(package.selected_state == self.apt.SELSTATE_HOLD)

    def _targets(self) -> Tuple[List[Tuple[Any, Any, str]], List[Dict[str, Any]]]:
        """Package, version and reason of what is wanted; and what is kept."""
        targets, kept = [], []
        for package in self.installed():
            if self.options["packages"] and package.name not in self.options["packages"]:
                continue
            newer = [each for each in package.version_list if self._newer(each, package.current_ver)]
            if not newer:
                continue
            candidate = self.depcache.get_candidate_ver(package)
            secure = [each for each in newer if self._secure(each)]
            wanted = self._highest(secure if self.options["scope"] == "security" else newer)
            if self._held(package):
                held = self._kept(package, self._highest(newer), "hold", "it is held (apt-mark showhold)")
                kept.append({**held, "security": bool(secure)})
            elif wanted is None:
                text = "there is a newer version, but no security update"
                kept.append(self._kept(package, self._highest(newer), "not security", text))
            elif not self._newer(candidate, package.current_ver) or (
                self.options["scope"] == "security" and self._newer(wanted, candidate)
            ):
                text = f"the preferences choose {candidate.ver_str if candidate else 'no version'}"
                kept.append({**self._kept(package, wanted, "pin", text), "security": bool(secure)})
            elif self._phased(package):
                phased = self._kept(package, candidate, "phased", "it is not yet this host's turn to get it")
                kept.append({**phased, "security": bool(secure)})
            else:
                chosen = wanted if self.options["scope"] == "security" else candidate
                targets.append((package, chosen, "security" if secure else "update"))
        return targets, kept

    def _newer(self, version: Any, than: Any) -> bool:
        if version is None or than is None:
            return version is not None
        return bool(self.apt.version_compare(version.ver_str, than.ver_str) > 0)

    def _highest(self, versions: List[Any]) -> Any:
        best = None
        for version in versions:
            if best is None or self._newer(version, best):
                best = version
        return best

    def _phased(self, package: Any) -> bool:
        applied = getattr(self.depcache, "phasing_applied", None)
        return bool(applied and applied(package))

    def _sources(self, version: Any) -> Iterator[Any]:
        return (file for file, _index in version.file_list if not file.not_source)

    def _secure(self, version: Any) -> bool:
        origins = self.options["security_origins"]
        return any(matches(file, origin) for file in self._sources(version) for origin in origins)

    def _kept(self, package: Any, version: Any, reason: str, text: str) -> Dict[str, Any]:
        return {
            "package": package.name,
            "architecture": package.architecture,
            "installed": package.current_ver.ver_str,
            "available": version.ver_str if version else None,
            "reason": reason,
            "text": text,
            "security": False,
        }

    def _row(self, package: Any, reason: str) -> Dict[str, Any]:
        version, now = self.depcache.get_candidate_ver(package), package.current_ver
        sources = list(self._sources(version))
        return {
            "package": package.name,
            "architecture": package.architecture,
            "from": now.ver_str if now else None,
            "to": version.ver_str,
            "reason": reason,
            "source": sorted({_named(file) for file in sources}),
            "sha256": self._sha256(version),
            "download": int(version.size),
            "grows": int(version.installed_size) - (int(now.installed_size) if now else 0),
            "previous": now is None or any(True for _file in self._sources(now)),
            "automatic": bool(self.depcache.is_auto_installed(package)) if now else True,
        }

    def _sha256(self, version: Any) -> str:
        return next((self._digest(file, index) for file, index in version.file_list if not file.not_source), "")

    def _digest(self, file: Any, index: Any) -> str:
        """The SHA-256 that a list states of an archive; empty when it states none."""
        try:
            return str(self.records.sha256_hash or "") if self.records.lookup((file, index)) else ""
        except SystemError:
            # apt_pkg's way to say that it is not there.
            return ""


def _named(file: Any) -> str:
    """What a list of packages is called."""
    return f"{file.label or file.origin or file.site} {file.archive}".strip()


def matches(file: Any, origin: Dict[str, Optional[str]]) -> bool:
    """Whether a list of packages comes from an origin: all that is said of it holds, and something is said."""
    said = {name: pattern for name, pattern in origin.items() if pattern}
    return bool(said) and all(
        fnmatchcase(str(getattr(file, name) or ""), pattern or "") for name, pattern in said.items()
    )
