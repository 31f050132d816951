# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When certificates and keys end without which backups stop, or cannot be read."""

from __future__ import annotations

import ssl
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Optional
from urllib.parse import urlsplit

from .._http.request import Replica
from .._http.tls import Certificate, first_to_expire, read, sent
from ..checks import Check, judge, unknown
from ..errors import ConfigurationError
from ..words import plural, printable

CERTIFICATE, CERTIFICATE_TITLE = "backups.store_certificate", "Certificate of the store"
KEYS, KEYS_TITLE = "backups.keys", "Keys that end"

KEY_SPEC: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "expires_at": {"type": "str", "required": True},
}
_SECONDS = 5.0


def certificate(storage: Dict[str, Any], limit: Dict[str, Any], now: Optional[datetime] = None) -> List[Check]:
    """Days until the first certificate ends that connections to the store depend on, its own CA's too.

    No check for AWS, which renews its own, and for a store without TLS, which has none.
    """
    parts = urlsplit(storage.get("endpoint") or "")
    if parts.scheme != "https" or not parts.hostname:
        return []
    port = parts.port or 443
    source = f"{parts.hostname}:{port}"
    chain = sent(Replica(source, "https", parts.hostname, port, "/"), _SECONDS)
    if not chain:
        text = f"The certificate of {source} could not be had."
        remedy = "Check that the store runs (tradingflow_storage.endpoint)."
        return [unknown(CERTIFICATE, CERTIFICATE_TITLE, text, remedy, source=source)]
    used = [each for each in [first_to_expire(chain), *_authorities(storage.get("ca_file"), chain)] if each]
    first = min(used, key=lambda each: each.expires)
    days = (first.expires - (now or datetime.now(timezone.utc))).total_seconds() / 86400
    return [
        judge(
            CERTIFICATE,
            CERTIFICATE_TITLE,
            round(days, 1),
            unit="days",
            **limit,
            below=True,
            message=f"{first.subject} ends on {first.expires:%Y-%m-%d %H:%M} UTC.",
            remedy="Renew it; or archiving stops. pgBackRest needs a new CA, too (playbooks/backup_setup.yml).",
            source=source,
        )
    ]


def _authorities(ca_file: Optional[str], chain: List[Certificate]) -> List[Certificate]:
    """Those of the CAs trusted by a file that the chain ends at."""
    if not ca_file:
        return []
    try:
        text = Path(ca_file).read_text(encoding="ascii", errors="replace")
        blocks = text.split("-----BEGIN CERTIFICATE-----")[1:]
        ends = [block.split("-----END CERTIFICATE-----")[0] for block in blocks]
        found = [
            read(ssl.PEM_cert_to_DER_cert(f"-----BEGIN CERTIFICATE-----{each}-----END CERTIFICATE-----"))
            for each in ends
        ]
    except (OSError, ValueError):
        # That nobody can connect with it is found elsewhere.
        return []
    return [each for each in found if each.subject in {issued.issuer for issued in chain}]


def keys(expiry: List[Dict[str, Any]], limit: Dict[str, Any], now: Optional[datetime] = None) -> List[Check]:
    """Days until the first of the keys ends that have a date. Where none has, nobody can say: no check.

    :raises ConfigurationError: a date is none
    """
    if not expiry:
        return []
    now = now or datetime.now(timezone.utc)
    days = {each["name"]: (date(each) - now).total_seconds() / 86400 for each in expiry}
    first = min(days, key=lambda each: days[each])
    when = "has ended" if days[first] < 0 else f"ends in {days[first]:.0f} days"
    return [
        judge(
            KEYS,
            KEYS_TITLE,
            round(days[first], 1),
            unit="days",
            **limit,
            below=True,
            message=f"{printable(first)} {when}, the first of {plural(len(days), 'key')} with a date.",
            remedy="Replace it, then put the new date into backup_key_expiry.",
            source="backup_key_expiry",
            details={"days": {printable(name): round(left, 1) for name, left in days.items()}},
        )
    ]


def date(key: Dict[str, Any]) -> datetime:
    """The end of a key; a day alone is its beginning, in UTC.

    :raises ConfigurationError: it is none
    """
    try:
        # Before Python 3.11 a Z is not understood.
        found = datetime.fromisoformat(str(key["expires_at"]).strip().replace("Z", "+00:00"))
    except ValueError:
        raise ConfigurationError(
            f"{key['expires_at']!r}, when {printable(key['name'])} ends, is not a date.",
            "Write it like 2027-03-31 or 2027-03-31T12:00:00Z in backup_key_expiry.",
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
