# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is redacted: members and columns by their names first, then patterns, always in this order.

Patterns run in RE2, whose time grows with the text alone, whatever the pattern; what RE2 cannot do (look-around,
references back) is refused when the rules are loaded.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple
from urllib.parse import unquote_to_bytes

from ..errors import ConfigurationError
from .commands import Pattern
from .extents import private_key
from .extents import value as value_at
from .patterns import BUILT_IN, ESCAPED, harmless, names, secret_name

try:
    import re2
except ImportError:
    re2 = None  # type: ignore[assignment]

MASK, PSEUDONYM = "mask", "pseudonym"
ACTIONS = (MASK, PSEUDONYM)
#: Bytes a key of pseudonyms has at least.
KEY_BYTES = 32

_NAME = re.compile(r"[a-z0-9_-]{1,40}", re.ASCII)
_FIELD = re.compile(r"[\w.@ -]{1,100}")
_OPTIONS = ("name", "pattern", "fields", "action")
_DATE = re.compile(rb"\s*(?:\d{4}-\d\d|[A-Z][a-z]{2} +\d)")
#: In a pattern: the begin or the end of a text.
_ANCHOR = re.compile(r"\\[Az]|(?:^|[^\[\\])\^|(?<!\\)\$")
_ENCODED = rb"[^\s\"'<>]*(?:%|\\u00)[2-7][0-9A-Fa-f][^\s\"'<>]*"
_DIGIT, _LETTER = re.compile(rb"\d"), re.compile(rb"[A-Za-z]")
#: Rules of which the name says whether a value is one.
_BY_NAME = ("secret", "url_query", "url_encoded")
_ESCAPE = re.compile(rb"\\{1,8}u00([2-7][0-9A-Fa-f])")


@dataclass(frozen=True)
class Rule:
    """A pattern and what becomes of what it finds.

    :param groups: indexes of what is replaced, 0 for all that matches
    :param named: index of the group that names it, 0 for none
    :param built: what else patterns.py says of it; None for an environment's own
    """

    name: str
    pattern: Any
    action: str
    groups: Tuple[int, ...] = (0,)
    named: int = 0
    built: Optional[Pattern] = None
    unless: Any = None


