# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the second look looks for. It shares nothing with patterns.py, neither words nor means: names are taken apart
into their words here, and what is said with them is judged by Python's engine, on a few lines at a time."""

from __future__ import annotations

import re
from typing import Callable, Iterator, NamedTuple, Tuple

from . import command_looks

#: Words that make a name one of a secret, wherever they are in it.
_ALONE = {
    *("password", "passwords", "passwd", "passwort", "kennwort", "passphrase", "passcode", "pwd", "secret", "secrets"),
    *(
        "token",
        "tokens",
        "mnemonic",
        "credential",
        "credentials",
        "wachtwoord",
        "senha",
        "heslo",
        "sharedaccesskey",
        "signature",
    ),
    *("accesskey", "apikey", "secretkey", "privatekey", "listenkey", "accountkey", "masterkey", "authkey"),
}
#: Ends of words.
_ENDS = ("password", "passwd", "passphrase", "secret", "token")
#: Words that do as the last one.
_LAST = {"pass", "pw", "psk", "otp", "totp", "cvv", "pgpass", "storepass", "keypass", "becomepass", "dbpass"}
#: And before "key".
_KINDS = {
    *(
        "api",
        "access",
        "private",
        "signing",
        "encryption",
        "account",
        "master",
        "listen",
        "auth",
        "consumer",
        "license",
    ),
    *("licence", "subscription", "shared", "deploy", "fernet", "wallet", "application", "app", "secret"),
}
_PAIRS = {
    *(("seed", "phrase"), ("recovery", "phrase"), ("wallet", "phrase"), ("backup", "phrase"), ("session", "id")),
    *(("auth", "code"), ("access", "sign"), ("api", "sign"), ("basic", "auth"), ("proxy", "auth"), ("http", "auth")),
    *(("registry", "auth"), ("client", "assertion"), ("ws", "sig")),
}
#: As the last word it says something about a secret.
_ABOUT = {
    *("at", "type", "count", "age", "length", "policy", "status", "expiry", "expires", "ttl", "file", "path", "dir"),
    *("version", "name", "bits", "algorithm", "encryption", "method", "rotated", "in", "id", "total", "tokens"),
    *("command", "limit", "size", "supports", "reload", "timeout", "key_id", "hash", "url", "uri", "ref", "index"),
}
_SPLIT = re.compile(rb"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_MARK = rb"\[(?:redacted:[a-z0-9_-]{1,40}|[a-z0-9_-]{1,40}:[0-9a-f]{16})\]"
_MARKS = re.compile(_MARK)
_NOTHING = re.compile(
    rb"(?i)[\s\"'\\]*(?:null|none|nil|true|false|yes|no|on|off|\d{0,3}|\*+|<[^<>]*>?|\$\{?\w*\}?|\{\{.*|%s|\{\}|\[\]|)[\s\"'\\,;)}\].]*"
)
_PLAIN = re.compile(
    rb"(?i)[\s\"']*(?:[a-z_ -]{1,31}|scram-sha-256|md5|sha-?\d{1,3}|[\d.:TZ+-]*[a-z%]{0,3}|[~./]?[\w./-]+\.\w{1,5}|[~.]{0,2}/[\w./-]+)[\s\"',;.)\]}]*"
)


def is_secret(value: bytes) -> bool:
    """Whether something is left of a value beside what stands for secrets."""
    left = _MARKS.sub(b"", value)
    return len(re.findall(rb"\w", left)) >= 4 and not _NOTHING.fullmatch(left)


def named(name: bytes, value: bytes) -> bool:
    """Whether a name and its value are a secret, by the words of the name."""
    words = [word.decode().lower() for word in _SPLIT.findall(name)]
    if not words or not is_secret(value):
        return False
    pairs = {(words[index - 1], words[index]) for index in range(1, len(words))}
    says = (
        bool(_ALONE & set(words))
        or any(word.endswith(_ENDS) for word in words)
        or words[-1] in _LAST
        or bool(_PAIRS & pairs)
        or any(first in _KINDS and second == "key" for first, second in pairs)
    )
    if says and words[-1] in _ABOUT and words[-2:] != ["session", "id"]:
        return _mixed(value) and not _PLAIN.fullmatch(value)
    if words[-2:] == ["session", "id"] or words[-1] == "sid":
        return says and not re.fullmatch(rb"c?\d{1,6}", value)
    return says


def _mixed(value: bytes) -> bool:
    return bool(re.search(rb"\d", value) and re.search(rb"[A-Za-z]", value))


class Look(NamedTuple):
    """One thing to look for.

    :param needles: one of these is in any text that has it, in small letters
    :param pattern: the groups that are not empty are the secret; those called "name" are not
    :param judge: whether it is one; all values that are not replaced are by default
    """

    name: str
    needles: Tuple[bytes, ...]
    pattern: "re.Pattern[bytes]"
    judge: Callable[[bytes], bool] = is_secret


def _look(name: str, needles: str, pattern: str, judge: Callable[[bytes], bool] = is_secret) -> Look:
    return Look(name, tuple(each.encode() for each in needles.split("|")), re.compile(pattern.encode()), judge)


_V = r"([^\s\"',;<>&)}\\]{4,200})"
_HIDDEN = re.compile(
    rb"(?i)(?:token|auth\w*|certificate|scheme|realm|header|missing|required|invalid|expired|failed)\b"
)


def _credential(value: bytes) -> bool:
    return is_secret(value) and not _HIDDEN.match(value)


def _said(value: bytes) -> bool:
    words = rb"(?i)(?:fail\w*|required|error|ok|succe\w*|time\w*|is|was|not|module|method|service|mech\w*|command|den\w*|grant\w*"
    words += rb"|plain|login|xoauth2|oauthbearer|cram-md5|ntlm|external|missing|refused|invalid|expired)\b"
    return is_secret(value) and not re.match(words, value)


def _coded(value: bytes) -> bool:
    return is_secret(value) and _mixed(value) and not re.match(rb"(?i)(?:0x)?[0-9a-f]{40}\b|sha\d", value)


def _both_cases(value: bytes) -> bool:
    return is_secret(value) and value.lower() != value != value.upper()


LOOKS: Tuple[Look, ...] = (
    _look("private key", "private", r"PRIVATE[ +]KEY(?:[ +]BLOCK)?-----\s*([A-Za-z0-9+/=]{6,400})"),
    _look(
        "token by its form",
        "ghp_|gho_|ghs_|ghu_|ghr_|github_pat_|glpat-|xox|xapp-|k_live_|k_test_|sk-|hvs.|aiza|npm_|pypi-|ya29.|hf_|dop_v1_"
        "|shp|sg.|whsec_|v1.|v2.|v3.|v4.|glrt-|gldt-|glcbt-|glptt-|glsoat-",
        r"(?<![A-Za-z0-9])((?:gh[opsur]_|github_pat_|glpat-|gl(?:rt|dt|cbt|ptt|soat)-|xox[a-z]-|xapp-|[sr]k_(?:live|test)_|sk-|hvs\."
        r"|AIza|npm_(?=[A-Za-z0-9]{16})|pypi-Ag|ya29\.|hf_|dop_v1_|shp(?:at|ss|ca|pa)_|whsec_|v[1-4]\.(?:local|public)\.)[\w-]{16,255}"
        r"|SG\.[\w-]{16,255}\.[\w-]+)",
    ),
    _look("key of AWS", "akia|asia", r"(?<![A-Za-z0-9+/])((?:AKIA|ASIA)[A-Z0-9]{12,16})(?![a-z+/])"),
    _look("JSON web token", "eyj", r"(?<![\w-])(eyJ[\w-]{5,4000}\.[\w-]{0,4000})"),
    _look("token of a bot", ":", r"(?<!\d)(\d{8,10}:[\w-]{35})(?![\w-])"),
    _look("key of a wallet", "", r"(?<!\w)([5KL][1-9A-HJ-NP-Za-km-z]{50,51})(?!\w)"),
    _look("key of age", "age-secret-key", r"AGE-SECRET-KEY-1([A-Z0-9]{20,200})"),
    _look("password in an address", "://", r"://([^\s/?#@\"'<>\[]{0,200}:[^\s/?#@\"'<>\[\]]{1,200})@[\w.\[(/-]"),
    _look("password in an address", "://", r"://([A-Za-z0-9_-]{16,200})@"),
    _look("password in an address", "jdbc:oracle", r"(?i)jdbc:oracle:\w{1,20}:([^\s\"'<>@\[]{3,200})@"),
    _look(
        "password in an address",
        "@",
        r"(?<![\w*@/.%+:-])(?!(?:mailto|sips?|xmpp|acct|git|redacted):)([\w.%+-]{1,60}:[^\s\"'<>@/\[\]]{1,200})@(?!sha\d)(?:tcp\(|unix\(|[\w.-]{1,200}:\d)",
    ),
    _look(
        "webhook",
        "hooks.slack|/webhooks/",
        r"(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/([^\s\"'<>]{4,})",
    ),
    _look(
        "secret in a query",
        "=",
        r"(?i)[?&](?:[\w.-]{0,40}(?:key|token|secret|passw(?:or)?d|pwd|pw|pass|sign|sig|auth|signature)|code|ticket|assertion|hash)=([^&\s\"'<>#\\]{4,})",
    ),
    _look(
        "header of an authorization",
        "authorization",
        r"(?i)authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:digest\s+)?([^\s\"']{4,200}(?:[ \t][^\s\"',]{4,200})?)",
        _said,
    ),
    _look("credentials", "bearer|basic|apikey", r"(?i)\bbearer(?:\s+|:\s?)([\w.~+/=-]{6,4000})", _credential),
    _look("credentials", "basic|apikey", r"(?i)\b(?:basic|apikey)\s+([\w.~+/=-]{6,4000})", _coded),
    _look("credentials", "negotiate|ntlm", r"(?i)\b(?:negotiate|ntlm)\s+([\w+/=-]{10,4000})", _both_cases),
    _look("credentials", "digest", r"(?i)\bdigest\s+\w+=[\"']?([^\s\"',\[]{3,200})[^\n]{0,400}\bresponse="),
    _look("cookie", "cookie", r"(?i)\b(?:set-)?cookie[\"']?\s{0,3}[:=]\s{0,3}[\"']?([^\s\"']{4,400})"),
    _look("key in a header", "x-", r"(?i)\bx-[\w-]{0,40}(?:key|token)\s+([\w.~+/=-]{6,200})", _credential),
    _look(
        "password of FIX",
        "554=|925=|1402=|1404=|96=",
        r"(?:^|[\x01|;\s\"]|\^A)(?:554|925|1402|1404|96)=([^\x01|;\s\"^]{4,})",
    ),
    _look(
        "element of XML",
        "</|<",
        r"(?is)<(?:\w+:)?(?P<name>[\w.-]{1,60})(?:\s[^<>]{0,200})?>\s*(?:<!\[CDATA\[)?([^<\n]{4,400})",
    ),
    _look(
        "name beside a value",
        "value",
        r"(?i)(?:name|key)[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<name>[\w.-]{1,60})[\"']?[\s,]{0,20}[\"']?value[\"']?\s{0,3}[:=]\s{0,3}(?:[|"
        r">][+\-\d]{0,2}\s{1,20})?[\"']?([^\s\"'<>]{4,200})",
    ),
    _look(
        "name beside a value",
        "value",
        r"(?i)value[\"']?\s{0,3}[:=]\s{0,3}[\"']([^\"'\n]{4,200})[\"'][\s,]{0,20}[\"']?name[\"']?\s{0,3}[:=]\s{0,3}[\"'](?P<name>[\w.-]{1,60})",
    ),
    _look(
        "password or key by its name",
        "=|:|&quot;",
        r"(?i)(?<![\w.-])(?=[\w. -]{0,120}(?:pass|pw|psk|secret|token|key|phrase|mnemonic|credential|sig|auth|otp|cvv|senha|wachtwoord|heslo|kennwort|"
        r"session|assertion))(?P<name>(?:(?:api|private|fernet|license|seed|recovery|access|secret)[ ])?[\w.-]{1,120})"
        r"(?:\"|'|&quot;)?[ \t]{0,3}(?:=>|:=|[:=])(?!/[\w./-]{0,200} ; USER=|(?:chauthtok|auth|account|session)\))"
        r"[ \t]{0,3}(?:[|>][+\-\d]{0,2}[ \t]*)?(?:\n[ \t]{1,8})?(?:[({\[]{0,3}\"((?:[^\"\\\n]|\\.){4,400})|"
        r"[({\[]{0,3}'([^'\n]{4,400})"
        r"|&quot;([^&\n]{4,400})|((?!\[[a-z0-9_-]{1,40}:)\[(?:[^\[\]]|\[[^\[\]]*\]){4,1000}\])|(\{(?:[^{}]|\{[^{}]*\}){4,1000}\})"
        r"|(?:[({]|\[(?![a-z0-9_-]{1,40}:)){0,3}((?:[^\s\"',;<>&)}\\]|(?<=\w)[\"'<>](?=\w)){4,200}))",
    ),
    _look(
        "password or key by its name",
        "passw|phrase|mnemonic",
        r"(?i)(?:passw\w{1,4}|phrase|mnemonic)\s(?:is|was)\s[\"']?([^\s\"']{4,})",
        _coded,
    ),
    _look("phrase", "phrase|mnemonic", r"(?i)(?:phrase|mnemonic)(?:\s(?:is|was))?:?\s[\"']([a-z]+\s[a-z]+)"),
    _look(
        "phrase", "phrase|mnemonic|seed", r"(?i)(?:phrase|mnemonic|seed)\s(?:is\s)?((?:[a-z]{3,8}\s){11}[a-z]{3,8})\b"
    ),
    _look(
        "option of a program",
        "-",
        r"(?i)(?:^|[\s\"'(,\[])--?(?P<name>[\w-]{3,60})(?:[\"'],?)?[ \t]{1,3}(?:\\?\n[ \t]{0,8})?[\"']?([^\s\"'<>,\[\\-][^\s\"'<>\\]{3,200})",
    ),
    _look(
        "password of a program",
        "-u|--user|--proxy-user",
        r"(?:^|\s)(?:-u|--user|--proxy-user)[\s=]+[\"']?[\w.@-]{1,60}:([^\s\"'\[]{4,200})",
        lambda value: is_secret(value) and not re.match(rb"\d{1,5}(?:\W|$)", value),
    ),
    _look("password of a program", "pass:", r"\bpass:([^\s\"'\[]{4,})", _coded),
    _look(
        "password in a statement",
        "identified|requirepass|masterauth|auth-pass",
        r"(?i)\b(?:identified\s+by|requirepass|masterauth|auth-pass\s+\S+)[\"',]*\s+[\"']?(?!values\b|externally\b)([^\s\"'\[*]{4,})",
    ),
    _look(
        "password in a statement",
        "passw|secret",
        r"(?i)\b(?:password|passphrase|secret)\s+(?:is\s+)?(?:E?'(?!\[redacted)([^'\n]{4,200})|\$\w*\$(?!\[redacted)([^$\n]{4,}))",
    ),
    _look("password in a statement", "password", r"(?i)\blogin\s+\S{1,60}\s+password\s+([^\s\"'\[]{4,})"),
    _look(
        "answer to a prompt",
        "password for",
        r"(?i)password\s+(?:for|of)\s+(?:\w+\s+){0,2}\S{1,60}?:\s+([^\s\"'\[]{4,})",
    ),
    _look("credentials", "credential", r"(?i)credentials?\s+[^\s:\"'\[]{1,60}:([^\s\"'\[]{4,})"),
    _look(
        "secret that is told",
        "passw|secret|token|api key|signature",
        r"(?i)\b(?:password|passphrase|secret|token|api[ _-]?key|signature)(?:\s(?:is|was|provided|given|used|"
        r"sent))?:?\s+([^\s\"'<>,;=:*\[]{8,200})(?![^\s\"'<>,;]*[=:*])",
        _coded,
    ),
    _look(
        "login of a protocol", "auth", r"\bAUTH(?:ENTICATE)?\s+(?:PLAIN|LOGIN)\s+([\w+/=-]{6,})(?=\W|$)(?!\s\w)", _said
    ),
    _look(
        "login of a protocol",
        "auth",
        r"(?m)\bAUTH\s+([^\s\"'\[*]{4,})(?:[ \t]+([^\s\"'\[]{4,}))?[ \t]*(?:[\\\"']|$)",
        _said,
    ),
    _look("login of a protocol", "auth", r"\"(?:AUTH|auth)\",?\s+\"(?:[^\"\[]*\",?\s+\")?([^\"\[]{4,})\""),
    _look("login of a protocol", "login|pass", r"C:\s+(?:\w{1,12}\s+)?(?:LOGIN\s+\S+|PASS)\s+([^\s\"'\[]{4,})"),
    _look(
        "code of a second factor",
        "code|otp|2fa|mfa",
        r"(?i)\b(?:t?otp|2fa|mfa|(?:verification|security)\s+code)(?:\s+code)?[:\s]+(\d{4,8})\b",
    ),
    _look("PIN", "pin", r"(?i)\bpin[\"']?\s{0,3}[:=]\s{0,3}[\"']?(\d{4,12})\b"),
)


#: Finds any text in which one of them may be, in one pass of RE2; what is a secret is judged by other means.
ANY = (
    rb"(?i)passw|passp|passc|kennwort|wachtwoord|senha|heslo|pwd|secret|token|mnemonic|phrase|seed|credential|signature|cookie"
    rb"|bearer|basic|digest|negotiate|ntlm|auth|apikey|pass\b|pw\b|psk|otp\b|cvv|pin\b|jwt|\b2fa|\bmfa|verification code|security code"
    rb"|(?:api|access|private|signing|encryption|account|master|listen|consumer|licen[cs]e|subscription|shared|deploy|fernet|wallet"
    rb"|app|application)[ _-]?key|session_?id|[as]i[-_]sign|ess[-_]sign|sig\b|identified|masterauth|sshpass|redis-cli|sqlplus|expdp|impdp"
    rb"|sqlcmd|ldap|mysql|mariadb|login|-u\s|--user|--proxy-user|hooks\.slack|webhooks|jdbc:oracle|private|chpasswd|sudo -s|x-[\w-]*key"
    rb"|\bpass|ghp_|gho_|ghs_|ghu_|ghr_|github_pat_|glpat-|gl[a-z]{2,4}-|xox|xapp-|[sr]k_live|[sr]k_test|\bsk-|hvs\.|aiza|npm_|pypi-|ya29"
    rb"|\bhf_|dop_v1|\bshp|\bsg\.|whsec_|\bv[1-4]\.|akia|asia|eyj|age-sec|\d{8}:[\w-]{8}|(?-i:\b[5KL][1-9A-HJ-NP-Za-km-z]{24})|://[^\s/@]*@|:[^\s@/]+@"
    rb"|[?&](?:key|code|ticket|assertion|hash|[\w.-]*sign?)=|(?:\b|\^a|u0001)(?:554|925|1402|1404|96)=|\bname[\"']?\s*[:=]|"
    + command_looks.ANY
)


def found(text: bytes, small: bytes) -> Iterator[str]:
    """Names of what is in a few lines.

    :param small: the same in small letters
    """
    for look in LOOKS:
        if look.needles != (b"",) and not any(needle in small for needle in look.needles):
            continue
        named_by = look.pattern.groupindex.get("name", 0)
        place = 0
        while True:
            match = look.pattern.search(text, place)
            if not match:
                break
            # What a name is followed by may have names itself.
            place = max(match.end(named_by), place + 1)
            values = [match[index] for index in range(1, look.pattern.groups + 1) if index != named_by and match[index]]
            if any(named(match[named_by], value) if named_by else look.judge(value) for value in values):
                yield look.name
                break
    yield from command_looks.found(text, small, is_secret)
