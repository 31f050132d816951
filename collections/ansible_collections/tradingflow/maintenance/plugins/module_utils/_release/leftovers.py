# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of ConfigMaps and Secrets that no record needs any more, removed after a release that went well."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Iterator, List, Mapping, Set, Tuple
from urllib.parse import unquote

from .._kubernetes.client import Conflict, path_of
from .._kubernetes.configuration import hashed
from .._kubernetes.rollout import moment
from ..errors import MaintenanceError, ReleaseError
from ..storage import storage_errors
from . import kept
from .record import Release, Store, load
from .session import Session

#: Of each object the newest ones stay, whoever needs them; so do young ones; and a release removes a few at most.
NEWEST, YOUNG, MOST = 3, timedelta(days=1), 20
#: Records of a namespace that are read, to know what they need.
MOST_RECORDS = 200


def removed(session: Session) -> List[str]:
    """Removes them; their names. What hinders it is told, and no error: they are in nobody's way."""
    try:
        return list(_removed(session))
    except MaintenanceError as error:
        session.say(f"Old copies of the configuration stay: {error.message}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        session.say(f"Old copies of the configuration stay: what was read is not understood ({type(error).__name__}).")
    return []


def _removed(session: Session) -> Iterator[str]:
    found = [each for kind in ("ConfigMap", "Secret") for each in _copies(session, kind)]
    if not found:
        return
    # All of what is read may change meanwhile: what is copied right now is as what is there.
    needed = needs(session.store, session.namespace)
    live = {str(of): hash_of(session, str(of)) for _kind, of, _copy in found}
    spare = spared(found, needed, live, datetime.now(timezone.utc))
    for kind, _of, copy in spare[:MOST]:
        metadata = copy["metadata"]
        try:
            path = path_of(kind, session.namespace, str(metadata["name"]))
            session.cluster.delete(path, uid=str(metadata["uid"]), version=str(metadata["resourceVersion"]))
        except Conflict:
            continue
        session.say(f"Removed the copy {kind}/{metadata['name']}, which no release goes back to any more.")
        yield f"{kind}/{metadata['name']}"


def _copies(session: Session, kind: str) -> Iterator[Tuple[str, str, Dict[str, Any]]]:
    """What is proven to be a copy of ours: (kind, "Kind/name" of what it is of, it)."""
    labels = f"app.kubernetes.io/managed-by={kept.OWNER}"
    for each in session.cluster.items(path_of(kind, session.namespace), labelSelector=labels):
        notes = each["metadata"].get("annotations") or {}
        of, digest = str(notes.get(kept.OF) or ""), str(notes.get(kept.HASH) or "")
        plain = of.partition("/")[2]
        if of.partition("/")[0] != kind or not plain or len(digest) != 64 or not each.get("immutable"):
            continue
        if each["metadata"]["name"] != kept.copy_name(plain, digest):
            continue
        # The hash of a Secret has the uid of the original in it, so that its copy alone cannot prove it.
        if kind == "ConfigMap" and hashed({**each, "kind": kind}) != digest:
            continue
        yield kind, of, each


def hash_of(session: Session, of: str) -> str:
    """The hash of what is there now; empty when nothing is."""
    kind, plain = of.split("/", 1)
    found = session.cluster.items(path_of(kind, session.namespace), fieldSelector=f"metadata.name={plain}")
    return hashed({**found[0], "kind": kind}) if found else ""


def needs(store: Store, namespace: str) -> Set[Tuple[str, str]]:
    """What the records of all applications of a namespace may go back to, or are: ("Kind/name", hash).

    :raises MaintenanceError: one cannot be read: then nobody knows
    """
    folder = store.key("x", namespace).rpartition("/")[0] + "/"
    with storage_errors(store.storage, f"listing {folder}"):
        page = store.s3.list_objects_v2(Bucket=store.bucket, Prefix=folder, Delimiter="/", MaxKeys=MOST_RECORDS)
    if page.get("IsTruncated"):
        raise ReleaseError(f"{folder} has more than {MOST_RECORDS} records.")
    found: Set[Tuple[str, str]] = set()
    for each in page.get("Contents", []):
        found |= _of(_record(store, namespace, str(each["Key"])))
    return found


def _record(store: Store, namespace: str, key: str) -> Release:
    name = key.rpartition("/")[2].removesuffix(".json")
    stored = load(store, unquote(name), namespace)
    if stored is None:
        raise ReleaseError(f"The record {key} is gone.")
    return stored.release


def _of(release: Release) -> Set[Tuple[str, str]]:
    wanted = set(release.configuration.items())
    return wanted | (set(release.previous.configuration.items()) if release.previous else set())


def spared(
    copies: List[Tuple[str, str, Dict[str, Any]]], needed: Set[Tuple[str, str]], live: Mapping[str, str], now: datetime
) -> List[Tuple[str, str, Dict[str, Any]]]:
    """Which may go, the oldest first. Pure.

    :param copies: (kind, "Kind/name" of what it is of, it)
    :param live: "Kind/name" -> hash of what is there now
    """
    by_age = sorted(copies, key=lambda each: (str(each[2]["metadata"]["creationTimestamp"]), each[1]), reverse=True)
    seen: Dict[str, int] = {}
    found = []
    for kind, of, copy in by_age:
        seen[of] = seen.get(of, 0) + 1
        digest, age = copy["metadata"]["annotations"][kept.HASH], now - moment(copy["metadata"]["creationTimestamp"])
        if seen[of] > NEWEST and age > YOUNG and (of, digest) not in needed and live.get(of) != digest:
            found.append((kind, of, copy))
    return found[::-1]
