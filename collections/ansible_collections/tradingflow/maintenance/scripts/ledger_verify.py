# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proves an evidence ledger. Needs Python 3.9 with cryptography (and boto3 for --s3), not Ansible.

One file, to be copied alone.

Exit status: 0 the ledger stands, 1 something was altered or removed, 2 a mistake in the command line, 3 it could not be
verified. What this cannot show is said in lines that begin with "not checked"; without a witness (--witness), that the
newest records are there.

With --s3 the access key comes from the environment (AWS_ACCESS_KEY_ID ...) or from the AWS SDK's own places.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.abc
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

#: What of the collection this needs, word for word: made by tests/ci/verifier.py, which a test compares.
# parts: begin
PARTS = {
    "module_utils": "",
    "module_utils.masking": r'''# Copyright (c) 2026 TradingFlow Maintenance contributors
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
''',
    "module_utils.errors": r'''# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors of this collection. Every message says what happened and what to do next; none carries a secret."""

from __future__ import annotations

from .masking import masked


class MaintenanceError(Exception):
    """Base of all expected failures.

    :param message: what happened, one sentence, no secret in it
    :param remedy: what the operator should do next
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        # What others' programs say often ends without a stop.
        message = masked(message)
        self.message = message if message.endswith((".", "!", "?")) else f"{message}."
        super().__init__(self.message)
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()


class ConfigurationError(MaintenanceError):
    """A variable is missing or makes no sense."""


class DatabaseError(MaintenanceError):
    """The database is unreachable, refuses us or a statement failed."""


class StorageError(MaintenanceError):
    """The S3 store is unreachable, refuses us or lost something."""


class BackupError(MaintenanceError):
    """A backup could not be made or does not verify."""


class RestoreError(MaintenanceError):
    """A recovery point does not come back as it should."""


class MigrationError(MaintenanceError):
    """A database's schema cannot be changed, or did not become what it should."""


class HousekeepingError(MaintenanceError):
    """Something cannot be cleaned up, or it cannot be told whether it may be."""


class DataUpdateError(MaintenanceError):
    """Rows cannot be changed as declared, or did not become what they should."""


class PatchingError(MaintenanceError):
    """A host's packages cannot be changed, or did not become what they should."""


class DependencyError(MaintenanceError):
    """Locked dependencies cannot be scanned, or an answer about them cannot be believed."""


class ImageError(MaintenanceError):
    """A container image or its registry does not answer as it must."""


class ClusterError(MaintenanceError):
    """A cluster of Kubernetes does not answer as it must, or refuses us."""


class ReleaseError(MaintenanceError):
    """A release cannot be rolled out, soaked, promoted or undone, or it cannot be told whether it may be."""


class LockedError(MaintenanceError):
    """Another run of the same procedure is under way in this environment."""


class EvidenceError(MaintenanceError):
    """The ledger cannot be written or does not verify."""
''',
    "module_utils._ledger": r'''# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of the evidence ledger. Private to ledger.py, lock.py and scripts/ledger_verify.py."""
''',
    "module_utils._ledger.record": r'''# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One record of the ledger: an in-toto statement in a DSSE envelope, signed with Ed25519 (schemas/evidence-1.json)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import EvidenceError
from .keys import PublicKeys, SigningKey

# pylint: disable=unidiomatic-typecheck  # JSON's true is an int in Python, but no number

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:tradingflow:maintenance:evidence:1"
KINDS = (
    *("run", "backup", "drill", "restore", "deletion", "release", "migration", "patch", "review", "incident"),
    *("override", "rehearsal", "data_update", "audit", "tuning"),
)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_TEXTS = ("environment", "kind", "recorded_at", "actor", "run_id", "id")


class BadRecord(Exception):
    """The bytes are not a record that stands at this place. The text says why, beginning in lower case."""


@dataclass(frozen=True)
class Record:
    """A record whose signature and place are proven.

    :param digest: SHA-256 of the envelope's exact bytes, which the next record carries as "previous"
    :param statement: the in-toto statement
    """

    digest: str
    keyid: str
    statement: dict[str, Any]

    @property
    def predicate(self) -> dict[str, Any]:
        result: dict[str, Any] = self.statement["predicate"]
        return result

    @property
    def number(self) -> int:
        return int(self.predicate["number"])


def digest(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def parse_time(text: str) -> datetime:
    """A time as records carry it, e.g. 2026-11-23T20:40:30Z.

    :raises ValueError: it is not one
    """
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")


def encoded(data: Any) -> bytes:
    """The one form in which envelopes and statements are written.

    :raises EvidenceError: data cannot be written as JSON
    """
    try:
        text = json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise EvidenceError(f"The record's content is not JSON data: {error}", "Correct what was handed in.") from None


def statement(predicate: dict[str, Any], subjects: list[dict[str, Any]]) -> dict[str, Any]:
    """The statement of a predicate.

    :param subjects: name and digest (sha256 in hex) of each thing the record is about; without any it is about its
        own content, since a statement about nothing is none
    :raises EvidenceError: a subject is incomplete, or the kind is unknown
    """
    for subject in subjects:
        given = subject.get("digest")
        found = given.get("sha256") if isinstance(given, dict) else None
        if not isinstance(subject.get("name"), str) or not subject["name"] or not _SHA256.fullmatch(str(found)):
            raise EvidenceError(
                "A subject of the record has no name or no SHA-256 digest.",
                "Give each subject as {name: ..., digest: {sha256: 64 hexadecimal digits}}.",
            )
    if predicate["kind"] not in KINDS:
        raise EvidenceError(f"The ledger has no kind {predicate['kind']!r}.", f"Use one of {', '.join(KINDS)}.")
    own = {"name": "content", "digest": {"sha256": digest(encoded(predicate["content"]))}}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": each["name"], "digest": each["digest"]} for each in subjects] or [own],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }


def pae(payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def seal(content: dict[str, Any], key: SigningKey) -> bytes:
    """The envelope around a statement."""
    payload = encoded(content)
    return encoded(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": key.keyid, "sig": base64.b64encode(key.sign(pae(payload))).decode()}],
        }
    )


def open_record(data: bytes, keys: PublicKeys, *, number: int, environment: str) -> Record:
    """Proves a record, all but its predecessor.

    :param data: the envelope's exact bytes
    :raises BadRecord: not signed by a known key, altered, or not of this place
    """
    keyid, payload = unsealed(data, keys)
    try:
        content = json.loads(payload)
    except ValueError:
        raise BadRecord("its signed payload is not JSON") from None
    _check_statement(content)
    predicate = content["predicate"]
    if predicate["number"] != number:
        raise BadRecord(f"it is record {predicate['number']}, put in another's place")
    if predicate["environment"] != environment:
        raise BadRecord(f"it belongs to the environment {predicate['environment']!r}, not {environment!r}")
    return Record(digest(data), keyid, content)


def unsealed(data: bytes, keys: PublicKeys) -> tuple[str, bytes]:
    """Key id and payload of an envelope whose signature is right."""
    try:
        envelope = json.loads(data)
        (signature,) = envelope["signatures"]
        keyid, payload = signature["keyid"], base64.b64decode(envelope["payload"], validate=True)
        proof = base64.b64decode(signature["sig"], validate=True)
        again = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": keyid, "sig": base64.b64encode(proof).decode()}],
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error):
        raise BadRecord("it is not an envelope of a record") from None
    # The signature covers the payload alone. That the rest has one form only makes a change to any byte show.
    if not isinstance(keyid, str) or encoded(again) != data:
        raise BadRecord("its envelope was altered: it is not written as records are")
    if keyid not in keys:
        raise BadRecord(f"it is signed by key {keyid[:64]}, which is not trusted")
    if not keys.verify(keyid, proof, pae(payload)):
        raise BadRecord("its signature is wrong: its content was altered or forged")
    return keyid, payload


def _check_statement(content: Any) -> None:
    """Whether a signed payload is a record at all; a trusted key may sign other things too."""
    predicate = content.get("predicate") if isinstance(content, dict) else None
    if (
        not isinstance(predicate, dict)
        or content.get("_type") != STATEMENT_TYPE
        or content.get("predicateType") != PREDICATE_TYPE
        or not isinstance(content.get("subject"), list)
        or not all(isinstance(subject, dict) for subject in content["subject"])
        or not all(isinstance(predicate.get(name), str) for name in _TEXTS)
        or type(predicate.get("number")) is not int
        or not isinstance(predicate.get("content"), dict)
    ):
        raise BadRecord("what is signed in it is not a record of this ledger")
    previous = predicate.get("previous")
    if previous is not None and not (isinstance(previous, str) and _SHA256.fullmatch(previous)):
        raise BadRecord("what is signed in it is not a record of this ledger: its previous is not a digest")
    try:
        parse_time(predicate["recorded_at"])
    except ValueError:
        raise BadRecord("what is signed in it is not a record of this ledger: recorded_at is not a time") from None
''',
    "module_utils._ledger.keys": r'''# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of the ledger: Ed25519, PEM."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path
from typing import Any, Iterable, Union

from ..errors import ConfigurationError, EvidenceError

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
except ImportError:
    serialization = None  # type: ignore[assignment]

_MAKE = "Make one with: openssl genpkey -algorithm ED25519 (docs/evidence.md)."
_PEM = "-----BEGIN "
#: A key is a few hundred bytes; more is something else.
_LIMIT = 65536


def _needed() -> None:
    if serialization is None:
        raise ConfigurationError("The Python library cryptography is missing.", "Install cryptography for this Python.")


def keyid_of(key: Any) -> str:
    """SHA-256 of the public key's SubjectPublicKeyInfo (DER), in hex."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


class SigningKey:
    """A private key that signs records. It shows itself only by its id."""

    def __init__(self, key: Any) -> None:
        self._key = key
        self.public = key.public_key()
        self.keyid = keyid_of(self.public)

    def __repr__(self) -> str:
        return f"SigningKey({self.keyid})"

    def sign(self, data: bytes) -> bytes:
        """The signature."""
        result: bytes = self._key.sign(data)
        return result


class PublicKeys:
    """Keys whose signatures count, by key id."""

    def __init__(self, keys: Iterable[Any] = ()) -> None:
        self._keys = {keyid_of(key): key for key in keys}

    def __contains__(self, keyid: object) -> bool:
        return keyid in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def verify(self, keyid: str, signature: bytes, data: bytes) -> bool:
        """Whether the key of this id signed the data."""
        try:
            self._keys[keyid].verify(signature, data)
        except InvalidSignature:
            return False
        return True


def signing_key(given: Union[str, Path, None]) -> SigningKey:
    """The private key from PEM text, or from a file nobody else may read.

    :raises EvidenceError: there is none, it is open to others, or it is not an Ed25519 key in PKCS8. No message
        carries what was given unless that is the path of a file.
    """
    _needed()
    text = str(given or "")
    if not text.strip():
        raise EvidenceError(
            "No key to sign evidence with is configured.",
            f"Set signing_key_file (or signing_key from Vault) in tradingflow_evidence. {_MAKE}",
        )
    if _PEM in text:
        return _private(text.strip().encode() + b"\n", "given as text")
    path = Path(text).expanduser()
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            if mode & 0o077:
                raise EvidenceError(
                    f"The signing key {path} is open to others (mode {mode:04o}).",
                    f"Close it: chmod 600 {path}. If others may have read it, replace it (docs/evidence.md).",
                )
            return _private(stream.read(_LIMIT), str(path))
    except (OSError, ValueError) as error:
        # What was given may be a key that somebody put in the wrong form: name it only when it is clearly a path.
        known = "/" in text and len(path.parent.parts) > 1 and os.path.isdir(path.parent)
        reason = getattr(error, "strerror", None) or "not a file name"
        raise EvidenceError(
            f"The signing key{f' {path}' if known else ''} cannot be read: {reason}.",
            "Correct signing_key_file, or give signing_key as PEM text with its BEGIN and END lines.",
        ) from None


def _private(pem: bytes, where: str) -> SigningKey:
    key = None
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise EvidenceError(f"The signing key ({where}) is not an unencrypted Ed25519 private key in PEM.", _MAKE)
    return SigningKey(key)


def public_key(given: Union[str, Path]) -> Any:
    """A public key from a file or PEM text; of a private key its public half.

    :raises EvidenceError: it cannot be read or is not an Ed25519 key
    """
    _needed()
    text = str(given)
    where = "given as text" if _PEM in text else text
    try:
        pem = text.strip().encode() + b"\n" if _PEM in text else Path(text).expanduser().read_bytes()[:_LIMIT]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise EvidenceError(f"The public key {where} cannot be read: {reason}.", "Correct trusted_key_files.") from None
    if b"PRIVATE KEY" in pem:
        return _private(pem, where).public
    key = None
    with contextlib.suppress(ValueError, UnsupportedAlgorithm):
        key = serialization.load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise EvidenceError(
            f"The public key {where} is not an Ed25519 public key in PEM.",
            "Get it from the private key with: openssl pkey -in KEY -pubout",
        )
    return key


def public_keys(given: Iterable[Union[str, Path]]) -> PublicKeys:
    """Several public keys, each a file or PEM text.

    :raises EvidenceError: one cannot be read
    """
    return PublicKeys(public_key(each) for each in given)
''',
    "module_utils._ledger.witness": r'''# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The witness: a local file that remembers which records there were, since no chain can show that its end is gone.

JSON lines, only ever appended to: number, digest, keyid, recorded_at.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, Container, Iterator, Optional

# pylint: disable=unidiomatic-typecheck  # JSON's true is an int in Python, but no number

#: Enough for hundreds of lines: the newest record is among the last ones.
_TAIL = 65536


def add(path: Path, line: dict[str, Any]) -> None:
    """Appends a line and waits until it is on disk.

    :raises OSError: it cannot be written
    """
    # Only who writes needs it: an auditor may have a system without it.
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        size = stream.seek(0, os.SEEK_END)
        # A line that a crash cut short must not swallow this one.
        torn = size and os.pread(stream.fileno(), 1, size - 1) != b"\n"
        data = (b"\n" if torn else b"") + json.dumps(line, sort_keys=True).encode() + b"\n"
        if os.write(stream.fileno(), data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(stream.fileno())


def lines(text: str) -> Iterator[Optional[dict[str, Any]]]:
    """The lines of a witness; None for one that is damaged."""
    for each in text.splitlines():
        if not each.strip():
            continue
        try:
            line = json.loads(each)
        except ValueError:
            line = None
        complete = isinstance(line, dict) and type(line.get("number")) is int and isinstance(line.get("digest"), str)
        yield line if complete else None


def newest(path: Path, trusted: Container[str]) -> Optional[dict[str, Any]]:
    """The line of the highest number. Lines of keys that are not trusted are of another ledger and do not count.

    :raises OSError: there is a witness that cannot be read
    """
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _TAIL))
            text = stream.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    found = [line for line in lines(text) if line and line.get("keyid") in trusted]
    return max(found, key=lambda line: int(line["number"]), default=None)
''',
    "module_utils._ledger.folder": r'''# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where records lie: a folder of downloaded ones. Needs no library of a store."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Optional

from ..errors import EvidenceError

LAST = 99_999_999
_NAME = re.compile(r"(\d{8})\.json")
#: A record is about a kilobyte. What is larger is not read into memory.
LIMIT = 4 * 1024 * 1024


def number_of(name: str) -> Optional[int]:
    """The number of a record's file; None for a stranger."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match and int(match[1]) else None


@dataclass(frozen=True)
class Stored:
    """A record as it lies there.

    :param retention: mode and end of the store's lock; None when it shows none
    """

    data: bytes
    retention: Optional[tuple[str, datetime]] = None


@dataclass
class History:
    """What a versioned bucket remembers.

    :param versions: how many versions each key has
    :param deleted: keys with a delete marker
    :param note: why nothing is known; empty when it is
    :param failed: whether that is a failure to look, not a store that remembers nothing
    """

    versions: dict[str, int] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    note: str = ""
    failed: bool = False


class Folder:
    """Downloaded records. Methods raise EvidenceError when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def key(self, number: int) -> str:
        """The file of a record."""
        return f"{number:08d}.json"

    def numbers(self) -> tuple[list[int], list[str]]:
        """All numbers in order, and the names of files that are no records."""
        try:
            names = sorted(entry.name for entry in self.path.iterdir())
        except OSError as error:
            raise EvidenceError(f"The folder {self.path} cannot be read: {error.strerror}.") from None
        return [each for name in names if (each := number_of(name))], [name for name in names if not number_of(name)]

    def read(self, number: int) -> Optional[Stored]:
        """A record; None when there is none."""
        try:
            with (self.path / self.key(number)).open("rb") as stream:
                return Stored(stream.read(LIMIT))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EvidenceError(f"Record {number} in {self.path} cannot be read: {error.strerror}.") from None

    def unlocked(self, number: int) -> bool:
        """A folder knows no locks."""
        return False

    def history(self) -> History:
        """A folder remembers nothing."""
        return History(note="a folder keeps no versions")
''',
    "module_utils._ledger.verify": r'''# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proves a whole ledger: every record, their order, and that nothing is missing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Optional, Union

from ..errors import EvidenceError
from .folder import Folder, Stored
from .keys import PublicKeys
from .record import BadRecord, Record, digest, open_record, parse_time
from .witness import lines

# pylint: disable=unidiomatic-typecheck  # JSON's true is an int in Python, but no number

if TYPE_CHECKING:
    from .places import Store

#: Something was altered, removed or put in: the ledger is no evidence as it stands.
TAMPERED = "tampered"
#: Something could not be looked at: nobody knows.
UNKNOWN = "unknown"
#: Worth a look, the records stand.
WARNING = "warning"

_THREADS = 8
_SKEW = timedelta(seconds=300)


@dataclass(frozen=True)
class Problem:
    """:param number: the record; None when it is the ledger as a whole"""

    severity: str
    number: Optional[int]
    message: str


@dataclass
class Result:
    """What was found.

    :param records: how many there are
    :param head: number, digest, recorded_at and keyid of the newest proven record
    :param unchecked: what this place cannot show
    """

    environment: str
    records: int = 0
    head: Optional[dict[str, Any]] = None
    problems: list[Problem] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """ok, tampered or unknown."""
        found = {problem.severity for problem in self.problems}
        return TAMPERED if TAMPERED in found else UNKNOWN if UNKNOWN in found else "ok"

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        return {**asdict(self), "verdict": self.verdict}

    def add(self, severity: str, number: Optional[int], message: str) -> None:
        """Notes a problem."""
        self.problems.append(Problem(severity, number, message))


@dataclass(frozen=True)
class Testimony:
    """What is known of a record from elsewhere than the ledger.

    :param source: the file that says so
    :param sha256: digest of the record's envelope; None when only its content is known
    :param subject: digest of a thing that it must name; None when nothing is known
    """

    source: str
    number: int
    sha256: Optional[str] = None
    subject: Optional[str] = None


def verify(
    place: Union[Store, Folder],
    environment: str,
    keys: PublicKeys,
    testimonies: Iterable[Testimony] = (),
) -> Result:
    """Proves the ledger in a place.

    :param keys: those whose signatures count, also the old ones of rotated keys
    :param testimonies: what witnesses and reports say
    :raises StorageError, EvidenceError: the place cannot be read
    """
    result = Result(environment)
    numbers, strangers = place.numbers()
    result.records = len(numbers)
    for name in strangers:
        result.add(WARNING, None, f"{name} is in the ledger's place and is not a record")
    _history(place, result)
    expected: dict[int, list[Testimony]] = {}
    for each in testimonies:
        expected.setdefault(each.number, []).append(each)
    _gaps(numbers, expected, result)
    before: Optional[Record] = None
    for number, stored in _read(place, numbers):
        if stored is None:
            result.add(TAMPERED, number, "it was removed while the ledger was read")
            before = None
            continue
        for testimony in expected.get(number, []):
            if testimony.sha256 and testimony.sha256 != digest(stored.data):
                result.add(TAMPERED, number, f"it is not the record that {testimony.source} saw")
        try:
            record = open_record(stored.data, keys, number=number, environment=environment)
        except BadRecord as error:
            result.add(TAMPERED, number, str(error))
            before = None
            continue
        _place_in_chain(record, before, result)
        for testimony in expected.get(number, []):
            if testimony.subject and testimony.subject not in _subjects(record):
                result.add(TAMPERED, number, f"{testimony.source} is not what it was when it was recorded")
        _lock(place, record, stored, result)
        before = record
        result.head = {
            "number": number,
            "digest": record.digest,
            "recorded_at": record.predicate["recorded_at"],
            "keyid": record.keyid,
        }
    _unseen(numbers, expected, result)
    if not numbers and not expected:
        result.add(UNKNOWN, None, "there are no records: nothing was proven")
    result.problems.sort(key=lambda problem: problem.number or 0)
    return result


def _read(place: Union[Store, Folder], numbers: list[int]) -> Iterator[tuple[int, Optional[Stored]]]:
    """All records in order, a few at a time."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(numbers), 256):
            some = numbers[start : start + 256]
            yield from pool.map(lambda number: (number, place.read(number)), some)


def _history(place: Union[Store, Folder], result: Result) -> None:
    """A record is written once. A second version or a delete marker stays also when the record was put back."""
    history = place.history()
    if history.failed:
        result.add(UNKNOWN, None, f"versions could not be looked at: {history.note}")
    elif history.note:
        result.unchecked.append(f"versions ({history.note})")
    if isinstance(place, Folder):
        result.unchecked.append("object lock (a folder has none)")
        return
    ours = {**dict.fromkeys(history.deleted, 0), **history.versions}
    for key in sorted(ours):
        number = place.number(key)
        if number and ours[key] > 1:
            result.add(TAMPERED, number, f"it was written {ours[key]} times: somebody replaced it")
        if number and key in history.deleted:
            result.add(TAMPERED, number, "it was deleted: the bucket keeps a delete marker")


def _gaps(numbers: list[int], expected: dict[int, list[Testimony]], result: Result) -> None:
    """Every number from 1 to the highest one that anybody saw must be there."""
    last = 0
    for number in numbers:
        if number > last + 1:
            result.add(TAMPERED, last + 1, _missing(last + 1, number - 1))
        last = number
    seen = max(expected, default=0)
    if seen > last:
        proof = f", the newest ones: {expected[seen][0].source} saw record {seen}"
        result.add(TAMPERED, last + 1, _missing(last + 1, seen) + proof)


def _unseen(numbers: list[int], expected: dict[int, list[Testimony]], result: Result) -> None:
    """What nobody but the ledger itself speaks for."""
    seen = max((number for number, found in expected.items() if any(each.sha256 for each in found)), default=0)
    last = max(numbers, default=0)
    if not seen:
        result.unchecked.append("whether the newest records are there: no witness was given (--witness)")
    elif seen < last:
        result.unchecked.append(
            f"whether records after {last} are there: the witness saw none after {seen}, the ledger goes on to {last}"
        )


def _missing(first: int, last: int) -> str:
    return "it is missing" if first == last else f"records {first} to {last} are missing"


def _place_in_chain(record: Record, before: Optional[Record], result: Result) -> None:
    predicate, number = record.predicate, record.number
    if (number == 1) != (predicate["previous"] is None):
        what = "it is the first, and follows on another" if number == 1 else "it does not follow on any record"
        result.add(TAMPERED, number, what)
    elif before and before.number == number - 1:
        if predicate["previous"] != before.digest:
            result.add(TAMPERED, number, f"it does not follow on record {number - 1} as that lies there")
        if parse_time(predicate["recorded_at"]) < parse_time(before.predicate["recorded_at"]):
            result.add(
                WARNING,
                number,
                f"it is of {predicate['recorded_at']}, the one before of {before.predicate['recorded_at']}: "
                "a clock went back",
            )
    try:
        apart = parse_time(predicate["recorded_at"]) - parse_time(predicate["store_time"])
    except (KeyError, TypeError, ValueError):
        return
    if abs(apart) > _SKEW:
        result.add(
            WARNING,
            number,
            f"its writer's clock said {predicate['recorded_at']}, the store's {predicate['store_time']}",
        )


def _lock(place: Union[Store, Folder], record: Record, stored: Stored, result: Result) -> None:
    """The store's lock must be what the record says, or more."""
    signed = record.predicate.get("retention")
    if isinstance(place, Folder) or not isinstance(signed, dict):
        return
    try:
        mode, until = str(signed["mode"]).upper(), parse_time(signed["until"])
    except (KeyError, TypeError, ValueError):
        return
    if stored.retention is None:
        if place.unlocked(record.number):
            result.add(WARNING, record.number, f"the store's lock on it ({mode} until {signed['until']}) was taken off")
        elif "object lock (this key may not read it)" not in result.unchecked:
            result.unchecked.append("object lock (this key may not read it)")
        return
    found_mode, found_until = stored.retention
    if found_until < until - timedelta(seconds=1) or (mode == "COMPLIANCE" and found_mode != "COMPLIANCE"):
        now = f"{found_mode} until {found_until:%Y-%m-%dT%H:%M:%SZ}"
        result.add(WARNING, record.number, f"the store's lock on it is weaker than signed: {now}")


def _subjects(record: Record) -> set[Any]:
    found = set()
    for subject in record.statement["subject"]:
        given = subject.get("digest")
        if isinstance(given, dict):
            found.add(given.get("sha256"))
    return found


def witness_testimony(path: Path, keys: PublicKeys) -> tuple[list[Testimony], list[Problem]]:
    """What a witness (JSON lines) or an evidence.json says.

    :raises EvidenceError: it cannot be read, or says nothing at all
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise EvidenceError(f"The witness {path} cannot be read: {error.strerror}.") from None
    found, problems = [], []
    strange: list[int] = []
    whole = _json(text)
    entries = [whole] if isinstance(whole, dict) and type(whole.get("number")) is int else list(lines(text))
    for index, line in enumerate(entries, 1):
        if line is None:
            problems.append(Problem(WARNING, None, f"line {index} of {path} is damaged"))
        elif line.get("keyid") not in keys:
            strange.append(line["number"])
        else:
            found.append(Testimony(str(path), line["number"], str(line.get("digest"))))
    if strange:
        # Of a ledger that was there before, such as that of another sandbox: one line, however many records it had.
        records = (
            f"{len(strange)} records ({min(strange)} to {max(strange)})" if strange[1:] else f"record {strange[0]}"
        )
        text = f"{path} saw {records} signed by a key that is not trusted: what it says of them does not count"
        problems.append(Problem(WARNING, None, text))
    if not found:
        raise EvidenceError(f"The witness {path} says nothing about a record of a trusted key.")
    return found, problems


def report_testimony(path: Path) -> Testimony:
    """What a report.json and the evidence.json beside it say: that very report is in that very record.

    :raises EvidenceError: they cannot be read
    """
    beside = path.with_name("evidence.json")
    try:
        subject = digest(path.read_bytes())
        found = _json(beside.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise EvidenceError(f"{error.filename} cannot be read: {error.strerror}.") from None
    if not isinstance(found, dict) or type(found.get("number")) is not int:
        raise EvidenceError(f"{beside} names no record.")
    return Testimony(str(path), found["number"], str(found.get("digest")), subject)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
''',
    "module_utils._ledger.places": r'''# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where records lie: <prefix>/evidence/<environment>/<number>.json in the S3 store."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Optional

from ..errors import ConfigurationError, EvidenceError
from ..storage import client, error_code, key, list_keys, storage_errors
from .folder import LAST, LIMIT, History, Stored, number_of

try:
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:

    class ClientError(Exception):  # type: ignore[no-redef]
        """Never raised: without boto3 there is no client."""

    class BotoCoreError(Exception):  # type: ignore[no-redef]
        """Never raised: without boto3 there is no client."""


__all__ = ["LAST", "NO_LOCK", "BotoCoreError", "ClientError", "Store", "store_date"]

#: Codes by which stores say that there is no object lock.
NO_LOCK = (
    "ObjectLockConfigurationNotFoundError",
    "NoSuchObjectLockConfiguration",
    "InvalidRequest",
    "NotImplemented",
    "MethodNotAllowed",
    "501",
    "405",
    "404",
)


class Store:
    """The ledger of one environment in an S3 store. All methods raise StorageError when it does not answer."""

    #: Its folder in the store, and what it is called in messages.
    folder, what = "evidence", "the ledger"

    def __init__(self, storage: dict[str, Any], environment: str, *, pool: int = 10) -> None:
        if not environment or "/" in environment or environment in (".", ".."):
            raise ConfigurationError(
                f"{environment!r} cannot be an environment's name in the store.", "Correct tradingflow_environment."
            )
        self.storage, self.bucket = storage, storage["bucket"]
        self.prefix = key(storage, self.folder, environment) + "/"
        self.s3 = client(storage, pool=pool)
        #: The store's clock when it last answered a listing; None before that.
        self.clock: Optional[datetime] = None

    def key(self, number: int) -> str:
        """The key of a record."""
        return f"{self.prefix}{number:08d}.json"

    def head(self, hint: int = 0) -> int:
        """The highest number there is, 0 for an empty ledger, in a few listings however long the ledger is.

        :param hint: a number that was there once
        """
        page = self._after(max(0, hint - 1), 1000)
        if not page:
            # Nothing from the hint on: the end was removed, or the hint is of another ledger.
            return self._search(0, hint) if hint > 1 else 0
        if len(page) < 1000:
            return page[-1]
        known, step = page[-1], 1000
        while known + step < LAST and (found := self._after(known + step, 1)):
            known, step = found[0], step * 2
        return self._search(known, min(LAST, known + step))

    def _search(self, low: int, high: int) -> int:
        """The highest number, which is at least low (if that is not 0) and at most high."""
        while low < high:
            middle = (low + high) // 2
            found = self._after(middle, 1)
            low, high = (found[0], high) if found else (low, middle)
        return low

    def _after(self, number: int, count: int) -> list[int]:
        """The next numbers after one, in order, at most count."""
        found: list[int] = []
        token: dict[str, Any] = {"StartAfter": self.key(number)} if number else {}
        with storage_errors(self.storage, f"listing {self.what}"):
            while len(found) < count:
                page = self.s3.list_objects_v2(
                    Bucket=self.bucket, Prefix=self.prefix, MaxKeys=min(1000, max(10, count)), **token
                )
                self.clock = store_date(page) or self.clock
                found += [each for entry in page.get("Contents", []) if (each := self.number(entry["Key"]))]
                if not page.get("IsTruncated"):
                    break
                token = {"ContinuationToken": page["NextContinuationToken"]}
        return found[:count]

    def number(self, key: str) -> Optional[int]:
        """The number of a record's key; None for a stranger."""
        return number_of(key[len(self.prefix) :])

    def numbers(self) -> tuple[list[int], list[str]]:
        """All numbers in order, and the names of objects that are no records."""
        numbers, strangers = [], []
        with storage_errors(self.storage, f"listing {self.what}"):
            for entry in list_keys(self.s3, self.bucket, self.prefix):
                if number := self.number(entry["Key"]):
                    numbers.append(number)
                else:
                    strangers.append(entry["Key"][len(self.prefix) :])
        return numbers, strangers

    def read(self, number: int) -> Optional[Stored]:
        """A record; None when there is none."""
        with storage_errors(self.storage, f"reading record {number} of {self.what}"):
            try:
                answer = self.s3.get_object(Bucket=self.bucket, Key=self.key(number))
            except ClientError as error:
                if error_code(error) in ("NoSuchKey", "404"):
                    return None
                raise
            data = answer["Body"].read(LIMIT)
            mode, until = answer.get("ObjectLockMode"), answer.get("ObjectLockRetainUntilDate")
            return Stored(data, (mode, until) if mode and until else None)

    def unlocked(self, number: int) -> bool:
        """Whether a record that shows no lock has none: stores hide locks from keys that may not read them."""
        with storage_errors(self.storage, f"asking for the lock of record {number}"):
            try:
                self.s3.get_object_retention(Bucket=self.bucket, Key=self.key(number))
            except ClientError as error:
                return error_code(error) not in ("AccessDenied", "403")
        return False

    def locks(self) -> Optional[bool]:
        """Whether the bucket can lock objects; None when the store does not say."""
        with storage_errors(self.storage, "asking for the bucket's object lock"):
            try:
                answer = self.s3.get_object_lock_configuration(Bucket=self.bucket)
            except ClientError as error:
                if error_code(error) in ("AccessDenied", "403"):
                    return None
                if error_code(error) in NO_LOCK:
                    return False
                raise
        return bool(answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")

    def put(self, number: int, data: bytes, retention: Optional[tuple[str, datetime]]) -> bool:
        """Puts a record where none is; False when one is there already."""
        arguments: dict[str, Any] = {}
        if retention:
            arguments = {"ObjectLockMode": retention[0], "ObjectLockRetainUntilDate": retention[1]}
        with storage_errors(self.storage, f"appending record {number} to {self.what}"):
            try:
                self.s3.put_object(
                    Bucket=self.bucket,
                    Key=self.key(number),
                    Body=data,
                    ContentType="application/json",
                    ChecksumSHA256=base64.b64encode(hashlib.sha256(data).digest()).decode(),
                    IfNoneMatch="*",
                    **arguments,
                )
            except ClientError as error:
                # 409: another conditional write of this key is under way just now.
                if error_code(error) in ("PreconditionFailed", "412", "ConditionalRequestConflict", "409"):
                    return False
                if error_code(error) in ("NotImplemented", "501"):
                    raise EvidenceError(
                        f"The store refuses what keeps two writers from forking the ledger: {error_code(error)}.",
                        "Use a store that knows conditional writes (If-None-Match) and, if lock_mode is not none, "
                        "object lock.",
                    ) from None
                raise
        return True

    def history(self) -> History:
        """Versions and delete markers of the ledger's keys."""
        found = History()
        with storage_errors(self.storage, f"listing the versions of {self.what}"):
            try:
                if self.s3.get_bucket_versioning(Bucket=self.bucket).get("Status") is None:
                    found.note = "the bucket keeps no versions"
                    return found
                for page in self.s3.get_paginator("list_object_versions").paginate(
                    Bucket=self.bucket, Prefix=self.prefix
                ):
                    for entry in page.get("Versions", []):
                        found.versions[entry["Key"]] = found.versions.get(entry["Key"], 0) + 1
                    found.deleted.update(entry["Key"] for entry in page.get("DeleteMarkers", []))
            except ClientError as error:
                if error_code(error) in ("NotImplemented", "501"):
                    return History(note="the store knows no versions")
                if error_code(error) in ("AccessDenied", "403"):
                    return History(note="this key may not list versions (s3:ListBucketVersions)", failed=True)
                raise
        return found


def store_date(answer: dict[str, Any]) -> Optional[datetime]:
    """The store's clock in an answer; None when it does not say."""
    try:
        found = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        return None
    return found.astimezone(timezone.utc)
''',
    "module_utils.storage": r'''# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Access to the S3 store, AWS's or another."""

from __future__ import annotations

import weakref
from contextlib import contextmanager, suppress
from typing import Any, Dict, Iterator, List, Optional

from ._storage_retry import BROKEN, BUSY, Body, Retry
from .errors import ConfigurationError, StorageError

try:
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    boto3 = None  # type: ignore[assignment]

#: What reading an answer raises where the SDK does not wrap it.
_HTTP = tuple(each for each in BROKEN if each is not OSError)
_DOWN = (
    "Look at the store's health, load, disks and log, and run again once it answers. This says nothing against keys,"
    " rights or objects: change none of them."
)

_CONDITIONS = {"IfMatch": "If-Match", "IfNoneMatch": "If-None-Match"}

#: Argument spec of the option "storage".
STORAGE_SPEC: Dict[str, Any] = {
    "bucket": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": ""},
    "endpoint": {"type": "str"},
    "region": {"type": "str", "default": "us-east-1"},
    "access_key": {"type": "str", "no_log": False},
    "secret_key": {"type": "str", "no_log": True},
    "session_token": {"type": "str", "no_log": True},
    "ca_file": {"type": "path"},
    "addressing_style": {"type": "str", "default": "auto", "choices": ["auto", "path", "virtual"]},
    "connect_timeout": {"type": "int", "default": 5},
    "read_timeout": {"type": "int", "default": 60},
    "retry_seconds": {"type": "int", "default": 120},
    "max_attempts": {"type": "int", "default": 0},
}

_CLIENTS: weakref.WeakKeyDictionary[Any, Retry] = weakref.WeakKeyDictionary()
#: What the SDK has read of its own description of services: that takes longer than most requests.
_LOADERS: List[Any] = []


def client(storage: Dict[str, Any], *, pool: int = 10) -> Any:
    """A boto3 S3 client. Without keys, the usual chain of the AWS SDK (role, profile, environment) is used.

    :param storage: see STORAGE_SPEC
    :param pool: connections kept open, at least the number of threads
    """
    if boto3 is None:
        raise ConfigurationError(
            "The Python library boto3 is missing.", "Install boto3 for this Python; Debian's is python3-boto3."
        )
    # Stores other than AWS often refuse boto3's default CRC trailers; where we want a checksum we say so. What is older
    # than 1.36 (Debian 12's) has none.
    quiet = {
        name: "when_required"
        for name in ("request_checksum_calculation", "response_checksum_validation")
        if name in Config.OPTION_DEFAULTS
    }
    try:
        made = _session().client(
            "s3",
            endpoint_url=storage.get("endpoint") or None,
            region_name=storage.get("region") or None,
            aws_access_key_id=storage.get("access_key") or None,
            aws_secret_access_key=storage.get("secret_key") or None,
            aws_session_token=storage.get("session_token") or None,
            # The environment's CA bundle is somebody else's: a store with a certificate of its own names its CA here.
            verify=storage.get("ca_file") or None,
            config=Config(
                connect_timeout=storage.get("connect_timeout", 5),
                read_timeout=storage.get("read_timeout", 60),
                # Ours decides: a number of tries says nothing of how long a store may be away.
                retries={"mode": "standard", "total_max_attempts": 1},
                max_pool_connections=pool,
                s3={"addressing_style": storage.get("addressing_style") or "auto"},
                **quiet,
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise StorageError(
            f"Cannot use the S3 store {describe(storage)}: {error}", "Check tradingflow_storage."
        ) from None
    for operation in ("PutObject", "DeleteObject"):
        _conditions(made, operation)
    _CLIENTS[made] = Retry(storage)
    made.meta.events.register("needs-retry.s3", _CLIENTS[made])
    return made


def prepare() -> None:
    """Reads here what every client needs, for the processes that are forked from this one."""
    if boto3 is not None:
        with suppress(BotoCoreError, ValueError):
            client({"bucket": "", "access_key": "none", "secret_key": "none"})


def _session() -> Any:
    """A session of its own, so that profile and keys are those of now, with the descriptions that are there already."""
    core = botocore.session.get_session()
    session = boto3.session.Session(botocore_session=core)
    if not _LOADERS:
        _LOADERS.append(core.get_component("data_loader"))
    core.register_component("data_loader", _LOADERS[0])
    return session


def patient(storage: Dict[str, Any]) -> Dict[str, Any]:
    """The same store for what must not be lost: its whole deadline counts from the first request on."""
    return {**storage, "patient": True}


def give_up(s3: Any) -> None:
    """What is under way is not tried again, and nobody waits: for work that ends anyway."""
    if s3 in _CLIENTS:
        _CLIENTS[s3].give_up()


def opened(s3: Any, bucket: str, key: str) -> Body:
    """An object to read from; where the store breaks off, reading goes on.

    :raises ClientError: as of get_object
    """
    place = {"Bucket": bucket, "Key": key}
    retry = _CLIENTS[s3] if s3 in _CLIENTS else Retry({"max_attempts": 1})
    return Body(s3, retry, place, s3.get_object(**place))


def _conditions(s3: Any, operation: str) -> None:
    """Lets an older boto3 (Debian 12's) send the conditions that it does not know yet: locks and ledger need them."""
    known = s3.meta.service_model.operation_model(operation).input_shape.members
    unknown = {name: header for name, header in _CONDITIONS.items() if name not in known}
    if not unknown:
        return

    def take(params: Dict[str, Any], context: Dict[str, Any], **_more: Any) -> Dict[str, Any]:
        context["conditions"] = {unknown[name]: params[name] for name in unknown if name in params}
        return {name: value for name, value in params.items() if name not in unknown}

    def send(params: Dict[str, Any], context: Dict[str, Any], **_more: Any) -> None:
        params["headers"].update(context["conditions"])

    s3.meta.events.register(f"provide-client-params.s3.{operation}", take)
    s3.meta.events.register(f"before-call.s3.{operation}", send)


def key(storage: Dict[str, Any], *parts: str) -> str:
    """An object key below the option's prefix."""
    return "/".join([part.strip("/") for part in (storage.get("prefix") or "", *parts) if part.strip("/")])


def describe(storage: Dict[str, Any]) -> str:
    """The store in words, for messages: s3://bucket at endpoint."""
    return f"s3://{storage['bucket']} at {storage.get('endpoint') or 'AWS ' + str(storage.get('region'))}"


@contextmanager
def storage_errors(storage: Dict[str, Any], doing: str) -> Iterator[None]:
    """Turns the SDK's errors into StorageError with the next step.

    :param doing: what is being done, e.g. "uploading the recovery point"
    """
    try:
        yield
    except ClientError as error:
        code, text = error_code(error), error.response.get("Error", {}).get("Message", "")
        if code in BUSY or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
            raise StorageError(
                f"The S3 store {describe(storage)} is overloaded or down, while {doing}: {code}: {text}"
                f"{_waited(storage)}",
                _DOWN,
            ) from None
        remedies = {
            "NoSuchBucket": "Create the bucket or correct tradingflow_storage.bucket.",
            "InvalidAccessKeyId": "Correct the access key (tradingflow_storage.access_key).",
            "SignatureDoesNotMatch": "Correct the secret key (tradingflow_storage.secret_key).",
            "AccessDenied": "Grant the key the rights listed in docs/backup.md and docs/evidence.md.",
            "403": "Correct the keys, or grant them the rights listed in docs/backup.md and docs/evidence.md.",
            "ExpiredToken": "Get new temporary credentials and run again.",
            "RequestTimeTooSkewed": "Synchronise the clock of this machine.",
            "XMinioStorageFull": "Free space in the store.",
            "QuotaExceeded": "Free space in the store, or raise its quota.",
        }
        raise StorageError(
            f"The S3 store {describe(storage)} refused {doing}: {code}: {text}",
            remedies.get(code, "Read what the store says, and its log; the keys and their rights were not refused."),
        ) from None
    except (BotoCoreError, *_HTTP) as error:
        text = " ".join(str(error).split())
        remedy = (
            "Check that the store runs, the network, tradingflow_storage.endpoint, and its CA"
            " (tradingflow_storage.ca_file); then run again."
        )
        if "certificate is not yet valid" in text or "certificate has expired" in text:
            remedy = "Check the clock of this machine, then the store's certificate."
        message = f"The S3 store {describe(storage)} cannot be reached while {doing}: {text}{_waited(storage)}"
        raise StorageError(message, remedy) from None


def _waited(storage: Dict[str, Any]) -> str:
    """How long it was tried, in words."""
    if storage.get("max_attempts"):
        return ""
    return f" (tried again for up to {storage.get('retry_seconds', 120)} s, tradingflow_storage.retry_seconds)"


def error_code(error: Any) -> str:
    """The store's error code of a ClientError, e.g. NoSuchKey, 404, PreconditionFailed."""
    return str(error.response.get("Error", {}).get("Code", ""))


def list_keys(s3: Any, bucket: str, prefix: str, start_after: Optional[str] = None) -> Iterator[Dict[str, Any]]:
    """All objects below a prefix as list_objects_v2 gives them (Key, Size, LastModified, ETag), in order of key."""
    arguments: Dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
    if start_after:
        arguments["StartAfter"] = start_after
    for page in s3.get_paginator("list_objects_v2").paginate(**arguments):
        contents: List[Dict[str, Any]] = page.get("Contents", [])
        yield from contents
''',
    "module_utils._storage_retry": r'''# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tries again while the store is overloaded, restarting or out of reach, until a deadline. Private to storage.py."""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Dict, Optional, Tuple

try:
    from botocore.exceptions import ConnectionError as BotoConnectionError
    from botocore.exceptions import (
        HTTPClientError,
        IncompleteReadError,
        SSLError,
    )
    from urllib3.exceptions import HTTPError

    #: What breaks off an answer in its middle.
    BROKEN: Tuple[Any, ...] = (BotoConnectionError, HTTPClientError, IncompleteReadError, HTTPError, OSError)
except ImportError:
    HTTPClientError = SSLError = BotoConnectionError = OSError  # type: ignore[assignment,misc]
    BROKEN = (OSError,)

#: Codes of an error by which stores say: not now.
BUSY = {
    *("SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "InternalError", "InternalServerError"),
    *("RequestTimeout", "RequestTimeoutException", "Throttling", "ThrottlingException", "ThrottledException"),
    *("RequestThrottled", "RequestThrottledException", "TooManyRequests", "TooManyRequestsException"),
    *("BandwidthLimitExceeded", "RequestLimitExceeded", "XMinioServerNotInitialized", "ServerNotInitialized"),
    *("429", "500", "502", "503", "504"),
}
_STATUSES = (429, 500, 502, 503, 504)
#: A store that this process has never heard of may as well be a wrong address: nobody waits long for that.
FIRST = 10
_LONGEST_PAUSE = 10.0

_lock = threading.Lock()
_answered: Dict[str, bool] = {}


class Retry:
    """botocore's question whether a request is sent again. One for each client.

    :param storage: see storage.STORAGE_SPEC; "patient" in it has the deadline count for a store never heard of, too
    """

    def __init__(self, storage: Dict[str, Any]) -> None:
        self.seconds = float(storage.get("retry_seconds", 120))
        self.attempts = int(storage.get("max_attempts") or 0)
        self._patient = bool(storage.get("patient"))
        self._place = str(storage.get("endpoint") or storage.get("region"))
        self._over = threading.Event()

    def give_up(self) -> None:
        """From now on nothing is tried again, and nobody waits."""
        self._over.set()

    def __call__(
        self,
        attempts: int,
        response: Optional[Tuple[Any, Dict[str, Any]]],
        caught_exception: Optional[BaseException],
        request_dict: Dict[str, Any],
        **_more: Any,
    ) -> Optional[float]:
        """Waits and gives 0 when the request is to be sent again, None when not."""
        if not _passing(response, caught_exception):
            if response is not None:
                self.heard()
            return None
        context = request_dict.setdefault("context", {})
        since = context.setdefault("tradingflow_failing_since", time.monotonic())
        return 0 if self.wait(attempts, since) else None

    def heard(self) -> None:
        """The store has answered."""
        with _lock:
            _answered[self._place] = True

    def wait(self, attempts: int, since: float) -> bool:
        """Waits for the next try; False when there is none.

        :param attempts: so many were made
        :param since: when the first of them failed, by the monotonic clock
        """
        with _lock:
            known = _answered.get(self._place)
        # None: never heard of; False: we have waited for it in vain just now.
        seconds = self.seconds if known or (self._patient and known is None) else min(self.seconds, FIRST)
        left = since + (0 if known is False else seconds) - time.monotonic()
        if (self.attempts and attempts >= self.attempts) or left <= 0 or self._over.is_set():
            if not self.attempts and not self._over.is_set():
                with _lock:
                    _answered[self._place] = False
            return False
        pause = min(0.25 * 2 ** min(attempts, 10), _LONGEST_PAUSE) * (0.5 + random.random() / 2)  # noqa: S311
        return not self._over.wait(min(pause, left))


def _passing(response: Optional[Tuple[Any, Dict[str, Any]]], error: Optional[BaseException]) -> bool:
    """Whether a failure is one that may pass by itself."""
    if error is not None:
        if isinstance(error, SSLError):
            # A store that goes down breaks off handshakes; a wrong certificate stays wrong.
            text = str(error).lower()
            return "certificate" not in text and "wrong_version" not in text and "wrong version" not in text
        return isinstance(error, (BotoConnectionError, HTTPClientError))
    if response is None:
        return False
    code = str(response[1].get("Error", {}).get("Code", ""))
    return response[0].status_code in _STATUSES or code in BUSY


class Body:
    """An object's bytes to read from. What breaks off is gone on with where it stopped, until the deadline."""

    def __init__(self, s3: Any, retry: Retry, place: Dict[str, Any], answer: Dict[str, Any]) -> None:
        self._s3, self._retry, self._place = s3, retry, place
        self._body, self._etag = answer["Body"], answer.get("ETag")
        self._size = answer.get("ContentLength")
        self._done = 0

    def read(self, size: Optional[int] = None) -> bytes:
        """The next bytes, none at the end; without a size, all that are left."""
        if size is not None and size >= 0:
            return self._some(size)
        pieces = []
        while piece := self._some(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        self._body.close()

    def _some(self, size: int) -> bytes:
        attempts, since = 0, 0.0
        while True:
            try:
                if attempts:
                    self._again()
                data = bytes(self._body.read(size))
                break
            except BROKEN:
                attempts += 1
                since = since or time.monotonic()
                # Nothing is left to be asked for, or the store does not say what it was.
                if not self._etag or not self._retry.wait(attempts, since):
                    raise
        self._done += len(data)
        return data

    def _again(self) -> None:
        if self._size is not None and self._done >= self._size:
            return
        self._body = self._s3.get_object(**self._place, Range=f"bytes={self._done}-", IfMatch=self._etag)["Body"]
''',
}
# parts: end

