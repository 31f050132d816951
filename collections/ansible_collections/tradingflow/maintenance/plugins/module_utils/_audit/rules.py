# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is redacted: members and columns by their names first, then patterns, always in this order.

Patterns run in RE2, whose time grows with the text alone, whatever the pattern; what RE2 cannot do (look-around,
references back) is refused when the rules are loaded.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple
from urllib.parse import unquote_to_bytes

from ..errors import ConfigurationError

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
#: What stands where something was.
_DONE = re.compile(rb"\[(?:redacted:[a-z0-9_-]{1,40}|[a-z0-9_-]{1,40}:[0-9a-f]{16})\]")
_OPTIONS = ("name", "pattern", "fields", "action")

#: Part of a name that says a secret follows, and ends of names of which none does.
_WORDS = (
    r"(?:passw(?:or)?ds?|passphrase|passcode|pwd|secret|token|api[_ -]?key|access[_-]?key|private[_-]?key"
    r"|signing[_-]?key|encryption[_-]?key|account[_-]?key|auth[_-]?key|master[_-]?key|credentials?|session[_-]?id"
    r"|(?:app|listen|fernet|wallet|consumer|deploy|(?:pre[_-]?)?shared)[_-]?key|psk\b|(?:[_.-]|\b)pass\b"
    r"|kennwort|wachtwoord|mnemonic|seed[_ -]?phrase|cvv|totp|otp)"
)
_KEY = rf"(?P<key>(?i:[\w.-]{{0,60}}{_WORDS}[\w.-]{{0,60}}))"
_HARMLESS = re.compile(rb"(?i).*[_.-]?(?:_at|_type|_count|_age|_length|_policy|_in|_status|_expiry|_id_type|s_total)")
_NOTHING = re.compile(rb"(?i)(?:null|none|nil|true|false|yes|no|\d{0,3}|\*+|<[^>]*>|\{\}|\[\])[,;})\]]*")

#: Tokens that are known by how they begin.
_PREFIXES = (
    r"(?:gh[opusr]_|github_pat_|glpat-|gl(?:rt|dt|cbt|ptt|soat)-|xox[a-z]-|xapp-|[sr]k_(?:live|test)_|sk-|hvs\.|AIza"
    r"|npm_|pypi-|ya29\.|hf_|dop_v1_|shp(?:at|ss|ca|pa)_|SG\.|dapi|whsec_|AGE-SECRET-KEY-1|[xyz]prv)"
)
_DATE = re.compile(rb"\s*(?:\d{4}-\d\d|[A-Z][a-z]{2} +\d)")


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


#: Bytes of the longest secret of several lines, a private key.
LONGEST = 20_000
_END = re.compile(rb"-----END[ A-Z0-9]{0,40}PRIVATE KEY")
_BODY = re.compile(rb"[A-Za-z0-9+/=]{40}")

_ENCODED = rb"[^\s\"'<>]*%[2-7][0-9A-Fa-f][^\s\"'<>]*"

