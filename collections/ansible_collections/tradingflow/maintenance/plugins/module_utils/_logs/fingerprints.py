# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kinds of errors: what stays of a message without its numbers, names and secrets, as a short hash."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Dict, Match

from .._checks import printable

#: Of a message beyond this many characters nothing is looked at.
LONGEST_TEXT = 2000
LONGEST_SAMPLE = 300
MASK = "***"

_KEY = (
    r"(?:(?:passw(?:or)?d|passphrase|passcode|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|"
    r"signing[_-]?key|encryption[_-]?key|credential|session[_-]?id|signature)[\w.-]{0,60}|\bpass|\bauth)"
)
# Up to a quote like the one that opened, as text within JSON within text writes it; to the end where it is cut off.
_QUOTED = r"(?P<escape>\\*)(?P<quote>[\"'])(?:(?!(?<!\\)(?P=escape)(?P=quote)).)*(?:(?P=escape)(?P=quote))?"
_SECRETS = (
    # A private key, to its end or that of the text.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), MASK),
    # Headers carry their secret in several words.
    (
        re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(\\*[\"']?\s*[:=]\s*)(?:\\*[\"'])?[^\"'\r\n]+"),
        rf"\1\2{MASK}",
    ),
    (re.compile(r"(?i)\b(bearer|basic|digest|apikey)\s+[\w.~+/=-]{6,}"), rf"\1 {MASK}"),
    # What stands between a scheme and the last @ of an address.
    (re.compile(r"(\b[a-zA-Z][\w+.-]*://)[^\s\"'<>]*@"), rf"\1{MASK}@"),
    (re.compile(rf"(?i)({_KEY})((?:\\*[\"'])?\s*(?:=>|:=|[:=])\s*)(?:{_QUOTED}|\S+)"), rf"\1\2{MASK}"),
    # As an option of a program, and as in SQL.
    (re.compile(rf"(?i)(?<![\w-])(--?[\w-]{{0,40}}?{_KEY}\s+)(?:{_QUOTED}|\S+)"), rf"\1{MASK}"),
    (re.compile(rf"(?i)\b(password|identified\s+by)(\s+)(?:{_QUOTED})"), rf"\1\2{MASK}"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.?[\w-]*"), MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), MASK),
)
_LONG = re.compile(r"(?<![\w+/=-])[\w+/=-]{32,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_DIGITS = re.compile(r"\d+")
# With every number 0.
_TIME = re.compile(r"\b0[-/]0[-/]0[T ]0:0:0(?:[.,]0)?(?:Z\b|[+-]0:0)?")
_STRINGS = re.compile(r"\"[^\"]*\"|`[^`]*`|(?<!\w)'[^']*'(?!\w)")
_IPV6 = re.compile(r"(?i)(?<![\w:])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])")
_WORDS = re.compile(r"[^\s,;:=()\[\]{}<>|\"'`]*\d[^\s,;:=()\[\]{}<>|\"'`]*|\b[a-fA-F]{8,}\b")


def _long_word(match: Match[str]) -> str:
    """A long run of letters and digits is a key until it shows to be a path or an id."""
    word = match[0]
    if _UUID.fullmatch(word) or not re.search(r"\d", word) or not re.search(r"[A-Za-z]", word):
        return word
    # Folders have short names.
    return MASK if max(len(part) for part in re.split(r"[/=]", word)) >= 20 or not word.startswith("/") else word


def without_secrets(text: str) -> str:
    """Text with passwords, tokens, keys, credentials in addresses and what looks like one masked."""
    return _LONG.sub(_long_word, _without_named_secrets(text))


def _without_named_secrets(text: str) -> str:
    for pattern, mask in _SECRETS:
        text = pattern.sub(mask, text)
    return text


def sample_of(text: str) -> str:
    """A message that may be shown: no secrets, one line, cut."""
    return printable(" ".join(without_secrets(text[: 2 * LONGEST_TEXT]).split()), LONGEST_SAMPLE)


def template(text: str) -> str:
    """A message without what differs from one time to the next: numbers, ids, addresses, quoted text."""
    text = _without_named_secrets(_DIGITS.sub("0", text[:LONGEST_TEXT]))
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
