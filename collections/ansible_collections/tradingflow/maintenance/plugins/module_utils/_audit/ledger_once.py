# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger's records around a period, read once: their numbers and times, what runs counted, and their envelopes."""

from __future__ import annotations

import tempfile
from typing import Any, BinaryIO, Dict, Iterator, List, NamedTuple, Optional, Tuple

from .._ledger.folder import Stored
from .._ledger.places import Store
from .._ledger.points import trusted
from .._ledger.record import parse_time
from .._ledger.walk import backwards
from .collected import Period
from .stretches import Stretch, Timed, stretch

_MOST = 1_000_000


class Run(NamedTuple):
    """What a record of a run has of tables and clocks.

    :param at: when it was recorded, in seconds since 1970
    """

    number: int
    at: float
    content: Dict[str, Any]


class Ledger:
    """What was read; envelopes lie in a file without a name, as there may be many.

    :param options: storage, evidence, environment_name, staging
    :raises MaintenanceError: the ledger cannot be read
    """

    def __init__(self, options: Dict[str, Any], period: Period) -> None:
        self._store = Store(options["storage"], options["environment_name"], pool=16)
        self.prefix = self._store.prefix
        #: Newest first.
        self.runs: List[Run] = []
        self._read: Dict[int, bytes] = {}
        self._places: Dict[int, Tuple[int, int]] = {}
        self._file: BinaryIO = tempfile.TemporaryFile(dir=options["staging"])  # type: ignore[assignment]  # noqa: SIM115
        begin, end = period.epochs()
        self._end = end
        try:
            walk = backwards(self, trusted(options["evidence"]), options["environment_name"], _MOST)  # type: ignore[arg-type]
            self.of: Stretch = stretch(self._times(walk), begin, end)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_error: Any) -> None:
        self._file.close()

    def head(self) -> int:
        """The newest number."""
        return self._store.head()

    def read(self, number: int) -> Optional[Stored]:
        """A record, by several threads; what was read stays until its turn comes."""
        stored = self._store.read(number)
        if stored is not None:
            self._read[number] = stored.data
        return stored

    def _times(self, walk: Iterator[Tuple[int, Any]]) -> Iterator[Timed]:
        later = True
        for number, record in walk:
            data = self._read.pop(number, b"")
            at = parse_time(record.predicate["recorded_at"]).timestamp() if record else None
            if record is not None and at is not None:
                later = later and at >= self._end
                if record.predicate["kind"] == "run":
                    content = record.predicate["content"]
                    told = {name: content[name] for name in ("checkpoints", "clocks") if name in content}
                    self.runs += [Run(number, at, told)] if told else []
                # Of later ones only numbers and times are needed.
                if not later:
                    self._places[number] = (self._file.tell(), len(data))
                    self._file.write(data)
            yield number, at

    def envelope(self, number: int) -> Optional[bytes]:
        """The exact bytes of a record of the stretch that verifies."""
        place = self._places.get(number)
        if place is None:
            return None
        self._file.seek(place[0])
        return self._file.read(place[1])
