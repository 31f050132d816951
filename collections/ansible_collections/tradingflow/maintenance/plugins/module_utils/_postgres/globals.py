# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What belongs to a cluster or to a database as a whole: roles, tablespaces, a database's making, settings, rights.

The grammar is closed. A statement that it does not know is never run; it is named, so that somebody can look at it.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from .sql import NAME, NUMBER, SIGN, STRING, WORD, NotUnderstood, Token, decoded, identifier, statements, written
from .toc import DATABASE_KINDS, OF_OTHERS, Contents

#: First versions of which a comment in pg_dumpall's text cannot end early in a name with a line feed (CVE-2025-8715).
_SAFE = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}

_ATTRIBUTES = {
    prefix + word
    for word in ("SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS")
    for prefix in ("", "NO")
}
_RIGHTS = {"ALL", "PRIVILEGES", "CREATE", "CONNECT", "TEMPORARY", "TEMP", "SET", "ALTER", "SYSTEM"}
_CREATION = {
    *("TEMPLATE", "ENCODING", "LOCALE_PROVIDER", "LOCALE", "LC_COLLATE", "LC_CTYPE", "ICU_LOCALE", "ICU_RULES"),
    *("BUILTIN_LOCALE", "COLLATION_VERSION", "TABLESPACE", "OID", "STRATEGY"),
}
#: By what a statement is: words as they are, <...> for what varies, [...] for what may be missing.
_GRAMMAR: Tuple[Tuple[str, str], ...] = (
    ("session", "SET <parameter> = <value>"),
    ("role", "CREATE ROLE <role>"),
    ("attributes", "ALTER ROLE <role> WITH <attributes>"),
    ("comment on a role", "COMMENT ON ROLE <role> IS <string>"),
    ("label of a role", "SECURITY LABEL FOR <parameter> ON ROLE <role> IS <string>"),
    ("setting of a role", "ALTER ROLE <role> SET <parameter> TO <strings>"),
    ("setting of a role in a database", "ALTER ROLE <role> IN DATABASE <database> SET <parameter> TO <strings>"),
    ("membership", "GRANT <granted> TO <role> <membership options>"),
    ("right on a parameter", "GRANT <rights> ON PARAMETER <parameter> TO <role> <grant option>"),
    ("right on a parameter", "REVOKE <revoked> ON PARAMETER <parameter> FROM <role>"),
    ("tablespace", "CREATE TABLESPACE <tablespace> OWNER <role> LOCATION <location>"),
    ("setting of a tablespace", "ALTER TABLESPACE <tablespace> SET ( <options> )"),
    ("right on a tablespace", "GRANT <rights> ON TABLESPACE <tablespace> TO <role> <grant option>"),
    ("right on a tablespace", "REVOKE <revoked> ON TABLESPACE <tablespace> FROM <role>"),
    ("comment on a tablespace", "COMMENT ON TABLESPACE <tablespace> IS <string>"),
    ("label of a tablespace", "SECURITY LABEL FOR <parameter> ON TABLESPACE <tablespace> IS <string>"),
    ("database", "CREATE DATABASE <database> WITH <creation>"),
    ("limit of a database", "ALTER DATABASE <database> CONNECTION LIMIT = <number>"),
    ("template", "ALTER DATABASE <database> IS_TEMPLATE = <value>"),
    ("setting of a database", "ALTER DATABASE <database> SET <parameter> TO <strings>"),
    ("right on a database", "GRANT <rights> ON DATABASE <database> TO <role> <grant option>"),
    ("right on a database", "REVOKE <revoked> ON DATABASE <database> FROM <role>"),
    ("comment on a database", "COMMENT ON DATABASE <database> IS <string>"),
    ("label of a database", "SECURITY LABEL FOR <parameter> ON DATABASE <database> IS <string>"),
)
_OF_ROLES = ("role", "attributes", "comment on a role", "label of a role", "setting of a role", "right on a parameter")
_OF_DATABASE = (
    *("database", "limit of a database", "template", "setting of a database", "setting of a role in a database"),
    *("right on a database", "comment on a database", "label of a database"),
)


class Known(NamedTuple):
    """A statement that the grammar knows.

    :param kind: as in the grammar
    :param names: what varies in it, by what it is: role, granted, database, tablespace
    :param places: by the same, where it is among the tokens
    :param grantor: whoever gave the right it gives, None for the owner
    """

    kind: str
    tokens: List[Token]
    names: Dict[str, str]
    places: Dict[str, int]
    grantor: Optional[str] = None

    def without(self, option: str) -> Known:
        """Without an option, a word or two before the name."""
        at = self.places[option]
        begin = at - (2 if self.tokens[at - 1].kind == SIGN else 1)
        names = {what: name for what, name in self.names.items() if what != option}
        return self._replace(tokens=self.tokens[:begin] + self.tokens[at + 1 :], names=names)

    def sql(self, **changes: Token) -> List[str]:
        """As SQL, with other names or strings, and run as whoever gave the right."""
        tokens = list(self.tokens)
        for what, token in changes.items():
            tokens[self.places[what]] = token
        found = [written(tokens)]
        if self.grantor is not None:
            found = [f"SET SESSION AUTHORIZATION {identifier(self.grantor)}", *found, "RESET SESSION AUTHORIZATION"]
        return found


