# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal's files on a host: where they are, and what their headers say."""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from typing import List, Optional, Tuple

#: Persistent, and until the next boot.
FOLDERS = ["/var/log/journal", "/run/log/journal"]
_SIGNATURE = b"LPKSHHRH"
#: Up to the time of the last entry; see systemd's JOURNAL_FILE_FORMAT.
HEADER = struct.Struct("<8s2IB7x16s16s16s16s15Q")
_ENTRIES, _TAIL_NUMBER, _HEAD_NUMBER, _HEAD_AT, _TAIL_AT = 16, 17, 18, 20, 21


@dataclass
class JournalFile:
    """A file of the journal.

    :param name: folder and name, for people and for the name of what is collected
    :param entries: how many its header says it has; None when that cannot be read
    :param head: time of its first entry in us, 0 for none
    :param tail: of its last
    :param damage: why its header cannot be read
    """

    path: str
    name: str
    inode: Tuple[int, int]
    entries: Optional[int] = None
    head: int = 0
    tail: int = 0
    damage: str = ""


def found(folders: List[str]) -> Tuple[List[JournalFile], List[str]]:
    """All files of the journal, and folders that cannot be looked into."""
    files: List[JournalFile] = []
    closed: List[str] = []
    for folder in folders:
        for place in [folder, *(path for path in _names(folder, closed) if os.path.isdir(path))]:
            for path in _names(place, closed):
                if path.endswith((".journal", ".journal~")):
                    one = looked_at(path, os.path.relpath(path, folder))
                    if one and one.inode not in {each.inode for each in files}:
                        if one.name in {each.name for each in files}:
                            one.name = f"{len(files)}/{one.name}"
                        files.append(one)
    return files, closed


def looked_at(path: str, name: str) -> Optional[JournalFile]:
    """A file and its header; None when it is gone, or none to read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        return JournalFile(path, name, (0, hash(path)), damage=error.strerror or "it cannot be read")
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        one = JournalFile(path, name, (status.st_dev, status.st_ino))
        try:
            data = os.pread(descriptor, HEADER.size, 0)
        except OSError as error:
            one.damage = error.strerror or "it cannot be read"
            return one
    finally:
        os.close(descriptor)
    if len(data) < HEADER.size or not data.startswith(_SIGNATURE):
        one.damage = "it does not begin as a journal does"
        return one
    header = HEADER.unpack(data)
    one.entries, one.head, one.tail = header[_ENTRIES], header[_HEAD_AT], header[_TAIL_AT]
    return one


def _names(folder: str, closed: List[str]) -> List[str]:
    try:
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        closed.append(folder)
        return []
