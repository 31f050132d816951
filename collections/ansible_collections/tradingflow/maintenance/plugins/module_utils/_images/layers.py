# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of an image, layer upon layer, as far as they tell what is in it: in memory, never on a disk."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from ..errors import ImageError
from .tar import FILE, FOLDER, HARD_LINK, SYMBOLIC_LINK, Entry, Tar

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
#: Of one file, and of all that are kept; a package database is smaller.
MOST_FILE, MOST_KEPT = 256 << 20, 768 << 20
_MOST_LINKS = 40
_NODE = r"(?:.*/)?node_modules/(?:@[^/]+/)?[^/]+/package\.json"
#: What is read.
WANTED = re.compile(
    r"(?:etc|usr/lib)/os-release"
    r"|var/lib/dpkg/(?:status|status\.d/[^/]+|info/[^/]+\.list)"
    r"|(?:usr/)?lib/apk/db/installed"
    r"|(?:var/lib/rpm|usr/lib/sysimage/rpm|usr/share/rpm)/(?:rpmdb\.sqlite(?:-wal)?|Packages|Packages\.db)"
    r"|.*\.dist-info/(?:METADATA|RECORD)"
    r"|.*\.egg-info(?:/(?:PKG-INFO|installed-files\.txt))?"
    rf"|{_NODE}"
)
#: What holds packages as well, and is not looked into.
OPAQUE = {
    "Java archive": re.compile(r".*\.[jwe]ar"),
    "Ruby gem": re.compile(r".*/specifications/(?:default/)?[^/]+\.gemspec"),
    "PHP's Composer": re.compile(r".*/vendor/composer/installed\.json"),
    "conda package": re.compile(r".*/conda-meta/[^/]+\.json"),
    "Yarn archive": re.compile(r".*/\.yarn/cache/[^/]+\.zip|(?:.*/)?\.pnp\.cjs"),
    "Python archive": re.compile(r".*\.(?:egg|pyz|pex|whl)|.*\.egg/EGG-INFO/PKG-INFO"),
    ".NET package": re.compile(r".*\.deps\.json"),
}
PROGRAM = "program"


class Node:
    """A file, a symbolic link, or a folder of these.

    :param what: FILE, SYMBOLIC_LINK or FOLDER
    :param layer: the number of the layer that has it
    :param mark: PROGRAM, or which of OPAQUE it is
    """

    __slots__ = ("children", "data", "layer", "mark", "target", "what")

    def __init__(self, what: str, layer: int, data: Optional[bytes] = None, mark: str = "", target: str = "") -> None:
        self.what, self.layer, self.data, self.mark, self.target = what, layer, data, mark, target
        self.children: Dict[str, Node] = {}


class Tree:
    """What has been kept of all layers so far."""

    def __init__(self) -> None:
        self.root = Node(FOLDER, -1)
        self.kept = 0
        #: Paths that are hard links to what was not kept.
        self.missing: Set[str] = set()

    def real(self, path: str, *, last: bool = False) -> str:
        """A path with the links of its folders followed, all within the tree.

        :param last: whether the last part is followed, too
        :raises ImageError: they go round in circles
        """
        done: List[str] = []
        ahead = [part for part in reversed(path.split("/")) if part]
        links = 0
        while ahead:
            part = ahead.pop()
            if part == "..":
                del done[-1:]
                continue
            node = self.find("/".join([*done, part]))
            if node is None or node.what != SYMBOLIC_LINK or not (ahead or last):
                done.append(part)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise ImageError("Its links go round in circles", "Look at the image: no system boots from that.")
            if node.target.startswith("/"):
                done = []
            ahead += [step for step in reversed(node.target.split("/")) if step not in ("", ".")]
        return "/".join(done)

    def find(self, path: str) -> Optional[Node]:
        node: Optional[Node] = self.root
        for part in path.split("/") if path else []:
            node = node.children.get(part) if node else None
        return node

    def put(self, path: str, node: Node) -> None:
        self.remove(path)
        parent = self.root
        parts = path.split("/")
        for part in parts[:-1]:
            below = parent.children.get(part)
            if below is None or below.what != FOLDER:
                below = parent.children[part] = Node(FOLDER, node.layer)
            parent = below
        parent.children[parts[-1]] = node
        self.missing.discard(path)
        self.kept += len(node.data or b"")
        if self.kept > MOST_KEPT:
            raise ImageError("Its package databases are too large to be read", "Look at the image.")

    def remove(self, path: str, below_layer: Optional[int] = None) -> None:
        """Takes away a path and what is below it.

        :param below_layer: only what layers before this one brought
        """
        parent, _slash, name = path.rpartition("/")
        folder = self.find(parent)
        node = folder.children.get(name) if folder else None
        if folder is None or node is None:
            return
        if below_layer is None:
            self.kept -= sum(len(each.data or b"") for _path, each in _walk(node, path))
            del folder.children[name]
        elif self._thin(node, below_layer):
            del folder.children[name]

    def empty(self, path: str, below_layer: int) -> None:
        """Takes away what layers before brought into a folder."""
        node = self.find(path) if path else self.root
        if node:
            for name in list(node.children):
                self.remove(f"{path}/{name}" if path else name, below_layer)

    def _thin(self, node: Node, layer: int) -> bool:
        """Whether nothing is left of it."""
        for name, below in list(node.children.items()):
            if self._thin(below, layer):
                del node.children[name]
        if node.children:
            return False
        gone = node.what == FOLDER or node.layer < layer
        if gone:
            self.kept -= len(node.data or b"")
        return gone

    def files(self) -> Iterator[Tuple[str, Node]]:
        for path, node in _walk(self.root, ""):
            if node.what == FILE:
                yield path, node

    def links(self) -> Iterator[Tuple[str, Node]]:
        for path, node in _walk(self.root, ""):
            if node.what == SYMBOLIC_LINK:
                yield path, node


