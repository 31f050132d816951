# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in a repository of pgBackRest, by listing it: names, sizes and times; contents are encrypted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Dict, List, NamedTuple, Optional, Set

from .._ledger.places import store_date
from ..storage import storage_errors

_SEGMENT = re.compile(r"([0-9A-F]{24})(\.partial)?-[0-9a-f]{40}(?:\.(?:gz|lz4|zst|bz2))?")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
_LABEL = re.compile(r"\d{8}-\d{6}F(?:_\d{8}-\d{6}[DI])?")
MANIFEST = "backup.manifest"


class Entry(NamedTuple):
    """An object.

    :param at: when the store got it, by its clock
    """

    key: str
    size: int
    etag: str
    at: datetime

    def as_listed(self) -> Dict[str, Any]:
        """As the store's listing has it."""
        return {"Key": self.key, "Size": self.size, "ETag": self.etag}


@dataclass
class Archive:
    """The WAL of one cluster.

    :param id: version and number, e.g. 15-1; another cluster or major version has another
    :param segments: whole ones by name; empty objects are none
    :param partial: unfinished ones, which a promotion leaves
    :param histories: timelines that have a history file
    :param twice: segments that are there with different contents
    """

    id: str
    segments: Dict[str, Entry] = field(default_factory=dict)
    partial: Set[str] = field(default_factory=set)
    histories: Set[int] = field(default_factory=set)
    twice: List[str] = field(default_factory=list)
    empty: List[str] = field(default_factory=list)


@dataclass
class Repository:
    """A stanza in the store.

    :param objects: everything below it by key
    :param labels: of backups that have any object
    :param clock: the store's, when it last answered
    """

    path: str
    stanza: str
    archives: Dict[str, Archive] = field(default_factory=dict)
    labels: Set[str] = field(default_factory=set)
    objects: Dict[str, Entry] = field(default_factory=dict)
    stanzas: List[str] = field(default_factory=list)
    clock: Optional[datetime] = None

    @property
    def there(self) -> bool:
        """Whether the stanza has an archive."""
        return self.information("archive") in self.objects or bool(self.archives)

    def nothing(self) -> str:
        """That there is nothing of the stanza: whether there ever was, nobody can tell from here."""
        others = f", and of {', '.join(self.stanzas[:5])} only" if self.stanzas else ""
        text = f"The repository {self.path} has nothing of the stanza {self.stanza}{others}"
        return f"{text}: physical backups were never set up, or all of them were deleted."

    def information(self, what: str, copy: str = "") -> str:
        """Key of the file that names clusters or backups.

        :param what: archive or backup
        :param copy: .copy for the second one
        """
        return f"{self.path}/{what}/{self.stanza}/{what}.info{copy}"

    def backup(self, label: str) -> str:
        """Key prefix of a backup."""
        return f"{self.path}/backup/{self.stanza}/{label}/"


def look(s3: Any, storage: Dict[str, Any], path: str, stanza: str) -> Repository:
    """Lists a stanza's WAL and backups.

    :param path: key prefix of the repository
    :raises StorageError: the store does not answer
    """
    found = Repository(path.strip("/"), stanza)
    with storage_errors(storage, f"listing the repository {found.path}"):
        for page in s3.get_paginator("list_objects_v2").paginate(
            Bucket=storage["bucket"], Prefix=f"{found.path}/archive/", Delimiter="/"
        ):
            found.clock = store_date(page) or found.clock
            found.stanzas += [entry["Prefix"].split("/")[-2] for entry in page.get("CommonPrefixes") or []]
        for what, learn in (("archive", _wal), ("backup", _backup)):
            prefix = f"{found.path}/{what}/{stanza}/"
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=storage["bucket"], Prefix=prefix):
                found.clock = store_date(page) or found.clock
                for entry in page.get("Contents") or []:
                    each = Entry(entry["Key"], entry["Size"], entry["ETag"].strip('"'), entry["LastModified"])
                    found.objects[each.key] = each
                    learn(found, each, each.key[len(prefix) :].split("/"))
    return found


def _wal(found: Repository, entry: Entry, parts: List[str]) -> None:
    if len(parts) < 2:
        return
    archive = found.archives.setdefault(parts[0], Archive(parts[0]))
    segment, history = _SEGMENT.fullmatch(parts[-1]), _HISTORY.fullmatch(parts[-1])
    if history and entry.size:
        archive.histories.add(int(history.group(1), 16))
    elif segment and segment.group(2):
        archive.partial.add(segment.group(1))
    elif segment and not entry.size:
        archive.empty.append(segment.group(1))
    elif segment:
        if segment.group(1) in archive.segments:
            archive.twice.append(segment.group(1))
        archive.segments[segment.group(1)] = entry


def _backup(found: Repository, _entry: Entry, parts: List[str]) -> None:
    if len(parts) > 1 and _LABEL.fullmatch(parts[0]):
        found.labels.add(parts[0])
