# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger from its newest record back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Iterator, Optional, Tuple

from .keys import PublicKeys
from .places import Store
from .record import BadRecord, Record, open_record


def backwards(store: Store, keys: PublicKeys, environment: str, most: int) -> Iterator[Tuple[int, Optional[Record]]]:
    """Numbers and records, newest first; None for a record that is missing or does not verify.

    :param store: with a pool of 16 connections
    :param most: so many at the most
    :raises StorageError: the store does not answer
    """
    number, given = store.head(), 0
    with ThreadPoolExecutor(16, thread_name_prefix="ledger") as pool:
        while number > 0 and given < most:
            # Most often what is looked for is near the end; then few are read.
            numbers = range(number, max(0, number - min(64 if given else 8, most - given)), -1)
            for each, stored in pool.map(lambda each: (each, store.read(each)), numbers):
                given += 1
                try:
                    if stored is None:
                        raise BadRecord("it is missing")
                    yield each, open_record(stored.data, keys, number=each, environment=environment)
                except BadRecord:
                    yield each, None
            number = numbers[-1] - 1
