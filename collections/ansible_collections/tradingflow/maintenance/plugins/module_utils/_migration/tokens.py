# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Statements of revisions that can be left half done, read by their grammar as far as that says what they leave."""

from __future__ import annotations

import re
from typing import Iterable, List, NamedTuple, Optional, Tuple

from .._postgres.sql import NAME, NUMBER, SIGN, WORD, NotUnderstood, Statement, Token, _Reader, written

#: Signs that make one operator together; comments are taken out before.
_OPERATOR = re.compile(r"(?:(?!--|/\*)[-+*/<>=~!@#%^&|`?:])+")
_DIGITS = re.compile(r"\d[\w.]*")
_FOREIGN = re.compile(r"[^\W\d][\w$]*")
#: Statements that change rows, or of which nobody knows.
_WRITING = ("insert", "update", "delete", "merge", "copy", "call", "do", "execute")
_PARAMETER = re.compile(r"\$\d+")


class Claim(NamedTuple):
    """What a statement makes, or takes.

    :param kind: create, drop or reindex of an index; constraint for ADD CONSTRAINT ... NOT VALID
    :param name: schema ("" where it names none) and name of the index or constraint; None where the server names it
    :param table: schema and name of its table; None where the statement names none
    :param concurrently: whether it can leave something half done
    :param wide: REINDEX of a schema or a database
    """

    kind: str
    name: Optional[Tuple[str, str]]
    table: Optional[Tuple[str, str]]
    concurrently: bool
    wide: bool = False


class _AnySql(_Reader):
    """Any SQL: operators and letters of all languages, too."""

    def _token(self) -> Token:
        text, at = self._text, self._at
        for pattern, kind in ((_OPERATOR, SIGN), (_DIGITS, NUMBER), (_PARAMETER, SIGN)):
            match = pattern.match(text, at)
            if match:
                self._at = match.end()
                return Token(kind, match[0])
        if text[at] in "[]\\{}.":
            self._at += 1
            return Token(SIGN, text[at])
        match = _FOREIGN.match(text, at)
        if match and not match[0].isascii() and text[match.end() : match.end() + 1] not in ("'", '"'):
            self._at = match.end()
            return Token(WORD, match[0])
        return super()._token()


def read(text: str) -> List[Statement]:
    """Statements of a text, without what ends them.

    :raises NotUnderstood: a string or a comment does not end, or is of a kind that is not known
    """
    return _AnySql(text.rstrip().rstrip(";") + "\n;", True).read()


def split(text: str, own: str = "alembic_version") -> Tuple[List[str], List[str]]:
    """A revision's statements in transactions that commit before it is done, and those outside, without alembic's own.

    :raises NotUnderstood: see read
    """
    within: List[str] = []
    last: List[str] = []
    outside: List[str] = []
    inside = False
    for tokens in read(text):
        word = tokens[0].value.lower() if tokens[0].kind == WORD else ""
        if word in ("begin", "commit", "rollback"):
            inside = word == "begin"
        elif all(token.value != own for token in tokens):
            if inside:
                last.append(written(tokens))
                continue
            # What follows the last of these commits with the revision itself.
            within, last = within + last, []
            outside.append(written(tokens))
    return within, outside


def changes_rows(text: str) -> bool:
    """Whether a statement, carried out twice, may leave other rows than carried out once."""
    for tokens in read(text):
        words = [token.value.lower() for token in tokens if token.kind == WORD]
        if not words or words[0] in _WRITING or ("using" in words and words[:2] == ["alter", "table"]):
            return True
        if words[0] in ("with", "explain") and set(words) & set(_WRITING):
            return True
    return False


def validates(tokens: Statement) -> bool:
    """Whether it is ALTER TABLE ... VALIDATE CONSTRAINT, and nothing else."""
    words = _Words(tokens)
    if not words.take("alter", "table"):
        return False
    words.take("if", "exists")
    words.take("only")
    words.name()
    words.sign("*")
    return words.take("validate", "constraint") and not words.has_comma()


def claims(texts: Iterable[str]) -> List[Claim]:
    """Those of all statements; what is not understood claims nothing."""
    found = []
    for text in texts:
        try:
            found += [each for each in map(claim, read(text)) if each is not None]
        except NotUnderstood:
            continue
    return found


def sets_path(text: str) -> bool:
    """Whether names without a schema may mean others afterwards."""
    return "search_path" in text.lower() or "set schema" in " ".join(text.lower().split())


def claim(tokens: Statement) -> Optional[Claim]:
    """What one statement makes; None for all that leave nothing half done."""
    words = _Words(tokens)
    if words.take("create"):
        return _created(words)
    if words.take("drop") and words.take("index"):
        concurrently = words.take("concurrently")
        words.take("if", "exists")
        name = words.name()
        return Claim("drop", name, None, concurrently) if name else None
    if words.take("reindex"):
        return _reindexed(words)
    if words.take("alter") and words.take("table"):
        return _constrained(words)
    return None


