# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second look at what is packed: whether a secret is still in it, by other means than those that took it out.

It shares nothing with rules.py: other patterns, judged by another engine, and it looks into what is encoded. It asks
for less, so that what it finds is one.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Iterator, List, Tuple
from urllib.parse import unquote_to_bytes

from . import looks
from .collected import Source
from .packing import blocks

try:
    import re2
except ImportError:
    re2 = None  # type: ignore[assignment]

#: Kept of each block for the next one.
_OVERLAP = 8192
#: More than so many of a file say nothing new.
_MOST = 20

#: At most so many bytes are looked at together; an address or a key is shorter.
_TOGETHER = 64 * 1024
#: What is said in a line may go on in the next ones.
_LINES = 8
_ESCAPED = re.compile(rb"\\+(?:u00([0-7][0-9A-Fa-f])|([nrt])|([\"'/]))")
_HEX = re.compile(rb"%(?:25)*[2-7][0-9A-Fa-f]")

_BREAK = re.compile(rb"[\s\"'<>]")
_RUN = re.compile(rb"[A-Za-z0-9+/_-]{24,100000}={0,2}")
_PERCENT = re.compile(rb"%(?:25)*(?:3[ADad]|20|2[Ff])")
#: So far around an encoded separator is looked.
_AROUND = 2000


def _needles() -> Tuple[bytes, ...]:
    """Parts that a secret's name leaves in base64, whichever of three bytes it begins at."""
    result = set()
    for word in (
        b"password",
        b"Password",
        b"PASSWORD",
        b"passwd",
        b"secret",
        b"SECRET",
        b"PRIVATE KEY-",
        b"_token",
        b"api_key",
    ):
        for before in (b"", b"x", b"xx"):
            padded = base64.b64encode(before + word + b"xx")
            skip = -(-len(before) * 8 // 6)
            result.add(padded[skip : (len(before) + len(word)) * 8 // 6])
    return tuple(sorted(result))


_ENCODED = _needles()


@lru_cache(maxsize=None)
def _filter(pattern: bytes) -> Any:
    """Finds in one pass whether anything may be there; what is a secret is judged by other means."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 32 * 1024 * 1024
    return re2.compile(pattern, options)


def _coded() -> Any:
    return _filter(b"|".join(map(re2.escape, _ENCODED)))


def files(target: Path, source: Source) -> List[str]:
    """What is still in the files of a source: file, what, and about where; never the secret itself.

    :raises EvidenceError: a file cannot be read
    """
    return [f"{file.path}: {text}" for file in source.files for text in stream(blocks(str(target / file.path)))]


def stream(given: Iterator[bytes]) -> List[str]:
    """What is in a text, with the byte at which its block begins."""
    found: List[str] = []
    rest, place = b"", 0
    for block in given:
        text = rest + block
        for name in text_of(text):
            where = f"{name} near byte {place}"
            if where not in found:
                found.append(where)
        if len(found) >= _MOST:
            return [*found[:_MOST], "and more"]
        rest = text[-_OVERLAP:]
        place += len(text) - len(rest)
    return found


def text_of(text: bytes) -> List[str]:
    """What is in a text: as it stands, as it is encoded, and without the ends of its lines."""
    names = _plain(text)
    if _coded().search(text):
        names += [f"{name} in base64" for run in _runs(text) for name in _plain(run)]
    if b"%" in text and _HEX.search(text):
        for word in _encoded(text):
            decoded = unquote_to_bytes(unquote_to_bytes(word))
            names += [f"{name} in an encoded address" for name in _plain(decoded)]
    return list(dict.fromkeys(names))


def _encoded(text: bytes) -> Iterator[bytes]:
    """What is around separators that are written as in an address, each part once."""
    last = 0
    for match in _PERCENT.finditer(text):
        if match.start() >= last:
            begin = max(last, match.start() - _AROUND)
            last = match.end() + _AROUND
            # Only its own word.
            before = _BREAK.split(text[begin : match.start()])[-1]
            after = _BREAK.split(text[match.start() : last], maxsplit=1)[0]
            last = match.start() + len(after)
            yield before + after


def _plain(text: bytes) -> List[str]:
    """What is in a text, of which only lines are looked at that may have something."""
    names: List[str] = []
    for lines in _suspect(text):
        every = [lines]
        if b"\\" in lines:
            every.append(_ESCAPED.sub(_unescaped, lines))
        for one in every:
            names += [name for name in looks.found(one, one.lower()) if name not in names]
    return names


def _suspect(text: bytes) -> Iterator[bytes]:
    """Lines in which there may be something, with those after them; what is adjacent together."""
    begin = end = -1
    for match in _filter(looks.ANY).finditer(text):
        if match.start() < end and match.end() <= end:
            continue
        line = max(text.rfind(b"\n", 0, match.start()) + 1, match.start() - _TOGETHER // 4)
        if begin >= 0 and (line > end or end - begin > _TOGETHER):
            yield text[begin:end]
            begin = -1
        begin = line if begin < 0 else begin
        end = match.end()
        for _line in range(_LINES):
            after = text.find(b"\n", end, match.end() + _TOGETHER // 4)
            end = after + 1 if after >= 0 else min(len(text), match.end() + _TOGETHER // 4)
    if begin >= 0:
        yield text[begin:end]


def _unescaped(match: "re.Match[bytes]") -> bytes:
    if match[1]:
        return bytes([int(match[1], 16)])
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t"}[match[2]] if match[2] else match[3]


def _runs(text: bytes) -> Iterator[bytes]:
    """Base64 that has a needle, decoded."""
    for match in _RUN.finditer(text):
        run = match[0]
        if _coded().search(run):
            plain = run.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
            try:
                # A remainder of one character is none of it.
                plain = plain[: len(plain) - 1] if len(plain) % 4 == 1 else plain
                yield base64.b64decode(plain + b"=" * (-len(plain) % 4))
            except binascii.Error:
                continue