#: Name and pattern; what is replaced are the groups whose names begin with "secret".
_BUILT_IN: Sequence[Tuple[str, str]] = (
    (
        "private_key",
        # Up to its end, see _private_key.
        r"-----BEGIN[ A-Z0-9]{0,40}PRIVATE KEY[ A-Z]{0,20}-----(?P<secret>)",
    ),
    ("key_material", r"(?m)(?:^|[\s\"'>|])(?P<secret>[A-Za-z0-9+/]{64})[\"'\\]?(?:\r?\n|\z)"),
    ("token_split", rf"\b(?P<secret>{_PREFIXES}[\w-]{{1,35}}\\?\r?\n[ \t]*[\w-]{{4,}})"),
    ("token", rf"\b(?P<secret>{_PREFIXES}[\w.-]{{16,}})"),
    ("jwt", r"\b(?P<secret>eyJ[\w-]{8,}(?:\s{0,2}\.\s{0,2}[\w-]*){0,4})"),
    ("aws_key", r"(?:^|[^A-Za-z0-9])(?P<secret>(?:AKIA|ASIA)[A-Z0-9]{12,})"),
    ("wallet_key", r"\b(?P<secret>[5KL][1-9A-HJ-NP-Za-km-z]{50,51})\b"),
    ("bot_token", r"\b(?P<secret>\d{8,10}:[\w-]{35})\b"),
    ("webhook", r"(?i)(?:hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/)(?P<secret>[^\s\"'<>]+)"),
    ("url_password", r"://[^\s/?#\"'<>@:]*:(?P<secret>[^\s/?#\"'<>]+)@"),
    (
        "url_password",
        r"(?i)\b(?:postgres(?:ql)?|mysql|mariadb|rediss?|amqps?|mongodb(?:\+srv)?|ldaps?|ftps?)(?:\+\w+)?://"
        r"[^\s/?#\"'<>@:]*:(?P<secret>[^\s\"'<>]+)@",
    ),
    (
        "url_query",
        rf"[?&]{_KEY}=(?P<secret>[^&\s\"'<>#\\]+)",
    ),
    ("url_query", r"(?i)[?&](?:key|sig|signature|code|auth|ticket|assertion|hash)=(?P<secret>[^&\s\"'<>#\\]+)"),
    (
        "url_encoded",
        rf"(?i){_KEY}(?:%(?:25)*(?:2[27]|5C))*%(?:25)*3[AD](?:%(?:25)*(?:2[027]|5C))*"
        r"(?P<secret>(?:[^\s&\"'<>%]|%(?:25)*(?:[013-9A-F][0-9A-F]|2[013-589A-F]))+)",
    ),
    (
        "url_encoded",
        r"(?i)%(?:25)*3A%(?:25)*2F%(?:25)*2F[^\s\"'<>&%]*%(?:25)*3A"
        r"(?P<secret>(?:[^\s\"'<>&%]|%(?:25)*(?:[0-35-9A-F][0-9A-F]|4[1-9A-F]))+)%(?:25)*40",
    ),
    (
        "authorization",
        r"(?i)authorization\\*[\"']?\s*[:=]\s*\\*[\"']?(?P<secret>(?:(?:bearer|basic|digest|negotiate|token"
        r"|apikey|aws4-hmac-sha256)\s+)?[^\s\"'\\]+(?:,\s*\w+=[^\s,]+)*)",
    ),
    ("authorization", r"(?i)\b(?:bearer|basic|negotiate)\s+(?P<secret>[\w.~+/=-]{12,})"),
    ("cookie", r"(?i)\b(?:set-)?cookie\\*[\"']?\s*[:=]\s*\\*[\"']?(?P<secret>[^\"'\r\n\\]+)"),
    (
        "secret",
        rf"{_KEY}\\*[\"']?\s{{0,4}}(?:=>|:=|[:=])[ \t]*(?:\r?\n[ \t]+)?(?:\"(?P<secret1>(?:[^\"\\\n]|\\.)*)"
        r"|\\+\"(?P<secret5>(?:[^\"\\\n]|\\[^\"\n])*)"
        r"|(?P<secret4>[\[{(][^\n\])}]*[\])}]?)|\\*'(?P<secret2>(?:[^'\\\n]|\\.|'')*)"
        r"|(?P<secret3>\\?[^\s\"'<>\\]+(?:\\[^\s\"'][^\s\"'<>\\]*)*))",
    ),
    ("secret", rf"(?i)(?:^|\s)--?[\w-]{{0,40}}{_WORDS}[ \t]+\\*[\"']?(?P<secret>[^\s\"'\\-][^\s\"'\\]*)"),
    ("secret", r"(?i)\b(?:identified\s+by|(?:encrypted\s+)?password)\s+'(?P<secret>[^']+)"),
    ("secret", r"(?i)\b(?:requirepass|masterauth)\s+\"?(?P<secret>[^\s\"']+)"),
    ("secret", r"\bsshpass\s+-p[ \t]*[\"']?(?P<secret>[^\s\"']+)"),
    ("secret", r"\b(?:mysql|mariadb)(?:-?dump|-?admin)?\s(?:[^\n|;&]{0,300}\s)?-p(?P<secret>[^\s\"']+)"),
    (
        "secret",
        r"\b(?:curl|wget)\s(?:[^\n|;&]{0,300}\s)?(?:-u|--user)[ =]?[\"']?[^\s:\"']{1,100}:(?P<secret>[^\s\"']+)",
    ),
    ("secret", rf"(?i)<(?:[\w:.-]{{0,40}}{_WORDS}[\w:.-]{{0,40}})>(?P<secret>[^<\n]+)</"),
    ("fix_password", r"(?:^|[\x01|;]|\^A)(?:554|925|1402|1404)=(?P<secret>[^\x01|;\s\"^]+)"),
    ("base64", rf"(?P<secret>[A-Za-z0-9+/_-]*(?:{_fragments()})[A-Za-z0-9+/_-]*={{0,2}})"),
)
#: Members, columns and fields whose values are secrets whatever they look like.
_SECRET_NAME = re.compile(rf"(?:[\w. -]*{_WORDS}[\w. -]*|(?:proxy-)?authorization|(?:set-)?cookie)", re.IGNORECASE)


