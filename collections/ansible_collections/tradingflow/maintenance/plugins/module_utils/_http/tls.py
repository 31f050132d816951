# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a server's certificate, said exactly."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, List, Optional, Tuple

from ..words import printable
from .request import Replica, connect, left

try:
    from cryptography import x509
except ImportError:
    x509 = None  # type: ignore[assignment]

# X509_V_ERR_* of OpenSSL.
_NOT_YET, _EXPIRED, _SELF_SIGNED, _UNKNOWN_ROOT = 9, 10, 18, 19
_NO_ISSUER = (2, 20, 21)
_NAME = (62, 64)


@dataclass
class Certificate:
    """A certificate as the server sends it.

    :param names: for which it is: names and addresses
    """

    subject: str
    issuer: str
    names: List[str]
    begins: datetime
    expires: datetime

    @property
    def self_signed(self) -> bool:
        return self.subject == self.issuer


def verified(target: Replica, timeout: float, trust: ssl.SSLContext) -> Tuple[List[Certificate], List[Certificate]]:
    """What the server sends, and the chain by which it is trusted here, from its own certificate to the root.

    What is sent and not needed may be as old as it likes; what is needed and not sent, the root, may not.
    Both are empty when they cannot be had.
    """
    if x509 is None:
        return [], []
    deadline = time.monotonic() + timeout
    try:
        with connect(target.host, target.port, deadline) as plain:
            plain.settimeout(left(deadline))
            with trust.wrap_socket(plain, server_hostname=target.host) as secure:
                used = _chain(secure, "get_verified_chain")
                return [read(each) for each in _chain(secure)], [read(each) for each in used]
    except (OSError, ValueError):
        return [], []


def sent(target: Replica, timeout: float) -> List[Certificate]:
    """What the server sends, its own certificate first, nothing of it verified: to say what is wrong, never to trust.

    Empty when it cannot be had. Nothing is sent to the server.
    """
    if x509 is None:
        return []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    deadline = time.monotonic() + timeout
    try:
        with connect(target.host, target.port, deadline) as plain:
            plain.settimeout(left(deadline))
            with context.wrap_socket(plain, server_hostname=target.host) as secure:
                return [read(each) for each in _chain(secure)]
    except (OSError, ValueError):
        return []


def _chain(secure: Any, which: str = "get_unverified_chain") -> List[bytes]:
    """The certificates of a connection as DER. Public since Python 3.13, before that one level down."""
    chain: Any = getattr(secure, which, None)
    if chain is None:
        chain = getattr(getattr(secure, "_sslobj", None), which, None)
    found = chain() if chain else None
    if not found:
        return [secure.getpeercert(binary_form=True)]
    return [each if isinstance(each, bytes) else ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in found]


def read(der: bytes) -> Certificate:
    """A certificate from its DER."""
    found = x509.load_der_x509_certificate(der)
    names: List[str] = []
    try:
        extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(each.value) for each in extension if isinstance(each, (x509.DNSName, x509.IPAddress))]
    except x509.ExtensionNotFound:
        pass
    return Certificate(_name(found.subject), _name(found.issuer), names, *_validity(found))


def _validity(found: Any) -> Any:
    """Begin and end; cryptography before 42 gives them without a zone."""
    for name in ("not_valid_before", "not_valid_after"):
        value = getattr(found, f"{name}_utc", None)
        yield value if value else getattr(found, name).replace(tzinfo=timezone.utc)


def _name(name: Any) -> str:
    common = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return printable(common[0].value if common else name.rfc4514_string() or "(no name)", 80)


def explain(error: ssl.SSLCertVerificationError, chain: List[Certificate], host: str) -> str:
    """Why a certificate is not accepted, as the end of a sentence that begins with "its certificate is not trusted:".

    :param chain: see sent()
    """
    code, now = error.verify_code, datetime.now(timezone.utc)
    if not chain:
        return printable(error.verify_message, 200)
    own, last = chain[0], chain[-1]
    if code in _NAME:
        names = ", ".join(printable(each, 80) for each in own.names[:5]) or "no name at all"
        return f"it is for {names}, not for {host}"
    if code in (_EXPIRED, _NOT_YET):
        for each in chain:
            which = "it" if each is own else f"{each.subject}, a CA above it,"
            if code == _EXPIRED and each.expires < now:
                return f"{which} expired on {each.expires:%Y-%m-%d %H:%M} UTC"
            if code == _NOT_YET and each.begins > now:
                return f"{which} is not valid before {each.begins:%Y-%m-%d %H:%M} UTC"
    if code == _SELF_SIGNED:
        return f"it is signed by itself ({own.subject}), not by a CA that is trusted here"
    if code == _UNKNOWN_ROOT:
        return f"its chain ends at the CA {last.subject}, which is not trusted here"
    if code in _NO_ISSUER:
        if len(chain) == 1:
            return (
                f"its chain is incomplete: the server sends its own certificate alone, and its issuer {own.issuer} "
                "is not among the CAs trusted here"
            )
        return f"its chain ends at {last.subject}, whose issuer {last.issuer} is neither sent nor trusted here"
    return printable(error.verify_message, 200)


def first_to_expire(chain: List[Certificate]) -> Optional[Certificate]:
    """The certificate that expires first of those that the server's own depends on.

    :param chain: by which it is trusted, see verified(); else what of that which is sent it needs
    """
    return min(chain, key=lambda each: each.expires, default=None)


def depended_on(chain: List[Certificate]) -> List[Certificate]:
    """What a chain that is sent needs: its own certificate, and those above it but for roots."""
    return [each for each in chain if each is chain[0] or not each.self_signed]