#: Exit status by verdict. 1 is nothing else's: neither a mistake in the command line (2) nor a failure of any kind.
EXIT = {"ok": 0, "tampered": 1, "unknown": 3}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the parts from this file, wherever it lies."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Where a module is: here, or not known here."""
        if name not in PARTS:
            return None
        inner = any(other.startswith(name + ".") for other in PARTS)
        return importlib.util.spec_from_loader(name, self, origin=f"{name} in ledger_verify.py", is_package=inner)

    def exec_module(self, module: Any) -> None:
        """Runs a part."""
        exec(compile(PARTS[module.__name__], f"{module.__name__} in ledger_verify.py", "exec"), module.__dict__)  # noqa: S102


def part(name: str) -> Any:
    """A part of the collection, from this file."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    return importlib.import_module(f"module_utils.{name}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = result.add_mutually_exclusive_group(required=True)
    source.add_argument("--s3", action="store_true", help="the ledger in its bucket")
    source.add_argument("--directory", type=Path, help="a folder of downloaded records (00000001.json ...)")
    source.add_argument("--key-id", metavar="FILE", help="only print the id of a key, public or private (PEM)")
    result.add_argument("--environment", help="whose ledger it is, as the inventory calls it")
    result.add_argument(
        "--public-key", metavar="FILE", action="append", default=[], help="a key that counts; give old ones too"
    )
    result.add_argument(
        "--witness",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="artifacts/ledger-<environment>.jsonl, or a run's evidence.json: shows when the newest records are gone",
    )
    result.add_argument(
        "--report",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="a run's report.json beside its evidence.json: must be what was recorded",
    )
    result.add_argument("--json", action="store_true", help="print the result as JSON")
    result.add_argument("--bucket")
    result.add_argument("--prefix", default="", help="what tradingflow_storage.prefix says")
    result.add_argument("--endpoint", help="URL of a store other than AWS's")
    result.add_argument("--region", default="us-east-1")
    result.add_argument("--ca-file", help="the CA of the store's certificate")
    result.add_argument("--addressing-style", choices=["auto", "path", "virtual"], default="auto")
    return result


def prove(options: argparse.Namespace) -> Any:
    """Does what the command line says.

    :raises MaintenanceError: something cannot be read
    """
    ledger = part("_ledger.verify")
    keys = part("_ledger.keys").public_keys(options.public_key)
    testimonies, problems = [], []
    for path in options.witness:
        found, odd = ledger.witness_testimony(path, keys)
        testimonies += found
        problems += odd
    testimonies += [ledger.report_testimony(path) for path in options.report]
    result = ledger.verify(place(options), options.environment, keys, testimonies)
    result.problems += problems
    return result


def place(options: argparse.Namespace) -> Any:
    """Where the records lie."""
    if options.directory:
        return part("_ledger.folder").Folder(options.directory)
    # Only here, so that an auditor of downloaded records needs no boto3.
    return part("_ledger.places").Store(storage(options), options.environment)


def storage(options: argparse.Namespace) -> dict[str, Any]:
    """The option "storage" of the modules, from the command line."""
    names = ("bucket", "prefix", "endpoint", "region", "ca_file", "addressing_style")
    return {name: getattr(options, name) for name in names}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. No failure of its own has the exit status of an altered ledger."""
    parse = parser()
    options = parse.parse_args(arguments)
    if not options.key_id:
        if not options.environment or not options.public_key:
            parse.error("--environment and --public-key are needed")
        if options.s3 and not options.bucket:
            parse.error("--s3 needs --bucket")
    try:
        if options.key_id:
            keys = part("_ledger.keys")
            print(keys.keyid_of(keys.public_key(options.key_id)))
            return 0
        result = prove(options)
    except Exception as error:
        expected = "MaintenanceError" in [kind.__name__ for kind in type(error).__mro__]
        text = str(error) if expected else f"This verifier failed, {type(error).__name__}: {error}"
        return failed(text, options)
    if options.json:
        print(json.dumps(result.as_dict(), indent=1, ensure_ascii=False))
    else:
        show(result)
    return EXIT[result.verdict]