@dataclass(frozen=True)
class Rule:
    """A pattern and what becomes of what it finds.

    :param groups: indexes of what is replaced, 0 for all that matches
    :param named: index of the group that names it, 0 for none
    """

    name: str
    pattern: Any
    action: str
    groups: Tuple[int, ...] = (0,)
    named: int = 0


@dataclass
class Rules:
    """Rules in the order in which they are applied.

    :param suspect: finds at least what one of the patterns finds
    :param words: finds what is written as in an address
    :param fields: action and name of the rule for a member's name in small letters
    """

    key: bytes
    structural: List[Rule] = field(default_factory=list)
    patterns: List[Rule] = field(default_factory=list)
    fields: Dict[str, Tuple[str, str]] = field(default_factory=dict)
    suspect: Any = None
    words: Any = None

    def of_name(self, name: str) -> Optional[Tuple[str, str]]:
        """Rule and action of a member or column; None for one that has none."""
        own = self.fields.get(plain_name(name))
        if own:
            return own
        if _SECRET_NAME.fullmatch(name.strip()) and not _HARMLESS.fullmatch(name.strip().encode()):
            return "secret", MASK
        return None

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
        for rule in (*self.structural, *self.patterns):
            text = self._rule(rule, text, counts)
        parts, last = [], 0
        for match in self.words.finditer(text) if b"%" in text else ():
            begin, end = match.span()
            parts += [text[last:begin], self._encoded(text[begin:end], counts)]
            last = end
        return b"".join([*parts, text[last:]])

    def _encoded(self, word: bytes, counts: Dict[str, int]) -> bytes:
        """A word in which something is written as addresses write it: all of it goes when there is a secret in it."""
        plain = word
        for _level in range(3):
            plain = unquote_to_bytes(plain)
        found: Dict[str, int] = {}
        if plain != word:
            for rule in (*self.structural, *self.patterns):
                plain = self._rule(rule, plain, found)
        if not found:
            return word
        counts["encoded"] = counts.get("encoded", 0) + 1
        return self.replacement("encoded", MASK, word)

    def _rule(self, rule: Rule, text: bytes, counts: Dict[str, int]) -> bytes:
        parts: List[bytes] = []
        last = 0
        for match in rule.pattern.finditer(text):
            if rule.named and _HARMLESS.fullmatch(match.group(rule.named)):
                continue
            for group in rule.groups:
                begin, end = match.span(group)
                if rule.name == "private_key":
                    end = _private_key(text, end)
                if begin < last:
                    continue
                value = text[begin:end]
                if _kept(rule, value):
                    continue
                if rule.name == "token_split":
                    line = value.find(b"\n")
                    if _DATE.match(value, line + 1):
                        # Another entry begins there: it is a token that ended.
                        end, value = begin + line, value[:line]
                parts += [text[last:begin], self.replacement(rule.name, rule.action, value)]
                last = end
                counts[rule.name] = counts.get(rule.name, 0) + 1
        return b"".join([*parts, text[last:]]) if parts else text


