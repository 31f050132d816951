# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What entries are called in quarantine: how far they are, since when they are there, and their own names."""

from __future__ import annotations

import re
import secrets
import time
from typing import NamedTuple, Optional

from ..words import printable

_ASIDE = re.compile(rb"([qr])-(\d{8}T\d{6}Z)-[0-9a-f]{8}-(.+)", re.DOTALL)
STAMP = "%Y%m%dT%H%M%SZ"
_LONGEST = 255


class Aside(NamedTuple):
    """The parts of a name in quarantine.

    :param stray: it was moved, and nobody looked at it since: when its run ended before that, somebody may miss it
    :param since: when it was moved, as STAMP
    :param own: its name in the directory
    :param whole: whether that is all of it
    """

    stray: bool
    since: bytes
    own: bytes
    whole: bool


def parsed(name: bytes) -> Optional[Aside]:
    """The parts of a name; None for one that is not ours."""
    match = _ASIDE.fullmatch(name)
    return Aside(match[1] == b"r", match[2], match[3], len(name) < _LONGEST) if match else None


def moving(name: bytes, now: float) -> bytes:
    """What an entry is called from its move until it was looked at once more."""
    stamp = time.strftime(STAMP, time.gmtime(now)).encode()
    return b"-".join((b"r", stamp, secrets.token_hex(4).encode(), name))[:_LONGEST]


def checked(name: bytes) -> bytes:
    """What it is called from then on: it was what had been listed, and nobody had it in use."""
    return b"q" + name[1:]


def astray(name: bytes) -> bytes:
    """What it is called when it belongs back, and cannot go there."""
    return b"r" + name[1:]


def own(name: bytes) -> bytes:
    """The name that an entry had in its directory."""
    found = parsed(name)
    return found.own if found else name


def shown(name: bytes) -> str:
    """A name for people: what cannot be printed, or is no UTF-8, is escaped."""
    return printable(name.decode("utf-8", "backslashreplace"), 300)
