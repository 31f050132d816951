# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is a secret by its name or by its form, as patterns for RE2; the words are those of masking.py.

RE2 has no look-around. What needs one is in a pattern's other fields, and judged on what was found.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import List, Tuple

from ..masking import IN_QUERIES, MECHANISMS, NAMES, PASSWORDS, PHRASES, PREFIXES, SAID, SHORT_NAMES
from .commands import COMMANDS, IN_LISTS, QUOTED, WORD, WORDS, Pattern

#: Parts of names that say a secret follows; the second line is not in masking.py.
_LONG = (
    rf"{PASSWORDS}|{NAMES}|mnemonic|(?:seed|recovery|backup|wallet)[ _-]?(?:phrase|words?|seed)"
    r"|(?:master|fernet|session|ssh|ssl|tls|webhook|(?:pre[_-]?)?shared|hmac|aes|rsa)[_-]?key|privkey|keytab|kennung"
    r"|mot[ _]de[ _]passe|client[_-]?assertion|connection[_-]?string|database[_-]?url|\bdsn\b"
)
#: As the last part of a name.
_SHORT = rf"{SHORT_NAMES}|pin|passwd|cvc|otpauth"
_PASS = r"(?:db|pg|my|user|usr|smtp|imap|mail|ldap|bind|ftp|http|proxy|admin|root|redis|key|store|trust|keystore|truststore|sudo|become)pass"
_CAMEL = r"(?-i:[a-z](?:Pass|Pw|Otp|Psk|Sig|Jwt|Hmac|Pin))\b"
_KEY = rf"(?P<key>(?i:[\w.-]{{0,60}}(?:{_LONG})[\w.-]{{0,60}}|(?:[\w.-]{{0,60}}[_.-]|\b)(?:{_SHORT})\b|\b{_PASS}\b|\w{{0,40}}{_CAMEL}))"
#: Without what may come before a name, for what only has to be found.
_QUOTE = r"(?:\\*[\"']|&quot;|&#34;|&#39;|&apos;)"
_EQUALS = r"(?:=>|:=|[:=]|\\+(?:u003|x3)[dDaA]|&#(?:61|58|x3[dDaA]);)"
#: Between a name and its value, which may begin in the next line.
_SEPARATOR = rf"(?:\[\w{{0,9}}\]|\])?{_QUOTE}?\s{{0,4}}{_EQUALS}[ \t]*(?:\\?\r?\n[ \t]+)?"
_PRIVATE = r"(?:[ +]|%20)(?:[A-Z0-9]+(?:[ +]|%20))*PRIVATE(?:[ +]|%20)KEY(?:(?:[ +]|%20)BLOCK)?"
_PLAIN_WORD = r"(?:token|auth|authentication|authorization|certificate|scheme|realm|header|missing|required|invalid|expired|failed)\b"
#: sudo writes PWD for the folder that a command runs in.
_FOLDER = r"/[\w./-]* ; USER="
#: Digests of what is public, as images are named by them.
_PUBLIC = r"(?:0x)?[0-9a-fA-F]{40}\b|sha\d+"


def _fragments() -> str:
    """What these words become in base64, whichever byte of three they begin at."""
    found = set()
    for word in (
        *("password", "Password", "PASSWORD", "passwd", "secret", "Secret", "SECRET", "PRIVATE KEY", "Bearer "),
        *("token", "Token", "TOKEN", "api_key", "apikey", "apiKey", "ApiKey", "API_KEY", "access_key", "accessKey"),
        *("ACCESS_KEY", "passphrase"),
    ):
        for shift in range(3):
            text = base64.b64encode(b"\0" * shift + word.encode()).decode().rstrip("=")
            # What the neighbours of the word have a part in is left out.
            begin, whole = (0, 2, 3)[shift], (shift + len(word)) * 8 // 6
            found.add(text[begin:whole])
    return "|".join(sorted(found))