def _private_key(text: bytes, begin: int) -> int:
    """Where a private key ends: at its last line, or where lines look like one no more."""
    found = _END.search(text, begin, begin + LONGEST)
    if found:
        return found.start()
    end = text.find(b"\n", begin, begin + LONGEST)
    while 0 <= end < begin + LONGEST:
        after = text.find(b"\n", end + 1)
        line = text[end + 1 : after if after >= 0 else len(text)]
        if not _BODY.search(line[:4096]):
            return end
        end = after
    return min(len(text), begin + LONGEST)


def plain_name(name: str) -> str:
    """A member's name as rules compare it."""
    return name.strip().lower().replace("-", "_")


def is_harmless(name: str, value: bytes) -> bool:
    """Whether a value is too short for the secret that its member's name says; an environment's own rules take all."""
    return name == "secret" and (len(value.strip()) <= 3 or _NOTHING.fullmatch(value) is not None)


def is_done(value: bytes) -> bool:
    """Whether something stands for what was there."""
    return _DONE.match(value) is not None


def _kept(rule: Rule, value: bytes) -> bool:
    """Whether what was found is none, or was replaced before."""
    if not value.strip() or is_done(value):
        return True
    if rule.name == "key_material":
        # Digests are as long.
        return not re.search(rb"[G-Zg-z+/]", value) or not re.search(rb"\d", value)
    return rule.name in ("secret", "url_query") and _NOTHING.fullmatch(value) is not None


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
    seen = {"encoded", *(name for name, _pattern in _BUILT_IN)}
    for each in given or []:
        name, action, pattern, fields = _checked(each, seen)
        if pattern:
            own.append(_compiled(name, pattern, action))
        else:
            rules.structural.append(_compiled(name, _of_fields(fields), action))
            for member in fields:
                rules.fields[plain_name(member)] = (name, action)
    rules.patterns = [_compiled(name, pattern, MASK) for name, pattern in _BUILT_IN] + own
    every = [rule.pattern.pattern for rule in (*rules.structural, *rules.patterns)]
    # A name in JSON and in addresses may be written in escapes.
    every += [rb"\\u00[2-7][0-9a-fA-F]", rb"%(?:25)*[2-7][0-9A-Fa-f]"]
    rules.words = _re2("encoded", _ENCODED)
    rules.suspect = _re2("suspect", rb"|".join(b"(?:" + re.sub(rb"\?P<\w+>", b"?:", each) + b")" for each in every))
    return rules


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


def _compiled(name: str, pattern: str, action: str) -> Rule:
    found = _re2(name, pattern.encode("utf-8"))
    if found.search(b""):
        raise ConfigurationError(f"The pattern of the redaction rule {name} matches nothing at all.", "Correct it.")
    named = {index: group for group, index in found.groupindex.items()}
    groups = tuple(index for index in sorted(named) if named[index].startswith(b"secret"))
    if not groups:
        groups = (1,) if found.groups == 1 else (0,)
    key = next((index for index, group in named.items() if group == b"key"), 0)
    return Rule(name, found, action, groups, key)


def _re2(name: str, pattern: bytes) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 * 1024 * 1024
    options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ConfigurationError(
            f"The pattern of the redaction rule {name} is none that RE2 can run: {text[:200]}.",
            "RE2 has no look-around and no references back; see its syntax.",
        ) from None
