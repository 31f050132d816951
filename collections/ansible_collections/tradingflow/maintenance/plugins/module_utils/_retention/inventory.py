# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in the store of an environment: recovery points, unfinished ones, and what is left of gone ones."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, FrozenSet, List, Optional, Sequence, Set, Tuple

from .._files.repository import facts_of
from .._ledger.places import NO_LOCK, ClientError, store_date
from .._recovery_points import objects
from .._recovery_points.store import ID, NAME, SCHEMA_VERSION, prefix_of
from ..storage import error_code, list_keys, storage_errors

_NOT_HERE = ("NotImplemented", "501", "MethodNotAllowed", "405")


@dataclass(frozen=True)
class Version:
    """One version of an object, or a delete marker; without versioning, the object.

    :param version_id: None in a bucket that keeps no versions
    :param latest: the one that a reader gets
    """

    key: str
    version_id: Optional[str]
    size: int
    latest: bool
    marker: bool

    @property
    def current(self) -> bool:
        return self.latest and not self.marker

    @property
    def place(self) -> Dict[str, str]:
        """As the store wants it."""
        return {"Key": self.key, **({"VersionId": self.version_id} if self.version_id else {})}


@dataclass
class Run:
    """Everything that a run of the backup has left.

    :param uploads: key and id of multipart uploads that were never completed
    """

    id: str
    key: str
    versions: List[Version] = field(default_factory=list)
    uploads: List[Tuple[str, str]] = field(default_factory=list)

    @property
    def of_point(self) -> List[Version]:
        """recovery-point.json in all its versions, the current one last."""
        return sorted((each for each in self.versions if each.key == self.key), key=lambda each: each.latest)

    @property
    def real(self) -> List[Version]:
        """What is no delete marker."""
        return [each for each in self.versions if not each.marker]

    @property
    def of_objects(self) -> List[Version]:
        return [each for each in self.versions if each.key != self.key]

    @property
    def finished(self) -> bool:
        """Whether it is a recovery point: its recovery-point.json can be read."""
        return any(each.current for each in self.of_point)

    @property
    def size(self) -> int:
        return sum(each.size for each in self.versions)

    @property
    def begun_at(self) -> datetime:
        return datetime.strptime(self.id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)


@dataclass
class Facts:
    """What a recovery-point.json says.

    :param elsewhere: keys of objects it refers to that are not below its own
    :param held: whether it is under legal hold
    :param engine: the part of a recovery point
    :param theirs: objects of its physical backup, which are pgBackRest's
    :param files: repository and snapshot of the application's files, None when they are in none
    """

    created_at: datetime
    series: str
    sha256: str
    elsewhere: Set[str]
    held: bool
    locked_until: Optional[datetime]
    files: Optional[Tuple[str, str]] = None
    engine: Dict[str, Any] = field(default_factory=dict)
    theirs: List[Version] = field(default_factory=list)

    @property
    def physical(self) -> bool:
        return self.engine.get("name") == "pgbackrest"

    def named(self, label: str) -> str:
        """A backup's label with its repository."""
        return f"{self.engine['repository_path']}/{self.engine['stanza']}/{label}"

    def named_in(self, repository: Dict[str, str]) -> str:
        """What its label were in a repository: options stanza and repository_path."""
        return f"{repository['repository_path'].strip('/')}/{repository['stanza']}/{self.engine['label']}"

    @property
    def label(self) -> str:
        """The physical backup's, empty for none."""
        return self.named(self.engine["label"]) if self.physical else ""

    @property
    def requires(self) -> FrozenSet[str]:
        """Labels of the backups that it was made from."""
        return frozenset(map(self.named, self.engine["requires"])) if self.physical else frozenset()


@dataclass
class Inventory:
    """
    :param facts: by id, of the recovery points that can be read
    :param unreadable: id -> why not; nobody knows what these refer to
    :param clock: the store's clock
    :param versioned: whether the bucket keeps versions
    """

    prefix: str
    runs: Dict[str, Run] = field(default_factory=dict)
    facts: Dict[str, Facts] = field(default_factory=dict)
    unreadable: Dict[str, str] = field(default_factory=dict)
    clock: Optional[datetime] = None
    versioned: bool = False


def take(s3: Any, storage: Dict[str, Any], environment_name: str) -> Inventory:
    """Lists everything and reads every recovery-point.json.

    :raises StorageError: the store does not answer or refuses
    """
    found = Inventory(prefix_of(storage, environment_name))
    with storage_errors(storage, "listing the recovery points and their versions"):
        found.versioned = _versioned(s3, storage["bucket"])
        _list(s3, storage["bucket"], found)
        for page in s3.get_paginator("list_multipart_uploads").paginate(
            Bucket=storage["bucket"], Prefix=found.prefix + "/"
        ):
            found.clock = store_date(page) or found.clock
            for upload in page.get("Uploads") or []:
                if run := _run(found, upload["Key"]):
                    run.uploads.append((upload["Key"], upload["UploadId"]))
    finished = [run for run in found.runs.values() if run.finished]
    with ThreadPoolExecutor(16, thread_name_prefix="inventory") as pool:
        for run, answer in pool.map(lambda run: (run, _read(s3, storage, run.key)), finished):
            if answer is None:
                found.unreadable[run.id] = "it went away while it was read"
                continue
            try:
                found.facts[run.id] = _facts(run, *answer)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                found.unreadable[run.id] = f"{type(error).__name__}: {error}"
    return found


