# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is signed of a bundle: an in-toto statement over the complete list of its files, in a DSSE envelope."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Optional

from .._ledger.keys import PublicKeys, SigningKey
from .._ledger.record import STATEMENT_TYPE, BadRecord, digest, seal, unsealed
from ..errors import EvidenceError

PREDICATE_TYPE = "urn:tradingflow:maintenance:audit-bundle:1"
STAMP_TYPE = "urn:tradingflow:maintenance:audit-timestamp:1"
#: Files that are not on the signed list: they are what signs it.
STATEMENT, STAMP, STAMP_STATEMENT = "statement.dsse.json", "timestamp.tsr", "timestamp.dsse.json"
MANIFEST = "manifest.json"


class Listed(NamedTuple):
    """A file of the bundle."""

    path: str
    size: int
    sha256: str


def sealed(files: List[Listed], facts: Dict[str, Any], key: SigningKey) -> bytes:
    """The envelope.

    :param files: every file of the bundle but the envelope and its time stamp
    :param facts: bundle, environment, number, previous, period, retention, legal_hold, timestamp
    """
    subjects = [
        {"name": file.path, "digest": {"sha256": file.sha256}, "annotations": {"size": file.size}}
        for file in sorted(files)
    ]
    return seal(_statement(subjects, PREDICATE_TYPE, facts), key)


def sealed_stamp(stamp: bytes, statement: bytes, key: SigningKey) -> bytes:
    """The envelope that binds a time stamp to the bundle, as the time stamp is of the statement."""
    subjects = [{"name": STAMP, "digest": {"sha256": digest(stamp)}}]
    return seal(_statement(subjects, STAMP_TYPE, {"statement": digest(statement)}), key)


def opened(data: bytes, keys: PublicKeys, environment: str, number: Optional[int] = None) -> Dict[str, Any]:
    """What an earlier bundle's statement says of it.

    :raises EvidenceError: it is not signed by a trusted key, altered, or of another place
    """
    try:
        content = json.loads(unsealed(data, keys)[1])
        facts = content["predicate"]
        if content["_type"] != STATEMENT_TYPE or content["predicateType"] != PREDICATE_TYPE:
            raise BadRecord("it is not the statement of a bundle")
        if facts["environment"] != environment or number not in (None, facts["number"]):
            raise BadRecord("it was put in another's place")
        return {**facts, "files": content["subject"]}
    except BadRecord as error:
        reason = str(error)
    except (ValueError, KeyError, TypeError):
        reason = "it is not the statement of a bundle"
    raise EvidenceError(
        f"Bundle {number} of {environment}, which the next one would follow on, does not verify: {reason}.",
        "Find out what became of it (docs/audit.md, A broken chain). Nothing was chained onto it.",
    )


def _statement(subjects: List[Dict[str, Any]], kind: str, predicate: Dict[str, Any]) -> Dict[str, Any]:
    return {"_type": STATEMENT_TYPE, "subject": subjects, "predicateType": kind, "predicate": predicate}
