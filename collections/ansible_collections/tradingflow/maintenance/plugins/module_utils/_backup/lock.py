# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store's lock on what a backup uploads: until it ends, nobody deletes that."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Dict

from .._ledger.places import Store
from ..errors import ConfigurationError


def lock_of(options: Dict[str, Any], now: datetime) -> Dict[str, Any]:
    """The arguments by which the store locks an object, none for no lock.

    :param options: see options.SPEC
    :raises ConfigurationError: the bucket cannot lock, or the options make no sense
    :raises StorageError: the store does not answer
    """
    mode, days = options["lock_mode"], options["lock_days"]
    if mode == "none":
        return {}
    if not 1 <= days <= 36500:
        raise ConfigurationError(f"A lock for {days} days makes no sense.", "Set backup_lock_days to 1 or more.")
    # Where the key may not ask, the store itself says so at the first upload.
    if Store(options["storage"], options["environment_name"]).locks() is False:
        raise ConfigurationError(
            f"The bucket {options['storage']['bucket']} has no object lock, so that no backup in it can be locked.",
            "Use a bucket made with object lock, or set backup_lock_mode to none.",
        )
    # Whole seconds: stores cut the rest.
    until = (now + timedelta(days=days)).replace(microsecond=0)
    return {"ObjectLockMode": mode.upper(), "ObjectLockRetainUntilDate": until}
