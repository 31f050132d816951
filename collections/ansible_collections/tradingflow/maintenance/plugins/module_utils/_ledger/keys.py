# Copyright (c) 2026 TradingFlow Maintenance contributors
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