class Read(NamedTuple):
    """A text read.

    :param unknown: how statements begin that the grammar does not know
    """

    known: List[Known]
    unknown: List[str]


def read(data: bytes, made_with: str) -> Read:
    """Reads the output of pg_dumpall --globals-only.

    :param made_with: version of pg_dumpall
    :raises NotUnderstood: it is no such thing, or its statements may be forged
    """
    found = understood(statements(decoded(data)))
    if not any(each.kind == "role" for each in found.known):
        raise NotUnderstood("it makes no role")
    if not safe(made_with):
        for each in found.known:
            # The name stands in a comment too, and whatever follows the line feed there looks like a statement.
            if any("\n" in name or "\r" in name for name in each.names.values()):
                text = "a name has a line feed, and this pg_dumpall can be made to write statements with one"
                raise NotUnderstood(f"{text} (CVE-2025-8715)")
    return found


def safe(made_with: str) -> bool:
    """Whether pg_dumpall and pg_dump of a version (15.4) write names with line feeds so that they stay names."""
    major, minor = (int(part) if part.isdigit() else 0 for part in f"{made_with}.0".split(".")[:2])
    return major >= 18 or minor >= _SAFE.get(major, 1 << 30)


def understood(found: List[List[Token]]) -> Read:
    """Statements by the grammar."""
    result, grantor = Read([], []), None
    for tokens in found:
        words = [token.value.upper() if token.kind == WORD else "" for token in tokens]
        if words[:3] == ["SET", "SESSION", "AUTHORIZATION"] and len(tokens) == 4 and tokens[3].kind in (WORD, NAME):
            grantor = tokens[3].value
        elif words == ["RESET", "SESSION", "AUTHORIZATION"]:
            grantor = None
        else:
            known = _known(tokens, grantor)
            if known is None:
                result.unknown.append(" ".join(word for word in words[:4] if word) or "?")
            elif known.kind != "session":
                result.known.append(known)
    return result


def roles_made(found: Read) -> List[str]:
    """Names of the roles that are made, in order."""
    return [each.names["role"] for each in found.known if each.kind == "role"]


def superusers(found: Read, names: Set[str]) -> List[str]:
    """Those of some roles that are made superusers."""
    powerful = {
        each.names["role"]
        for each in found.known
        if each.kind == "attributes" and any(token == Token(WORD, "SUPERUSER") for token in each.tokens)
    }
    return sorted(powerful & names)


def of_roles(found: Read, names: Set[str]) -> List[str]:
    """SQL that makes some of the roles, and what they are granted or others are granted of them.

    What a role has in one database goes with that database.
    """
    made: List[str] = []
    for each in found.known:
        about = {each.names.get("role"), each.names.get("granted")} & names
        if each.kind in (*_OF_ROLES, "membership") and about:
            made += each.sql()
    return made


def of_scratch(found: Read, *, tablespaces: bool) -> List[str]:
    """SQL that makes all roles, and the tablespaces without their place, which is another machine's.

    :param tablespaces: whether the server knows tablespaces in place; without them they are left out
    """
    made: List[str] = []
    for each in found.known:
        if each.kind in (*_OF_ROLES, "membership"):
            made += each.sql()
        elif "tablespace" in each.names and tablespaces:
            made += each.sql(**({"location": Token(STRING, "")} if each.kind == "tablespace" else {}))
    return made


def of_database(contents: Contents, name: str, *, tablespaces: bool = True) -> Tuple[List[str], Set[str]]:
    """SQL that makes an empty database of another name as the dumped one was made, with all that it has as a whole.

    What it has as a whole are locale, owner, settings (those of roles in it too), limits, rights, comment.

    :param tablespaces: whether the one it lies in is named; otherwise it comes to lie in the server's own
    :returns: the statements, and names of the tablespaces that they want
    :raises NotUnderstood: something in it is not known, or of another database, or none is made
    """
    made = [each for each in contents.entries if each.kind in DATABASE_KINDS]
    numbers = {each.number for each in made if each.kind == "DATABASE"}
    made += [each for each in contents.entries if each.kind in OF_OTHERS and numbers & set(each.needs)]
    creation: List[str] = []
    rest: List[str] = []
    wanted: Set[str] = set()
    for entry in made:
        found = understood(statements(entry.definition, standard=contents.standard))
        if found.unknown:
            raise NotUnderstood(f"{entry.kind} has a statement that is not known: {found.unknown[0]} ...")
        for each in found.known:
            if each.kind not in _OF_DATABASE or each.names["database"] != contents.database:
                raise NotUnderstood(f"{entry.kind} has a statement about something else than the database")
            if each.kind != "database":
                rest += each.sql(database=Token(NAME, name))
                continue
            if "tablespace" in each.names and not tablespaces:
                each = each.without("tablespace")
            wanted |= {each.names[what] for what in ("tablespace",) if what in each.names}
            creation += each.sql(database=Token(NAME, name))
            if entry.owner:
                creation.append(f"ALTER DATABASE {identifier(name)} OWNER TO {identifier(entry.owner)}")
    if sum(each.startswith("CREATE") for each in creation) != 1:
        raise NotUnderstood("it does not make one database")
    return creation + rest, wanted


