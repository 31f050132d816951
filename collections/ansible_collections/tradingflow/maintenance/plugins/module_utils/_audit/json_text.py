# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JSON of logs, read and written so that what is not changed stays as it was."""

from __future__ import annotations

import json
import re
from typing import Any, List


class Pairs(List[Any]):
    """An object of JSON with all its members, also those that come twice."""


class Number(str):
    """A number of JSON exactly as it was written."""


def loaded(line: bytes) -> Any:
    """JSON; also with a byte that is no UTF-8, or a tab within a text, as what reads logs takes it.

    :raises ValueError: it is none
    """
    return json.loads(
        line.decode("utf-8", "surrogateescape"),
        object_pairs_hook=Pairs,
        parse_float=Number,
        parse_int=Number,
        strict=False,
    )


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
