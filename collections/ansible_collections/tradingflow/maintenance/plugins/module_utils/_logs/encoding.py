# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bytes of logs as text."""

from __future__ import annotations

from typing import Tuple


def decoded(raw: bytes) -> Tuple[str, bool]:
    """A line as text whatever its encoding, and whether it had to be guessed.

    NUL bytes are dropped: they are the half of UTF-16, or the hole that a truncated file begins with.
    """
    guessed = b"\0" in raw or raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    if guessed:
        raw = raw.replace(b"\0", b"").replace(b"\xff\xfe", b"").replace(b"\xfe\xff", b"")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text, guessed = raw.decode("latin-1"), True
    return text.lstrip("\ufeff").rstrip("\r\n"), guessed
