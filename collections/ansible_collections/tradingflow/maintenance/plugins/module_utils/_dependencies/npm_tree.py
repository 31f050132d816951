# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""npm's lock file as a tree: who needs whom, and how it reads with other versions."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from ..errors import ConfigurationError
from .ranges import of_package, satisfies

_NEEDS = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")
#: How npm writes keys: objects last, of both these first, then by name.
_FIRST = ("name", "version", "lockfileVersion", "resolved", "integrity", "requires", "packages", "dependencies")
#: What is about the place in the tree, and stays with it.
_OF_PLACE = ("dev", "optional", "devOptional", "peer", "inBundle", "extraneous", "name")


class Edge(NamedTuple):
    """:param source: path of whoever needs; empty for the project
    :param target: path of what it gets; None for nothing
    """

    source: str
    name: str
    spec: str
    target: Optional[str]
    optional: bool
    peer: bool


class Tree:
    """A lock file of version 2 or 3, which is changed in memory."""

    def __init__(self, text: str, project: Optional[str]) -> None:
        """
        :param project: text of package.json beside it; None when it is not there
        """
        self.data: Dict[str, Any] = json.loads(text)
        self.packages: Dict[str, Dict[str, Any]] = self.data["packages"]
        indent = re.match(r"\{\r?\n([ \t]+)", text)
        self._indent, self._end = indent[1] if indent else "", text[len(text.rstrip()) :]
        if project is None:
            raise ConfigurationError(
                "package.json is not beside it, so that its overrides are not known.", "Put it there."
            )
        if self.text() != text:
            raise ConfigurationError("It is not written as npm writes it.", "Write it anew: npm install.")
        try:
            said = json.loads(project)
            self.overrides: Dict[str, Any] = said.get("overrides") or {}
            declared = {name: said.get(name) or {} for name in _NEEDS}
        except (ValueError, AttributeError):
            raise ConfigurationError("package.json beside it is not understood.", "Correct it.") from None
        root = self.packages.get("", {})
        if any(declared[name] != (root.get(name) or {}) for name in _NEEDS):
            raise ConfigurationError("It is not in step with package.json.", "Write it anew: npm install.")
        self._declared = {name: spec for group in declared.values() for name, spec in group.items()}

    def text(self) -> str:
        if not self._indent:
            return json.dumps(self.data, ensure_ascii=False, separators=(",", ":")) + self._end
        return json.dumps(self.data, ensure_ascii=False, indent=self._indent) + self._end

    def resolved(self, source: str, name: str) -> Optional[str]:
        """Where a package finds another one, as Node.js does: beside it, or beside a folder above."""
        folder = source
        while True:
            if not folder.endswith("node_modules"):
                path = f"{folder}/node_modules/{name}" if folder else f"node_modules/{name}"
                if path in self.packages:
                    return path
            if not folder:
                return None
            folder = folder.rpartition("/")[0]

    def edges(self, source: str, entry: Optional[Dict[str, Any]] = None) -> Iterator[Edge]:
        """What one package needs.

        :param entry: by default what it is now
        """
        entry = self.packages[source] if entry is None else entry
        place = "node_modules/" in source or source == "node_modules"
        for group in _NEEDS:
            if group == "devDependencies" and place:
                continue
            for name, spec in (entry.get(group) or {}).items():
                peer = group == "peerDependencies"
                meta = (entry.get("peerDependenciesMeta") or {}).get(name) or {}
                optional = group == "optionalDependencies" or (peer and bool(meta.get("optional")))
                # A peer is what lies beside it, not in it.
                where = source.rpartition("node_modules/")[0].rstrip("/") if peer and place else source
                yield Edge(source, name, self._wanted(name, str(spec)), self.resolved(where, name), optional, peer)

    def _wanted(self, name: str, spec: str) -> str:
        """What is asked for, with the project's overrides."""
        over = self.overrides.get(name)
        if isinstance(over, dict):
            over = over.get(".")
        if not isinstance(over, str):
            return spec
        return str(self._declared.get(over[1:], spec)) if over.startswith("$") else over

    def overridden(self, name: str) -> Optional[str]:
        """What overrides say of a package in a form that is not followed here; None for nothing of the kind."""

        def keys(group: Any, depth: int) -> Iterator[Tuple[str, int]]:
            for key, value in group.items() if isinstance(group, dict) else ():
                yield key, depth
                yield from keys(value, depth + 1)

        for key, depth in keys(self.overrides, 0):
            plain = key if key.rfind("@") <= 0 else key[: key.rfind("@")]
            if plain == name and (depth or plain != key):
                return key
        return None

    def name(self, path: str) -> str:
        return str(self.packages[path].get("name") or path.rpartition("node_modules/")[2])

    def good(self, edge: Edge, version: Optional[str] = None) -> Optional[bool]:
        """Whether a need is met; None when that is not understood.

        :param version: of what it gets, instead of the one that is there
        """
        if edge.target is None:
            return edge.optional
        entry = self.packages[edge.target]
        if entry.get("link"):
            return True  # a package of the project's own
        wanted = of_package(edge.spec, self.name(edge.target))
        return None if wanted is None else satisfies(wanted, version or str(entry.get("version")))

    def dependents(self, path: str) -> List[Edge]:
        return [edge for source in self.packages for edge in self.edges(source) if edge.target == path]

    def bad(self) -> Set[Edge]:
        """All needs that are not met, or not understood."""
        return {edge for source in self.packages for edge in self.edges(source) if not self.good(edge)}

    def put(self, path: str, entry: Dict[str, Any]) -> None:
        """Changes or adds a package; what is about its place stays."""
        before = self.packages.get(path, {})
        kept = {key: value for key, value in before.items() if key in _OF_PLACE}
        new = {**entry, **kept}
        if before and "resolved" not in before:
            new.pop("resolved", None)  # npm's option omit-lockfile-registry-resolved
        else:
            new["resolved"] = _address(before, entry, self.name(path) if before else "")
        _insert(self.packages, path, _ordered(new))
        if "dependencies" in self.data:
            self._old(path)

    def prune(self) -> List[str]:
        """Takes away what nobody needs any more; the paths."""
        seen: Set[str] = set()
        ahead = [path for path in self.packages if "node_modules/" not in path]
        while ahead:
            path = ahead.pop()
            if path not in seen:
                seen.add(path)
                ahead += [edge.target for edge in self.edges(path) if edge.target]
        gone = [path for path in self.packages if path not in seen]
        for path in gone:
            del self.packages[path]
            if "dependencies" in self.data:
                self._old(path)
        return gone

    def _old(self, path: str) -> None:
        """The same in the part for npm 6, of version 2."""
        names = path.split("node_modules/")[1:]
        place = self.data["dependencies"]
        for name in names[:-1]:
            place = place[name.rstrip("/")].setdefault("dependencies", {})
        last, entry = names[-1], self.packages.get(path)
        if entry is None:
            place.pop(last, None)
            return
        before = place.get(last, {})
        keep = {key: before[key] for key in ("dev", "optional", "peer", "bundled", "dependencies") if key in before}
        taken = [key for key in ("version", "resolved", "integrity", "dev", "optional") if key in entry]
        new: Dict[str, Any] = {**keep, **{key: entry[key] for key in taken}}
        needs = {**entry.get("dependencies", {}), **entry.get("optionalDependencies", {})}
        if needs:
            new["requires"] = dict(sorted(needs.items()))
        _insert(place, last, _ordered(new))


