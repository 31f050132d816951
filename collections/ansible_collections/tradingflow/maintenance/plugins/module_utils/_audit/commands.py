# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs and functions whose arguments are secrets though no name says so, as patterns for RE2.

Each is found as a shell has it and as a list has it (["sshpass", "-p", "..."]). The second look has a vocabulary of its
own, in command_looks.py.
"""

from __future__ import annotations

from typing import NamedTuple, Tuple

from ..masking import PASSWORDS

#: How a value is taken that begins where a pattern ends: see extents.py.
WORD, WORDS, QUOTED = "word", "words", "quoted"


class Pattern(NamedTuple):
    """What is looked for.

    :param name: of the rule
    :param pattern: what is replaced are the groups whose names begin with "secret"; "key" is what names them
    :param take: or the value that begins where the pattern ends, and how it is taken
    :param unless: what begins so is none
    :param mixed: it has letters and digits, as no word of a sentence has
    :param lines: it may go over several lines
    """

    name: str
    pattern: str
    take: str = ""
    unless: str = ""
    mixed: bool = False
    lines: bool = False


#: Between two arguments, and what one may begin with. What is quoted ends with its quote.
#: auditd has them as a0="..." a1="...".
_S, _Q = r"(?:\\*[\"'],[ \t]*|(?:\\*[\"'])?[ \t]+a\d{1,3}=|[ \t]+)", r"\\*[\"']?"
#: Other arguments, as few as there can be: of two commands in a line each is found. They may have ; and | and & in
#: them, and whether those are quoted cannot be told in what is escaped, or was taken apart.
_MORE = rf"(?:[^\n]*?{_S})??"
#: The same from the program's name up to an option, which may begin another line.
_LINE = r"[ \t]*\\?\r?\n[ \t]*"
_ARGUMENTS = rf"(?:{_S}(?:[^\n]*?(?:{_S}|{_LINE}))??|{_LINE})"
_WORD = rf"{_Q}[^\s\"',|;&<>\\]+"
#: Another option; and a port.
_NONE = r"-{1,2}[A-Za-z]|[<>|&;]"
_PORT = rf"{_NONE}|\d{{1,5}}(?:\W|$)"


def _option(programs: str, options: str, unless: str = _NONE) -> Pattern:
    """An option, with its value in the next argument."""
    return Pattern("secret", rf"(?i)\b(?:{programs}){_ARGUMENTS}{_Q}(?-i:{options})(?:{_S}|=)", WORD, unless=unless)


def _joined(programs: str, options: str, unless: str = _NONE) -> Pattern:
    """An option, with its value right after it."""
    return Pattern("secret", rf"(?i)\b(?:{programs}){_ARGUMENTS}{_Q}(?-i:{options})", WORD, unless=unless)


def _place(command: str, unless: str = _NONE, after: str = _S) -> Pattern:
    """An argument that is one by its place."""
    return Pattern("secret", rf"(?i)\b{command}{after}", WORD, unless=unless)


def _oracle(before: str) -> Pattern:
    """A name and a password as Oracle's programs take them: name/password@database."""
    user = rf"{_Q}[^\s/\"'@=,\\]{{1,60}}/"
    return Pattern("secret", rf"(?i)\b{before}{user}(?:\\*\"(?P<secret1>[^\"\\\n]+)|(?P<secret2>[^\s@\"'\\]+))")


#: Options of a program come before what it shall do.
_BEFORE = rf"(?:{_S}{_Q}-{{1,2}}[\w-]+(?:=[^\s\"']*)?(?:{_S}{_Q}[^\s\"'-][^\s\"']*)?){{0,8}}"
_LOGIN = rf"(?:docker|podman|nerdctl|helm|oc|skopeo|buildah|crane|az|argocd){_BEFORE}(?:{_S}{_Q}registry)?{_S}{_Q}login"
#: What reads a secret from its standard input.
_READERS = (
    r"(?:\S*/)?(?:chpasswd|passwd|smbpasswd|pdbedit|saslpasswd2|kinit|cryptsetup|openssl|gpg2?|sudo|su|htpasswd|ldappasswd|keytool"
    r"|(?:docker|podman|nerdctl|helm|oc|skopeo|buildah|crane|az|argocd|gh|vault|npm|gcloud)\s[^\n|;&]{0,80}?(?:login|create|put|add))\b"
)
#: Functions that take one as it is; others (get_password, read_secret) take its name.
_TAKE = (
    rf"(?:set|check|verify|validate|make|hash|change|update|reset|encrypt|compare|with|use)_?\w{{0,20}}?"
    rf"(?:{PASSWORDS}|passphrase|secret|api_?key)\w{{0,12}}|hashpw|checkpw"
)

#: In lists over several lines, which are looked at as a whole when one of these is in them.
IN_LISTS = (
    r"sshpass|redis-cli|docker|podman|nerdctl|helm|oc|skopeo|buildah|crane|az|argocd|ldap\w+|sqlcmd|zip|unzip|mosquitto_\w+|mongo\w*"
    r"|ipmitool|impacket-\w+|mysql[\w-]*|mariadb[\w-]*|7z|xtrabackup|innobackupex|smb\w+|rpcclient|sqlplus|expdp|impdp|rman|cqlsh"
    r"|useradd|usermod|openssl|htpasswd|rabbitmqctl|vault|wpa_passphrase|nmcli|ansible-vault|snmp\w+|xfreerdp\w*|lftp|etcdctl"
)

