# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a value in a text begins and ends: in quotes, in brackets, one word or several; in time that grows with it."""

from __future__ import annotations

import re
from typing import Optional, Tuple

from .commands import QUOTED, WORDS

#: Bytes of the longest secret of several lines, a private key.
LONGEST = 20_000
#: A value in quotes or brackets goes over so many bytes of other lines, when it is closed there.
_FURTHER = 4096

_END = re.compile(rb"-----END[ +%A-Z0-9]{0,60}PRIVATE")
_BODY = re.compile(rb"[A-Za-z0-9+/=]{40}")
_OPEN = re.compile(rb"(\\*)([\"'])")
_ENTITY = re.compile(rb"&(?:quot|#34|#39|apos);")
_TAG = re.compile(rb"\$\w*\$")
# A quote or a < in the middle of a word goes on; what closes, and what opens another, ends it.
_BARE = re.compile(
    rb"(?:\\?[^\s\"'<\\]+|<(?![/\s])[^\s\"'<\\]*)(?:\\[^\s\"'][^\s\"'<\\]*|[\"'](?=[\w!@#$%^&*+])[^\s\"'<\\]*|<(?![/\s])[^\s\"'<\\]*)*"
)
_SEVERAL = re.compile(rb"[^\r\n\"'<>;,|)\]}\\]+")
_NEXT = re.compile(rb"\s+[\w.-]+(?:=|:\s)")
#: An entry of a log begins so.
_ENTRY = re.compile(rb"\n\s*(?:[\[\"{]*(?:\d{4}-\d\d|\d\d:\d\d)|[A-Z][a-z]{2} +\d|<\d)")
_MARKER = re.compile(rb"\[[\w:-]{1,80}\]")
_PAIRS = {b"["[0]: b"]"[0], b"{"[0]: b"}"[0], b"("[0]: b")"[0]}
_BRACKETS = re.compile(rb"[\[\]{}()]|\\*[\"']")


#: A block of YAML: the lines that are as far in as its first one.
_BLOCK = re.compile(rb"[|>][+\-0-9]{0,2}[ \t]*\r?\n(?P<in>[ \t]+)[^\n]*(?:\n(?P=in)[^\n]*)*")


def value(text: bytes, begin: int, take: str) -> Optional[Tuple[int, int]]:
    """Begin and end of the value that begins at a place, without its quotes; None where there is none.

    :param take: of patterns.Pattern
    """
    block = _BLOCK.match(text, begin)
    if block:
        return block.end("in"), min(block.end(), _limit(text, begin))
    opening = _OPEN.match(text, begin)
    if opening:
        return opening.end(), _quoted(text, opening.end(), opening[1], opening[2])
    if take == QUOTED:
        tag = _TAG.match(text, begin)
        if not tag:
            return None
        end = text.find(tag[0], tag.end(), _limit(text, tag.end()))
        return tag.end(), end if end >= 0 else _line(text, tag.end())
    entity = _ENTITY.match(text, begin)
    if entity:
        end = text.find(entity[0], entity.end(), _line(text, begin))
        return entity.end(), end if end >= 0 else _line(text, begin)
    if _MARKER.match(text, begin) is None and text[begin : begin + 1] in (b"[", b"{", b"("):
        return begin, _bracketed(text, begin)
    bare = _BARE.match(text, begin)
    if not bare:
        return None
    end = bare.end()
    if take == WORDS:
        several = _SEVERAL.match(text, begin)
        if several:
            following = _NEXT.search(several[0])
            end = max(end, begin + following.start() if following else several.end())
    return begin, end


def private_key(text: bytes, begin: int) -> int:
    """Where a private key ends: at its last line, or where lines look like one no more."""
    found = _END.search(text, begin, begin + LONGEST)
    if found:
        return found.start()
    end = text.find(b"\n", begin, begin + LONGEST)
    while 0 <= end < begin + LONGEST:
        after = text.find(b"\n", end + 1)
        line = text[end + 1 : after if after >= 0 else len(text)]
        if not _BODY.search(line[:4096]):
            return end
        end = after
    return min(len(text), begin + LONGEST)


def _line(text: bytes, begin: int) -> int:
    """Where the line ends."""
    end = text.find(b"\n", begin)
    return end if end >= 0 else len(text)


def _limit(text: bytes, begin: int) -> int:
    """How far a value may go that began here: not into another entry."""
    line = _line(text, begin)
    entry = _ENTRY.search(text, line, line + _FURTHER)
    return entry.start() if entry else min(len(text), line + _FURTHER)


def _quoted(text: bytes, begin: int, escape: bytes, quote: bytes) -> int:
    """Where a text in quotes ends: at one that is as deep, or at one that is less deep, which ends what it is in."""
    place, limit = begin, _limit(text, begin)
    while True:
        place = text.find(quote, place, limit)
        if place < 0:
            return _line(text, begin)
        first = place
        while first > begin and text[first - 1 : first] == b"\\":
            first -= 1
        depth = place - first
        if depth % 2 == 0 and not escape:
            depth = 0  # Those are backslashes of the text.
        if depth <= len(escape):
            if depth == 0 and not escape and quote == b"'" and text[place + 1 : place + 2] == quote:
                place += 2
                continue
            return first if escape else place
        place += 1


def _bracketed(text: bytes, begin: int) -> int:
    """Where a list or an object ends, with its bracket; at the end of the line, where it is not closed."""
    waiting = []
    place, limit = begin, _limit(text, begin)
    while True:
        found = _BRACKETS.search(text, place, limit)
        if not found:
            return _line(text, begin)
        mark = found[0]
        place = found.end()
        if mark[-1:] in (b'"', b"'"):
            # An apostrophe in a word is no quote.
            if mark[-1:] == b"'" and text[place - 2 : place - 1].isalnum():
                continue
            place = min(_quoted(text, place, mark[:-1], mark[-1:]) + len(mark), limit)
        elif mark[0] in _PAIRS:
            waiting.append(_PAIRS[mark[0]])
        elif waiting and mark[0] == waiting[-1]:
            waiting.pop()
            if not waiting:
                return place