def _known(tokens: List[Token], grantor: Optional[str]) -> Optional[Known]:
    for kind, pattern in _GRAMMAR:
        reading = _Reading(tokens)
        if reading.follows(pattern):
            kept = [token for number, token in enumerate(tokens) if number not in reading.dropped]
            return Known(kind, kept, reading.names, reading.places, grantor)
    return None


class _Reading:
    """A statement compared with one pattern."""

    def __init__(self, tokens: List[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self.names: Dict[str, str] = {}
        self.places: Dict[str, int] = {}
        #: What is not said again: who granted a membership could only be the source's first superuser.
        self.dropped: Set[int] = set()

    def follows(self, pattern: str) -> bool:
        """Whether the whole statement is as the pattern says."""
        parts = pattern.replace("<grant option>", "<grant_option>").replace("<membership options>", "<memberships>")
        return all(self._part(part) for part in parts.split()) and self._at == len(self._tokens)

    def _part(self, part: str) -> bool:
        if not part.startswith("<"):
            return self._sign(part) if part in "=(),." else self._word(part)
        method: Any = getattr(self, "_" + part[1:-1])
        return bool(method())

    def _peek(self) -> Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else Token("", "")

    def _word(self, *wanted: str) -> bool:
        token = self._peek()
        if token.kind == WORD and token.value.upper() in wanted:
            self._at += 1
            return True
        return False

    def _words(self, *wanted: str) -> bool:
        at = self._at
        if all(self._word(each) for each in wanted):
            return True
        self._at = at
        return False

    def _sign(self, sign: str) -> bool:
        token = self._peek()
        if token.kind == SIGN and token.value == sign:
            self._at += 1
            return True
        return False

    def _kind(self, *kinds: str) -> bool:
        if self._peek().kind in kinds:
            self._at += 1
            return True
        return False

    def _name(self, what: str = "") -> bool:
        token = self._peek()
        if token.kind not in (WORD, NAME):
            return False
        if what:
            # A name that is not quoted is one of small letters.
            self.names[what] = token.value.lower() if token.kind == WORD else token.value
            self.places[what] = self._at
        self._at += 1
        return True

    def _role(self) -> bool:
        return self._name("role")

    def _granted(self) -> bool:
        return self._name("granted")

    def _database(self) -> bool:
        return self._name("database")

    def _tablespace(self) -> bool:
        return self._name("tablespace")

    def _location(self) -> bool:
        self.places["location"] = self._at
        return self._string()

    def _parameter(self) -> bool:
        while self._name():
            if not self._sign("."):
                return True
        return False

    def _string(self) -> bool:
        return self._kind(STRING)

    def _strings(self) -> bool:
        return self._list(self._string)

    def _number(self) -> bool:
        self._sign("-")
        return self._kind(NUMBER)

    def _value(self) -> bool:
        return self._name() or self._string() or self._number()

    def _list(self, element: Any) -> bool:
        while element():
            if not self._sign(","):
                return True
        return False

    def _options(self) -> bool:
        return self._list(lambda: self._parameter() and self._sign("=") and self._value())

    def _rights(self) -> bool:
        def one() -> bool:
            at = self._at
            while self._word(*_RIGHTS):
                pass
            return self._at > at

        return self._list(one)

    def _revoked(self) -> bool:
        self._words("GRANT", "OPTION", "FOR")
        return self._rights()

    def _grant_option(self) -> bool:
        self._words("WITH", "GRANT", "OPTION")
        return True

    def _memberships(self) -> bool:
        if self._word("WITH") and not self._list(
            lambda: self._word("ADMIN", "INHERIT", "SET") and self._word("OPTION", "TRUE", "FALSE")
        ):
            return False
        begin = self._at
        if self._words("GRANTED", "BY"):
            if not self._name():
                return False
            self.dropped = set(range(begin, self._at))
        return True

    def _attributes(self) -> bool:
        begin = self._at
        while (
            self._word(*_ATTRIBUTES)
            or (self._words("CONNECTION", "LIMIT") and self._number())
            or (self._words("VALID", "UNTIL") and self._string())
        ):
            pass
        return self._at > begin

    def _creation(self) -> bool:
        begin = self._at
        while True:
            option = self._peek().value.upper()
            if not self._word(*_CREATION):
                return self._at > begin
            self._sign("=")
            if option == "TABLESPACE":
                if not self._name("tablespace"):
                    return False
            elif not self._value():
                return False
