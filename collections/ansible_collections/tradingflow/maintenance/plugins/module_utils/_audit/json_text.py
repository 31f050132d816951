# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JSON of logs, read and written so that what is not changed stays as it was."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Iterator, List, Tuple


class Pairs(List[Any]):
    """An object of JSON with all its members, also those that come twice."""


class Number(str):
    """A number of JSON exactly as it was written."""


_AS_IT_IS: Dict[str, Any] = {
    "object_pairs_hook": Pairs,
    "parse_float": Number,
    "parse_int": Number,
    "strict": False,
}
_DECODER = json.JSONDecoder(**_AS_IT_IS)
_BEGIN = re.compile(r"\{\s*\"|\[\s*[\[{\"]")
#: Each begin that is none costs another look at what follows.
_TRIES = 16


def loaded(line: bytes) -> Any:
    """JSON; also with a byte that is no UTF-8, or a tab within a text, as what reads logs takes it.

    :raises ValueError: it is none
    """
    return json.loads(line.decode("utf-8", "surrogateescape"), **_AS_IT_IS)


def within(line: bytes) -> Iterator[Tuple[int, int, Any]]:
    """The objects and lists of JSON in a text: begin, end and what they are."""
    text = line.decode("utf-8", "surrogateescape")
    place, tries = 0, 0
    while tries < _TRIES:
        match = _BEGIN.search(text, place)
        if not match:
            return
        tries += 1
        try:
            data, end = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            place = match.end()
            continue
        begin, place = match.start(), end
        yield _bytes(text[:begin]), _bytes(text[:end]), data


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def dumped(value: Any) -> str:
    """JSON as it was, in the shortest form."""
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{dumped(name)}: {dumped(item)}" for name, item in value) + "}"
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(dumped(item) for item in value) + "]"
    # Surrogates alone have no UTF-8.
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() or not re.search("[\ud800-\udfff]", text) else json.dumps(value)
