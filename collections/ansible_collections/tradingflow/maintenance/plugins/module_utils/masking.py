# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text from outside without the secrets in it. All that becomes a check, an action or an error goes through here."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Match

MASK = "***"

# The words by which secrets are named. Without look-around: the redaction of audits builds patterns of RE2 from them.
#: Words for a password.
PASSWORDS = (
    r"passw(?:or)?(?:d|t)|kennwort|contrase(?:n|ñ)a|senha|wachtwoord|has(?:l|ł)o\b|heslo\b|l(?:o|ö)senord|\bparola\b"
)
PASSWORDS += "|пароль|密码|密碼|パスワード|비밀번호"
#: What stands before "key" where that is a secret.
KEYS = "api|access|private|signing|encryption|account|master|listen|auth|consumer|licen[cs]e|subscription|shared"
KEYS += "|deploy|fernet|wallet|application|app"
#: Parts of longer names.
NAMES = (
    r"pass[ _-]?phrase|passcode|pwd|secret|token"
    rf"|(?:{KEYS})[ _-]?key"
    r"|sharedaccesskey|auth[ _-]?code|(?:api|access)-sign\b|credential"
    r"|(?:basic|http|proxy|registry)[ _-]?auth\b|session[_-]?id|signature"
)
#: Names by themselves; within a longer one they may be anything.
SHORT_NAMES = r"pass|pw|psk|auth|otp|totp|cvv|jwt|sig|sid|hmac"
#: Secrets of several words.
PHRASES = (
    r"(?:pass[ _-]?phrase|(?:seed|recovery|backup|secret|wallet)[ _-]?(?:phrase|words?|seed)"
    r"|mnemonic(?:[ _-]?(?:phrase|words?))?|\bseed)"
)
#: In the query of an address everything that may name one counts.
IN_QUERIES = r"key|code|ticket|assertion|hash|[\w.-]{0,40}(?:key|token|secret|passw(?:or)?d|pwd|pw|pass|auth|sign|sig)"
MECHANISMS = "PLAIN|LOGIN|XOAUTH2|OAUTHBEARER|CRAM-MD5|NTLM|EXTERNAL"
#: What is said of AUTH, and no secret.
SAID = r"(?:fail\w*|required|error|ok|success\w*|succeeded|time\w*|is|was|not|module|method|service"
SAID += r"|mechanism\w*|command)\b"
#: How tokens begin that are known by it.
PREFIXES = (
    r"gh[opusr]_|github_pat_|glpat-|xox[a-z]-|[sr]k_(?:live|test)_|sk-|hvs\.|AIza|npm_|pypi-"
    r"|ya29\.|hf_|dop_v1_|shp(?:at|ss|ca|pa)_|xapp-|gl(?:rt|dt|cbt|ptt|soat)-|v[1-4]\.(?:local|public)\."
)

