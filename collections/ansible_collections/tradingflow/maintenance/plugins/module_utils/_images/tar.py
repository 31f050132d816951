# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tar of a layer, by its grammar (POSIX ustar and pax, GNU long names), as a stream. Nothing is written or linked.

Who made an image may be who attacks us: sizes are bounded before anything is read, and what is not understood ends it.
"""

from __future__ import annotations

import time
import zlib
from typing import IO, Any, Dict, Iterator, List, NamedTuple, Optional

from ..errors import ImageError

_BLOCK = 512
_CHUNK = 1 << 18
#: Bytes of one extended header; paths are shorter by far.
_MOST_EXTENDED = 1 << 20
FILE, HARD_LINK, SYMBOLIC_LINK, FOLDER, OTHER = "file", "hard link", "symbolic link", "folder", "other"
_KINDS = {b"0": FILE, b"\0": FILE, b"7": FILE, b"1": HARD_LINK, b"2": SYMBOLIC_LINK, b"5": FOLDER}
_KINDS.update({b"3": OTHER, b"4": OTHER, b"6": OTHER})


class Budget:
    """What one image may cost; shared by all of its layers.

    :param most: bytes of its layers, unpacked
    :param deadline: of time.monotonic()
    """

    def __init__(self, most: int, entries: int, deadline: float) -> None:
        self.bytes, self.entries, self.deadline = most, entries, deadline
        self._all = most

    def spend(self, count: int) -> None:
        """
        :raises ImageError: it is used up
        """
        self.bytes -= count
        if self.bytes < 0:
            raise ImageError(
                f"Unpacked, the layers are of more than {self._all} bytes", "Raise patching_images_content_limit."
            )
        if time.monotonic() > self.deadline:
            raise ImageError("Its layers were not read in time", "Raise patching_images_content_timeout.")

    def entry(self) -> None:
        self.entries -= 1
        if self.entries < 0:
            raise ImageError("Its layers have too many files", "Look at the image: it may be made to exhaust readers.")


class Entry(NamedTuple):
    """One member.

    :param path: relative, without "." and ".."
    :param target: of a link, as it is written
    """

    path: str
    kind: str
    size: int
    mode: int
    target: str


def broken(why: str) -> ImageError:
    return ImageError(f"A layer is no tar that is understood: {why}", "Build the image anew, and push it again.")


class Plain:
    """What a compressed stream holds, read in pieces; members of gzip may follow each other.

    :param packed: "" or "gzip"
    :param digest: of hashlib, fed with what is read
    """

    def __init__(self, source: IO[bytes], packed: str, budget: Budget, digest: Any) -> None:
        self._source, self._budget, self._digest = source, budget, digest
        self._gzip = zlib.decompressobj(31) if packed == "gzip" else None
        self._rest = b""
        self._begun = False

    def some(self, most: int) -> bytes:
        """At most so many bytes; none at the end.

        :raises ImageError: it is broken, or the budget is used up
        """
        data = self._unpacked(most) if self._gzip else self._source.read(most)
        self._budget.spend(len(data))
        self._digest.update(data)
        return data

    def _unpacked(self, most: int) -> bytes:
        while self._gzip:
            if self._gzip.eof:
                self._rest = self._gzip.unused_data or self._source.read(_CHUNK)
                if not self._rest:
                    return b""
                self._gzip, self._begun = zlib.decompressobj(31), False
            elif not self._rest:
                self._rest = self._source.read(_CHUNK)
                if not self._rest and self._begun:
                    raise broken("it ends early")
                if not self._rest:
                    raise broken("it is empty")
            self._begun = True
            try:
                data = self._gzip.decompress(self._rest, most)
            except zlib.error as error:
                raise broken(f"{error}") from None
            self._rest = self._gzip.unconsumed_tail
            if data:
                return data
        return b""


class Tar:
    """Members one after the other; the content of the last one can be read until the next is asked for."""

    def __init__(self, plain: Plain, budget: Budget) -> None:
        self._plain, self._budget = plain, budget
        self._left = self._padding = 0
        self._buffer, self._at = b"", 0

    def __iter__(self) -> Iterator[Entry]:
        pax: Dict[str, str] = {}
        long: Dict[bytes, str] = {}
        while True:
            self._skip()
            head = self._exactly(_BLOCK, begin=True)
            if head is None or not head.strip(b"\0"):
                break
            kind, size = head[156:157], _checked(head)
            if kind in b"xLKg" and kind:
                content = self._extended(size)
                if kind == b"x":
                    pax = _pax(content)
                elif kind != b"g":
                    long[kind] = _text(content)
                elif set(_pax(content)) & {"path", "size", "linkpath"}:
                    raise broken("a global header renames files")
                continue
            if "GNU.sparse.major" in pax or any(name.startswith("GNU.sparse") for name in pax) or kind == b"S":
                raise broken("it has a sparse file")
            if kind not in _KINDS:
                raise broken(f"it has a member of type {kind!r}")
            name = pax.get("path") or long.get(b"L") or _named(head)
            target = pax.get("linkpath") or long.get(b"K") or _text(head[157:257])
            size = _digits(pax["size"]) if "size" in pax else size
            what = FOLDER if _KINDS[kind] == FILE and name.endswith("/") else _KINDS[kind]
            # Of a link, GNU and others write a size without content.
            self._left = size if what == FILE else 0
            self._padding = -self._left % _BLOCK
            pax, long = {}, {}
            self._budget.entry()
            yield Entry(inside(name), what, self._left, _number(head[100:108]), target)
        while self._plain.some(_CHUNK):  # to its end, for its digest
            pass

    def read(self, most: int) -> bytes:
        """The next bytes of the member's content."""
        wanted = min(most, self._left)
        data = self._exactly(wanted) or b""
        self._left -= len(data)
        return data

    def _skip(self) -> None:
        while self._left:
            self.read(_CHUNK)
        self._exactly(self._padding)
        self._padding = 0

    def _extended(self, size: int) -> bytes:
        if size > _MOST_EXTENDED:
            raise broken("it has a header of an absurd size")
        content = self._exactly(size) or b""
        self._exactly(-size % _BLOCK)
        return content

    def _exactly(self, count: int, *, begin: bool = False) -> Optional[bytes]:
        """So many bytes; None when there are none at all, and that may be."""
        parts: List[bytes] = []
        missing = count
        while missing:
            if self._at == len(self._buffer):
                self._buffer, self._at = self._plain.some(_CHUNK), 0
                if not self._buffer:
                    if begin and missing == count:
                        return None
                    raise broken("it ends early")
            part = self._buffer[self._at : self._at + missing]
            self._at += len(part)
            missing -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def inside(name: str) -> str:
    """A path below the root, without what leads nowhere.

    :raises ImageError: it leads out
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise broken("a path leads out of it")
    return "/".join(parts)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _named(head: bytes) -> str:
    name, prefix = _text(head[0:100]), _text(head[345:500])
    # GNU's own format has times there.
    return f"{prefix}/{name}" if prefix and head[257:263] == b"ustar\0" else name


def _digits(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        raise broken("it has a number that is none")
    return int(text)


def _number(field: bytes) -> int:
    """Octal, or binary where its first bit is set."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    if not text:
        return 0
    if text.strip(b"01234567"):
        raise broken("it has a number that is none")
    return int(text, 8)


def _checked(head: bytes) -> int:
    """The size that a header has, whose checksum is right."""
    wanted = _number(head[148:156])
    if wanted != sum(head[:148]) + sum(head[156:]) + 8 * 32:
        raise broken("a header's checksum is wrong")
    size = _number(head[124:136])
    if size >= 1 << 62:
        raise broken("it has a file of an absurd size")
    return size


def _pax(content: bytes) -> Dict[str, str]:
    """Records "<length> <key>=<value>\\n"; keys and values as text."""
    found: Dict[str, str] = {}
    while content.strip(b"\0"):
        digits, space, _rest = content.partition(b" ")
        if not space or not digits.isdigit() or len(digits) > 8:
            raise broken("an extended header is not understood")
        record = content[: int(digits)]
        if len(record) < int(digits) or not record.endswith(b"\n"):
            raise broken("an extended header is not understood")
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals:
            raise broken("an extended header is not understood")
        found[_text(key)] = value.decode("utf-8", "surrogateescape")
        content = content[int(digits) :]
    return found
