# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is in an image, by its own package databases; and what is there that none of them knows."""

from __future__ import annotations

import email.parser
import fnmatch
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Set, Tuple

from .._advisories.answers import normal
from ..errors import ImageError
from ..words import plural, printable
from . import rpm
from .layers import OPAQUE, PROGRAM, Tree

_DPKG = re.compile(r"var/lib/dpkg/(?:status|status\.d/[^/.][^/]*)")
_APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~:^!_-]*")
_PYTHON = re.compile(r"(?P<place>.*/)?[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)")
#: What is, or leads to, a package's folder or description.
_LINKED = re.compile(
    r"(?P<python>.*\.(?:dist-info|egg-info)(?:/(?:METADATA|PKG-INFO))?)"
    r"|(?:.*/)?node_modules(?:/[^/.][^/]*|/@[^/]+/[^/]+)?(?:/package\.json)?"
)
_NODE = re.compile(r"(?P<folder>(?:.*/)?node_modules/(?P<name>(?:@[^/]+/)?[^/]+))/package\.json")
#: States of dpkg in which files of the package may be on the disk.
_THERE = ("installed", "unpacked", "half-installed", "half-configured", "triggers-awaited", "triggers-pending")
_NAMED = 5


class Package(NamedTuple):
    """:param ecosystem: as OSV names it, with the release where there is one"""

    ecosystem: str
    name: str
    version: str


@dataclass
class Inventory:
    """What was found.

    :param system: the distribution, for people
    :param owned: paths of files that belong to a package of the system
    :param doubts: why it is not all that is in the image
    """

    system: str = ""
    packages: Set[Package] = field(default_factory=set)
    owned: Set[str] = field(default_factory=set)
    doubts: List[str] = field(default_factory=list)


def inventory(tree: Tree, known: List[str], scratch: Path) -> Inventory:
    """Reads all package databases of an image.

    :param known: patterns of paths that somebody vouches for
    :param scratch: an empty private folder
    """
    found = Inventory()
    if tree.missing:
        found.doubts.append(f"{_some(sorted(tree.missing))} is a hard link to what is not there.")
    files = {path: node.data or b"" for path, node in tree.files()}
    ecosystem = _system(tree, files, found)
    bases: List[Callable[[], Iterator[Tuple[str, str, str]]]] = [
        lambda: _dpkg(tree, files, found),
        lambda: _apk(tree, files, found),
        lambda: rpm.packages(files, found.owned, scratch),
    ]
    databases = 0
    for kind, read in zip(("dpkg", "apk", "rpm"), bases, strict=True):
        try:
            rows = [(kind, *_checked(kind, name, version)) for _kind, name, version in read()]
        except ImageError as error:
            found.doubts.append(error.message)
            databases += 1
            continue
        if not rows:
            continue
        databases += 1
        if ecosystem and ecosystem[0] != kind:
            found.doubts.append(f"{found.system} has packages of {kind}.")
        elif ecosystem:
            found.packages |= {Package(ecosystem[1], name, version) for _kind, name, version in rows}
    links = [path for path, node in tree.links() if _DPKG.fullmatch(path) or path in _APK or rpm.PATH.fullmatch(path)]
    if links:
        found.doubts.append(f"{_some(links)} is a symbolic link, which is not followed.")
    if not databases:
        found.doubts.append("It has no package database of dpkg, apk or rpm.")
    found.owned = {tree.real(path) for path in found.owned}
    # What pip installed vouches for its programs only.
    system = frozenset(found.owned)
    _python(files, system, found)
    _node(files, system, found)
    _linked(tree, known, files, found)
    _unknown_files(tree, known, system, found)
    return found


