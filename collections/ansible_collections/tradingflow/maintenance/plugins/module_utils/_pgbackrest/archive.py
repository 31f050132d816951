# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archive of one cluster's WAL, read through pgBackRest, which knows where it is and how it is encrypted."""

from __future__ import annotations

import bz2
import json
import re
import subprocess
import zlib
from typing import Any, Dict, List, Set

from ..errors import ConfigurationError, MaintenanceError, RestoreError

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]

_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
_FOLDER = re.compile(r"[0-9A-F]{16}")
_SEGMENT = re.compile(r"([0-9A-F]{24})-[0-9a-f]{40}(?:\.[a-z0-9]+)?")
#: What a compressed file begins with -> the program that reads it where no library does.
_ZSTD, _LZ4, _GZIP, _BZIP = b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"\x1f\x8b", b"BZh"
_LARGEST = 1 << 30


class Archive:
    """The WAL of an archive id, such as 15-1.

    :param backrest: see program.PgBackRest
    """

    def __init__(self, backrest: Any, repository: int, id: str) -> None:
        self.id = id
        self._backrest = backrest
        self._repository = repository
        self._path = f"archive/{backrest.stanza}/{id}"
        self._folders: Dict[str, Dict[str, str]] = {}
        self._names: Set[str] = set(self._list(self._path))

    def _list(self, path: str) -> List[str]:
        said = self._backrest.checked("repo-ls", f"--repo={self._repository}", "--output=json", path)
        try:
            return [str(name) for name in json.loads(said, strict=False)]
        except (ValueError, TypeError) as error:
            raise RestoreError(
                f"What pgBackRest lists in {path} is not understood ({type(error).__name__}).",
                "Check the version of pgBackRest.",
            ) from None

    @property
    def histories(self) -> List[int]:
        """Timelines that have a history file."""
        found = [_HISTORY.fullmatch(name) for name in self._names]
        return sorted(int(match[1], 16) for match in found if match)

    @property
    def timelines(self) -> List[int]:
        """Timelines of which there is a segment, or a history file."""
        folders = {int(name[:8], 16) for name in self._names if _FOLDER.fullmatch(name)}
        return sorted(folders | set(self.histories))

    def history(self, timeline: int) -> bytes:
        """A history file."""
        return self._read(f"{self._path}/{timeline:08X}.history")

    def segments(self, timeline: int, *, newest_first: bool = False) -> Any:
        """Names of a timeline's segments, in order; a folder of them is listed when it is come to."""
        prefix = f"{timeline:08X}"
        folders = sorted(name for name in self._names if _FOLDER.fullmatch(name) and name.startswith(prefix))
        for folder in reversed(folders) if newest_first else folders:
            yield from sorted(self._folder(folder), reverse=newest_first)

    def _folder(self, folder: str) -> Dict[str, str]:
        if folder not in self._folders:
            matches = [_SEGMENT.fullmatch(name) for name in self._list(f"{self._path}/{folder}")]
            self._folders[folder] = {match[1]: match[0] for match in matches if match}
        return self._folders[folder]

    def segment(self, name: str) -> bytes:
        """A segment's contents.

        :raises ConfigurationError: nothing here can decompress it
        """
        return self._read(f"{self._path}/{name[:16]}/{self._folder(name[:16])[name]}")

    def again(self) -> None:
        """Looks anew."""
        self._folders.clear()
        self._names = set(self._list(self._path))

    def _read(self, path: str) -> bytes:
        body = self._backrest.contents("repo-get", f"--repo={self._repository}", path)
        try:
            return _decompressed(body)
        except MaintenanceError:
            raise
        except (OSError, ValueError, EOFError, zlib.error, *_broken()) as error:
            raise RestoreError(
                f"{path} in the repository cannot be decompressed: {error}.", "It is damaged: see docs/backup.md."
            ) from None


def _broken() -> Any:
    return (zstandard.ZstdError,) if zstandard is not None else ()


def _decompressed(body: bytes) -> bytes:
    if body.startswith(_GZIP):
        return zlib.decompress(body, 31)
    if body.startswith(_BZIP):
        return bz2.decompress(body)
    if body.startswith(_ZSTD) and zstandard is not None:
        reader = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True)
        return bytes(reader.read(_LARGEST))
    for mark, program in ((_ZSTD, "zstd"), (_LZ4, "lz4")):
        if body.startswith(mark):
            return _by_program(program, body)
    return body


def _by_program(program: str, body: bytes) -> bytes:
    try:
        done = subprocess.run([program, "-d", "-c"], input=body, capture_output=True, timeout=120, check=False)
    except (OSError, subprocess.SubprocessError):
        raise ConfigurationError(
            f"The archived WAL is compressed by {program}, which is not installed here.",
            f"Install {program}, or name the timeline yourself (restore_target_timeline).",
        ) from None
    if done.returncode:
        raise OSError(done.stderr.decode("utf-8", "replace").strip()[-200:])
    return done.stdout