def _walk(node: Node, path: str) -> Iterator[Tuple[str, Node]]:
    stack = [(path, node)]
    while stack:
        where, each = stack.pop()
        yield where, each
        stack += [(f"{where}/{name}" if where else name, below) for name, below in each.children.items()]


def add(tree: Tree, tar: Tar, number: int) -> Dict[str, str]:
    """Puts a layer upon those before.

    :param number: its place, from 0
    :returns: path -> what it is a hard link to, of those that were not kept and are wanted
    """
    waiting: Dict[str, str] = {}
    for entry in tar:
        if not entry.path:
            continue
        parent, _slash, name = entry.path.rpartition("/")
        folder = tree.real(parent, last=True)
        path = f"{folder}/{name}" if folder else name
        if name == _OPAQUE:
            tree.empty(folder, number)
        elif name.startswith(_WHITEOUT):
            hidden = name[len(_WHITEOUT) :]
            if not hidden or hidden in (".", ".."):
                raise ImageError("A layer takes away what has no name", "Build the image anew.")
            tree.remove(f"{folder}/{hidden}" if folder else hidden, number)
        else:
            waiting.pop(path, None)
            _entry(tree, tar, entry, path, number, waiting)
    return waiting


def _entry(tree: Tree, tar: Tar, entry: Entry, path: str, number: int, waiting: Dict[str, str]) -> None:
    before = tree.find(path)
    if entry.kind == FOLDER:
        if before and before.what != FOLDER:
            tree.remove(path)
        return
    if entry.kind == SYMBOLIC_LINK:
        tree.put(path, Node(SYMBOLIC_LINK, number, target=entry.target))
        return
    if entry.kind == HARD_LINK:
        target = tree.real("/".join(part for part in entry.target.split("/") if part not in ("", ".")))
        other = tree.find(target)
        if other and other.what in (FILE, SYMBOLIC_LINK) and (other.data is not None or not WANTED.fullmatch(path)):
            data = other.data if WANTED.fullmatch(path) else None
            tree.put(path, Node(other.what, number, data, other.mark, other.target))
        elif WANTED.fullmatch(path):
            tree.remove(path)
            waiting[path] = target
        else:
            tree.remove(path)
        return
    node = _file(tar, entry, path, number) if entry.kind == FILE else None
    tree.put(path, node) if node else tree.remove(path)


def _file(tar: Tar, entry: Entry, path: str, number: int) -> Optional[Node]:
    """What is kept of a file; None for nothing."""
    if WANTED.fullmatch(path):
        return Node(FILE, number, whole(tar, entry, path))
    mark = next((name for name, pattern in OPAQUE.items() if pattern.fullmatch(path)), "")
    if not mark and tar.read(4) == b"\x7fELF":
        mark = PROGRAM
    return Node(FILE, number, mark=mark) if mark else None


def whole(tar: Tar, entry: Entry, path: str) -> bytes:
    if entry.size > MOST_FILE:
        raise ImageError(f"{path} has {entry.size} bytes, which is too much to be read", "Look at the image.")
    return tar.read(entry.size)


def resolve(tree: Tree, tar: Tar, waiting: Dict[str, str], number: int) -> None:
    """Reads a layer again for what hard links of it name, and was not kept."""
    wanted: Dict[str, List[str]] = {}
    for path, target in waiting.items():
        wanted.setdefault(target, []).append(path)
    seen: Dict[str, Any] = {}
    for entry in tar:
        path = tree.real(entry.path) if entry.kind == FILE else ""
        if path in wanted:
            seen[path] = whole(tar, entry, path)
    for target, paths in wanted.items():
        for path in paths:
            if target in seen:
                tree.put(path, Node(FILE, number, seen[target]))
            else:
                tree.missing.add(path)