@dataclass
class Rules:
    """Rules in the order in which they are applied.

    :param suspect: finds at least what one of the patterns finds
    :param further: the same of what may go over several lines: one that does not may hide it
    :param which: tells by their indexes which patterns find something in a text
    :param words: finds what is written as in an address, or in escapes of JSON
    :param done: what stands where something was, as a whole
    :param anchored: a pattern of the environment's own says where a text begins or ends
    :param fields: action and name of the rule for a member's name in small letters
    """

    key: bytes
    structural: List[Rule] = field(default_factory=list)
    patterns: List[Rule] = field(default_factory=list)
    fields: Dict[str, Tuple[str, str]] = field(default_factory=dict)
    suspect: Any = None
    further: Any = None
    which: Any = None
    words: Any = None
    done: Any = None
    anchored: bool = False

    def of_name(self, name: str) -> Optional[Tuple[str, str]]:
        """Rule and action of a member or column; None for one that has none."""
        own = self.fields.get(plain_name(name))
        if own:
            return own
        return ("secret", MASK) if secret_name(name) else None

    def stays(self, name: str, rule: Tuple[str, str], value: bytes) -> bool:
        """Whether a value stays though its member's name has a rule: it is none, or was replaced before.

        An environment's own rules take all there is.
        """
        return not value.strip() or self.is_done(value) or (rule[0] == "secret" and harmless(name, value))

    def is_done(self, value: bytes) -> bool:
        """Whether something stands for what was there, and nothing else beside it."""
        return self.done.fullmatch(value) is not None

    def replacement(self, name: str, action: str, value: bytes) -> bytes:
        """What stands for a value; lines stay lines."""
        if action == MASK:
            text = f"[redacted:{name}]"
        else:
            text = f"[{name}:{hmac.new(self.key, name.encode() + bytes(1) + value, hashlib.sha256).hexdigest()[:16]}]"
        return text.encode("ascii") + b"\n" * value.count(b"\n")

    def applied(self, text: bytes, counts: Dict[str, int]) -> bytes:
        """A text without what the rules find in it."""
        if not self.suspect.search(text):
            return text
        text = self._every(text, counts)
        parts, last = [], 0
        for match in self.words.finditer(text) if b"%" in text or b"\\u00" in text else ():
            begin, end = match.span()
            parts += [text[last:begin], self._encoded(text[begin:end], counts)]
            last = end
        return b"".join([*parts, text[last:]])

    def _every(self, text: bytes, counts: Dict[str, int]) -> bytes:
        every = [*self.structural, *self.patterns]
        found = self.which.Match(text)
        # The last one finds anything: without it the engine had too little memory to tell.
        indexes = sorted(found)[:-1] if len(every) in found else range(len(every))
        for index in indexes:
            text = self._rule(every[index], text, counts)
        return text

    def _encoded(self, word: bytes, counts: Dict[str, int]) -> bytes:
        """A word in which something is written as addresses or JSON write it: all of it goes when there is a secret."""
        plain = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), word)
        for _level in range(3):
            plain = unquote_to_bytes(plain)
        found: Dict[str, int] = {}
        if plain != word:
            self._every(plain, found)
        if not found:
            return word
        counts["encoded"] = counts.get("encoded", 0) + 1
        return self.replacement("encoded", MASK, word)

    def _rule(self, rule: Rule, text: bytes, counts: Dict[str, int]) -> bytes:
        parts: List[bytes] = []
        last = place = 0
        while True:
            match = rule.pattern.search(text, place)
            if not match:
                return b"".join([*parts, text[last:]]) if parts else text
            place = max(match.end(), place + 1)
            for begin, end in self._extents(rule, match, text):
                if begin < last:
                    continue
                value = text[begin:end]
                if self._kept(rule, match, value) or (rule.unless and rule.unless.match(text, begin)):
                    continue
                parts += [text[last:begin], self.replacement(rule.name, rule.action, value)]
                last = end
                place = max(end, place)
                counts[rule.name] = counts.get(rule.name, 0) + 1

    def _extents(self, rule: Rule, match: Any, text: bytes) -> Iterator[Tuple[int, int]]:
        if rule.built and rule.built.take:
            found = value_at(text, match.end(), rule.built.take)
            if found:
                yield found
            return
        for group in rule.groups:
            begin, end = match.span(group)
            if begin < 0:
                continue
            if rule.name == "private_key":
                end = private_key(text, end)
            elif rule.name == "token_split":
                line = text.find(b"\n", begin, end)
                # Another entry may begin there: it is a token that ended.
                end = line if _DATE.match(text, line + 1) else end
            yield begin, end

    def _kept(self, rule: Rule, match: Any, value: bytes) -> bool:
        """Whether what was found is none, or was replaced before."""
        if not value.strip() or self.is_done(value):
            return True
        if rule.built is None:
            return False
        if rule.built.mixed and not (_DIGIT.search(value) and _LETTER.search(value)):
            return True
        if rule.name == "key_material":
            # Digests are as long.
            return not re.search(rb"[G-Zg-z+/]", value) or not _DIGIT.search(value)
        if rule.name in _BY_NAME:
            name = (match.group(rule.named) if rule.named else b"") or b""
            return harmless(name.decode("utf-8", "replace"), value)
        return False


def plain_name(name: str) -> str:
    """A member's name as rules compare it."""
    return name.strip().lower().replace("-", "_")


def load(given: Optional[Sequence[Dict[str, Any]]], key: bytes) -> Rules:
    """The rules: those built in, and an environment's own.

    :param given: name; pattern or fields; action
    :param key: of pseudonyms
    :raises ConfigurationError: a rule has something unknown, or a pattern that RE2 cannot run
    """
    if re2 is None:
        raise ConfigurationError("The Python library google-re2 is missing.", "Install google-re2 for this Python.")
    if len(key) < KEY_BYTES:
        raise ConfigurationError(
            f"The key of pseudonyms has {len(key)} bytes; it must have {KEY_BYTES} or more.",
            "Make one with openssl rand -hex 32, and keep it in the vault.",
        )
    rules = Rules(key)
    own: List[Rule] = []
    seen = {"encoded", *names()}
    for each in given or []:
        name, action, pattern, fields = _checked(each, seen)
        if pattern:
            own.append(_compiled(name, pattern, action))
            rules.anchored |= _ANCHOR.search(pattern) is not None
        else:
            rules.structural.append(_compiled(name, _of_fields(fields), action))
            for member in fields:
                rules.fields[plain_name(member)] = (name, action)
    rules.patterns = [_compiled(each.name, each.pattern, MASK, each) for each in BUILT_IN] + own
    every = [rule.pattern.pattern for rule in (*rules.structural, *rules.patterns)]
    rules.which = re2.Set.SearchSet(_options())
    for one in (*every, b"(?s)."):
        rules.which.Add(one)
    rules.which.Compile()
    every += [each.encode() for each in ESCAPED]
    rules.words = compiled("encoded", _ENCODED)
    rules.suspect = compiled("suspect", rb"|".join(map(_loose, every)))
    several = [each.pattern.pattern for each in rules.patterns if each.built and (each.built.take or each.built.lines)]
    rules.further = compiled("further", rb"|".join(map(_loose, several)))
    marks = "|".join(sorted(map(re.escape, seen)))
    marker = rf"\[(?:redacted:(?:{marks})|(?:{marks}):[0-9a-f]{{16}})\]"
    rules.done = re.compile(rf"(?:{marker}[\s,;.:&)\]}}\\]*)+".encode())
    return rules