def _some(names: List[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(printable(name, 120) for name in names[:_NAMED])}{more}"


def _checked(kind: str, name: str, version: str) -> Tuple[str, str]:
    if not _VERSION.fullmatch(version) or not name or not name.isprintable():
        raise ImageError(f"{kind}: the version of {printable(name, 80)} is not understood", "Look at its database.")
    return name, version


def _system(tree: Tree, files: Dict[str, bytes], found: Inventory) -> Optional[Tuple[str, str]]:
    """Which database the distribution has, and its ecosystem; None when it is not recognised."""
    path = next((path for path in ("etc/os-release", "usr/lib/os-release") if path in files), None)
    if path is None:
        found.system = "no distribution"
        found.doubts.append("It has no os-release: which distribution it is, is not known.")
        return None
    said = {}
    for line in files[path].decode("utf-8", "replace").splitlines():
        name, equals, value = line.strip().partition("=")
        if equals:
            said[name] = value.strip("\"'")
    id, version = said.get("ID", ""), said.get("VERSION_ID", "")
    found.system = printable(f"{id} {version}".strip(), 60)
    numbers = version.split(".")
    plain = bool(re.fullmatch(r"[0-9]+(\.[0-9]+)*", version))
    if id == "debian" and plain:
        return "dpkg", f"Debian:{numbers[0]}"
    if id == "ubuntu" and re.fullmatch(r"[0-9]{2}\.(04|10)", version):
        return "dpkg", f"Ubuntu:{version}{':LTS' if version.endswith('.04') and int(numbers[0]) % 2 == 0 else ''}"
    if id == "alpine" and plain and len(numbers) > 1:
        return "apk", f"Alpine:v{numbers[0]}.{numbers[1]}"
    if id in ("wolfi", "chainguard"):
        return "apk", id.capitalize()
    if id in ("rocky", "almalinux") and plain:
        return "rpm", f"{'Rocky Linux' if id == 'rocky' else 'AlmaLinux'}:{numbers[0]}"
    found.doubts.append(f"The distribution {found.system or 'without a name'} is none whose advisories are known here.")
    return None


def _dpkg(tree: Tree, files: Dict[str, bytes], found: Inventory) -> Iterator[Tuple[str, str, str]]:
    lists: Dict[str, Set[str]] = {}
    there: Set[str] = set()
    for path, data in files.items():
        name = path.rpartition("/")[2]
        if path.startswith("var/lib/dpkg/info/") or path.endswith(".md5sums"):
            listed = data.decode("utf-8", "surrogateescape").splitlines()
            sums = path.endswith(".md5sums")
            mine = lists.setdefault(name.rpartition(".")[0].partition(":")[0], set())
            mine |= {(line.partition("  ")[2] if sums else line).strip("/") for line in listed}
        elif _DPKG.fullmatch(path):
            for each in _paragraphs(data, path):
                state = each.get("status", "install ok installed").split()[-1]
                if state in ("not-installed", "config-files"):
                    continue
                if state not in _THERE or "package" not in each or "version" not in each:
                    raise ImageError(f"{path} has an entry that is not understood", "Look at its database.")
                there |= {name, each["package"]}
                yield ("dpkg", *_source(each))
    # A list of files alone, without the package's entry, vouches for nothing.
    found.owned |= {path for package in there for path in lists.get(package, ())}


def _source(each: Dict[str, str]) -> Tuple[str, str]:
    """Advisories of Debian and Ubuntu are about source packages."""
    match = re.fullmatch(r"(\S+)(?: \((\S+)\))?", each.get("source", each["package"]))
    if not match:
        raise ImageError(f"The source of {printable(each['package'], 80)} is not understood", "Look at its database.")
    return match[1], match[2] or each["version"]


def _paragraphs(data: bytes, path: str) -> Iterator[Dict[str, str]]:
    for block in re.split(r"\n[ \t]*\n", data.decode("utf-8", "replace")):
        fields: Dict[str, str] = {}
        for line in block.splitlines():
            if line[:1] in (" ", "\t", ""):
                continue
            name, colon, value = line.partition(":")
            if not colon:
                raise ImageError(f"{path} has a line that is not understood", "Look at its database.")
            fields[name.lower()] = value.strip()
        if fields:
            yield fields


def _apk(tree: Tree, files: Dict[str, bytes], found: Inventory) -> Iterator[Tuple[str, str, str]]:
    for path in _APK:
        for block in files.get(path, b"").decode("utf-8", "replace").split("\n\n"):
            fields: Dict[str, str] = {}
            folder = ""
            for line in block.splitlines():
                key, colon, value = line.partition(":")
                if not colon or len(key) != 1:
                    raise ImageError(f"{path} has a line that is not understood", "Look at its database.")
                if key == "F":
                    folder = value
                elif key == "R":
                    found.owned.add(f"{folder}/{value}" if folder else value)
                else:
                    fields[key] = value
            if not fields:
                continue
            if "P" not in fields or "V" not in fields:
                raise ImageError(f"{path} has an entry that is not understood", "Look at its database.")
            yield "apk", fields.get("o") or fields["P"], fields["V"]


def _python(files: Dict[str, bytes], system: FrozenSet[str], found: Inventory) -> None:
    """What pip installed; what the system's packages brought is those packages' business."""
    for path, data in files.items():
        match = _PYTHON.fullmatch(path)
        if not match or path in system:
            continue
        fields = email.parser.HeaderParser().parsestr(data.decode("utf-8", "replace"))
        name, version = fields["Name"], fields["Version"]
        if not name or not version or not _VERSION.fullmatch(str(version)):
            found.doubts.append(f"{printable(path, 120)} says no name and version.")
            continue
        found.packages.add(Package("PyPI", normal(str(name)), str(version)))
        place = match["place"] or ""
        for record in ("RECORD", "installed-files.txt"):
            listed = files.get(f"{path.rpartition('/')[0]}/{record}", b"").decode("utf-8", "surrogateescape")
            base = place if record == "RECORD" else f"{path.rpartition('/')[0]}/"
            names = [line.rsplit(",", 2)[0].strip('"') for line in listed.splitlines()]
            found.owned |= {_beside(base, name) for name in names}


def _beside(base: str, name: str) -> str:
    """A path beside a folder, such as ../../../bin/x."""
    parts: List[str] = []
    for part in (name if name.startswith("/") else base + name).split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _node(files: Dict[str, bytes], system: FrozenSet[str], found: Inventory) -> None:
    for path, data in files.items():
        match = _NODE.fullmatch(path)
        if not match or path in system:
            continue
        try:
            said = json.loads(data)
            name, version = said.get("name"), said.get("version")
        except (ValueError, AttributeError):
            name = version = None
        if not isinstance(name, str) or not isinstance(version, str) or not _VERSION.fullmatch(version):
            found.doubts.append(f"{printable(path, 120)} says no name and version.")
            continue
        found.packages.add(Package("npm", name, version))


def _linked(tree: Tree, known: List[str], files: Dict[str, bytes], found: Inventory) -> None:
    """Packages whose folder or description is a link to where nobody looks."""
    hidden = []
    for path, _node_of in tree.links():
        match = _LINKED.fullmatch(path)
        if not match or any(fnmatch.fnmatchcase(f"/{path}", pattern) for pattern in known):
            continue
        target = tree.real(path, last=True)
        if match["python"]:
            names = (target, f"{target}/METADATA", f"{target}/PKG-INFO")
            read = any(_PYTHON.fullmatch(each) and each in files for each in names)
        else:
            read = re.search(r"(?:^|/)node_modules(?:/|$)", target) is not None
        if not read:
            hidden.append(path)
    if hidden:
        found.doubts.append(f"{_some(sorted(hidden))} is a symbolic link, which is not followed.")


def _unknown_files(tree: Tree, known: List[str], system: FrozenSet[str], found: Inventory) -> None:
    """Programs that no package has, and archives of packages that are not looked into."""
    nodes = [match["folder"] + "/" for match in map(_NODE.fullmatch, (path for path, _node in tree.files())) if match]
    marked: Dict[str, List[str]] = {}
    for path, node in sorted(tree.files(), key=lambda each: each[0]):
        mine = node.mark and path not in (found.owned if node.mark == PROGRAM else system)
        if mine and node.mark == PROGRAM and "node_modules/" in path:
            mine = not any(path.startswith(folder) for folder in nodes)
        if mine and not any(fnmatch.fnmatchcase(f"/{path}", pattern) for pattern in known):
            marked.setdefault(node.mark, []).append(f"/{path}")
    for mark in (PROGRAM, *OPAQUE):
        paths = marked.get(mark, [])
        if paths:
            what = plural(len(paths), "program") if mark == PROGRAM else f"{len(paths)} of the kind {mark}"
            why = "no package has" if mark == PROGRAM else "are not looked into"
            found.doubts.append(f"{what} that {why}: {_some(paths)}.")


def summary(found: Inventory) -> Dict[str, Any]:
    """For details: the system, and how many packages of each ecosystem."""
    counts: Dict[str, int] = {}
    for each in found.packages:
        counts[each.ecosystem] = counts.get(each.ecosystem, 0) + 1
    return {"system": found.system, "packages": dict(sorted(counts.items()))}
