# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where bundles lie: <prefix>/audit/<environment>/00000001.json are their statements, each made on the one before;
beside them are the archives. A number is taken by writing its statement where none is, so that nobody forks the chain.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from .._ledger.keys import PublicKeys
from .._ledger.places import ClientError, Store
from .._ledger.points import trusted
from .._ledger.record import digest
from .._ledger.walk import backwards
from ..errors import EvidenceError
from ..storage import error_code, list_keys, storage_errors
from .statement import opened

#: A statement beyond this is not read into memory; the verifier knows the same limit.
LIMIT = 64 << 20
#: So many bundles are looked at for one of the same period: ten years of monthly ones.
_BACK = 120
#: So many records of the ledger are looked at for the newest bundle that it knows.
_RECORDS = 4000


class Link(NamedTuple):
    """A bundle's place in the chain.

    :param digest: SHA-256 of its statement
    """

    number: int
    digest: str
    facts: Dict[str, Any]


class Chain(Store):
    """The bundles of one environment in the store."""

    folder, what = "audit", "the audit bundles"

    def __init__(self, storage: Dict[str, Any], environment: str, keys: PublicKeys) -> None:
        super().__init__(storage, environment)
        self.environment, self.keys = environment, keys

    def statement(self, number: int) -> Optional[bytes]:
        """The statement of a bundle, None when there is none."""
        with storage_errors(self.storage, f"reading statement {number} of {self.what}"):
            try:
                body = self.s3.get_object(Bucket=self.bucket, Key=self.key(number))["Body"]
            except ClientError as error:
                if error_code(error) in ("NoSuchKey", "404"):
                    return None
                raise
            data: bytes = body.read(LIMIT)
            return data

    def link(self, number: int) -> Link:
        """A bundle that is there.

        :raises EvidenceError: it is missing or does not verify
        """
        data = self.statement(number)
        if data is None:
            raise EvidenceError(
                f"Statement {number} of the audit bundles of {self.environment} is missing.",
                "Find out who removed it (docs/audit.md, A broken chain).",
            )
        return Link(number, digest(data), opened(data, self.keys, self.environment, number))

    def newest(self, evidence: Dict[str, Any]) -> Optional[Link]:
        """The newest bundle, which must be no older than the newest that the ledger knows; None when there is none.

        :raises EvidenceError: it does not verify, or newer ones are gone
        """
        number = self.head()
        link = self.link(number) if number else None
        for each, known in self._known(evidence):
            kept = self.statement(known["number"])
            if kept is None or digest(kept) != known["digest"]:
                what = "gone" if kept is None else "another one"
                raise EvidenceError(
                    f"The ledger's record {each} knows bundle {known['number']}, and that is {what} in the store.",
                    "Find out what became of it (docs/audit.md, A broken chain). Nothing was chained.",
                )
            break
        return link

    def recorded(self, link: Link, evidence: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """What the ledger's record of a bundle says, None without one."""
        return next((known for _number, known in self._known(evidence) if known["digest"] == link.digest), None)

    def _known(self, evidence: Dict[str, Any]) -> Iterator[Tuple[int, Dict[str, Any]]]:
        """The ledger's records of bundles, newest first."""
        store = Store(self.storage, self.environment, pool=16)
        for number, record in backwards(store, trusted(evidence), self.environment, _RECORDS):
            if record is not None and record.predicate["kind"] == "audit":
                yield number, record.predicate["content"]

    def of_period(self, period: Dict[str, Any], newest: Optional[Link]) -> Optional[Link]:
        """The newest bundle of a period, None when there is none among the last ones."""
        link = newest
        while link is not None:
            if link.facts["period"] == period:
                return link
            if link.number <= 1 or newest is None or newest.number - link.number >= _BACK:
                return None
            link = self.link(link.number - 1)
        return None

    def archive_key(self, name: str, statement: str) -> str:
        """Where an archive lies. Its statement's digest is in it: no other one can take its place."""
        return f"{self.prefix}{name}.{statement[:16]}.tar"

    def archives(self, name: str) -> List[str]:
        """The archives of a bundle's name that are there, also of runs that died before their statement."""
        with storage_errors(self.storage, "listing the audit bundles"):
            return [found["Key"] for found in list_keys(self.s3, self.bucket, f"{self.prefix}{name}.")]
