# Copyright (c) 2026 TradingFlow Maintenance contributors
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
