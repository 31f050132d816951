# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What it means that a change of a database ended early."""

from __future__ import annotations

from ..checks import CRITICAL, UNKNOWN, Check

#: What ended it, when it was no fault of what was declared: then nothing is known of that.
_NOT_ITS_FAULT = ("StorageError", "ConfigurationError", "LockedError", "DatabaseError", "EvidenceError")


def status_of(kind: str) -> str:
    """Unknown or critical.

    :param kind: of the error that ended it
    """
    return UNKNOWN if kind in _NOT_ITS_FAULT else CRITICAL


def stopped(id: str, title: str, kind: str, message: str, remedy: str) -> Check:
    """The check that says so.

    :param kind: of the error that ended it
    """
    status = status_of(kind)
    return Check(id, title, status, None if status == UNKNOWN else False, message=message, remedy=remedy)