COMMANDS: Tuple[Pattern, ...] = (
    # Its own options come first; what it runs may have a port.
    _place(rf"sshpass{_S}(?:{_Q}-[ehvV]+{_S}|{_Q}-P{_S}?{_WORD}{_S})*{_Q}-p", after=rf"{_S}?"),
    _option("sshpass", "-p", _PORT),
    _joined("sshpass", "-p", _PORT),
    _option("redis-cli", "-a|--pass", r"-{1,2}[A-Za-z]"),
    _option(_LOGIN, "-p"),
    _joined(_LOGIN, "-p"),
    _option(r"ldap\w{3,8}", "-w"),
    _option(r"sqlcmd|ipmitool|mosquitto_\w+|zip|unzip", "-P"),
    _joined(r"sqlcmd|ipmitool|zip|unzip", "-P"),
    # Not theirs, but mistaken for it: a password that is given so is one all the same.
    _option(r"ldap\w{3,8}|sqlcmd|ipmitool|mosquitto_\w+|mongo\w*|impacket-\w+", "-[wPp]", _PORT),
    _option(rf"zip{_S}{_Q}-\w*e\w*", "-p", _PORT),
    _joined(r"ldap\w{3,8}", "-w"),
    _option(r"mongo\w*|cqlsh|rdesktop|ncftp\w*|useradd|usermod|impacket-\w+", "-p"),
    _joined(r"(?:mysql|mariadb|7z|xtrabackup|innobackupex)[\w-]*", "-p"),
    _place(rf"(?:mysql|mariadb)-?admin{_S}{_MORE}{_Q}password"),
    _option("openssl", "-k|-K|-hmac", r"-{1,2}[A-Za-z]"),
    Pattern("secret", rf"(?i)\bopenssl{_S}{_MORE}{_Q}-macopt{_S}{_Q}(?:hex)?key:", WORD),
    # The name, or the file and the name, come before it.
    _place(rf"htpasswd{_S}(?:{_Q}-\w+{_S})*?{_Q}-(?:\w*n\w*b|\w*b\w*n)\w*{_S}(?:{_Q}-\w+{_S})*{_WORD}"),
    _place(rf"htpasswd{_S}(?:{_Q}-\w+{_S})*?{_Q}-n{_S}(?:{_Q}-\w+{_S})*?{_Q}-\w*b\w*{_S}{_WORD}"),
    _place(rf"htpasswd{_S}(?:{_Q}-\w+{_S})*?{_Q}-[a-mo-z]*b[a-mo-z]*{_S}(?:{_Q}-\w+{_S})*{_WORD}{_S}{_WORD}"),
    _place(rf"rabbitmqctl{_S}{_MORE}{_Q}(?:add_user|change_password|authenticate_user){_S}{_WORD}"),
    _place(rf"vault{_S}{_Q}login", r"-|[\w-]+=[^\s]*(?:\s|$)"),
    _place(rf"wpa_passphrase{_S}{_WORD}"),
    _place(rf"nmcli{_S}{_MORE}{_Q}password"),
    _place(rf"ansible-vault{_S}{_Q}encrypt_string"),
    _option(r"snmp\w+", "-c|-A"),
    _option(r"snmp\w+", "-X"),
    *(_joined(r"snmp\w+", option) for option in ("-c", "-A", "-X")),
    Pattern("secret", rf"(?i)\bxfreerdp\w*{_S}{_MORE}{_Q}/p:", WORD),
    Pattern("secret", rf"(?i)\blftp{_S}{_MORE}{_Q}-u{_S}?{_WORD},", WORD),
    Pattern(
        "secret",
        r"(?i)(?:^|[\s\"'])(?:-u|--user|--proxy-user)[\s=]*[\"']?[^\s:\"'=\[]{1,60}:(?P<secret>[^\s\"']+)",
        unless=r"\d{1,5}(?:\W|$)|\w+\)",
    ),
    Pattern("secret", rf"(?i)\b(?:curl|etcdctl){_S}{_MORE}{_Q}(?:-u|-U|--user|--proxy-user)(?:{_S}|=)?{_WORD}?:", WORD),
    Pattern(
        "secret",
        rf"(?i)\b(?:smbclient|smbget|smbcacls|rpcclient|winexe|wmic|net){_S}{_MORE}{_Q}-U{_S}?{_Q}[^\s%\"']{{1,60}}%",
        WORD,
    ),
    Pattern("secret", r"(?i)\bsmbclient\s[^\n]{0,200}%(?P<secret>[^\s\"']+)"),
    # User and password of Oracle: the first argument that is no option, or one that says so.
    _oracle(rf"(?:sqlplus|expdp|impdp){_S}(?:{_Q}-\w+{_S}(?:{_Q}\d{{1,2}}{_S})?)*(?:{_Q}userid=)?"),
    _oracle(rf"(?:expdp|impdp){_S}{_MORE}{_Q}userid="),
    *(_oracle(rf"rman{_S}{_MORE}{_Q}{word}(?:{_S}|=)") for word in ("target", "catalog", "auxiliary")),
    # What is piped or given to a program that reads it.
    Pattern(
        "secret",
        r"(?i)\b(?:echo|printf)\s+(?:-\w+\s+)*(?P<secret>(?:\\?\"[^\"\n]*\"|\\?'[^'\n]*'|[^|;&\n\"']|;\s*(?:echo|printf)\s)+?)\s*\)?\s*\|\s*"
        rf"(?:sudo\s+(?:-\w+\s+)*)?{_READERS}",
        unless=r"\\?[\"']?\[redacted:[a-z_-]+\]\\?[\"']?(?:;\s*(?:echo|printf)\s+\[redacted:[a-z_-]+\])*\s*\)?\s*\|",
    ),
    Pattern("secret", rf"(?i)(?:^|[\s;&|(\"']){_READERS}[^\n|;&<]*<<<[ \t]*", WORD),
    Pattern("secret", rf"(?i)\b(?:{_TAKE})\s*\(\s*(?:[\w.]{{1,60}}\s*,\s*)?(?-i:[bruf]{{0,2}})", QUOTED),
)
