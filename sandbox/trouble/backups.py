# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Troubles of the backups in the store. The bucket keeps versions: nothing of a real recovery point is ever lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from .. import storage
from ..layout import SandboxError
from .contract import Memory, Trouble

#: Where inventories/local puts its recovery points.
PREFIX = "backups/local/"
POINT = "recovery-point.json"
OLD = timedelta(days=3)


def _store(memory: Memory) -> tuple[Any, str]:
    section = memory.state["s3"]
    return storage.client(section), section["bucket"]


def _keys(s3: Any, bucket: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def _newest(s3: Any, bucket: str, keys: list[str]) -> dict[str, Any]:
    """The newest recovery point.

    :raises SandboxError: there is none
    """
    points = [key for key in keys if key.endswith("/" + POINT)]
    if not points:
        raise SandboxError("There is no recovery point yet. Make one first: make daily")
    point: dict[str, Any] = json.loads(s3.get_object(Bucket=bucket, Key=max(points))["Body"].read())
    return point


def _versions(s3: Any, bucket: str, prefix: str, kind: str = "Versions") -> list[dict[str, Any]]:
    """All versions, or "DeleteMarkers", of the objects with a prefix, of each the newest first."""
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    return [entry for page in pages for entry in page.get(kind, ())]


def age(memory: Memory) -> None:
    """Copies the newest recovery point to one of three days ago, and hides all others behind delete markers."""
    s3, bucket = _store(memory)
    keys = _keys(s3, bucket)
    point = _newest(s3, bucket, keys)
    created = datetime.now(UTC) - OLD
    old_id = f"{created:%Y%m%dT%H%M%SZ}-{point['id'].rpartition('-')[2]}"
    memory.keep(copy=f"{PREFIX}{old_id}/", hidden=keys)
    for entry in point["objects"]:
        body = s3.get_object(Bucket=bucket, Key=entry["key"])["Body"].read()
        entry["key"] = entry["key"].replace(point["id"], old_id)
        answer = s3.put_object(Bucket=bucket, Key=entry["key"], Body=body, ChecksumAlgorithm="SHA256")
        entry.update(etag=answer["ETag"].strip('"'), checksum=answer.get("ChecksumSHA256"))
    point.update(id=old_id, created_at=f"{created:%Y-%m-%dT%H:%M:%SZ}")
    s3.put_object(Bucket=bucket, Key=f"{PREFIX}{old_id}/{POINT}", Body=json.dumps(point).encode())
    for key in keys:
        s3.delete_object(Bucket=bucket, Key=key)


def show_again(memory: Memory) -> None:
    """Removes the delete markers and the copy."""
    copy, hidden = memory.get("copy"), set(memory.get("hidden") or ())
    if not copy:
        return
    s3, bucket = _store(memory)
    # A marker that is not the newest is not ours: it was there before.
    markers = [
        one for one in _versions(s3, bucket, PREFIX, "DeleteMarkers") if one["IsLatest"] and one["Key"] in hidden
    ]
    for entry in [*markers, *_versions(s3, bucket, copy)]:
        s3.delete_object(Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"])


def damage(memory: Memory) -> None:
    """Half of the largest object of the newest recovery point, as a new version of it."""
    s3, bucket = _store(memory)
    largest = max(_newest(s3, bucket, _keys(s3, bucket))["objects"], key=lambda entry: entry["size"])
    answer = s3.get_object(Bucket=bucket, Key=largest["key"])
    body = answer["Body"].read()
    memory.keep(key=largest["key"], intact=answer["VersionId"])
    s3.put_object(Bucket=bucket, Key=largest["key"], Body=body[: len(body) // 2])


def repair(memory: Memory) -> None:
    """Removes the versions that came after the intact one."""
    key = memory.get("key")
    if not key:
        return
    s3, bucket = _store(memory)
    versions = [entry["VersionId"] for entry in _versions(s3, bucket, key) if entry["Key"] == key]
    for version in versions[: versions.index(memory.get("intact"))] if memory.get("intact") in versions else ():
        s3.delete_object(Bucket=bucket, Key=key, VersionId=version)


TROUBLES = (
    Trouble(
        "stale-backup",
        "the newest recovery point is three days old.",
        "the recovery points that were hidden are there again.",
        {"backups.newest_age": "critical", "backups.kept_intact": "critical"},
        age,
        show_again,
    ),
    Trouble(
        "damaged-backup",
        "half of an object of the newest recovery point is missing.",
        "the object is as it was.",
        {"backups.newest_intact": "critical", "backups.kept_intact": "critical"},
        damage,
        repair,
    ),
)
