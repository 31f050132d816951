# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Timeline history files: which timelines a timeline descends from, and where it left each."""

from __future__ import annotations

import re
from typing import List, NamedTuple

from ..errors import RestoreError

_LINE = re.compile(r"(\d+)\t([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})(?:\t(.*))?", re.DOTALL)


class Ancestor(NamedTuple):
    """One line of a history file.

    :param switch: where the next timeline begins, in bytes
    :param reason: in the words of the server that wrote it
    """

    timeline: int
    switch: int
    reason: str


def parse(body: bytes, timeline: int) -> List[Ancestor]:
    """The ancestors of a timeline, oldest first, by the grammar of PostgreSQL's timeline.c.

    :raises RestoreError: it is no history file of this timeline
    """
    found: List[Ancestor] = []
    for line in body.decode("utf-8", "replace").split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.lstrip())
        if not match:
            raise _broken(timeline, f"the line {line[:80]!r} is not one of a history file")
        found.append(Ancestor(int(match[1]), (int(match[2], 16) << 32) + int(match[3], 16), (match[4] or "").strip()))
    numbers = [each.timeline for each in found]
    if not found:
        raise _broken(timeline, "it names no ancestor")
    if numbers != sorted(set(numbers)) or numbers[0] < 1 or numbers[-1] >= timeline:
        raise _broken(timeline, f"it names the ancestors {', '.join(map(str, numbers[:9]))}")
    if [each.switch for each in found] != sorted(each.switch for each in found):
        raise _broken(timeline, "its switch points go backwards")
    return found


def _broken(timeline: int, why: str) -> RestoreError:
    return RestoreError(
        f"The archived history file {timeline:08X}.history is damaged: {why}.",
        "Bring it back from an older version of the object, or from pg_wal of a server on that timeline.",
    )
