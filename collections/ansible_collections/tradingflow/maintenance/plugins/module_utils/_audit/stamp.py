# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A time stamp (RFC 3161) of a statement, from an authority that is proven before it counts."""

from __future__ import annotations

import http.client
import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Dict, List
from urllib.parse import urlsplit

from ..errors import ConfigurationError, EvidenceError

#: Bytes of an answer: a few certificates.
_MOST = 1 << 20
#: How far the authority's clock may be off ours.
_APART = timedelta(seconds=300)
_HELP = "Check audit_collection_timestamp, then run again: what was collected is kept."


def stamped(options: Dict[str, Any], statement: bytes) -> bytes:
    """Has a statement stamped; what the authority answered.

    :param options: url, ca_files, timeout
    :raises EvidenceError: the authority does not answer, or what it says does not verify
    """
    try:
        from rfc3161_client import (
            TimestampRequestBuilder,
            VerificationError,
            VerifierBuilder,
            decode_timestamp_response,
        )
        from rfc3161_client.base import HashAlgorithm
    except ImportError:
        raise ConfigurationError(
            "The Python library rfc3161-client is missing.", "Install rfc3161-client on the controller."
        ) from None
    roots = roots_of(options["ca_files"])
    request = TimestampRequestBuilder().data(statement).hash_algorithm(HashAlgorithm.SHA256).build()
    answer = _post(options, request.as_bytes())
    try:
        response = decode_timestamp_response(answer)
        if response.status != 0:
            said = " ".join(response.status_string)[:200]
            raise EvidenceError(f"The time stamp authority refused: status {response.status} {said}".strip(), _HELP)
        verifier = VerifierBuilder.from_request(request)
        for each in roots:
            whole = each.subject == each.issuer
            verifier = (verifier.add_root_certificate if whole else verifier.add_intermediate_certificate)(each)
        verifier.build().verify_message(response, statement)
        at: datetime = response.tst_info.gen_time
    except (ValueError, VerificationError) as error:
        raise EvidenceError(f"What the time stamp authority said does not verify: {error}.", _HELP) from None
    if abs(at - datetime.now(timezone.utc)) > _APART:
        raise EvidenceError(
            f"The time stamp authority says it is {at:%Y-%m-%dT%H:%M:%SZ}, which is not what this clock says.",
            "Set the clock that is wrong, then run again.",
        )
    return answer


def roots_of(files: List[str]) -> List[Any]:
    """Certificates of an authority.

    :raises ConfigurationError: they cannot be read
    """
    from cryptography import x509

    roots: List[Any] = []
    for path in files:
        try:
            roots += x509.load_pem_x509_certificates(Path(path).expanduser().read_bytes())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not a certificate in PEM"
            raise ConfigurationError(
                f"The authority's certificate {path} cannot be read: {reason}.",
                "Correct audit_collection_timestamp.ca_files.",
            ) from None
    if not roots:
        raise ConfigurationError(
            "A time stamp authority is configured, and no certificate to prove what it says.",
            "Set audit_collection_timestamp.ca_files to its root certificates in PEM.",
        )
    return roots


def _post(options: Dict[str, Any], body: bytes) -> bytes:
    parts = urlsplit(options["url"])
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ConfigurationError(
            "The time stamp authority's URL is not an http or https URL without a user.",
            "Correct audit_collection_timestamp.url.",
        )
    where = f"{parts.scheme}://{parts.hostname}"
    connection: http.client.HTTPConnection
    try:
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=options["timeout"], context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=options["timeout"])
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, body, {"Content-Type": "application/timestamp-query"})
            answer = connection.getresponse()
            data = answer.read(_MOST)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise EvidenceError(f"The time stamp authority {where} does not answer: {error}.", _HELP) from None
    if answer.status != 200:
        raise EvidenceError(f"The time stamp authority {where} answered with status {answer.status}.", _HELP)
    return data
