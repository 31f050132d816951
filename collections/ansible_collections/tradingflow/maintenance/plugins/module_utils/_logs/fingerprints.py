# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kinds of errors: what stays of a message without its numbers, names and secrets, as a short hash."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Dict

from ..masking import MASK, masked, without_secrets
from ..words import printable

#: Of a message beyond this many characters nothing is looked at.
LONGEST_TEXT = 2000
LONGEST_SAMPLE = 300

_DIGITS = re.compile(r"\d+")
# With every number 0.
_TIME = re.compile(r"\b0[-/]0[-/]0[T ]0:0:0(?:[.,]0)?(?:Z\b|[+-]0:0)?")
_STRINGS = re.compile(r"\"[^\"]*\"|`[^`]*`|(?<!\w)'[^']*'(?!\w)")
_IPV6 = re.compile(r"(?i)(?<![\w:])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])")
_WORDS = re.compile(r"[^\s,;:=()\[\]{}<>|\"'`]*\d[^\s,;:=()\[\]{}<>|\"'`]*|\b[a-fA-F]{8,}\b")


def sample_of(text: str) -> str:
    """A message that may be shown: no secrets, one line, cut."""
    return printable(" ".join(without_secrets(text[: 2 * LONGEST_TEXT]).split()), LONGEST_SAMPLE)


def template(text: str) -> str:
    """A message without what differs from one time to the next: numbers, ids, addresses, quoted text."""
    text = masked(_DIGITS.sub("0", text[:LONGEST_TEXT]))
    text = _TIME.sub("#", _STRINGS.sub("<s>", text))
    text = _IPV6.sub("#", text)
    return " ".join(_WORDS.sub("#", text).replace(MASK, "#").split())


class Kinds:
    """Kinds of errors with their number and a sample each, at most so many.

    :param most: how many kinds are told apart
    """

    def __init__(self, most: int = 500) -> None:
        self.most = most
        self.found: Dict[str, Dict[str, Any]] = {}
        self.beyond = 0
        self._hashes: Dict[str, str] = {}

    def add(self, level: str, text: str) -> None:
        fingerprint = self._fingerprint(text)
        known = self.found.get(fingerprint)
        if known:
            known["count"] += 1
        elif len(self.found) < self.most:
            self.found[fingerprint] = {
                "fingerprint": fingerprint,
                "level": level,
                "count": 1,
                "sample": sample_of(text),
            }
        else:
            self.beyond += 1

    def _fingerprint(self, text: str) -> str:
        # Messages that differ in digits only are the same kind: cheap to see for a burst of them.
        key = _DIGITS.sub("0", text[:LONGEST_TEXT])
        known = self._hashes.get(key)
        if known is None:
            if len(self._hashes) > 2000:
                self._hashes.clear()
            known = self._hashes[key] = fingerprint_of(text)
        return known

    def commonest(self) -> list[Dict[str, Any]]:
        return sorted(self.found.values(), key=lambda kind: (-kind["count"], kind["fingerprint"]))


def fingerprint_of(text: str) -> str:
    """The kind of a message: 12 hexadecimal digits."""
    return hashlib.sha256(template(text).encode("utf-8", "replace")).hexdigest()[:12]