def _insert(place: Dict[str, Any], name: str, value: Any) -> None:
    """Sets a name, which keeps its place; a new one comes before the first that npm would write after it."""
    if name in place:
        place[name] = value
        return
    after = [key for key in place if _name_order(key) > _name_order(name)]
    place[name] = value
    for key in after:
        place[key] = place.pop(key)


def _address(before: Dict[str, Any], entry: Dict[str, Any], name: str) -> str:
    """Where the new version is: where the old one was, if it is told apart by the version alone."""
    base = name.rpartition("/")[2]
    old, ending = str(before.get("resolved", "")), f"/{name}/-/{base}-{before.get('version')}.tgz"
    if name and old.endswith(ending):
        return f"{old[: -len(ending)]}/{name}/-/{base}-{entry['version']}.tgz"
    return str(entry["resolved"])


#: As npm's localeCompare has them.
_LETTERS = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz"


def _name_order(name: str) -> Any:
    return [_LETTERS.find(letter) for letter in name.lower()], name.swapcase()


def _order(item: Tuple[str, Any]) -> Any:
    return _name_order(item[0])


def _ordered(entry: Dict[str, Any]) -> Dict[str, Any]:
    def place(key: str) -> Any:
        first = _FIRST.index(key) if key in _FIRST else len(_FIRST)
        return isinstance(entry[key], dict), first, _name_order(key)

    return {key: _sorted(entry[key]) for key in sorted(entry, key=place)}


def _sorted(value: Any) -> Any:
    return dict(sorted(value.items(), key=_order)) if isinstance(value, dict) else value