def _loose(pattern: bytes) -> bytes:
    """A pattern that finds at least as much, without groups and without counting how long something is."""
    pattern = re.sub(rb"\?P<\w+>", b"?:", pattern)
    # A field of the journal begins after its name, a cell of CSV between commas.
    pattern = pattern.replace(b"(?:^|", b"(?:^|[=,]|").replace(rb"|\z", rb"|\z|,")
    return b"(?:" + re.sub(rb"\{([01]),\d{2,}\}", lambda match: b"*" if match[1] == b"0" else b"+", pattern) + b")"


def _checked(each: Any, seen: "set[str]") -> Tuple[str, str, str, List[str]]:
    """Name, action, pattern and fields of a rule of the environment's own."""
    if not isinstance(each, dict):
        raise ConfigurationError("A redaction rule is not a mapping.", "Give each a name, and a pattern or fields.")
    name = each.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in seen:
        raise ConfigurationError(
            f"{str(name)[:60]!r} cannot name a redaction rule.",
            "Give each a name of its own, of small letters, digits, _ and -, that no built-in rule has.",
        )
    seen.add(name)
    for option in each:
        if option not in _OPTIONS:
            raise ConfigurationError(
                f"The redaction rule {name} has {str(option)[:60]!r}, which is unknown.", f"Use {', '.join(_OPTIONS)}."
            )
    action, pattern, fields = each.get("action", MASK), each.get("pattern"), each.get("fields")
    if action not in ACTIONS:
        raise ConfigurationError(
            f"The redaction rule {name} has the action {str(action)[:60]!r}.", f"Use one of {', '.join(ACTIONS)}."
        )
    if (pattern in (None, "")) == (fields in (None, [])):
        raise ConfigurationError(f"The redaction rule {name} needs a pattern or fields, one of them.", "Correct it.")
    if pattern is not None and not isinstance(pattern, str):
        raise ConfigurationError(f"The pattern of the redaction rule {name} is not a text.", "Correct it.")
    if fields and not (
        isinstance(fields, list) and all(isinstance(one, str) and _FIELD.fullmatch(one) for one in fields)
    ):
        raise ConfigurationError(f"The fields of the redaction rule {name} are not a list of names.", "Correct them.")
    return name, str(action), pattern or "", list(fields or [])


def _of_fields(fields: Sequence[str]) -> str:
    """Members in lines of text: name=value and name: value."""
    names = "|".join(re.escape(name).replace("\\-", "[_-]").replace("_", "[_-]") for name in fields)
    return (
        rf"(?i)(?:^|[^\w.-])(?:{names})\\*[\"']?\s{{0,4}}[:=][ \t]*(?:\\*\"(?P<secret1>(?:[^\"\\]|\\[^\"])*)"
        r"|\\*'(?P<secret2>[^']*)|(?P<secret4>[\[{(][^\n\])}]*[\])}]?)|(?P<secret3>[^\s\"'<>\\,;&})\]]+))"
    )


def _compiled(name: str, pattern: str, action: str, built: Optional[Pattern] = None) -> Rule:
    if built:
        # An escape of a line end is no letter of the word after it.
        pattern = pattern.replace("\\b", r"(?:\b|\\[nrtbf])")
    found = compiled(name, pattern.encode("utf-8"))
    if found.search(b""):
        raise ConfigurationError(f"The pattern of the redaction rule {name} matches nothing at all.", "Correct it.")
    named = {index: group for group, index in found.groupindex.items()}
    groups = tuple(index for index in sorted(named) if named[index].startswith(b"secret"))
    if not groups:
        groups = (1,) if found.groups == 1 else (0,)
    key = next((index for index, group in named.items() if group == b"key"), 0)
    unless = re.compile(built.unless.encode("utf-8")) if built and built.unless else None
    return Rule(name, found, action, groups, key, built, unless)


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 * 1024 * 1024
    options.encoding = re2.Options.Encoding.LATIN1
    return options


def compiled(name: str, pattern: bytes) -> Any:
    """A pattern for RE2, of bytes.

    :raises ConfigurationError: RE2 cannot run it
    """
    options = _options()
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ConfigurationError(
            f"The pattern of the redaction rule {name} is none that RE2 can run: {text[:200]}.",
            "RE2 has no look-around and no references back; see its syntax.",
        ) from None
