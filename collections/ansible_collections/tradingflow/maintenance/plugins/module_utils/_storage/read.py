# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Single objects in the store: fetched, looked at, compared with what was recorded."""

from __future__ import annotations

from typing import Any, Dict, Optional

from ..storage import error_code, opened, storage_errors

try:
    from botocore.exceptions import ClientError
except ImportError:
    ClientError = OSError  # type: ignore[assignment,misc]


_ABSENT = ("404", "NoSuchKey", "NotFound")


def head(s3: Any, storage: Dict[str, Any], key: str) -> Optional[Dict[str, Any]]:
    """HEAD of an object with its checksum, None when there is no such object.

    :raises StorageError: the store does not answer or refuses
    """
    with storage_errors(storage, f"looking at {key}"):
        try:
            answer: Dict[str, Any] = s3.head_object(Bucket=storage["bucket"], Key=key, ChecksumMode="ENABLED")
            return answer
        except ClientError as error:
            if error_code(error) in _ABSENT:
                return None
            raise


def fetch(s3: Any, storage: Dict[str, Any], key: str) -> Any:
    """An object's body to read from, None when there is no such object."""
    try:
        return opened(s3, storage["bucket"], key)
    except ClientError as error:
        if error_code(error) in _ABSENT:
            return None
        raise


def check_head(s3: Any, storage: Dict[str, Any], entry: Dict[str, Any]) -> Optional[str]:
    """What is wrong with an object by its HEAD, None when size and checksum are as recorded.

    :param entry: of a recovery point's objects
    """
    answer = head(s3, storage, entry["key"])
    if answer is None:
        return f"{entry['key']} is missing"
    if answer["ContentLength"] != entry["size"]:
        return f"{entry['key']} has {answer['ContentLength']} bytes instead of {entry['size']}"
    # Stores that keep no SHA-256 still have the ETag that they gave at upload.
    checksum = answer.get("ChecksumSHA256")
    if checksum and entry.get("checksum"):
        return None if checksum == entry["checksum"] else f"{entry['key']} has another SHA-256 than recorded"
    if not entry.get("etag"):
        return f"{entry['key']} has no checksum in the store"
    return (
        None if answer.get("ETag", "").strip('"') == entry["etag"] else f"{entry['key']} has another ETag than recorded"
    )
