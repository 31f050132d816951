# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One value redacted: by the name it has, as JSON by its members, as text by patterns."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from .json_text import Number, Pairs, dumped, loaded, within
from .patterns import NAME_OF, VALUE_OF, secret_name
from .rules import MASK, Rules

Counts = Dict[str, int]

_NAME_OF, _VALUE_OF = (re.compile(words, re.IGNORECASE) for words in (NAME_OF, VALUE_OF))
_OPTION = re.compile(r"--?([A-Za-z][\w-]{0,60})")
#: Longer lists are no command lines.
_COMMAND = 200


class Values:
    """Redacts values.

    :param counts: gets how often each rule replaced something
    """

    def __init__(self, rules: Rules, counts: Counts) -> None:
        self.rules, self.counts = rules, counts

    def value(self, data: bytes) -> bytes:
        """A value on its own: perhaps JSON."""
        if not self.rules.suspect.search(data):
            return data
        new = self.json(data) if data.lstrip()[:1] in (b"{", b"[") else None
        return self.text(data) if new is None else new

    def text(self, data: bytes) -> bytes:
        """Text, in which JSON may be."""
        return self.rules.applied(self.embedded(data) if b"{" in data else data, self.counts)

    def named(self, name: str, rule: Optional[Tuple[str, str]], data: bytes) -> bytes:
        """A value with the rule of its name, None where it has none."""
        if rule and not self.rules.stays(name, rule, data):
            return self._replaced(rule, data)
        return self.value(data)

    def json(self, line: bytes) -> Optional[bytes]:
        """A text that is JSON, with its line feed; None for one that is none."""
        before = dict(self.counts)
        try:
            walked = self._walked(loaded(line))
            if self.counts == before:
                return line
            return dumped(walked).encode("utf-8") + line[len(line.rstrip()) :]
        except (ValueError, RecursionError):
            # Not JSON, or deeper than can be walked: the patterns look at it.
            self.counts.clear()
            self.counts.update(before)
            return None

    def embedded(self, line: bytes) -> bytes:
        """A text in which there is JSON, that by its members."""
        parts: List[bytes] = []
        last = 0
        for begin, end, data in within(line):
            before = dict(self.counts)
            try:
                walked = self._walked(data)
                if self.counts == before:
                    continue
                parts += [line[last:begin], dumped(walked).encode("utf-8")]
                last = end
            except (ValueError, RecursionError):
                self.counts.clear()
                self.counts.update(before)
        return b"".join([*parts, line[last:]])

    def _walked(self, value: Any) -> Any:
        if isinstance(value, Pairs):
            return self._object(value)
        if isinstance(value, list):
            return self._list(value)
        if isinstance(value, Number):
            new = self._string(value)
            return value if new == value else new
        return self._string(value) if isinstance(value, str) else value

    def _object(self, value: Pairs) -> Pairs:
        """Members by their names; a member called value by what the one called name says."""
        given = [item for name, item in value if isinstance(item, str) and _NAME_OF.fullmatch(name)]
        says = next((name for name in given if self.rules.of_name(name)), "")
        return Pairs(
            [
                (
                    self._string(name),
                    self._member(
                        says if says and not self.rules.of_name(name) and _VALUE_OF.fullmatch(name) else name, item
                    ),
                )
                for name, item in value
            ]
        )

    def _list(self, value: List[Any]) -> List[Any]:
        if len(value) == 2 and isinstance(value[0], str) and self.rules.of_name(value[0]):
            return [self._walked(value[0]), self._member(value[0], value[1])]
        items = [self._walked(item) for item in value]
        texts = [item for item in items if isinstance(item, str)]
        if not 1 < len(texts) == len(items) <= _COMMAND:
            return items
        for index in range(1, len(texts)):
            match = _OPTION.fullmatch(texts[index - 1])
            if match and secret_name(match[1]) and not texts[index].startswith("-"):
                items[index] = self._member(match[1], texts[index])
        # A program's name and its options, which mean something together only.
        line = " ".join(items).encode("utf-8", "surrogatepass")
        found: Counts = {}
        new = self.rules.applied(line, found)
        if found:
            left = new.decode("utf-8", "replace")
            items = [self._gone(item, left, found) for item in items]
        return items

    def _gone(self, item: str, left: str, found: Counts) -> str:
        """An item of a command, unless it is not in what is left of it."""
        data = item.encode("utf-8", "surrogatepass")
        if not item.strip() or item in left or self.rules.is_done(data):
            return item
        rule = min(found)
        self.counts[rule] = self.counts.get(rule, 0) + 1
        return self.rules.replacement(rule, MASK, data).decode("ascii")

    def _member(self, name: str, value: Any) -> Any:
        rule = self.rules.of_name(name)
        text = value if isinstance(value, str) else dumped(value)
        if rule is None or value is None or isinstance(value, bool):
            return self._walked(value)
        data = text.encode("utf-8", "surrogatepass")
        return self._walked(value) if self.rules.stays(name, rule, data) else self._replaced(rule, data).decode("ascii")

    def _replaced(self, rule: Tuple[str, str], data: bytes) -> bytes:
        self.counts[rule[0]] = self.counts.get(rule[0], 0) + 1
        return self.rules.replacement(*rule, data)

    def _string(self, text: str) -> str:
        """Text in a member: perhaps JSON itself."""
        data = text.encode("utf-8", "surrogatepass")
        new = self.value(data)
        try:
            return text if new == data else new.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            # A pattern of bytes ended within a character.
            return new.decode("utf-8", "replace")
