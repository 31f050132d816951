# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deletes what a run of the backup has left, in an order in which nothing ever looks whole that is not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Set

from .._ledger.places import ClientError
from ..errors import MaintenanceError
from ..storage import error_code, storage_errors
from .inventory import Run, Version

_GONE = ("NoSuchKey", "NoSuchVersion", "NoSuchUpload", "404")
_DENIED = ("AccessDenied", "403", "InvalidRequest", "ObjectLocked", "MethodNotAllowed", "405")


class Refused(MaintenanceError):
    """The store does not let something be deleted: it is locked, or the key may not."""


def delete(s3: Any, storage: Dict[str, Any], run: Run, *, spared: Set[str], keep_versions: bool) -> None:
    """Deletes a run: recovery-point.json first, so that from then on it is none, then everything else of it.

    :param spared: keys that other recovery points refer to
    :param keep_versions: leave the versions to the bucket's own rules, and put delete markers over them
    :raises Refused: something is still there; as long as its recovery-point.json is, all of it is
    :raises StorageError: the store does not answer
    """
    points, objects = run.of_point, [each for each in run.of_objects if each.key not in spared]
    if keep_versions and run.real and run.real[0].version_id:
        # A delete without a version puts a marker, and takes nothing from anybody.
        points, objects = (
            [replace(each, version_id=None) for each in some if each.current] for some in (points, objects)
        )
    # The current version last: one that was replaced must not come to light again.
    for version in points:
        _delete(s3, storage, version)
    refused: List[Refused] = []

    def remove(version: Version) -> None:
        try:
            _delete(s3, storage, version)
        except Refused as error:
            refused.append(error)

    with ThreadPoolExecutor(8, thread_name_prefix="delete") as pool:
        list(pool.map(remove, objects))
    for key, upload in run.uploads:
        with _errors(storage, key):
            s3.abort_multipart_upload(Bucket=storage["bucket"], Key=key, UploadId=upload)
    if refused:
        more = f" And {len(refused) - 1} more." if len(refused) > 1 else ""
        raise Refused(refused[0].message + more, refused[0].remedy)


def _delete(s3: Any, storage: Dict[str, Any], version: Version) -> None:
    # One by one: stores differ in the checksum that deleting many in one request needs.
    with _errors(storage, version.key):
        s3.delete_object(Bucket=storage["bucket"], **version.place)


@contextmanager
def _errors(storage: Dict[str, Any], key: str) -> Iterator[None]:
    """What is gone already is no error; what must not go is Refused."""
    with storage_errors(storage, f"deleting {key}"):
        try:
            yield
        except ClientError as error:
            if error_code(error) in _DENIED:
                raise _refused(key, error_code(error)) from None
            if error_code(error) not in _GONE:
                raise


def _refused(what: str, code: str) -> Refused:
    return Refused(
        f"{what} could not be deleted: {code}",
        "Grant the key of backup_retention_storage the rights listed in roles/backup/README.md; what is locked goes "
        "when its lock ends.",
    )