#: Members with a name and its value, as Kubernetes and docker have them.
NAME_OF = r"name|key|variable|param|parameter|option|field|setting|header|env"
VALUE_OF = r"value|val|setting|content|data|default|reset_val|boot_val"
_NAMED = rf"(?i:[^\"'\\\n]{{0,60}}(?:{_LONG}|[_.-](?:{_SHORT})\b|\b(?:{_SHORT})[\"'\\])[^\"'\\\n]{{0,60}})"

#: In this order, each in what the one before left.
BUILT_IN: Tuple[Pattern, ...] = (
    # Up to its end, see extents.private_key.
    Pattern("private_key", rf"-----BEGIN{_PRIVATE}-----(?P<secret>)"),
    Pattern("key_material", r"(?m)(?:^|[\s\"'>|])(?P<secret>[A-Za-z0-9+/]{64})[\"'\\]?(?:\r?\n|\z)"),
    Pattern(
        "webhook", r"(?i)(?:hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/)(?P<secret>[^\s\"'<>]+)"
    ),
    Pattern(
        "password_hash",
        r"(?P<secret>\$(?:1|2[abxy]|5|6|7|y|gy)\$[\w./$=,-]{20,}|\$argon2(?:id?|d)\$[\w./$=,+-]{20,}|SCRAM-SHA-256\$\d{1,9}:[\w+/=]+\$[\w+/=]+:[\w+/=]+)",
    ),
    # Addresses: who, and by which password.
    Pattern(
        "url_password",
        r"(?i)\b(?:postgres(?:ql)?|mysql|mariadb|rediss?|amqps?|mongodb(?:\+srv)?|ldaps?|s?ftps?|mssql|oracle|snowflake"
        r"|clickhouse|cockroachdb|nats|kafka)(?:\+\w+)?://(?P<secret>[^\s\"'<>:@]*:[^\s\"'<>]+)@",
    ),
    Pattern("url_password", r"://(?P<secret>[^\s/?#\"'<>@]*:[^\s/?#\"'<>]*)@"),
    Pattern("url_password", r"://(?P<secret>[^\s/?#\"'<>@.:]{16,})@"),
    Pattern("url_password", r"(?i)jdbc:oracle:\w+:(?P<secret>[^\s\"'<>@]+)@"),
    Pattern(
        "url_password",
        r"(?:^|[^\w*@/.%+-])(?P<secret>[\w.%+-]{1,60}:[^\s\"'<>@/]{1,200})@(?:(?:tcp|unix)\(|[A-Za-z0-9_.-]+(?::\d|/\w))",
        unless=r"(?i)(?:mailto|sips?|xmpp|acct|git):|[^\s@]*(?:@sha\d|\[?redacted:[a-z_-]+\]@)",
    ),
    Pattern(
        "url_query", rf"(?i)(?:[?&]|\\u0026)(?P<key>{IN_QUERIES}|{_LONG})=(?P<secret>(?:[^&\s\"'<>#\\]|\\[^u\"'])+)"
    ),
    Pattern(
        "url_encoded",
        rf"(?i)(?:{_KEY}|%(?:25)*(?:3F|26)(?:{IN_QUERIES}))(?:%(?:25)*(?:2[027]|5C))*%(?:25)*3[AD](?:%(?:25)*(?:2[027]|5C))*"
        r"(?P<secret>(?:[^\s&\"'<>%]|%(?:25)*(?:[013-9A-F][0-9A-F]|2[013-589A-F]))+)",
    ),
    Pattern(
        "url_encoded",
        r"(?i)%(?:25)*3A%(?:25)*2F%(?:25)*2F[^\s\"'<>&%]*%(?:25)*3A"
        r"(?P<secret>(?:[^\s\"'<>&%]|%(?:25)*(?:[0-35-9A-F][0-9A-F]|4[1-9A-F]))+)%(?:25)*40",
    ),
    # Headers.
    Pattern(
        "authorization",
        r"(?i)\bdigest\s+(?P<secret>(?:[\w-]{1,40}\s*=\s*(?:\\*\"[^\"\\\n]*\\*\"|[^\s,\"\\]+)[ \t,]*)+)",
    ),
    Pattern(
        "authorization",
        rf"(?i)authorization{_QUOTE}?\s*[:=]\s*{_QUOTE}?(?P<secret>[^\"'\r\n\\]+)",
        unless=r"(?i)(?:digest )?\[redacted:|(?:denied|granted|failed|required|success\w*|missing|refused|invalid|expired|ok)\b",
    ),
    Pattern("authorization", r"(?i)\bbearer(?:\s+|:\s*)(?P<secret>[\w.~+/=-]{6,})", unless=rf"(?i){_PLAIN_WORD}"),
    Pattern(
        "authorization", r"(?i)\b(?:bearer|basic|negotiate)\s+(?P<secret>[\w.~+/=-]{12,})", unless=rf"(?i){_PLAIN_WORD}"
    ),
    Pattern("authorization", r"(?i)\b(?:basic|apikey)(?:\s+|:\s*)(?P<secret>[\w.~+/=-]{6,})", mixed=True),
    Pattern(
        "authorization",
        r"(?i)\b(?:negotiate|ntlm)\s+(?P<secret>[\w.~+/=-]{10,})",
        unless=r"[a-z.,-]+(?:$|\W)|[A-Z.,-]+(?:$|\W)",
    ),
    Pattern(
        "authorization", r"(?i)\bx-[\w-]{0,40}(?:key|token)\s+(?P<secret>[\w.~+/=-]{6,})", unless=rf"(?i){_PLAIN_WORD}"
    ),
    Pattern("cookie", rf"(?i)\b(?:set-)?cookie{_QUOTE}?\s*[:=]\s*{_QUOTE}?(?P<secret>[^\"'\r\n\\]+)"),
    # A name beside its value.
    Pattern(
        "secret",
        rf"(?i)\b(?:{NAME_OF}){_QUOTE}?\s*[:=]\s*\\*[\"']?(?P<key>{_NAMED})\\*[\"']?[\s,;]*{_QUOTE}?(?:{VALUE_OF}){_QUOTE}?\s*[:=]\s*",
        WORD,
    ),
    Pattern(
        "secret",
        rf"(?i)\b(?:{VALUE_OF})\\*[\"']?\s*[:=]\s*\\*[\"']"
        rf"(?P<secret>[^\"'\\\n]*)\\*[\"'][\s,]*{_QUOTE}?(?:{NAME_OF}){_QUOTE}?\s*[:=]\s*\\*[\"'](?P<key>{_NAMED})\\*[\"']",
        lines=True,
    ),
    Pattern(
        "secret",
        rf"(?i)<(?:\w+:)?(?P<key>[\w.-]{{0,60}}(?:{_LONG}|\b(?:{_SHORT})\b)[\w.-]{{0,60}})(?:\s[^<>\n]*)?>\s*(?:<!\[CDATA\[(?P<secret1>(?:[^\]\n]|"
        rf"\][^\]\n])*(?:\n(?:[^\]\n]|\][^\]\n])*){{0,5}})"
        r"|(?P<secret2>[^<\n]+(?:\n[^<\n]*){0,3})</|(?P<secret3>[^<\n]+))",
        unless=r"\[redacted:[a-z_-]+\]\]\]>",
        lines=True,
    ),
    # A name and a value.
    Pattern("secret", rf"(?P<key>(?i:{PHRASES})){_SEPARATOR}", WORDS),
    Pattern("secret", rf"(?P<key>(?i:[\w.-]{{0,60}}(?:{PASSWORDS}|passcode|pwd)\w*)){_QUOTE}?\s*:[ \t]+", WORDS),
    Pattern("secret", rf"(?i)(?P<key>{PASSWORDS}|pwd)\s*=[ \t]*(?P<secret>[^;\r\n\"'&=]+);", unless=_FOLDER),
    Pattern(
        "secret",
        rf"{_KEY}{_SEPARATOR}",
        WORD,
        unless=rf"{_FOLDER}|(?:chauthtok|auth|account|session)\)|password (?:for|of|changed) ",
    ),
    # Options of programs.
    Pattern(
        "secret",
        rf"(?i)(?:^|[\s\"'(,\[])--?(?P<key>[\w-]{{0,40}}(?:{_LONG}|pass|pw|psk|pin|auth|otp|jwt)[\w-]{{0,40}})(?:\\*[\"'],?)?[ \t]*[ \t=](?:\\?\r?\n[ \t]*)?",
        WORD,
        unless=r"-{1,2}[a-z]",
    ),
    *COMMANDS,
    # Statements, directives, prompts and protocols.
    Pattern("secret", r"(?i)\b(?:requirepass|masterauth|auth-pass\s+\S+)\s+", WORD, unless=r"\*"),
    Pattern("secret", r"(?i)\bset\s+password\s+for\s+\S{1,80}\s*=\s*(?:password\s*\(\s*)?", QUOTED),
    Pattern("secret", r"(?i)\bvault\s+(?:kv\s+)?(?:write|put|patch)\s+\S+\s+(?P<secret>\S+=[^\n|;&\"]+)"),
    Pattern("secret", r"(?i)--from-literal[= ][\w.-]{1,80}=", WORD),
    Pattern("secret", r"(?i)\bidentified\s+by\s+", WORD, unless=r"(?i)(?:values|externally|password)\b|\*"),
    Pattern(
        "secret",
        rf"(?i)\b(?:{PASSWORDS}|passphrase|secret|identified\s+by(?:\s+password)?|{PHRASES})(?:\s+(?:is|was))?\s+(?:[eu]&?|b)?",
        QUOTED,
    ),
    Pattern("secret", rf"(?i){PHRASES}\s+(?:is\s+|was\s+)?(?P<secret>(?:[a-z]{{3,8}}\s+){{11,23}}[a-z]{{3,8}})\b"),
    Pattern("secret", rf"(?i)\b(?:{PASSWORDS}|passphrase)\s+(?:for|of)\s+(?:\w+\s+){{0,2}}\S{{1,60}}?:\s+", WORD),
    Pattern("secret", r"(?i)\bcredentials?\s+[^\s:\"']{1,60}:(?P<secret>[^\s\"'\\]+)"),
    Pattern("secret", r"(?i)\blogin\s+\S{1,60}\s+password\s+", WORD),
    Pattern(
        "secret",
        rf"(?i)\b(?P<key>[\w.-]{{0,60}}(?:{PASSWORDS}|passphrase|secret|token|api[ _-]?key|access[_-]?key|signature|private[ _-]?key)[\w.-]{{0,60}})"
        r"(?:\s+(?:is|was|ist|provided|given|used|sent|to|set\s+to|changed\s+(?:from|to)))?(?:[\"']?:?\s+|\s*(?:->|[|~])\s*)(?P<secret>[^\s\"'<>,;]{8,})",
        unless=rf"{_PUBLIC}|[^\s\"'<>,;]{{0,200}}[=:*]",
        mixed=True,
    ),
    Pattern(
        "secret",
        rf"\b(?:AUTH|AUTHENTICATE)\s+(?:{MECHANISMS})\s+(?P<secret>[\w+/=-]{{6,}})(?:[^\w+/=\s-]|\s\W|\s?\z|\r?\n)",
        unless=SAID,
    ),
    Pattern(
        "secret",
        r"\bAUTH\s+(?P<secret>[^\s\"'\\*]+(?:[ \t]+[^\s\"'\\]+)?)\s*(?:\\*[\"']|[\r\n]|\z)",
        unless=rf"{SAID}|(?:{MECHANISMS})\b",
    ),
    Pattern("secret", r"(?i)\\*[\"']auth\\*[\"'](?P<secret>(?:,?\s*\\*[\"'][^\"'\\]*\\*[\"']){1,2})"),
    Pattern("secret", r"(?:C:|>|->)\s+(?:\w{1,12}\s+)?(?:LOGIN\s+\S+|PASS)\s+(?P<secret>[^\s\"'\\]+)"),
    Pattern(
        "secret",
        r"(?i)\b(?:otp|totp|2fa|mfa|verification\s+code|one-time\s+(?:code|password|pin)|security\s+code)"
        r"(?:\s+code)?(?:\s+is)?[\s:]*(?P<secret>\d{4,8})\b",
    ),
    Pattern(
        "fix_password", r"(?:^|[\x01|;\s\"]|\^A|\\+u0001|\\x01)(?:554|925|1402|1404|96)=(?P<secret>[^\x01|;\s\"^\\]+)"
    ),
    # What is one by its form.
    Pattern("token_split", rf"\b(?P<secret>(?:{PREFIXES})[\w-]{{1,35}}\\?\r?\n[ \t]*[\w-]{{4,}})", lines=True),
    Pattern(
        "token",
        rf"\b(?P<secret>(?:{PREFIXES})[\w-]{{16,}}|SG\.[\w-]{{16,}}\.[\w-]+|dapi[0-9a-f]{{32}}\b|whsec_[\w+/=]{{16,}}"
        r"|AGE-SECRET-KEY-1[A-Z0-9]{20,}|[xyz]prv[1-9A-HJ-NP-Za-km-z]{80,}|glsa_\w{20,}|lin_api_\w{20,}|sq0\w{3}-[\w-]{20,}|EAA\w{30,}"
        r"|ATATT3\w[\w=-]{20,}|PMAK-[\w-]{20,}|rk_live_\w{16,}|key-[0-9a-f]{32}\b|AccountKey=[\w+/=]{20,})",
        unless=r"npm_(?:config|package|lifecycle|execpath|node)|pypi-[a-z]+-(?:mirror|proxy|cache)",
    ),
    Pattern("jwt", r"\b(?P<secret>eyJ[\w-]{5,}(?:\s{0,2}\.\s{0,2}[\w-]*){0,4})", lines=True),
    Pattern("aws_key", r"(?:^|[^A-Za-z0-9])(?P<secret>(?:AKIA|ASIA)[A-Z0-9]{12,})"),
    Pattern("wallet_key", r"\b(?P<secret>[5KL][1-9A-HJ-NP-Za-km-z]{50,51})\b"),
    Pattern("bot_token", r"(?:^|\D)(?P<secret>\d{8,10}:[\w-]{35})\b"),
    Pattern(
        "base64",
        rf"(?P<secret>[A-Za-z0-9+/_-]*(?:{_fragments()})[A-Za-z0-9+/_-]*={{0,2}}(?:\r?\n[A-Za-z0-9+/_-]{{40,}}={{0,2}}){{0,9}}"
        r"(?:\r?\n[A-Za-z0-9+/_-]{4,}={1,2})?)",
        lines=True,
    ),
)