def _created(words: _Words) -> Optional[Claim]:
    words.take("unique")
    if not words.take("index"):
        return None
    concurrently = words.take("concurrently")
    words.take("if", "not", "exists")
    name = None if words.next_is("on") else words.name()
    if not words.take("on"):
        return None
    words.take("only")
    table = words.name()
    if table is None:
        return None
    # An index lies in its table's schema.
    return Claim("create", (table[0], name[1]) if name else None, table, concurrently)


def _reindexed(words: _Words) -> Optional[Claim]:
    off = (["false"], ["off"], ["0"])
    concurrently = any(each[:1] == ["concurrently"] and each[1:] not in off for each in words.brackets())
    for what in ("index", "table", "schema", "database", "system"):
        if words.take(what):
            concurrently = words.take("concurrently") or concurrently
            name = words.name()
            if what in ("index", "table") and name is None:
                return None
            return Claim(
                "reindex",
                name if what == "index" else None,
                name if what == "table" else None,
                concurrently,
                wide=what not in ("index", "table"),
            )
    return None


def _constrained(words: _Words) -> Optional[Claim]:
    words.take("if", "exists")
    words.take("only")
    table = words.name()
    words.sign("*")
    if table is None or not words.take("add", "constraint"):
        return None
    name = words.name()
    # Several actions of one statement are done all or none, and are not ours to take apart.
    if name is None or words.has_comma() or not words.ends_with("not", "valid"):
        return None
    return Claim("constraint", (table[0], name[1]), table, True)


class _Words:
    """A statement, read from its beginning."""

    def __init__(self, tokens: Statement) -> None:
        self._tokens = tokens
        self._at = 0

    def take(self, *words: str) -> bool:
        """Goes over these keywords where they are next."""
        if not self.next_is(*words):
            return False
        self._at += len(words)
        return True

    def next_is(self, *words: str) -> bool:
        """Whether these keywords come next."""
        part = self._tokens[self._at : self._at + len(words)]
        return [(token.kind, token.value.lower()) for token in part] == [(WORD, word) for word in words]

    def sign(self, value: str) -> bool:
        """Goes over a sign."""
        found = self._tokens[self._at : self._at + 1] == [Token(SIGN, value)]
        self._at += found
        return found

    def name(self) -> Optional[Tuple[str, str]]:
        """Goes over a name, with or without a schema."""
        parts: List[str] = []
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind not in (WORD, NAME):
                return None
            parts.append(token.value if token.kind == NAME else token.value.lower())
            self._at += 1
            if not self.sign("."):
                break
        if not 1 <= len(parts) <= 2:
            return None
        return ("" if len(parts) == 1 else parts[0], parts[-1])

    def brackets(self) -> List[List[str]]:
        """Goes over options in brackets."""
        found: List[List[str]] = []
        if self.sign("("):
            found.append([])
            while self._at < len(self._tokens) and not self.sign(")"):
                if self.sign(","):
                    found.append([])
                else:
                    found[-1].append(self._tokens[self._at].value.lower())
                    self._at += 1
        return found

    def has_comma(self) -> bool:
        """Whether a comma follows outside of brackets."""
        depth = 0
        for token in self._tokens[self._at :]:
            if token.kind == SIGN:
                depth += {"(": 1, ")": -1}.get(token.value, 0)
                if token.value == "," and not depth:
                    return True
        return False

    def ends_with(self, *words: str) -> bool:
        """Whether these keywords are the last."""
        part = self._tokens[max(self._at, len(self._tokens) - len(words)) :]
        return [(token.kind, token.value.lower()) for token in part] == [(WORD, word) for word in words]


def with_names(tokens: Statement, name: str, table: Optional[str] = None) -> str:
    """The statement, under another name and without CONCURRENTLY, on another table where one is given.

    :param tokens: a CREATE INDEX or an ALTER TABLE ... ADD CONSTRAINT that claim has understood
    :param table: as SQL
    """
    words = _Words(tokens)
    if words.take("create"):
        unique = words.take("unique")
        words.take("index")
        words.take("concurrently")
        words.take("if", "not", "exists")
        if not words.next_is("on"):
            words.name()
        words.take("on")
        words.take("only")
        words.name()
        rest = " ".join(token.sql for token in tokens[words._at :])
        return f"CREATE {'UNIQUE ' if unique else ''}INDEX {name} ON {table} {rest}"
    words.take("alter", "table")
    words.take("if", "exists")
    words.take("only")
    words.name()
    words.sign("*")
    words.take("add", "constraint")
    before = words._at
    words.name()
    head = " ".join(token.sql for token in tokens[:before])
    return f"{head} {name} {' '.join(token.sql for token in tokens[words._at :])}"
