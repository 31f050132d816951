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
from typing import Any, Iterator, List, NamedTuple, Tuple
from urllib.parse import unquote_to_bytes

from ..errors import EvidenceError
from .collected import Collected
from .packing import blocks

try:
    import re2
except ImportError:
    re2 = None  # type: ignore[assignment]

#: Kept of each block for the next one.
_OVERLAP = 8192
#: More than so many of a file say nothing new.
_MOST = 20

#: What stands for something, or is none.
_NO_SECRET = re.compile(
    rb"(?i)\[(?:redacted:)?[a-z0-9_-]{1,40}|\[\w+:[0-9a-f]{16}|\*{2,}|(?:null|none|nil|true|false|yes|no)\b|\d{1,3}\b"
    rb"|<|\$\{|\{\{|%s|\\?[\"',;)}\]\\]|$"
)
_WORD = (
    rb"(?:passw(?:or)?d|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|(?:access|refresh|auth|id)_?token)"
)


class Look(NamedTuple):
    """One thing to look for.

    :param needles: one of these is in any text that has it, in small letters
    :param pattern: the first group is the secret
    """

    name: str
    needles: Tuple[bytes, ...]
    pattern: "re.Pattern[bytes]"


_LOOKS = (
    Look(
        "private key", (b"private key-----",), re.compile(rb"PRIVATE KEY(?: BLOCK)?-----\s*([A-Za-z0-9+/=\s]{40,400})")
    ),
    Look(
        "token of GitHub",
        (b"ghp_", b"gho_", b"ghs_", b"ghu_", b"ghr_", b"github_pat_"),
        re.compile(rb"\b((?:gh[a-z]|github_pat)_\w{20,255})"),
    ),
    Look("token of GitLab", (b"glpat-",), re.compile(rb"\b(glpat-[\w-]{16,100})")),
    Look("token of Slack", (b"xox",), re.compile(rb"\b(xox[a-z]-[\w-]{12,200})")),
    Look("key of Stripe", (b"k_live_", b"k_test_"), re.compile(rb"\b([sr]k_(?:live|test)_\w{12,200})")),
    Look(
        "key of AWS", (b"akia", b"asia"), re.compile(rb"(?<![A-Za-z0-9+/])((?:AKIA|ASIA)[A-Z0-9]{16})(?![A-Za-z0-9+/])")
    ),
    Look("JSON web token", (b"eyj",), re.compile(rb"(?<![\w-])(eyJ[\w-]{10,4000}\.[\w-]{10,4000}\.[\w-]{0,4000})")),
    Look(
        "password in an address", (b"://",), re.compile(rb"://[^\s/:@\"'<>\[]{0,100}:([^\s/?#@\"'<>]{1,200})@[\w.\[-]")
    ),
    Look(
        "header of an authorization",
        (b"authorization",),
        re.compile(rb"(?i)authorization\\?[\"']?\s?[:=]\s?\\?[\"']?((?:bearer|basic)\s[^\s\"']{6,4000})"),
    ),
    Look(
        "password or key by its name",
        (
            b"passw",
            b"passphrase",
            b"secret",
            b"api_key",
            b"apikey",
            b"access_key",
            b"accesskey",
            b"private_key",
            b"privatekey",
            b"_token",
            b"token",
        ),
        re.compile(
            rb"(?i)" + _WORD + rb"\\{0,4}[\"']?[ \t]{0,3}[=:]>?[ \t]{0,3}\\{0,4}[\"']?([^\s\"',;})\]\\]{4,200})"
        ),
    ),
)
_BREAK = re.compile(rb"[\s\"'<>]")
_RUN = re.compile(rb"[A-Za-z0-9+/_-]{24,100000}={0,2}")
_PERCENT = re.compile(rb"%(?:25)?3[AaDd]")
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
_NAMED = tuple(sorted({needle for look in _LOOKS for needle in look.needles}))


@lru_cache(maxsize=None)
def _filter(needles: Tuple[bytes, ...], any_case: bool) -> Any:
    """Finds whether any of many fixed texts is in another, in one pass; what is a secret is judged by other means."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = not any_case
    return re2.compile(b"|".join(map(re2.escape, needles)), options)


def _among(needles: Tuple[bytes, ...], text: bytes, any_case: bool = False) -> bool:
    return _filter(needles, any_case).search(text) is not None


def folder(target: Path, collected: Collected) -> List[str]:
    """What is still in the files: file, what, and about where; never the secret itself. Must be empty.

    The ledger's records are signed and left as they are; their payloads are looked into as all else is.

    :raises EvidenceError: a file cannot be read
    """
    found: List[str] = []
    for source in collected.sources:
        for file in source.files:
            found += [f"{file.path}: {text}" for text in stream(blocks(str(target / file.path)))]
    return found


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
    found = _plain(text)
    if _among(_ENCODED, text):
        found += [f"{name} in base64" for run in _runs(text) for name in _plain(run)]
    if b"%3" in text or b"%253" in text:
        for word in _encoded(text):
            decoded = unquote_to_bytes(unquote_to_bytes(word))
            found += [f"{name} in an encoded address" for name in _plain(decoded)]
    return list(dict.fromkeys(found))


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
    found: List[str] = []
    if not _among(_NAMED, text, any_case=True):
        return found
    small = text.lower()
    for look in _LOOKS:
        if not any(needle in small for needle in look.needles):
            continue
        if any(not _NO_SECRET.match(match[1].lstrip()) for match in look.pattern.finditer(text)):
            found.append(look.name)
    return found


def _runs(text: bytes) -> Iterator[bytes]:
    """Base64 that has a needle, decoded."""
    for match in _RUN.finditer(text):
        run = match[0]
        if _among(_ENCODED, run):
            plain = run.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
            try:
                # A remainder of one character is none of it.
                plain = plain[: len(plain) - 1] if len(plain) % 4 == 1 else plain
                yield base64.b64decode(plain + b"=" * (-len(plain) % 4))
            except binascii.Error:
                continue


def must_be_clean(target: Path, collected: Collected) -> None:
    """That nothing is found.

    :raises EvidenceError: something is
    """
    found = folder(target, collected)
    if found:
        raise EvidenceError(
            f"What is redacted still has what looks like a secret: {'; '.join(found[:10])}.",
            "Nothing was packed. Add a rule to audit_collection_redaction that finds it, and run again.",
        )