def _versioned(s3: Any, bucket: str) -> bool:
    try:
        return s3.get_bucket_versioning(Bucket=bucket).get("Status") is not None
    except ClientError as error:
        if error_code(error) in _NOT_HERE:
            return False
        raise


def _list(s3: Any, bucket: str, found: Inventory) -> None:
    prefix = found.prefix + "/"
    if not found.versioned:
        for entry in list_keys(s3, bucket, prefix):
            if run := _run(found, entry["Key"]):
                run.versions.append(Version(entry["Key"], None, entry["Size"], True, False))
        return
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for marker, entries in ((False, page.get("Versions")), (True, page.get("DeleteMarkers"))):
            for entry in entries or []:
                if run := _run(found, entry["Key"]):
                    size, latest = entry.get("Size", 0), bool(entry["IsLatest"])
                    run.versions.append(Version(entry["Key"], entry["VersionId"], size, latest, marker))


def _run(found: Inventory, key: str) -> Optional[Run]:
    """The run that an object belongs to, None for a stranger's."""
    name = key[len(found.prefix) + 1 :].split("/")[0]
    if not ID.fullmatch(name) or not key.startswith(f"{found.prefix}/{name}/"):
        return None
    return found.runs.setdefault(name, Run(name, f"{found.prefix}/{name}/{NAME}"))


def _read(s3: Any, storage: Dict[str, Any], key: str) -> Optional[Tuple[bytes, Dict[str, Any]]]:
    with storage_errors(storage, f"reading {key}"):
        try:
            answer = s3.get_object(Bucket=storage["bucket"], Key=key)
        except ClientError as error:
            if error_code(error) in ("NoSuchKey", "404"):
                return None
            raise
        return answer["Body"].read(), answer


def _facts(run: Run, body: bytes, answer: Dict[str, Any]) -> Facts:
    """
    :raises ValueError, KeyError, TypeError, AttributeError: it is not a recovery point; the text says why
    """
    point = json.loads(body)
    if point["schema_version"] != SCHEMA_VERSION or point["id"] != run.id:
        raise ValueError("it is of an unknown version, or of another run")
    if not point["objects"]:
        raise ValueError("it names no objects")
    if not all(isinstance(each["key"], str) and isinstance(each["size"], int) for each in point["objects"]):
        raise ValueError("an object in it is incomplete")
    database, own = point["database"], run.key[: -len(NAME)]
    everything = objects.all_objects(point)
    found = Facts(
        created_at=datetime.strptime(point["created_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc),
        # A restored or upgraded cluster has another identifier: its recovery points do not stand in for the old one's.
        series=f"{point['engine']['name']}/{database.get('system_identifier') or 'unknown'}/{database['name']}",
        sha256=hashlib.sha256(body).hexdigest(),
        elsewhere={each["key"] for each in everything if not each["key"].startswith(own)},
        held=_held(answer),
        locked_until=answer.get("ObjectLockRetainUntilDate"),
        files=facts_of(point) if "application" in point else None,
        engine=point["engine"],
        theirs=[
            Version(each["key"], None, each["size"], True, False)
            for each in point["objects"]
            if each["role"] == objects.BACKUP
        ],
    )
    # What it needs must be known, or what it needs would go.
    if found.physical and not (found.label and isinstance(found.engine["requires"], list)):
        raise ValueError("it does not say what it needs")
    return found


def damage(s3: Any, storage: Dict[str, Any], run: Run) -> str:
    """What is wrong with the objects of a recovery point by their HEADs, empty when nothing is.

    For files in a repository see files.take.

    :raises StorageError: the store does not answer or refuses
    """
    answer = _read(s3, storage, run.key)
    if answer is None:
        return f"{run.key} is missing"
    wrong = objects.problems(s3, storage, json.loads(answer[0]))
    return "; ".join(wrong[:3])


def _held(answer: Dict[str, Any]) -> bool:
    return str(answer.get("ObjectLockLegalHoldStatus", "")).upper() == "ON"


def locks(
    s3: Any, storage: Dict[str, Any], run: Run, theirs: Sequence[Version] = ()
) -> Tuple[bool, Optional[datetime]]:
    """Whether any version of a run's objects is under legal hold, and when the last lock on them ends.

    :param theirs: further objects, of its physical backup
    :raises StorageError: the store does not answer or refuses
    """

    def look(version: Version) -> Dict[str, Any]:
        with storage_errors(storage, f"looking at the lock of {version.key}"):
            try:
                answer: Dict[str, Any] = s3.head_object(Bucket=storage["bucket"], **version.place)
                return answer
            except ClientError as error:
                if error_code(error) in ("NoSuchKey", "NoSuchVersion", "404"):
                    return {}
                raise

    with ThreadPoolExecutor(16, thread_name_prefix="locks") as pool:
        answers = list(pool.map(look, [*run.real, *theirs]))
    until = [answer["ObjectLockRetainUntilDate"] for answer in answers if answer.get("ObjectLockRetainUntilDate")]
    return any(map(_held, answers)), max(until, default=None)


def may_see_locks(s3: Any, storage: Dict[str, Any], version: Version) -> bool:
    """Whether this key is shown locks and holds: stores hide them from keys that may not read them."""
    for ask in (s3.get_object_retention, s3.get_object_legal_hold):
        with storage_errors(storage, f"asking for the lock of {version.key}"):
            try:
                ask(Bucket=storage["bucket"], **version.place)
            except ClientError as error:
                if error_code(error) in ("AccessDenied", "403"):
                    return False
                # Most stores answer so when there is nothing to show.
                if not error_code(error).startswith("NoSuch") and error_code(error) not in NO_LOCK:
                    raise
    return True
