# Copyright (c) 2026 TradingFlow Maintenance contributors
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
