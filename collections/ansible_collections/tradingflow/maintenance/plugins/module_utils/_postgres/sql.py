# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SQL as pg_dump and pg_dumpall write it, taken apart into tokens and put together again.

Names and strings may hold anything, line feeds, comments and psql's commands among them, so that no line and no
pattern says where a statement ends. What is executed is written anew from the tokens: should the server read the
text otherwise than we do, it is our text that it reads.
"""

from __future__ import annotations

import re
from typing import List, NamedTuple

WORD, NAME, STRING, NUMBER, SIGN = "word", "name", "string", "number", "sign"
_SIGNS = "(),=.-*"

_SPACE = re.compile(r"[ \t\r\n\f\v]+|--[^\r\n]*")
#: Only pg_dump's own protection of its output against psql's commands in it; a key of letters and digits.
_RESTRICT = re.compile(r"\\(?:un)?restrict [A-Za-z0-9]+(?:\n|$)")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?![\w.$])", re.ASCII)
_QUOTED = re.compile(r'"([^"\0]*(?:""[^"\0]*)*)"(?!")')
_STRING = re.compile(r"'([^'\0]*(?:''[^'\0]*)*)'(?!')")
_ESCAPED = re.compile(r"'([^'\\\0]*(?:(?:''|\\[^\0])[^'\\\0]*)*)'(?!')")
_MARK = re.compile(r"/\*|\*/")
_DOLLAR = re.compile(r"\$((?:[A-Za-z_][A-Za-z0-9_]*)?)\$")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'"}


class NotUnderstood(ValueError):
    """The text is not what this version knows; the message says where, and quotes no string of it."""


class Token(NamedTuple):
    """A part of a statement.

    :param value: of a name or a string what it stands for, of others the text
    """

    kind: str
    value: str

    @property
    def sql(self) -> str:
        """As SQL that any server reads alike, whatever standard_conforming_strings says."""
        if self.kind == NAME:
            return identifier(self.value)
        return literal(self.value) if self.kind == STRING else self.value


Statement = List[Token]


def identifier(name: str) -> str:
    """A name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string as SQL."""
    plain = "'" + text.replace("'", "''") + "'"
    return "E" + plain.replace("\\", "\\\\") if "\\" in text else plain


def written(tokens: List[Token]) -> str:
    """A statement as SQL."""
    return " ".join(token.sql for token in tokens)


def decoded(data: bytes) -> str:
    """A dump's text, by the client_encoding that it sets.

    :raises NotUnderstood: the encoding is not known, or the text is not in it
    """
    # Whatever a server may be encoded in, what is ASCII there is ASCII.
    encoding = _encoding(statements(data.decode("latin-1")))
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        raise NotUnderstood(f"it is not encoded in {encoding}, as it says") from None


def encoding_of(text: bytes) -> str:
    """Python's name of the client_encoding that a statement sets.

    :raises NotUnderstood: see decoded
    """
    return _encoding(statements(text.decode("latin-1")))


def _encoding(found: List[Statement]) -> str:
    try:
        from psycopg2.extensions import encodings
    except ImportError:
        encodings = {}
    for tokens in found:
        if [token.value.lower() for token in tokens[:3]] == ["set", "client_encoding", "="] and len(tokens) == 4:
            name = tokens[3].value.upper()
            # Bytes of no known meaning: in nearly every case it is UTF-8, and otherwise it is said.
            if name in ("UTF8", "SQL_ASCII"):
                return "utf-8"
            if name not in encodings:
                raise NotUnderstood(f"the encoding {name!r} is not known")
            return str(encodings[name])
    raise NotUnderstood("it does not say its encoding")


def statements(text: str, *, standard: bool = True) -> List[Statement]:
    """All statements of a text, without what ends them.

    :param standard: whether backslashes in plain strings are what they are; a statement of the text may change it
    :raises NotUnderstood: a string or comment does not end, or something is neither SQL nor known
    """
    return _Reader(text, standard).read()


class _Reader:
    def __init__(self, text: str, standard: bool) -> None:
        self._text = text
        self._standard = standard
        self._at = 0

    def read(self) -> List[Statement]:
        found: List[Statement] = []
        tokens: Statement = []
        while self._skip(between=not tokens):
            if self._text[self._at] == ";":
                self._at += 1
                if tokens:
                    self._note(tokens)
                    found.append(tokens)
                tokens = []
            else:
                tokens.append(self._token())
        if tokens:
            raise self._wrong("the last statement does not end")
        return found

    def _note(self, tokens: Statement) -> None:
        words = [token.value.lower() for token in tokens]
        if words[:3] == ["set", "standard_conforming_strings", "="] and len(words) == 4:
            if words[3] not in ("on", "off"):
                raise self._wrong("standard_conforming_strings is neither on nor off")
            self._standard = words[3] == "on"

    def _skip(self, between: bool) -> bool:
        """Goes over spaces and comments. Returns whether there is more."""
        while self._at < len(self._text):
            match = _SPACE.match(self._text, self._at)
            if match is None and between and self._text[self._at - 1 : self._at] in ("", "\n"):
                match = _RESTRICT.match(self._text, self._at)
            if match:
                self._at = match.end()
            elif self._text.startswith("/*", self._at):
                self._comment()
            else:
                return True
        return False

    def _comment(self) -> None:
        depth = 0
        while True:
            match = _MARK.search(self._text, self._at)
            if match is None:
                raise self._wrong("a comment does not end")
            self._at = match.end()
            depth += 1 if match[0] == "/*" else -1
            if not depth:
                return

    def _token(self) -> Token:
        text, at = self._text, self._at
        escapes = text[at : at + 2] in ("e'", "E'")
        if escapes or text[at] == "'":
            return self._string(at + escapes, escapes or not self._standard)
        if text[at] == '"':
            name = self._taken(_QUOTED, at, "a quoted name does not end")[1].replace('""', '"')
            if not name:
                raise self._wrong("a name is empty")
            return Token(NAME, name)
        if text[at] == "$":
            return self._dollar(at)
        word = _PLAIN.match(text, at)
        if word:
            self._at = word.end()
            # B'', N'', U&'' and X'' are other strings, which no dump of names and settings has.
            if text[self._at : self._at + 1] in ("'", '"') or text[self._at : self._at + 2] in ("&'", '&"'):
                raise self._wrong("a string of another kind")
            return Token(WORD, word[0])
        number = _NUMBER.match(text, at)
        if number:
            self._at = number.end()
            return Token(NUMBER, number[0])
        if text[at] in _SIGNS:
            self._at += 1
            return Token(SIGN, text[at])
        raise self._wrong("a psql command" if text[at] == "\\" else f"the character {text[at]!a}")

    def _string(self, at: int, escapes: bool) -> Token:
        value = self._taken(_ESCAPED if escapes else _STRING, at, "a string does not end")[1]
        return Token(STRING, self._unescaped(value) if escapes else value.replace("''", "'"))

    def _unescaped(self, text: str) -> str:
        def plain(match: re.Match[str]) -> str:
            if match[0] == "''":
                return "'"
            if match[1] not in _ESCAPES:
                raise self._wrong("an escape in a string that is not known")
            return _ESCAPES[match[1]]

        return re.sub(r"''|\\(.)", plain, text, flags=re.DOTALL)

    def _dollar(self, at: int) -> Token:
        opening = self._taken(_DOLLAR, at, "a dollar sign")[0]
        end = self._text.find(opening, self._at)
        if end < 0:
            raise self._wrong("a string does not end")
        value, self._at = self._text[self._at : end], end + len(opening)
        return Token(STRING, value)

    def _taken(self, pattern: re.Pattern[str], at: int, problem: str) -> re.Match[str]:
        match = pattern.match(self._text, at)
        if match is None:
            raise self._wrong(problem)
        self._at = match.end()
        return match

    def _wrong(self, problem: str) -> NotUnderstood:
        return NotUnderstood(f"line {self._text.count(chr(10), 0, self._at) + 1}: {problem}")
