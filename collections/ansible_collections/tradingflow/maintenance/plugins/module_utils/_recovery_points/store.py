# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the store says about an environment's recovery points, without reading the backups themselves."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any, Container, Dict, List, Optional

from .._files import repository
from .._storage.read import head
from ..checks import CRITICAL, Check, judge, limits, unknown
from ..errors import ConfigurationError
from ..storage import client, key, storage_errors
from ..words import human, plural, span
from . import objects
from .ids import suffix

NAME = "recovery-point.json"
SCHEMA_VERSION = 1
ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
#: A recovery point from further ahead says that a clock is wrong, and its age says nothing.
CLOCK_TOLERANCE = 300
#: Recovery points of other engines that are looked at to find the newest of one.
LOOKED_AT = 200

AGE, AGE_TITLE = "backups.newest_age", "Newest recovery point"
INTACT, INTACT_TITLE = "backups.newest_intact", "Newest recovery point intact"


def prefix_of(storage: Dict[str, Any], environment_name: str) -> str:
    """Key prefix of an environment's recovery points, without a slash at the end.

    :raises ConfigurationError: the environment's name cannot be part of a key
    """
    if not environment_name or "/" in environment_name or environment_name in (".", ".."):
        raise ConfigurationError(
            f"{environment_name!r} cannot be an environment's name in the store.", "Correct tradingflow_environment."
        )
    return key(storage, "backups", environment_name)


def run_ids(s3: Any, storage: Dict[str, Any], prefix: str) -> List[str]:
    """Ids of all runs that left anything, newest first by their own time.

    :raises StorageError: the store does not answer
    """
    found: List[str] = []
    with storage_errors(storage, "listing the recovery points"):
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=storage["bucket"], Prefix=prefix + "/", Delimiter="/"
        )
        for page in pages:
            found += [entry["Prefix"][len(prefix) + 1 : -1] for entry in page.get("CommonPrefixes") or []]
    return sorted(filter(ID.fullmatch, found), reverse=True)


def read(s3: Any, storage: Dict[str, Any], prefix: str, run_id: str) -> Dict[str, Any]:
    """A recovery point.

    :raises StorageError: the store does not answer
    :raises ValueError: it is not one; the text says why
    """
    with storage_errors(storage, f"reading the recovery point {run_id}"):
        body = s3.get_object(Bucket=storage["bucket"], Key=f"{prefix}/{run_id}/{NAME}")["Body"].read()
    return parse(body, prefix, run_id)


def parse(body: bytes, prefix: str, run_id: str) -> Dict[str, Any]:
    """A recovery point from its text.

    :raises ValueError: it is not one; the text says why
    :raises KeyError, TypeError: it is incomplete
    """
    point = json.loads(body)
    if not isinstance(point, dict) or point.get("schema_version") != SCHEMA_VERSION:
        raise ValueError("its schema version is not known")
    if point.get("id") != run_id:
        raise ValueError(f"it says that it is {point.get('id')}")
    if not isinstance(point.get("objects"), list) or not point["objects"]:
        raise ValueError("it names no objects")
    places = [f"{prefix}/{run_id}/"]
    if point["engine"]["name"] == "pgbackrest":
        # pgBackRest's own place, which many recovery points share.
        places.append(f"{point['engine']['repository_path']}/")
    for entry in objects.all_objects(point):
        if not {"key", "size", "sha256"} <= set(entry) or not str(entry["key"]).startswith(tuple(places)):
            raise ValueError("an object in it is incomplete or is elsewhere")
    datetime.strptime(point["created_at"], "%Y-%m-%dT%H:%M:%SZ")
    return point