#: What leads to a secret as JSON writes it: with slashes, tabs and line ends in escapes, and commands in lists.
ESCAPED: Tuple[str, ...] = (
    r"\\+u[0-9a-fA-F]{4}",
    r"%(?:25)*[2-7][0-9A-Fa-f]",
    r":\\+/\\+/",
    rf"(?i)(?:{_LONG}|bearer|basic|negotiate|digest|ntlm|auth|pass|login|key)[\w.-]*[\"':=]*\\+[tnrbf]",
    rf"(?i)\b(?:{IN_LISTS}|curl)\\+[tnr]",
    rf"(?i)[\"'/](?:{IN_LISTS}|curl|wget|-u|--user|--proxy-user|requirepass|masterauth|auth-pass)\\*[\"']\s*,",
)

_SECRET_NAME = re.compile(
    rf"(?i)(?:.{{0,60}}(?:{_LONG}).{{0,60}}|(?:.{{0,60}}[_. -])?(?:{_SHORT})|{_PASS}|(?:proxy-|x-)?authorization|(?:set-)?cookie)"
)
_SECRET_CAMEL = re.compile(r".{0,60}[a-z](?:Pass|Pw|Otp|Psk|Sig|Jwt|Hmac|Pin)")
#: Ends of names that say something about a secret, where the value is no more than that.
_ABOUT = re.compile(
    r"(?i).*(?:[_. -](?:at|type|count|age|length|policy|status|expiry|expires|expires?_in|ttl|id_type|file|path|dir|version|name|bits|algorithm|"
    r"encryption|method|rotated)"
    r"|(?:At|Type|Count|Age|Length|Policy|Status|Expiry|Ttl|File|Path|Version|Algorithm|Method)|s_total|tokens)"
)
_PLAIN = re.compile(
    rb"[+-]?\d{0,12}(?:\.\d{1,9})?[a-zA-Z%]{0,3}|\d{4}-\d\d-\d\d[\dT:.Z+ -]*|[a-zA-Z][a-z_ -]{0,30}|[A-Z_]{1,30}|scram-sha-256|md5|sha-?\d{1,3}"
    rb"|[~.]{0,2}/[\w./ -]*|[\w-]{1,40}\.(?:key|pem|crt|conf|txt|json|ya?ml)"
)
_NOTHING = re.compile(
    rb"(?i)(?:null|none|nil|true|false|yes|no|on|off|\d{0,3}|\*+|<[a-z_ -]{0,30}>|\$\{?[A-Z_]+\d{0,2}\}?|\$\{?[a-z_.]+\}?|\{\{[a-z_. |()\[\]]*\}\}|"
    rb"\{\}|\[\])[,;})\]]*"
)
#: Names of which also a few digits are a secret, and of which a word or a number is none.
_DIGITS = re.compile(r"(?i).*(?:cvv|cvc|pin|otp|passcode)")
_STRICT = re.compile(rf"(?i).*(?:{PASSWORDS}|pass|pwd|pw|passcode|passphrase|cvv|cvc|pin|otp).*")
#: Of a login, as systemd counts them.
_SESSION, _LOGIN = re.compile(r"(?i).*session_?id"), re.compile(rb"c?\d{1,6}")
_LOOSE = re.compile(r"(?i)(?:.*[_.-])?(?:auth|sig|sid|hmac)")
_LOOSE_VALUE = re.compile(
    rb"(?i)(?:\d{0,12}|ok|success(?:ful|fully)?|succeeded|fail(?:ed|ure)?|error|enabled|disabled|required|optional|missing|denied|granted|valid|"
    rb"invalid|expired"
    rb"|unknown|basic|bearer|digest|password|peer|trust|cert|md5|ldap|scram-sha-256|oauth2?|anonymous|pam|sasl|gssapi|none|token|user|client|server|"
    rb"service|module|SIG[A-Z]{3,6}|SEGV|TERM|KILL)[,;})\]]*"
)


@lru_cache(maxsize=4096)
def secret_name(name: str) -> bool:
    """Whether a name says that its value is a secret: the one place that decides it."""
    name = name.strip()
    return _SECRET_NAME.fullmatch(name) is not None or _SECRET_CAMEL.fullmatch(name) is not None


def harmless(name: str, value: bytes) -> bool:
    """Whether a value is none, or says only something about the secret that its name has."""
    if not value.strip():
        return True
    if len(value.strip()) <= 3 and not _STRICT.fullmatch(name.strip()):
        return True
    if _SESSION.fullmatch(name.strip()) and _LOGIN.fullmatch(value):
        return True
    digits = _DIGITS.fullmatch(name.strip()) is not None
    if _NOTHING.fullmatch(value.strip()) and not (digits and re.search(rb"\d{3}", value)):
        return True
    if _ABOUT.fullmatch(name.strip()) and _PLAIN.fullmatch(value.strip(b" ,;)]}.\"'")):
        return True
    return _LOOSE.fullmatch(name.strip()) is not None and _LOOSE_VALUE.fullmatch(value.strip()) is not None


def names() -> List[str]:
    """Names of all rules that are built in."""
    return sorted({each.name for each in BUILT_IN})