_KEY = (
    rf"(?:(?:{PASSWORDS}|{NAMES}|(?<=_)pass\b)[\w.-]{{0,60}}"
    + "".join(rf"|\b{name}" for name in SHORT_NAMES.split("|"))
    + r"|\bpin(?=\W{1,4}\d)|\bmot[ _]de[ _]passe)"
)
# Up to a quote like the one that opened, as text within JSON within text writes it; to the end where it is cut off.
_QUOTED = r"(?P<escape>\\*)(?P<quote>[\"'])(?:(?!(?<!\\)(?P=escape)(?P=quote)).)*(?:(?P=escape)(?P=quote))?"
# Several words, up to what ends a sentence or begins the next field.
_WORDS = r"(?:(?!\s+[\w.-]+(?:=|:\s))[^\r\n\"'<>;,|)\]}\\])+"
_SEPARATOR = r"(?:\\*[\"'])?\s*(?:=>|:=|[:=])\s*"
#: Around a private key, also in a URL, and as PGP has it.
_PRIVATE = r"(?:[ +]|%20)(?:[A-Z0-9]+(?:[ +]|%20))*PRIVATE(?:[ +]|%20)KEY(?:(?:[ +]|%20)BLOCK)?"
#: One of several: name="value", as an Authorization: Digest has them.
_PARAMETER = r"[\w-]{1,40}\s*=\s*(?:\\*\"[^\"\\]*\\*\"|[^\s,\"\\]+)[\s,]*"
_SECRETS = (
    # A private key, to its end or that of the text.
    (
        re.compile(rf"-----BEGIN{_PRIVATE}-----.*?(?:-----END{_PRIVATE}-----|$)", re.DOTALL),
        MASK,
    ),
    # In the query of an address everything that may name one counts; elsewhere a key or a code is an ordinary word.
    (re.compile(rf"(?i)([?&](?:{IN_QUERIES})=)[^&\s\"'<>#\\]+"), rf"\1{MASK}"),
    # The same URL-encoded, once or several times.
    (
        re.compile(
            rf"(?i)((?:{_KEY}|%(?:25)*(?:3F|26)(?:{IN_QUERIES}))(?:%(?:25)*(?:22|20|27))*%(?:25)*3[AD](?:%(?:25)*(?:22|20|27))*)"
            r"(?:(?!%(?:25)*(?:26|22|27|7D|3B))[^&\s\"'<>#\\])+"
        ),
        rf"\1{MASK}",
    ),
    # An element of XML, to its end or that of the text; an attribute or a pair that is named so.
    (
        re.compile(
            rf"(?is)(<(?:\w+:)?[\w.-]*(?:{_KEY}|{PHRASES})[\w.-]*(?:\s[^<>]*)?>)(?!\s*<(?!!\[CDATA))"
            r"(?:<!\[CDATA\[.*?(?:\]\]>|$)|[^<]*)"
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            rf"(?i)((?:\\*[\"'])?\b(?:name|key)(?:\\*[\"'])?\s*[:=]\s*\\*[\"'][^\"'\\]*(?:{_KEY}|{PHRASES})[^\"'\\]*\\*[\"']"
            rf"[\s,]*(?:\\*[\"'])?value(?:\\*[\"'])?\s*[:=]\s*){_QUOTED}"
        ),
        rf"\1{MASK}",
    ),
    # Headers carry their secret in several words.
    (re.compile(rf"(?i)\b(digest)\s+(?:{_PARAMETER}){{2,}}"), rf"\1 {MASK}"),
    (
        re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(\\*[\"']?\s*[:=]\s*)(?:\\*[\"'])?[^\"'\r\n]+"),
        rf"\1\2{MASK}",
    ),
    # What follows AUTH (Redis, SMTP, IMAP), and LOGIN and PASS where a protocol is told.
    (
        re.compile(rf"\b((?:AUTH|AUTHENTICATE)\s+(?:{MECHANISMS})\s+)(?!{SAID})[\w+/=-]{{6,}}(?![\w+/=-]|\s\w)"),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            rf"\b(AUTH\s+)(?!{SAID}|(?:{MECHANISMS})\b)[^\s\"'\\*]+"
            r"(?:\s+[^\s\"'\\]+)?(?=\s*(?:\\*[\"']|[\r\n]|$))"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"(?i)(\\*[\"']auth\\*[\"'])(?:\s+\\*[\"'][^\"'\\]*\\*[\"']){1,2}"), rf"\1 {MASK}"),
    (re.compile(r"((?:C:|>|->)\s+(?:\w{1,12}\s+)?(?:LOGIN\s+\S+|PASS)\s+)[^\s\"'\\]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(login\s+\S{1,60}\s+password\s+)[^\s\"'\\]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(negotiate|ntlm)\s+(?=[\w+/=-]*[A-Z])(?=[\w+/=-]*[a-z])[\w.~+/=-]{10,}"), rf"\1 {MASK}"),
    (re.compile(r"(?i)\b(bearer|basic|digest|apikey)(?:\s+|:\s*)[\w.~+/=-]{6,}"), rf"\1 {MASK}"),
    (re.compile(r"(?i)\b(x-[\w-]{0,40}(?:key|token)\s+)[\w.~+/=-]{6,}"), rf"\1{MASK}"),
    (
        re.compile(
            r"(?i)\b((?:otp|totp|2fa|mfa|verification\s+code|one-time\s+(?:code|password|pin)|security\s+code)"
            r"(?:\s+code)?(?:\s+is)?[\s:]*)\d{4,8}\b"
        ),
        rf"\1{MASK}",
    ),
    # Directives and statements that are followed by one, whatever it looks like; and prompts.
    (re.compile(r"(?i)\b((?:requirepass|masterauth|auth-pass\s+\S+)\s+)[^\s\"'\\*]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(identified\s+by\s+)(?!(?:values|externally)\b)[^\s\"'\\;*]+"), rf"\1{MASK}"),
    (
        re.compile(rf"(?i)\b((?:{PASSWORDS}|passphrase)\s+(?:for|of)\s+(?:\w+\s+){{0,2}}\S{{1,60}}?:\s+)[^\s\"'\\]+"),
        rf"\1{MASK}",
    ),
    (re.compile(r"(?i)\b((?:sqlplus|expdp|impdp)\s(?:-\w+\s+)*[^\s/]{1,60}/)[^\s@\"'\\]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(credentials?\s+[^\s:\"']{1,60}:)(?=\S)[^\s\"'\\]+"), rf"\1{MASK}"),
    # Addresses that are the secret.
    (re.compile(r"(?i)(hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/)[^\s\"'<>]+"), rf"\1{MASK}"),
    # Commands, and the strings by which databases are addressed.
    (re.compile(r"(?i)((?:^|\s)(?:-u|--user|--proxy-user)[\s=]+[^\s:\"']{1,60}:)[^\s\"']+"), rf"\1{MASK}"),
    (
        re.compile(
            r"(?i)(\bsshpass\s+-p\s*|\bredis-cli\s(?:[^\r\n]{0,200}\s)?-a\s+"
            r"|\b(?:docker|podman|helm|oc|skopeo)\s+(?:registry\s+)?login\s(?:[^\r\n]{0,200}\s)?-p\s+"
            r"|\b(?:ldap\w{3,8}|sqlcmd)\s(?:[^\r\n]{0,200}\s)?-[wP]\s+"
            r"|\bmysql\w*\s(?:[^\r\n]{0,200}\s)?-p(?=\S))[^\s\"']+"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"(?i)(jdbc:oracle:\w+:)[^\s\"'<>@]+@"), rf"\1{MASK}@"),
    (re.compile(rf"(?i)((?:{PASSWORDS}|pwd)\s*=\s*)[^;\r\n\"'&]+(?=;)"), rf"\1{MASK}"),
    # What stands between a scheme and the last @ of an address; and without a scheme, before what is an address.
    (re.compile(r"(\b[a-zA-Z][\w+.-]*://)[^\s\"'<>]*@"), rf"\1{MASK}@"),
    (re.compile(r"(?<![\w*@/])[\w.%+-]{1,60}:[^\s\"'<>@/]{1,200}@(?=(?:tcp|unix)\(|[\w.-]+(?::\d|/\w))"), f"{MASK}@"),
    # Several words.
    (re.compile(rf"(?i)({PHRASES})({_SEPARATOR})(?:{_QUOTED}|{_WORDS})"), rf"\1\2{MASK}"),
    (
        re.compile(rf"(?i)({PHRASES}\s+(?:is\s+|was\s+)?)(?:{_QUOTED}|(?:[a-z]{{3,8}}\s+){{11,23}}[a-z]{{3,8}}\b)"),
        rf"\1{MASK}",
    ),
    (re.compile(rf"(?i)((?:{PASSWORDS}|passcode)\w*)((?:\\*[\"'])?\s*:\s+)(?![\\\"']){_WORDS}"), rf"\1\2{MASK}"),
    # S3's codes of errors are followed by a sentence.
    (
        re.compile(
            rf"(?i)(?!(?<=invalid)(?:accesskeyid|token):\s+the\s)({_KEY})({_SEPARATOR})(?:{_QUOTED}|(?!\*\*\*(?:\W|$))\S+)"
        ),
        rf"\1\2{MASK}",
    ),
    # As an option of a program, and as in SQL and in words.
    (re.compile(rf"(?i)(?<![\w-])(--?[\w-]{{0,40}}?{_KEY}\s+)(?:{_QUOTED}|\S+)"), rf"\1{MASK}"),
    (
        re.compile(
            rf"(?i)\b({PASSWORDS}|passphrase|secret|identified\s+by)"
            rf"(\s+(?:is\s+|was\s+)?)(?:(?:[eEuU]&?)?{_QUOTED}|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|$))"
        ),
        rf"\1\2{MASK}",
    ),
    # Without a quote it is one where it has letters and digits, as no word of a sentence has.
    (
        re.compile(
            rf"(?i)\b({PASSWORDS}|passphrase|secret|token|api[ _-]?key|signature|requirepass|masterauth"
            r"|private[ _-]?key)((?:\s+(?:is|was|provided|given|used|sent))?:?\s+)"
            r"(?=[^\s\"'<>]{0,200}\d)(?=[^\s\"'<>]{0,200}[a-z])(?![^\s\"'<>]{0,200}[=:*])[^\s\"'<>,;]{8,}"
        ),
        rf"\1\2{MASK}",
    ),
    # Passwords of FIX: Password, NewPassword, EncryptedPassword and its new one, and RawData, which carries one too.
    (
        re.compile(
            r"((?:^|[\x01|;\s\"]|\^A|\\+u0001)(?:554|925|1402|1404|96)=)(?:(?!\^A|\\+u0001)[^\x01|;\s\"])+",
        ),
        rf"\1{MASK}",
    ),
    # What is a secret by its form.
    (re.compile(r"\beyJ[\w-]+\.[\w-]*(?:\.[\w-]*){0,3}"), MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), MASK),
    (
        re.compile(rf"\b(?:{PREFIXES})[\w-]{{16,}}"),
        MASK,
    ),
    (re.compile(r"\bSG\.[\w-]{16,}\.[\w-]+|\bdapi[0-9a-f]{32}\b"), MASK),
    (re.compile(r"(?<!\d)\d{8,10}:[\w-]{35}\b"), MASK),
    # A private key of a wallet; an address is shorter.
    (re.compile(r"\b[5KL][1-9A-HJ-NP-Za-km-z]{50,51}\b"), MASK),
    (re.compile(r"\b(?:AGE-SECRET-KEY-1[A-Z0-9]{20,}|[xyz]prv[1-9A-HJ-NP-Za-km-z]{80,})"), MASK),
)
_LONG = re.compile(r"(?<![\w+/=-])[\w+/=-]{32,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SUSPECT = re.compile(
    rf"(?i){_KEY}|{PHRASES}|@|authorization|cookie|bearer|basic|digest|apikey|private key|identified"
    r"|hooks|webhook|sshpass|redis-cli|mysql|(?:^|\s)-u\s|--user|--proxy|2fa|mfa|x-"
    r"|[?&](?:key|code|ticket|assertion|hash|sign)=|%(?:25)*(?:3F|26)\w*(?:key|code|ticket|hash)"
    r"|AUTH|LOGIN|PASS|login|verification|one-time|security code|auth-pass|sqlplus|expdp|impdp"
    r"|negotiate|ntlm|PRIVATE|docker|podman|skopeo|\boc\s|helm|ldap|sqlcmd|ya29|SG\.|hf_|dop_v1|shp|xapp|dapi|v[1-4]\.(?:local|public)"
    r"|[5KL][1-9A-HJ-NP-Za-km-z]{50}"
    r"|eyJ|AKIA|ASIA|gh[opusr]_|github_pat|glpat|xox|[sr]k[_-]|hvs\.|AIza|npm_|pypi-|\d{8}:|(?:554|925|140[24]|96)=|AGE-SEC|prv|requirepass|masterauth"
)