def failed(text: str, options: argparse.Namespace) -> int:
    """Says that nothing could be verified, and why."""
    problem = {"severity": "unknown", "number": None, "message": text}
    if options.json:
        print(json.dumps({"environment": options.environment, "problems": [problem], "verdict": "unknown"}, indent=1))
    else:
        print(f"UNKNOWN: ledger: {text}")
        print("UNKNOWN: the ledger could not be verified")
    return EXIT["unknown"]


def show(result: Any) -> None:
    """Prints one line per problem, and the verdict last."""
    for problem in result.problems:
        where = "ledger" if problem.number is None else f"record {problem.number}"
        print(f"{problem.severity.upper()}: {where}: {problem.message}")
    for each in result.unchecked:
        print(f"not checked: {each}")
    count = f"{result.records} record{'' if result.records == 1 else 's'} of {result.environment}"
    if result.verdict == "ok" and result.head:
        head = result.head
        warned = f", {len(result.problems)} warnings" if result.problems else ""
        print(f"OK: {count}, 1 to {head['number']}, newest {head['recorded_at']}, digest {head['digest']}{warned}")
    elif result.verdict == "tampered":
        found = sum(problem.severity == "tampered" for problem in result.problems)
        print(f"TAMPERED: {count}, {found} problem{'' if found == 1 else 's'}: this ledger is no evidence as it stands")
    else:
        print("UNKNOWN: the ledger could not be verified")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, OSError) as stop:
        print(f"UNKNOWN: stopped: {type(stop).__name__}", file=sys.stderr)
        sys.exit(EXIT["unknown"])
