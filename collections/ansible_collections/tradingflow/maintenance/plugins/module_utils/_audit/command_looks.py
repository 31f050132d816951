# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second look at commands and calls: taken apart into words, of which some are secrets by what the program is.

It shares nothing with commands.py: a vocabulary of its own, and words instead of patterns.
"""

from __future__ import annotations

import re
from typing import Callable, Dict, Iterator, List, NamedTuple, Tuple


class Program(NamedTuple):
    """What a program takes.

    :param options: whose next word is a secret
    :param joined: options that have it in the same word
    :param within: an option of which the value has it behind this mark
    :param reads: whether it reads one from its standard input
    """

    options: Tuple[bytes, ...] = ()
    joined: Tuple[bytes, ...] = ()
    within: Tuple[Tuple[bytes, bytes], ...] = ()
    reads: bool = False


_USER = tuple((option, b":") for option in (b"-u", b"--user", b"-U", b"--proxy-user"))
_PERCENT = ((b"-U", b"%"), (b"--user", b"%"))
_LOGIN = Program((b"-p",), (b"-p",), reads=True)
_BY_NAME: Dict[bytes, Program] = {
    b"sshpass": Program((b"-p",), (b"-p",)),
    b"redis-cli": Program((b"-a", b"--pass")),
    b"curl": Program(within=_USER),
    b"etcdctl": Program(within=_USER),
    b"openssl": Program((b"-k", b"-K", b"-hmac"), within=((b"-macopt", b"key:"),), reads=True),
    b"useradd": Program((b"-p",)),
    b"usermod": Program((b"-p",)),
    b"zip": Program((b"-P",), (b"-P",)),
    b"unzip": Program((b"-P",), (b"-P",)),
    b"7z": Program((), (b"-p",)),
    b"sqlcmd": Program((b"-P",), (b"-P",)),
    b"ipmitool": Program((b"-P",), (b"-P",)),
    b"cqlsh": Program((b"-p",)),
    b"rdesktop": Program((b"-p",)),
    b"ncftpput": Program((b"-p",)),
    b"ncftpget": Program((b"-p",)),
    b"lftp": Program(),
    **{
        b"ldap" + verb: Program((b"-w",), (b"-w",))
        for verb in (b"search", b"modify", b"add", b"delete", b"whoami", b"passwd", b"compare")
    },
    **{b"mosquitto_" + verb: Program((b"-P",)) for verb in (b"pub", b"sub", b"rr")},
    b"xfreerdp": Program((), (b"/p:",)),
    b"snmpwalk": Program((b"-c", b"-A", b"-X"), (b"-c", b"-A", b"-X")),
    b"snmpget": Program((b"-c", b"-A", b"-X"), (b"-c", b"-A", b"-X")),
    b"snmpset": Program((b"-c", b"-A", b"-X"), (b"-c", b"-A", b"-X")),
    b"mongo": Program((b"-p",)),
    b"mongosh": Program((b"-p",)),
    b"mongodump": Program((b"-p",)),
    b"mongorestore": Program((b"-p",)),
    b"mysql": Program((), (b"-p",)),
    b"mysqldump": Program((), (b"-p",)),
    b"mysqladmin": Program((b"password",), (b"-p",)),
    b"mariadb": Program((), (b"-p",)),
    b"mariadb-dump": Program((), (b"-p",)),
    b"nmcli": Program((b"password",)),
    b"smbclient": Program(within=_PERCENT),
    b"rpcclient": Program(within=_PERCENT),
    b"smbget": Program(within=_PERCENT),
    b"rabbitmqctl": Program(),
    b"wpa_passphrase": Program(),
    b"ansible-vault": Program((b"encrypt_string",)),
    b"htpasswd": Program(reads=True),
    b"docker": _LOGIN,
    b"podman": _LOGIN,
    b"helm": _LOGIN,
    b"oc": _LOGIN,
    b"skopeo": _LOGIN,
    b"vault": Program((b"login",), reads=True),
    **dict.fromkeys((b"sqlplus", b"expdp", b"impdp", b"rman"), Program()),
    **dict.fromkeys(
        (b"chpasswd", b"passwd", b"smbpasswd", b"kinit", b"cryptsetup", b"gpg", b"sudo"), Program(reads=True)
    ),
}
_ONLY_LOGIN = (b"docker", b"podman", b"helm", b"oc", b"skopeo")
#: Options, and "registry", come before "login".
_MOST_BEFORE_LOGIN = 20
_PORTS = re.compile(rb"(?:[\d.]{1,15}:)?\d{1,5}(?::\d{1,5})?(?:/\w{1,4})?")
#: How many words come between the command and the secret.
_ORACLE = re.compile(rb"[^\s/@=,]{1,60}/\\*\"?([^\s@\"'\\]+)")
_ORACLE_SAYS = (b"userid", b"target", b"catalog", b"auxiliary")
_BEFORE = {b"add_user": 1, b"change_password": 1, b"authenticate_user": 1}

_PROGRAM = re.compile(
    rb"(?<![\w.=-])("
    + b"|".join(re.escape(name) for name in sorted(_BY_NAME, key=len, reverse=True))
    + rb")(?=[\"'\s,\\<])"
)
_WORDS = re.compile(
    rb"\\{0,16}\"((?:[^\"\\\n]|\\.)*?)\\{0,16}\"|\\{0,16}'([^'\n]*?)\\{0,16}'|(<<<)|([^\s\"',\\<]+(?:[\"'][^\s\"',]*)*)|\\."
)
#: An argument as auditd has it, where it is not taken apart at its quote.
_AUDITED = re.compile(rb"a\d{1,3}=[\"']?([^\"']*)[\"']?")
_MARK = re.compile(rb"\[(?:redacted:[a-z0-9_-]{1,40}|[a-z0-9_-]{1,40}:[0-9a-f]{16})\]")
_CLOSED = re.compile(rb"(?:\\*[\"']){0,2}")
#: As a word that is not quoted, before one that is no option, it begins another command.
_OPERATOR = re.compile(rb"[|;&]+")
#: At most so many words of a line belong to one command.
_MOST = 60
#: Words that are looked at of a text, each as often as it belongs to a command. Text that is not made to be slow is far
#: below it.
_ALL = 200_000
_SAY = re.compile(
    rb"\b(?:echo|printf)\s+([^\n]{1,1000}?)\|\s*(?:sudo\s+((?:-\w+\s+)*))?(?:[\w./-]*/)?([a-z]+)([^\n|]{0,200})"
)
_SAID = re.compile(rb"\b(?:echo|printf)\s|-\w+\s|[\"'\\;)(]|%s|\\n")
_CALL = re.compile(
    rb"(?i)\b(?:set|check|verify|validate|make|hash|change|update|reset)_?(?:[a-z]{1,12}_?)?(?:password|passwd|passphrase|secret|api_?key)\s?\("
    rb"\s{0,3}(?:[\w.]{1,60}\s?,\s?)?[bruf]{0,2}\\*[\"']([^\"'\\\n]{4,200})|\b(?:hashpw|checkpw)\(\s{0,3}b?\\*[\"']([^\"'\\\n]{4,200})"
)
#: In any text that has one of these, in small letters.
NEEDLES = (*sorted(_BY_NAME), b"hashpw", b"checkpw")
#: The same for the pass over everything; functions are in it by what they are called.
ANY = (
    rb"\b(?:"
    + b"|".join(re.escape(name) for name in sorted(_BY_NAME) if name != b"sudo")
    + rb")[\"'\s,\\]|hashpw|checkpw|<<<|\|\s*sudo"
)


def found(text: bytes, small: bytes, is_secret: Callable[[bytes], bool]) -> Iterator[str]:
    """Names of what is in a few lines.

    :param small: the same in small letters
    :param is_secret: whether something is left of a value beside what stands for secrets
    """
    if any(needle in small for needle in NEEDLES):
        # What stands for a secret is one word.
        plain = _MARK.sub(b"*", text)
        try:
            if any(map(is_secret, _of_commands(plain))):
                yield "password of a program"
        except _TooMany:
            yield "more commands than can be looked at"
    if b"(" in small:
        for match in _CALL.finditer(text):
            if is_secret(match[1] or match[2]):
                yield "password in a call"
                break


class _TooMany(Exception):
    """There are more commands in a text than are looked at."""


def _of_commands(text: bytes) -> Iterator[bytes]:
    words = _Words(text)
    for match in _PROGRAM.finditer(text):
        # In a list its own quote ends first.
        closed = _CLOSED.match(text, match.end())
        begin = closed.end() if closed else match.end()
        name = match[1]
        if name not in _ONLY_LOGIN or _logs_in(words.after(begin, _MOST_BEFORE_LOGIN)):
            yield from _of_program(name, words.after(begin, _MOST))
    for match in _SAY.finditer(text):
        program = _BY_NAME.get(match[3], Program())
        login = match[3] not in (*_ONLY_LOGIN, b"vault") or _logs_in(match[4].split())
        if (program.reads and login) or b"S" in (match[2] or b""):
            yield from _SAID.sub(b" ", match[1]).split()


def _logs_in(words: List[bytes]) -> bool:
    """Whether a command is a login, behind options, of which some have a value."""
    place = 0
    while words[place : place + 1] and words[place].startswith(b"-"):
        place += 1
        if (
            words[place : place + 1]
            and not words[place].startswith(b"-")
            and words[place] not in (b"login", b"registry")
        ):
            place += 1
    return b"login" in words[place : place + 2]


class _Words:
    """The words of commands, or the items of lists; a text that is not closed is a word as well.

    Where a word begins decides what it is, so that a place is taken apart once however many commands it belongs to.
    """

    def __init__(self, text: bytes) -> None:
        self._text, self._left = text, _ALL
        self._known: Dict[int, Tuple[bytes, bool, int]] = {}
        self._stop = -1

    def after(self, begin: int, most: int) -> List[bytes]:
        """The words of a command, at most so many.

        :param begin: where the first one may begin
        :raises _TooMany: there are too many commands
        """
        if not begin <= self._stop:
            stop = self._text.find(b"\n", begin)
            self._stop = stop if stop >= 0 else len(self._text)
        found: List[bytes] = []
        ends, place = False, begin
        while place < self._stop and len(found) < most:
            word, operator, place = self._known.get(place) or self._next(place)
            self._left -= 1
            if self._left < 0:
                raise _TooMany
            if not word:
                continue
            if ends and not word.startswith(b"-"):
                break
            ends = operator
            if not ends:
                found.append(word)
        return found

    def _next(self, place: int) -> Tuple[bytes, bool, int]:
        """A word, whether it is an operator of a shell, and where it ends; an empty one where there is none."""
        match = _WORDS.search(self._text, place, self._stop)
        word = next((each for each in match.groups() if each is not None), b"") if match else b""
        audited = _AUDITED.fullmatch(word)
        word = audited[1] if audited else word
        operator = match is not None and match[4] is not None and _OPERATOR.fullmatch(word) is not None
        self._known[place] = found = (
            b"" if word in (b",", b"]", b"[") else word,
            operator,
            match.end() if match else self._stop,
        )
        return found


def _takes_one(words: List[bytes]) -> bool:
    """Whether sshpass has a password of its own: its options come before what it runs."""
    place = 0
    while words[place : place + 1] and words[place][:2] in (b"-e", b"-h", b"-v", b"-V", b"-P"):
        place += 2 if words[place] == b"-P" else 1
    return b"".join(words[place : place + 1]).startswith(b"-p")


def _of_program(name: bytes, words: List[bytes]) -> Iterator[bytes]:
    """What is a secret of a program's words."""
    program = _BY_NAME[name]
    # What follows may be another command, of which the same option is a port.
    given = set() if name != b"sshpass" or _takes_one(words) else {b"-p"}
    for index, word in enumerate(words):
        after = words[index + 1] if index + 1 < len(words) else b""
        if word == b"<<<":
            if program.reads:
                yield after
        elif word in program.options:
            if not after.startswith((b"-", b"/")) and not (word in given and _PORTS.fullmatch(after)):
                given.add(word)
                yield after
        else:
            for option in program.joined:
                value = word[len(option) :] if word.startswith(option) else b""
                if value and not (option in given and _PORTS.fullmatch(value)):
                    given.add(option)
                    yield value
        for option, mark in program.within:
            value = after if word == option else word[len(option) :].lstrip(b"=") if word.startswith(option) else b""
            secret = value.partition(mark)[2]
            if secret and not (option in given and _PORTS.fullmatch(secret)):
                given.add(option)
                yield secret
        if word in _BEFORE:
            yield from words[index + 2 : index + 3]
    if name == b"htpasswd" and any(word.startswith(b"-") and b"b" in word for word in words):
        plain = [word for word in words if not word.startswith(b"-")]
        skip = 1 if any(word.startswith(b"-") and b"n" in word for word in words) else 2
        yield from plain[skip : skip + 1]
    if name == b"lftp" and b"-u" in words:
        # A comma ends a word.
        yield from words[words.index(b"-u") + 2 : words.index(b"-u") + 3]
    if name == b"wpa_passphrase":
        yield from words[1:2]
    if name in (b"sqlplus", b"expdp", b"impdp", b"rman"):
        yield from _of_oracle(words)


def _of_oracle(words: List[bytes]) -> Iterator[bytes]:
    """A name and a password: the first word that is no option, and others that are said to be."""
    first = next((word for word in words if not word.startswith(b"-") and not word.isdigit()), b"")
    given = [first]
    for index, word in enumerate(words):
        says, _equals, value = word.lower().partition(b"=")
        if says in _ORACLE_SAYS and value:
            given.append(word[len(says) + 1 :])
        elif says in _ORACLE_SAYS[1:]:
            given += words[index + 1 : index + 2]
    for one in given:
        match = _ORACLE.match(one)
        if match:
            yield match[1]