def masked(text: str) -> str:
    """Text without what is named a secret or is one by its form: passwords, tokens, phrases, credentials in addresses.

    What only looks like one, a long word of letters and digits, stays: it may be a digest or an id.
    """
    return _short(text) if len(text) <= _SHORT else _masked(text)


def _masked(text: str) -> str:
    if not _SUSPECT.search(text):
        return text
    for pattern, mask in _SECRETS:
        text = pattern.sub(mask, text)
    return text


#: Titles, units and messages come again and again: in the spool, the report's five forms, and the ledger.
_SHORT = 500
_short = lru_cache(maxsize=4096)(_masked)


def without_secrets(text: str) -> str:
    """The same, and without long words that look like a key: for what nobody knows anything about."""
    return _LONG.sub(_long_word, masked(text))


def masked_data(value: Any) -> Any:
    """JSON data with all its text masked; what is named as a secret is masked as a whole."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {
            key: MASK if _names(key) and isinstance(item, str) and item else masked_data(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [masked_data(item) for item in value]
    return value


_NAME = re.compile(
    rf"(?i)(?:[\w.-]*[_.-])?(?:{PASSWORDS}|pass[_-]?phrase|passcode|pwd|secret|(?:api|access|private)[_-]?key|mnemonic|seed[_-]?phrase)"
)


def _names(key: Any) -> bool:
    return isinstance(key, str) and _NAME.fullmatch(key) is not None


def _long_word(match: Match[str]) -> str:
    """A long run of letters and digits is a key until it shows to be a path or an id."""
    word = match[0]
    if _UUID.fullmatch(word) or not re.search(r"\d", word) or not re.search(r"[A-Za-z]", word):
        return word
    # Folders have short names.
    return MASK if max(len(part) for part in re.split(r"[/=]", word)) >= 20 or not word.startswith("/") else word
