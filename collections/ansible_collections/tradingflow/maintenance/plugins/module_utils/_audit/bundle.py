# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bundle as a folder: what was collected, what is said of it, and the signature over all of it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Tuple

from .._ledger.keys import SigningKey
from .._ledger.record import digest
from ..errors import EvidenceError
from .clean import failed
from .collected import FAILED, Collected, File, Period, Source, Tool
from .guide import guide
from .period import compact
from .statement import MANIFEST, STAMP, STAMP_STATEMENT, STATEMENT, Listed, sealed
from .tar import CHUNK, write

README, VERIFIER = "README.md", "bundle_verify.py"
#: Where the collection has the verifier.
SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / VERIFIER


def name_of(environment: str, period: Period, again: int = 0) -> str:
    """A bundle's name.

    :param again: how often its period was collected before
    """
    name = f"audit-{environment}-{compact(period.begin)}--{compact(period.end)}"
    return f"{name}-{again + 1}" if again else name


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns what the file system refuses into an error with the next step."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise EvidenceError(
            f"The bundle cannot be written below {folder}: {error.strerror or error}.",
            "Free space there, or set audit_collection_directory to a larger disk; then run again."
            if full
            else "Correct audit_collection_directory and the rights there; then run again.",
        ) from None


def digested(path: Path) -> Tuple[int, str]:
    """Size and SHA-256 of a regular file.

    :raises OSError: it is none, or cannot be read
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb", buffering=0) as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        size, found = 0, hashlib.sha256()
        while data := stream.read(CHUNK):
            found.update(data)
            size += len(data)
    return size, found.hexdigest()


def take(staging: Path, place: str, collected: Collected, folder: Path) -> List[Listed]:
    """Puts the files of one host into the bundle, without a copy. A source whose files are not what it says has failed.

    :param collected: is changed so
    """
    listed = []
    for index, source in enumerate(collected.sources):
        taken: List[Listed] = []
        try:
            for file in source.files:
                taken.append(_taken(staging, file, folder, f"data/{place}/{file.path}"))
        except EvidenceError as error:
            collected.sources[index] = failed(source, error.message)
            for each in taken:
                (folder / each.path).unlink()
            continue
        listed += taken
    return listed


def _taken(staging: Path, file: File, folder: Path, path: str) -> Listed:
    source, target = staging / file.path, folder / path
    try:
        size, sha256 = digested(source)
    except OSError as error:
        raise EvidenceError(f"{file.path} cannot be read: {error.strerror}") from None
    if (size, sha256) != (file.size, file.sha256):
        raise EvidenceError(f"{file.path} is not what was collected: its size or SHA-256 is another")
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.link(source, target, follow_symlinks=False)
    return Listed(path, size, sha256)


def nothing(host: str, period: Period, reason: str) -> Collected:
    """What stands for a host of which there is nothing: that it is missing must show."""
    source = Source(name="collection", kind="versions", outcome=FAILED, reason=reason)
    return Collected(host, period, Tool("tradingflow.maintenance", ""), [source])


def manifest(facts: Dict[str, Any], hosts: Dict[str, Collected], files: List[Listed]) -> bytes:
    """What the bundle says of itself.

    :param facts: those of the statement
    :param hosts: by the name of their folder
    """
    shown = []
    for place in sorted(hosts):
        collected = hosts[place].to_dict()
        for source in collected["sources"]:
            source["files"] = [{**file, "path": f"data/{place}/{file['path']}"} for file in source["files"]]
        shown.append({"folder": place, **{name: collected[name] for name in ("host", "collector", "sources")}})
    data = {
        "version": 1,
        **{name: value for name, value in facts.items() if name != "timestamp"},
        "hosts": shown,
        "files": [file._asdict() for file in sorted(files)],
    }
    return (json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def seal(
    folder: Path, facts: Dict[str, Any], hosts: Dict[str, Collected], data: List[Listed], key: SigningKey
) -> bytes:
    """Writes everything but the time stamp; gives the statement."""
    texts = {README: guide(facts, hosts).encode(), VERIFIER: SCRIPT.read_bytes()}
    files = [*data, *(Listed(name, len(text), digest(text)) for name, text in texts.items())]
    texts[MANIFEST] = manifest(facts, hosts, files)
    files.append(Listed(MANIFEST, len(texts[MANIFEST]), digest(texts[MANIFEST])))
    texts[STATEMENT] = sealed(files, facts, key)
    for name, text in texts.items():
        put(folder / name, text)
    return texts[STATEMENT]


def put(path: Path, data: bytes) -> None:
    """Writes a small file so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def archive(folder: Path, facts: Dict[str, Any], files: List[Listed], out: Callable[[bytes], object]) -> int:
    """The bundle as an archive: the statement first, so that a reader knows what must follow.

    :param files: of the statement
    :returns: its bytes
    """

    def opener(name: str) -> Callable[[], BinaryIO]:
        return lambda: (folder / name).open("rb")

    entries = ((f"{facts['bundle']}/{name}", size, opener(name)) for name, size in _entries(folder, facts, files))
    return write(entries, int(Period.from_dict(facts["period"]).epochs()[1]), out)


def _entries(folder: Path, facts: Dict[str, Any], files: List[Listed]) -> List[Tuple[str, int]]:
    stamps = (STAMP_STATEMENT, STAMP) if facts["timestamp"] else ()
    names = [(name, (folder / name).stat().st_size) for name in (STATEMENT, *stamps)]
    return names + [(file.path, file.size) for file in sorted(files)]


def aside(folder: Path) -> None:
    """Puts a folder that is in the way aside. It may be a bundle of another store: only its owner may delete it."""
    if folder.exists():
        mark = digest((folder / STATEMENT).read_bytes())[:8] if (folder / STATEMENT).is_file() else "incomplete"
        target = folder.with_name(f"{folder.name}.superseded-{mark}")
        remove(target)
        os.rename(folder, target)


def remove(folder: Path) -> None:
    """Removes a folder of ours."""
    shutil.rmtree(folder, ignore_errors=True)