def measure(
    storage: Dict[str, Any],
    environment_name: str,
    thresholds: Dict[str, Any],
    now: Optional[datetime] = None,
    engine: str = "logical",
    lost: Container[str] = (),
) -> List[Check]:
    """Age and integrity of an engine's newest recovery point.

    :param lost: ids that the ledger knows, and whose recovery-point.json is gone
    :raises MaintenanceError: the store does not answer, so that nothing is known
    """
    now = now or datetime.now(timezone.utc)
    prefix = prefix_of(storage, environment_name)
    limit: Dict[str, Any] = dict(limits(thresholds, "newest_age"))
    source = f"s3://{storage['bucket']}/{prefix}/"
    s3 = client(storage, pool=8)
    unfinished: List[str] = []
    gone: List[str] = []
    others = 0
    ids = run_ids(s3, storage, prefix)
    for run_id in ids:
        if head(s3, storage, f"{prefix}/{run_id}/{NAME}") is None:
            (gone if run_id in lost else unfinished).append(run_id)
            continue
        details = {"id": run_id, "unfinished_since": unfinished[:20], "lost_since": gone[:20]}
        try:
            point = read(s3, storage, prefix, run_id)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # Whichever engine made it.
            return _unreadable(run_id, error, limit, source, details, engine)
        if point["engine"]["name"] == engine:
            before = [f"{prefix}/{each}/{NAME}" for each in ids[ids.index(run_id) + 1 :]]
            return [
                age(point, now, limit, source, details, engine),
                intact(s3, storage, point, source, before),
            ]
        others += 1
        if others == LOOKED_AT:
            break
    text = f"There is no recovery point of {environment_name} in {source}"
    if others:
        text += f" made with the engine {engine}, but {plural(others, 'other one', 'other ones')}."
    else:
        text += f", only {plural(len(unfinished), 'unfinished one')}." if unfinished else "."
    if gone:
        text += f" Of {', '.join(gone[:3])} the {NAME} is missing, and the ledger says that there was one."
    remedy = "Run the backup (playbooks/daily.yml --tags backup) and read what it says."
    end = suffix(engine)
    return [
        Check(AGE + end, AGE_TITLE, CRITICAL, None, "s", **limit, message=text, remedy=remedy, source=source),
        unknown(INTACT + end, INTACT_TITLE, text, remedy, source=source),
    ]


def _unreadable(
    run_id: str, error: Exception, limit: Dict[str, Any], source: str, details: Dict[str, Any], engine: str
) -> List[Check]:
    text = f"The newest recovery point {run_id} cannot be read: {error}."
    common: Dict[str, Any] = {
        "message": text,
        "remedy": "Make another backup now; do not rely on this one.",
        "source": source,
        "details": details,
    }
    return [
        Check(AGE + suffix(engine), AGE_TITLE, CRITICAL, None, "s", **limit, **common),
        Check(INTACT + suffix(engine), INTACT_TITLE, CRITICAL, False, **common),
    ]


def age(
    point: Dict[str, Any],
    now: datetime,
    limit: Dict[str, Any],
    source: str,
    details: Dict[str, Any],
    engine: str = "logical",
) -> Check:
    """How old the data of a recovery point are, in s."""
    id = AGE + suffix(engine)
    created = datetime.strptime(point["created_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    seconds = int((now - created).total_seconds())
    if seconds < -CLOCK_TOLERANCE:
        text = f"The newest recovery point {point['id']} is {span(-seconds)} in the future: a clock is wrong."
        return unknown(
            id,
            AGE_TITLE,
            text,
            "Synchronise the clocks of the runner and of the host that makes the backup.",
            source=source,
        )
    seconds = max(seconds, 0)
    unfinished = len(details["unfinished_since"])
    text = f"The newest recovery point {point['id']} is {span(seconds)} old"
    text += f"; {plural(unfinished, 'later one was', 'later ones were')} never finished" if unfinished else ""
    lost = details.get("lost_since", [])
    text += f"; of {lost[0]}, which is later, the {NAME} is missing." if lost else "."
    return judge(
        id,
        AGE_TITLE,
        seconds,
        unit="s",
        **limit,
        message=text,
        remedy="Run the backup (playbooks/daily.yml --tags backup) and find out why it did not run.",
        source=source,
        details=details,
    )


def intact(
    s3: Any, storage: Dict[str, Any], point: Dict[str, Any], source: str, before: Optional[List[str]] = None
) -> Check:
    """Whether all objects of a recovery point have the size and checksum they had.

    :param before: keys of the recovery points before it, newest first
    """
    end = suffix(point["engine"]["name"])
    everything, wrong = objects.all_objects(point), objects.problems(s3, storage, point)
    if point.get("application", {}).get("engine") == repository.ENGINE:
        points = [point, *repository.older(s3, storage, before or [])]
        wrong += repository.differences(s3, storage, points)
    count, size = len(everything), sum(entry["size"] for entry in everything)
    details = {"id": point["id"], "objects": count, "bytes": size, "problems": wrong[:50]}
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return Check(
            INTACT + end,
            INTACT_TITLE,
            CRITICAL,
            False,
            message=f"The newest recovery point {point['id']} is damaged: {'; '.join(wrong[:3])}{more}.",
            remedy="Make another backup now; restore older versions of the objects if the bucket keeps versions.",
            source=source,
            details=details,
        )
    text = f"{point['id']} is whole: {plural(count, 'object')} ({human(size)}) with the recorded sizes and checksums."
    return Check(INTACT + end, INTACT_TITLE, "ok", True, message=text, source=source, details=details)
