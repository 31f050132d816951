# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where records of releases lie: objects in the environment's store, each only replaced by who has read it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Dict, Optional
from urllib.parse import quote

from .._ledger.places import ClientError, store_date
from ..errors import ConfigurationError, ReleaseError
from ..storage import client, describe, error_code, key, storage_errors

LARGEST = 8 << 20
_TAKEN = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
_ABSENT = ("NoSuchKey", "404")


class ConflictError(ReleaseError):
    """Somebody else has written it since it was read."""


class Store:
    """Where releases of an environment lie."""

    def __init__(self, storage: Dict[str, Any], environment: str) -> None:
        if not environment or "/" in environment or environment in (".", ".."):
            raise ConfigurationError(
                f"{environment!r} cannot be an environment's name in the store.", "Correct tradingflow_environment."
            )
        self.storage, self.bucket, self.environment = storage, storage["bucket"], environment
        self.s3 = client(storage)

    def key(self, application: str, namespace: str, id: str = "") -> str:
        """The key of the release of now, or of an ended one by its id."""
        folder = key(self.storage, "releases", self.environment, quote(namespace, safe=""))
        name = quote(application, safe="")
        return f"{folder}/{name}/{quote(id, safe='')}.json" if id else f"{folder}/{name}.json"


def read(store: Store, place: str) -> Optional[Dict[str, Any]]:
    """{"data", "etag", "clock", "read_at"} of what lies there; None when nothing does.

    :raises StorageError: the store does not answer: that is not "none"
    :raises ReleaseError: it is larger than a record can be
    """
    with storage_errors(store.storage, f"reading {place}"):
        try:
            answer = store.s3.get_object(Bucket=store.bucket, Key=place)
            data = answer["Body"].read(LARGEST + 1)
        except ClientError as error:
            if error_code(error) in _ABSENT:
                return None
            raise
    if len(data) > LARGEST:
        raise damaged(place, f"it has more than {LARGEST} bytes")
    read_at = datetime.now(timezone.utc)
    return {"data": data, "etag": answer["ETag"], "clock": store_date(answer), "read_at": read_at}


def put(store: Store, place: str, data: bytes, condition: Dict[str, str], what: str) -> str:
    """Writes; gives the tag of what lies there. Also when the answer to an earlier try was lost on the way.

    :param condition: {"IfMatch": tag} or {"IfNoneMatch": "*"}
    :param what: it is, for messages
    :raises ConflictError: somebody else was first
    """
    if len(data) > LARGEST:
        raise ReleaseError(f"The record {place} would have {len(data)} bytes: at most {LARGEST} are kept.")
    with storage_errors(store.storage, f"writing {place}"):
        try:
            answer = store.s3.put_object(
                Bucket=store.bucket, Key=place, Body=data, ContentType="application/json", **condition
            )
            return str(answer["ETag"])
        except ClientError as error:
            if error_code(error) in ("NotImplemented", "501"):
                raise ReleaseError(
                    f"The store {describe(store.storage)} knows no conditional writes: two runs could overwrite each"
                    " other's record.",
                    "Use a store that knows If-Match and If-None-Match.",
                ) from None
            if error_code(error) not in (*_TAKEN, *_ABSENT):
                raise
    found = read(store, place)
    if found is not None and found["data"] == data:
        return str(found["etag"])
    raise ConflictError(
        f"Another run has written {what} meanwhile ({place}).",
        "Run again: it goes on from what is there now.",
    )


def damaged(place: str, why: str) -> ReleaseError:
    """That what lies there cannot be understood."""
    return ReleaseError(
        f"{place} cannot be understood: {why}.",
        "Restore its last version from the store, or remove it: the release then counts as never soaked.",
    )
