# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proves audit bundles, folders or .tar files. Needs Python 3.9 with cryptography, nothing else.

    python3 bundle_verify.py --public-key evidence.pub --environment production BUNDLE [BUNDLE ...]

Several bundles are also proven as a chain. Get this script and the key from elsewhere than the bundle: the copy in a
bundle was made by whoever made the bundle.

Exit status: 0 intact (what its sources lack is said in lines that begin with INCOMPLETE), 1 rejected: altered, not
signed by a key that counts, or empty; 2 a mistake in the command line, 3 it could not be verified. What was not looked
at, and what cannot be proven, is said in lines that begin with "not checked" and "not proven".
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import os
import re
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any, Iterator, NamedTuple

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    sys.exit(print("UNKNOWN: the Python library cryptography is missing: python3 -m pip install cryptography") or 3)

# pylint: disable=unidiomatic-typecheck  # JSON's true is an int in Python, but no number

EXIT = {"intact": 0, "rejected": 1, "unknown": 3}
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
BUNDLE_TYPE = "urn:tradingflow:maintenance:audit-bundle:1"
STAMP_TYPE = "urn:tradingflow:maintenance:audit-timestamp:1"
STATEMENT, STAMP, STAMP_STATEMENT, MANIFEST = (
    *("statement.dsse.json", "timestamp.tsr", "timestamp.dsse.json"),
    "manifest.json",
)
UNLISTED = (STATEMENT, STAMP_STATEMENT, STAMP)
NOT_PROVEN = (
    "that what was collected is true, or that all there was is named as a source: that is what the manifest says",
    "when it was made, without a time stamp; and that it is the newest bundle: ask for the ledger's records of it",
)
KINDS = (
    *("journal", "log_file", "container", "kubernetes", "table", "configuration", "roles", "ledger"),
    *("versions", "clock"),
)
#: A statement or manifest beyond this is not read into memory.
LIMIT = 64 << 20
CHUNK = 1 << 20
_PATH = re.compile(r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.@:+=,~%-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9_.@:+=,~%-]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Rejected(Exception):
    """The bundle is no evidence as it stands."""


class Unknown(Exception):
    """It could not be looked at."""


class File(NamedTuple):
    path: str
    size: int
    sha256: str


def encoded(data: Any) -> bytes:
    """The one form of envelopes and statements."""
    return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def parse_time(text: Any) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


# Keys


class Key(NamedTuple):
    """:param since: None, or when it began to count; until: when it expired or was revoked"""

    key: Any
    since: datetime | None = None
    until: datetime | None = None


