# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mounts: what lies on another one is not ours to take, and a mount of the same file system has the same device."""

from __future__ import annotations

import os
import re
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

_ESCAPE = re.compile(rb"\\([0-7]{3})")
_LAYERS = (b"lowerdir=", b"upperdir=", b"workdir=")


class Mount(NamedTuple):
    """A line of mountinfo (proc_pid_mountinfo(5)).

    :param device: major:minor of the file system
    :param root: the folder of the file system that is mounted
    :param point: where, as its process sees it
    :param layers: folders that an overlay is made of
    """

    device: bytes
    root: bytes
    point: bytes
    layers: Tuple[bytes, ...]


def plain(word: bytes) -> bytes:
    """A word of mountinfo without its escapes."""
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 255]), word)


def parsed(text: bytes) -> Iterator[Mount]:
    """The lines of a mountinfo.

    :raises ValueError: a line is none
    """
    for line in text.splitlines():
        words = line.split(b" ")
        try:
            dash = words.index(b"-", 6)
            options = words[dash + 3].split(b",")
        except (ValueError, IndexError):
            raise ValueError(f"mountinfo has a line that is none: {line[:100]!r}") from None
        layers = [
            plain(each)
            for option in options
            if option.startswith(_LAYERS)
            for each in option.partition(b"=")[2].split(b":")
        ]
        yield Mount(words[2], plain(words[3]), plain(words[4]), tuple(layers))


def mount_id(descriptor: int) -> int:
    """The mount that an open file lies on.

    :raises OSError: the kernel does not say
    """
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as stream:
        for line in stream:
            if line.startswith(b"mnt_id:"):
                return int(line.split()[1])
    raise OSError(f"/proc/self/fdinfo/{descriptor} has no mnt_id")


def own() -> List[Mount]:
    """The mounts that we see.

    :raises OSError: or ValueError: they cannot be told
    """
    with open("/proc/self/mountinfo", "rb") as stream:
        return list(parsed(stream.read()))


def straight(path: bytes) -> bytes:
    """An absolute path as the kernel writes it; normpath leaves two slashes at its beginning."""
    return b"/" + b"/".join(part for part in path.split(b"/") if part not in (b"", b"."))


def below(path: bytes, parent: bytes) -> bool:
    """Whether a path is a folder or something in it."""
    return path == parent or path.startswith(parent.rstrip(b"/") + b"/")


class Namespace:
    """The mounts that some processes see."""

    def __init__(self, mounts: List[Mount]) -> None:
        self.mounts = mounts
        # Of several at one point, the last lies above.
        self._points = {each.point: each for each in mounts}

    def inner(self, path: bytes, strictly: bool = False) -> Optional[Tuple[bytes, bytes]]:
        """A path as its file system knows it: its device, and the path from the file system's own root.

        :param strictly: what lies below a mount at that very place
        :returns: None when no mount is known there, or the path is not absolute
        """
        if not path.startswith(b"/"):
            return None
        path = straight(path)
        place = os.path.dirname(path) if strictly and path != b"/" else path
        while place not in self._points:
            if place == b"/":
                return None
            place = os.path.dirname(place)
        found = self._points[place]
        rest = path[len(place.rstrip(b"/")) :].lstrip(b"/")
        return found.device, os.path.join(found.root, rest) if rest else found.root


class Sources:
    """What has to do with mounts of any process: mounted in, or mounted from there as a container's folder is.

    :param mounts: ours
    :param others: of each namespace
    """

    def __init__(self, mounts: List[Mount], others: List[List[Mount]]) -> None:
        self._own = Namespace(mounts)
        self._places: Set[Tuple[Optional[bytes], bytes, str]] = {(None, each.point, "mount point") for each in mounts}
        for namespace in map(Namespace, [mounts, *others]):
            for each in namespace.mounts:
                self._places.add((each.device, each.root, "mounted elsewhere"))
                lower = namespace.inner(each.point, strictly=True)
                if lower:
                    self._places.add((*lower, "mount point elsewhere"))
                self._places |= {(None, straight(layer), "layer of a mount") for layer in each.layers}

    def covered(self, path: bytes) -> Dict[bytes, str]:
        """The names in a directory that have to do with a mount, and why."""
        path = straight(path)
        device, inner = self._own.inner(path) or (b"", b"")
        found: Dict[bytes, str] = {}
        for where, place, why in sorted(self._places, key=lambda each: each[2]):
            folder = path if where is None else inner
            if where in (None, device) and place != folder and below(place, folder):
                name = place[len(folder.rstrip(b"/")) + 1 :].split(b"/", 1)[0]
                found.setdefault(name, why)
        return found