def load_keys(files: list[str], trust: list[str]) -> dict[str, Key]:
    """Keys by id, from PEM files and from JSON files with what is known of each."""
    found = [Key(public_key(read_file(path), path)) for path in files]
    for path in trust:
        try:
            for each in json.loads(read_file(path))["keys"]:
                if set(each) - {"public_key", "valid_from", "valid_until", "revoked_at", "comment"}:
                    raise ValueError("an unknown field")
                ends = [parse_time(each[name]) for name in ("valid_until", "revoked_at") if each.get(name)]
                since = parse_time(each["valid_from"]) if each.get("valid_from") else None
                found.append(Key(public_key(each["public_key"].encode(), path), since, min(ends, default=None)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Unknown(f"{path} is not a file of trusted keys: {error}") from None
    result: dict[str, Key] = {}
    for key in found:
        der = key.key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        keyid = hashlib.sha256(der).hexdigest()
        if result.setdefault(keyid, key)[1:] != key[1:]:
            raise Unknown(f"key {keyid} was given twice, with different limits")
    return result


def read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(LIMIT)
    except OSError as error:
        raise Unknown(f"{path} cannot be read: {error.strerror}") from None


def public_key(pem: bytes, where: str) -> Any:
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise Unknown(f"{where} is not an Ed25519 public key in PEM")
    return key


def unsealed(data: bytes, keys: dict[str, Key], what: str) -> tuple[dict[str, Any], str]:
    """The statement in an envelope, and the id of the key that signed it."""
    try:
        envelope = json.loads(data)
        (signature,) = envelope["signatures"]
        keyid, payload = signature["keyid"], base64.b64decode(envelope["payload"], validate=True)
        proof = base64.b64decode(signature["sig"], validate=True)
        signatures = [{"keyid": keyid, "sig": base64.b64encode(proof).decode()}]
        text = base64.b64encode(payload).decode()
        again = encoded({"payload": text, "payloadType": PAYLOAD_TYPE, "signatures": signatures})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error):
        raise Rejected(f"{what} is not an envelope") from None
    # The signature covers the payload alone. That the rest has one form only makes a change to any byte show.
    if not isinstance(keyid, str) or again != data:
        raise Rejected(f"{what} was altered: its envelope is not written as bundles are")
    if keyid not in keys:
        raise Rejected(f"{what} is signed by key {keyid[:64]}, which is not among the given ones")
    signed = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    try:
        keys[keyid].key.verify(proof, signed)
    except InvalidSignature:
        raise Rejected(f"the signature of {what} is wrong") from None
    content = json.loads(payload)
    if not isinstance(content, dict) or encoded(content) != payload or content.get("_type") != STATEMENT_TYPE:
        raise Rejected(f"what is signed in {what} is not a statement")
    return content, keyid


# Where the files lie


class Folder:
    """A bundle as a folder. What is no regular file is told by its name only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.names = sorted(self._walk(path, ""))

    def _walk(self, path: str, prefix: str) -> Iterator[str]:
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                inner = list(self._walk(entry.path, f"{prefix}{entry.name}/"))
                # An empty folder is something that nobody listed.
                yield from inner or [f"{prefix}{entry.name}/"]
            else:
                yield f"{prefix}{entry.name}"

    def open(self, name: str) -> tuple[int, int, int]:
        """Descriptor, offset and size of a file; the descriptor is the caller's to close."""
        path = os.path.join(self.path, name)
        # Not opened before it is known: a device or a pipe may wait for ever.
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise Rejected(f"{name} is not a regular file")
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        return handle, 0, os.fstat(handle).st_size

    def layout(self, name: str, mtime: int, files: list[File]) -> None:
        """A folder has no order."""

    def close(self) -> None:
        """Nothing is kept open."""


class Tar:
    """A bundle as the one archive that its statement allows: order, headers and padding are given."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.places: dict[str, tuple[int, int]] = {}
        self.top = ""
        self.end = 0
        self.handle = os.open(path, os.O_RDONLY)
        try:
            for name in UNLISTED:
                self._front(name)
            if STATEMENT not in self.places:
                raise Rejected(f"the archive does not begin with {STATEMENT}")
        except BaseException:
            self.close()
            raise
        self.names = sorted(self.places)

    def close(self) -> None:
        """Many archives may be proven by one process."""
        os.close(self.handle)

    def _front(self, name: str) -> None:
        """Where one of the first entries lies, whose size nobody has signed: its header is proven later."""
        header = os.pread(self.handle, 512, self.end)
        found = header[:100].rstrip(b"\0").decode("ascii", "replace")
        size = header[124:135]
        if not found.endswith(f"/{name}") or not re.fullmatch(rb"[0-7]{11}", size):
            return
        self.top = self.top or found[: -len(name) - 1]
        self._place(name, int(size, 8), 512)

    def _place(self, name: str, size: int, head: int) -> None:
        self.places[name] = (self.end + head, size)
        self.end += head + size + -size % 512

    def open(self, name: str) -> tuple[int, int, int]:
        """Descriptor, offset and size of an entry."""
        offset, size = self.places[name]
        return os.dup(self.handle), offset, size

    def layout(self, name: str, mtime: int, files: list[File]) -> None:
        """Proves everything between the files' contents.

        :raises Rejected: the archive is not the one of this statement
        """
        for each in files:
            self._place(each.path, each.size, len(header(f"{name}/{each.path}", each.size, mtime)))
        for path, (offset, size) in self.places.items():
            head = header(f"{name}/{path}", size, mtime)
            if os.pread(self.handle, len(head), offset - len(head)) != head:
                raise Rejected(f"the archive's entry of {path} is not in its place, or was altered")
            rest = -size % 512
            if os.pread(self.handle, rest, offset + size) != bytes(rest):
                raise Rejected(f"there is something after {path} in the archive")
        if os.fstat(self.handle).st_size != self.end + 1024 or os.pread(self.handle, 1025, self.end) != bytes(1024):
            raise Rejected("the archive does not end where it should")
        self.names = sorted(self.places)


def header(name: str, size: int, mtime: int) -> bytes:
    """What stands before a file: a ustar header, before it a pax header where the name is too long for it."""
    short, prefix = name.encode("ascii"), b""
    if len(short) > 100:
        cut = short.rfind(b"/", 0, 156)
        prefix, short = (short[:cut], short[cut + 1 :]) if cut > 0 else (b"", short)
    if len(short) <= 100:
        return ustar(short, prefix, size, mtime, b"0")
    record = b" path=" + name.encode("ascii") + b"\n"
    count = len(record) + len(str(len(record)))
    record = str(len(record) + len(str(count))).encode() + record
    first = ustar(b"././@PaxHeader", b"", len(record), mtime, b"x") + record + bytes(-len(record) % 512)
    return first + ustar(name.encode("ascii")[:100], b"", size, mtime, b"0")


def ustar(name: bytes, prefix: bytes, size: int, mtime: int, kind: bytes) -> bytes:
    """A header: mode 0644, user and group 0."""
    number = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    parts = (name.ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", number, b"%011o\0" % mtime)
    head = b"".join(parts) + b" " * 8 + kind + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2
    head = (head + prefix.ljust(155, b"\0")).ljust(512, b"\0")
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def content(place: Any, name: str, limit: int = LIMIT) -> bytes:
    """A small file."""
    handle, offset, size = opened(place, name)
    try:
        if size > limit:
            raise Rejected(f"{name} has {size} bytes, too many to be what it should be")
        return os.pread(handle, size, offset)
    finally:
        os.close(handle)


def opened(place: Any, name: str) -> tuple[int, int, int]:
    if name not in place.names:
        raise Rejected(f"{name} is missing")
    try:
        found: tuple[int, int, int] = place.open(name)
        return found
    except OSError as error:
        raise Unknown(f"{name} cannot be read: {error.strerror}") from None


def altered(place: Any, file: File) -> str:
    """What is wrong with a file, nothing when it is as it was signed."""
    try:
        handle, offset, size = opened(place, file.path)
    except Rejected as error:
        return str(error)
    try:
        if size != file.size:
            return f"{file.path} has {size} bytes instead of {file.size}"
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(CHUNK))
        while size > 0:
            count = os.preadv(handle, [buffer[: min(size, CHUNK)]], offset)
            if not count:
                return f"{file.path} ends early"
            digest.update(buffer[:count])
            offset, size = offset + count, size - count
        return "" if digest.hexdigest() == file.sha256 else f"{file.path} was altered: its SHA-256 is another"
    except OSError as error:
        raise Unknown(f"{file.path} cannot be read: {error.strerror}") from None
    finally:
        os.close(handle)


# What is signed


def signed_files(statement: dict[str, Any]) -> list[File]:
    """The complete list of files, in its order."""
    try:
        files = []
        for each in statement["subject"]:
            size = each["annotations"]["size"]
            file = File(each["name"], size, each["digest"]["sha256"])
            alike = {"name": file.path, "digest": {"sha256": file.sha256}, "annotations": {"size": size}}
            if each != alike or type(size) is not int or size < 0 or not _SHA256.fullmatch(file.sha256):
                raise ValueError(file.path)
            if not _PATH.fullmatch(file.path) or file.path in UNLISTED:
                raise ValueError(file.path)
            files.append(file)
        order = [file.path for file in files]
        if order != sorted(set(order)) or MANIFEST not in order:
            raise ValueError("order")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Rejected(f"the signed list of files makes no sense: {error}") from None
    if not any(file.path.startswith("data/") and file.size for file in files):
        raise Rejected("there is no evidence in it: no file with data")
    return files


def signed_facts(statement: dict[str, Any]) -> dict[str, Any]:
    """What the statement says of the bundle."""
    facts: Any = statement.get("predicate")
    try:
        names = {"bundle", "environment", "legal_hold", "number", "period", "previous", "retention", "timestamp"}
        before = facts["previous"]
        period = [parse_time(facts["period"][name]) for name in ("from", "to")]
        if (
            statement["predicateType"] != BUNDLE_TYPE
            or set(facts) != names
            or not all(isinstance(facts[name], str) and facts[name] for name in ("bundle", "environment"))
            or type(facts["number"]) is not int
            or facts["number"] < 1
            or not all(type(facts[name]) is bool for name in ("timestamp", "legal_hold"))
            or (facts["number"] > 1) != isinstance(before, str)
            or not (before is None or _SHA256.fullmatch(before))
            or not period[0] < period[1]
        ):
            raise ValueError("its fields")
    except (ValueError, TypeError, KeyError) as error:
        raise Rejected(f"what is signed is not a bundle: {error}") from None
    result: dict[str, Any] = facts
    return result


def check_manifest(data: bytes, facts: dict[str, Any], files: list[File]) -> list[str]:
    """What the manifest says that is missing; it must agree with the statement and with itself."""
    try:
        manifest = json.loads(data)
        for name in ("bundle", "environment", "legal_hold", "number", "period", "previous", "retention"):
            if manifest[name] != facts[name]:
                raise ValueError(f"its {name} is not the signed one")
        listed = [File(each["path"], each["size"], each["sha256"]) for each in manifest["files"]]
        if listed != [file for file in files if file.path != MANIFEST]:
            raise ValueError("its list of files is not the signed one")
        sources = [(host["host"], source) for host in manifest["hosts"] for source in host["sources"]]
        named = [(each["path"], each["size"], each["sha256"]) for host, source in sources for each in source["files"]]
        if sorted(named) != sorted(file for file in listed if file.path.startswith("data/")):
            raise ValueError("a file has no source, or a source names a file that is not there")
        if not sources or not sum(source["records"] for host, source in sources):
            raise Rejected("there is no evidence in it: no source has a record")
        return [line for host, source in sources if (line := incomplete(host, source))]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Rejected(f"the manifest makes no sense: {error}") from None


def incomplete(host: str, source: dict[str, Any]) -> str:
    """What a source lacks, empty when it is complete.

    :raises ValueError: it contradicts itself
    """
    where = f"{source['name']} of {host}"
    counts = [each["records"] for each in source["counts"]]
    if source["kind"] not in KINDS or source["outcome"] not in ("complete", "partial", "failed"):
        raise ValueError(f"{where} is of an unknown kind or outcome")
    if not all(type(count) is int and count >= 0 for count in (source["records"], *counts)):
        raise ValueError(f"{where} has no counts")
    if source["outcome"] != "complete":
        gaps = "".join(f"; {gap['from']} to {gap['to']}: {gap['reason']}" for gap in source["gaps"])
        return f"{where} is {source['outcome']}: {source['reason']}{gaps}"
    if source["gaps"] or source["exit_status"] not in (0, None):
        raise ValueError(f"{where} calls itself complete, and has gaps or failed")
    if len(counts) < 2 or set(counts) != {source["records"]}:
        raise ValueError(f"{where} calls itself complete, and its counts differ")
    return ""


# Time stamps (RFC 3161): the little of ASN.1 and CMS that they need

OID_DATA, OID_TST = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
OID_TYPE, OID_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
OID_CERTIFICATE = {"1.2.840.113549.1.9.16.2.12": "sha1", "1.2.840.113549.1.9.16.2.47": "sha256"}
HASHES = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}


class Der(NamedTuple):
    tag: int
    body: bytes
    raw: bytes

    def items(self) -> list[Der]:
        """What is in a constructed value."""
        found, place = [], 0
        while place < len(self.body):
            start, tag, length = place, self.body[place], self.body[place + 1]
            place += 2
            if length & 0x80:
                width = length & 0x7F
                length, place = int.from_bytes(self.body[place : place + width], "big"), place + width
            if not length <= len(self.body) - place:
                raise ValueError("cut off")
            found.append(Der(tag, self.body[place : place + length], self.body[start : place + length]))
            place += length
        return found

    def oid(self) -> str:
        """An object identifier in dots."""
        numbers, value = [], 0
        for byte in self.body:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                numbers.append(value)
                value = 0
        first = min(numbers[0] // 40, 2)
        return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def stamped_at(data: bytes, message: bytes, roots: list[Any]) -> datetime:
    """When an authority under one of the roots stamped a message.

    :raises Rejected: it did not
    """
    try:
        (answer,) = Der(0, data, data).items()
        status, token = answer.items()
        if status.items()[0].body != b"\0":
            raise ValueError("the authority refused")
        kind, inner = token.items()
        (signed,) = inner.items()
        _version, _digests, encapsulated, *more, signers = signed.items()
        certificates = [
            x509.load_der_x509_certificate(each.raw) for part in more if part.tag == 0xA0 for each in part.items()
        ]
        (signer,) = signers.items()
        inner_kind, wrapped = encapsulated.items()
        (info,) = wrapped.items()
        if kind.oid() != OID_DATA or inner_kind.oid() != OID_TST:
            raise ValueError("not a time stamp")
        _version, _id, algorithm, attributes, _method, proof = signer.items()
        name = HASHES[algorithm.items()[0].oid()]
        values = {each.items()[0].oid(): each.items()[1].items() for each in attributes.items()}
        if values[OID_TYPE][0].oid() != OID_TST or values[OID_DIGEST][0].body != hashlib.new(name, info.body).digest():
            raise ValueError("its signed attributes are of another stamp")
        certificate = bound(values, certificates)
        verify(certificate.public_key(), proof.body, b"\x31" + attributes.raw[1:], name)
        fields = Der(0, info.body, info.body).items()[0].items()
        method, imprint = fields[2].items()
        if hashlib.new(HASHES[method.items()[0].oid()], message).digest() != imprint.body:
            raise ValueError("it is of another statement")
        text = fields[4].body.decode("ascii").rstrip("Z").partition(".")[0]
        at = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        if not usage.critical or list(usage.value) != [x509.oid.ExtendedKeyUsageOID.TIME_STAMPING]:
            raise ValueError("its certificate is not for time stamps")
        trusted_path(certificate, certificates, roots, at)
        return at
    except InvalidSignature:
        raise Rejected("the time stamp's signature is wrong") from None
    except Exception as error:  # Of whichever kind: it is data of others, and none of it is good before all of it is.
        text = str(error) or "it cannot be read"
        raise Rejected(f"the time stamp is not one of a trusted authority: {text}") from None


def certificates_of(pem: bytes) -> list[Any]:
    """The certificates in a file."""
    end = b"-----END CERTIFICATE-----"
    found = [x509.load_pem_x509_certificate(part + end) for part in pem.split(end)[:-1]]
    if not found:
        raise Unknown("a file of an authority has no certificate in PEM")
    return found


def bound(values: dict[str, list[Der]], certificates: list[Any]) -> Any:
    """The certificate whose digest the authority signed."""
    for oid, usual in OID_CERTIFICATE.items():
        if oid in values:
            first = values[oid][0].items()[0].items()[0].items()
            name = (
                HASHES[first[0].items()[0].oid()]
                if first[0].tag == 0x30 and len(first) > 1 and first[1].tag == 4
                else usual
            )
            wanted = next(each.body for each in first if each.tag == 4)
            for certificate in certificates:
                if hashlib.new(name, certificate.public_bytes(serialization.Encoding.DER)).digest() == wanted:
                    return certificate
    raise ValueError("its certificate is missing")


def verify(key: Any, proof: bytes, data: bytes, name: str) -> None:
    """:raises InvalidSignature: the key did not sign the data"""
    method = getattr(hashes, name.upper())()
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(proof, data, padding.PKCS1v15(), method)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(proof, data, ec.ECDSA(method))
    else:
        raise ValueError("a kind of key that time stamps do not have")


def trusted_path(certificate: Any, others: list[Any], roots: list[Any], at: datetime) -> None:
    """:raises ValueError: no root vouches for a certificate at that time"""
    for _step in range(8):
        since, until = (
            getattr(certificate, f"not_valid_{name}_utc", None)
            or getattr(certificate, f"not_valid_{name}").replace(tzinfo=timezone.utc)
            for name in ("before", "after")
        )
        if not since <= at <= until:
            raise ValueError("a certificate was not valid then")
        if certificate in roots:
            return
        issuer = next((each for each in [*roots, *others] if issued(certificate, each)), None)
        if issuer is None or issuer == certificate:
            break
        certificate = issuer
    raise ValueError("no given authority vouches for it")


def issued(certificate: Any, issuer: Any) -> bool:
    """Whether a certificate is signed by another that may do so."""
    if certificate.issuer != issuer.subject:
        return False
    try:
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        name = certificate.signature_hash_algorithm.name
        verify(issuer.public_key(), certificate.signature, certificate.tbs_certificate_bytes, name)
    except (InvalidSignature, ValueError, AttributeError, x509.ExtensionNotFound):
        return False
    return True


# One bundle, and the chain


class Proof:
    """What was found of one bundle."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.verdict = "unknown"
        self.problems: list[str] = []
        self.incomplete: list[str] = []
        self.unchecked: list[str] = []
        self.overlaps: list[str] = []
        self.facts: dict[str, Any] = {}
        self.digest = self.keyid = ""
        self.stamped_at: str | None = None
        self.files = 0


def prove(path: str, keys: dict[str, Key], roots: list[Any], environment: str | None) -> Proof:
    """Proves one bundle."""
    proof = Proof(path)
    try:
        place = Folder(path) if os.path.isdir(path) else Tar(path)
        try:
            _prove(place, proof, keys, roots, environment)
        finally:
            place.close()
        proof.verdict = "rejected" if proof.problems else "intact"
    except Rejected as error:
        proof.problems.append(str(error))
        proof.verdict = "rejected"
    except (Unknown, OSError) as error:
        proof.problems.append(str(error))
        proof.verdict = "unknown"
    return proof


def _prove(place: Any, proof: Proof, keys: dict[str, Key], roots: list[Any], environment: str | None) -> None:
    data = content(place, STATEMENT)
    statement, proof.keyid = unsealed(data, keys, STATEMENT)
    facts, files = signed_facts(statement), signed_files(statement)
    proof.facts, proof.digest, proof.files = facts, hashlib.sha256(data).hexdigest(), len(files)
    if environment is not None and facts["environment"] != environment:
        raise Rejected(f"it is of the environment {facts['environment']!r}, not {environment!r}")
    place.layout(facts["bundle"], int(parse_time(facts["period"]["to"]).timestamp()), files)
    at = check_stamp(place, proof, data, keys, roots)
    check_key(proof, keys[proof.keyid], at)
    expected = {file.path for file in files} | {STATEMENT} | ({STAMP, STAMP_STATEMENT} if facts["timestamp"] else set())
    proof.problems += [f"{name} is not on the signed list of files" for name in place.names if name not in expected]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        proof.problems += [text for text in pool.map(lambda file: altered(place, file), files) if text]
    if not proof.problems:
        proof.incomplete = check_manifest(content(place, MANIFEST), facts, files)


def check_stamp(place: Any, proof: Proof, data: bytes, keys: dict[str, Key], roots: list[Any]) -> datetime | None:
    """When a trusted authority saw the statement; None when that is not known."""
    if not proof.facts["timestamp"]:
        return None
    stamp = content(place, STAMP)
    statement, keyid = unsealed(content(place, STAMP_STATEMENT), keys, STAMP_STATEMENT)
    digest = hashlib.sha256(stamp).hexdigest()
    subject = [{"name": STAMP, "digest": {"sha256": digest}}]
    about = {"statement": proof.digest}
    if statement != {"_type": STATEMENT_TYPE, "subject": subject, "predicateType": STAMP_TYPE, "predicate": about}:
        raise Rejected(f"{STAMP} is not the one that was signed for this bundle")
    if keyid != proof.keyid:
        raise Rejected(f"{STAMP_STATEMENT} is signed by another key than the bundle")
    if not roots:
        proof.unchecked.append("who made the time stamp, and when (--timestamp-ca)")
        return None
    at = stamped_at(stamp, data, roots)
    proof.stamped_at = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    if at < parse_time(proof.facts["period"]["to"]):
        raise Rejected(f"it was stamped at {proof.stamped_at}, before its period ended")
    return at


def check_key(proof: Proof, key: Key, at: datetime | None) -> None:
    """Whether the key counted when the bundle was signed, which only a time stamp can show."""
    if key.since is None and key.until is None:
        return
    if at is None:
        raise Rejected(
            f"key {proof.keyid} has expired, was revoked or is limited, and no time stamp shows when it signed"
        )
    if (key.until and at >= key.until) or (key.since and at < key.since):
        raise Rejected(f"key {proof.keyid} did not count at {proof.stamped_at}, when the bundle was stamped")


def chain(proofs: list[Proof], given: bytes | None) -> None:
    """Adds to each bundle what is wrong with its place in the chain.

    :param given: statement of the bundle before the first one
    """
    previous = hashlib.sha256(given).hexdigest() if given is not None else None
    known = {proof.facts["number"]: proof.digest for proof in proofs if proof.facts}
    for proof in sorted((proof for proof in proofs if proof.facts), key=lambda proof: int(proof.facts["number"])):
        number, before = proof.facts["number"], proof.facts["previous"]
        wanted = known.get(number - 1) or (previous if number == min(known) else None)
        if previous and number == min(known) and before != previous:
            proof.problems.append("the chain is broken: it does not follow on the statement of --previous")
        elif known[number] != proof.digest:
            proof.problems.append(f"there are two bundles with the number {number}")
        elif number > 1 and wanted is None and number == min(known):
            proof.unchecked.append(f"bundle {number - 1} before it (give it too, or its statement by --previous)")
        elif number > 1 and before != wanted:
            missing = "is missing" if wanted is None else "is another one than it follows on"
            proof.problems.append(f"the chain is broken: bundle {number - 1} {missing}")
        if proof.problems and proof.verdict == "intact":
            proof.verdict = "rejected"
    if len({proof.facts["environment"] for proof in proofs if proof.facts}) > 1:
        proofs[-1].problems.append("the bundles are of several environments")
        proofs[-1].verdict = "rejected"
    uncovered(proofs, given)


def uncovered(proofs: list[Proof], given: bytes | None) -> None:
    """Adds to a bundle that none of the others reaches up to its begin, as a chain may be whole and lack a month; and
    what of its period another one covers as well.
    """
    reached = None
    seen: list[tuple[str, datetime, datetime]] = []
    if given is not None and not any(proof.problems for proof in proofs):
        # Which is the very one that the first bundle follows on.
        before = period_of(given)
        if before is not None:
            reached = before[1]
            seen = [("that of --previous", *before)]
    for proof in sorted(
        (proof for proof in proofs if proof.facts), key=lambda proof: parse_time(proof.facts["period"]["from"])
    ):
        begin, end = (parse_time(proof.facts["period"][name]) for name in ("from", "to"))
        if reached is not None and reached < begin:
            text = f"{shown(reached)} to {proof.facts['period']['from']}"
            proof.incomplete.append(f"none of the given bundles covers {text}")
        reached = end if reached is None else max(reached, end)
        name = f"bundle {proof.facts['number']}"
        for other, since, until in seen:
            if max(since, begin) < min(until, end):
                text = f"{shown(max(since, begin))} to {shown(min(until, end))}"
                proof.overlaps.append(f"{name} and {other} both cover {text}")
        seen.append((name, begin, end))


def shown(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def period_of(statement: bytes) -> tuple[datetime, datetime] | None:
    """The period of a statement."""
    try:
        payload = base64.b64decode(json.loads(statement)["payload"], validate=True)
        period = json.loads(payload)["predicate"]["period"]
        return parse_time(period["from"]), parse_time(period["to"])
    except (ValueError, TypeError, KeyError):
        return None


def show(proof: Proof) -> None:
    """One line per finding, the verdict last."""
    for text in proof.problems:
        print(f"{proof.verdict.upper()}: {proof.path}: {text}")
    for text in proof.incomplete:
        print(f"INCOMPLETE: {proof.path}: {text}")
    for text in proof.overlaps:
        print(f"OVERLAP: {proof.path}: {text}")
    for text in proof.unchecked:
        print(f"not checked: {proof.path}: {text}")
    if proof.verdict != "intact":
        ending = "is no evidence as it stands" if proof.verdict == "rejected" else "could not be verified"
        print(f"{proof.verdict.upper()}: {proof.path} {ending}")
        return
    period, facts = proof.facts["period"], proof.facts
    text = f"INTACT: bundle {facts['number']} of {facts['environment']}, {period['from']} to {period['to']}, "
    text += f"{proof.files} files, signed by key {proof.keyid}, digest {proof.digest}"
    text += f", stamped at {proof.stamped_at}" if proof.stamped_at else ""
    print(text + (f"; INCOMPLETE in {len(proof.incomplete)} respects" if proof.incomplete else ""))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("bundles", nargs="+", metavar="BUNDLE", help="a folder or a .tar file")
    result.add_argument("--public-key", metavar="FILE", action="append", default=[], help="a key that counts (PEM)")
    result.add_argument(
        "--keys",
        metavar="FILE",
        action="append",
        default=[],
        help='JSON: {"keys": [{"public_key": PEM, "valid_from", "valid_until", "revoked_at": 2026-10-01T00:00:00Z}]}',
    )
    result.add_argument("--environment", help="whose bundle it must be")
    result.add_argument("--previous", metavar="FILE", help="statement.dsse.json of the bundle before the first one")
    result.add_argument(
        "--timestamp-ca",
        metavar="FILE",
        action="append",
        default=[],
        help="certificates of the time stamp authority (PEM)",
    )
    result.add_argument("--require-complete", action="store_true", help="reject a bundle that lacks anything")
    result.add_argument("--json", action="store_true", help="print the result as JSON")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. No failure of its own has the exit status of a rejected bundle."""
    parse = parser()
    options = parse.parse_args(arguments)
    if not options.public_key and not options.keys:
        parse.error("--public-key or --keys is needed")
    try:
        keys = load_keys(options.public_key, options.keys)
        roots = [each for path in options.timestamp_ca for each in certificates_of(read_file(path))]
        before = read_file(options.previous) if options.previous else None
    except (Unknown, ValueError) as error:
        print(f"UNKNOWN: {error}")
        return EXIT["unknown"]
    proofs = [prove(path, keys, roots, options.environment) for path in options.bundles]
    chain(proofs, before)
    for proof in proofs:
        if options.require_complete and proof.incomplete and proof.verdict == "intact":
            proof.problems.append("it is not complete")
            proof.verdict = "rejected"
    if options.json:
        print(json.dumps({"bundles": [vars(proof) for proof in proofs], "not_proven": NOT_PROVEN}, indent=1))
    else:
        for proof in proofs:
            show(proof)
        for text in NOT_PROVEN:
            print(f"not proven: {text}")
    verdicts = {proof.verdict for proof in proofs}
    return max((EXIT[verdict] for verdict in verdicts), key=[0, 3, 1].index)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, Exception) as stop:
        print(f"UNKNOWN: stopped: {type(stop).__name__}: {stop}", file=sys.stderr)
        sys.exit(EXIT["unknown"])
