# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies in the staging folder of one host: whether it is whole, and by which options it was collected."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ..errors import EvidenceError, MaintenanceError
from .bundle import digested
from .collected import COMPLETE, NAME, Collected, Period, Source, decoded

#: Beside collected.json: the digest of the options.
_PLAN = "plan"
#: A collection of what each host has is small beside the files; more is something else.
_LARGEST = 64 << 20


def read(folder: Path) -> Collected:
    """:raises EvidenceError: it is not there, or not what it should be"""
    try:
        path = folder / NAME
        if path.stat().st_size > _LARGEST:
            raise EvidenceError(f"{path} is too large to be what it should be.")
        return decoded(path.read_bytes())
    except OSError as error:
        raise EvidenceError(f"nothing was collected ({error.strerror})") from None


def plan_of(folder: Path) -> str:
    """The digest of the options by which it was collected, empty when none was given."""
    try:
        return (folder / _PLAN).read_text()[:200]
    except (OSError, ValueError):
        return ""


def put(folder: Path, plan: str, text: bytes) -> None:
    """Writes collected.json, last: what has one is whole."""
    (folder / NAME).unlink(missing_ok=True)
    (folder / _PLAN).write_text(plan)
    temporary = folder / f"{NAME}.partial"
    temporary.write_bytes(text)
    os.replace(temporary, folder / NAME)


def complete(folder: Path, period: Period) -> bool:
    """Whether nothing has to be collected any more: each source is complete, and its files are there."""
    try:
        found = read(folder)
    except MaintenanceError:
        return False
    return found.period == period and all(_stays(folder, source) for source in found.sources)


def merged(folder: Path, plan: str, new: Collected) -> Collected:
    """What is collected now; a source stays that an earlier run found complete, by the same options, and now is not."""
    try:
        before = read(folder)
    except MaintenanceError:
        return new
    if (plan_of(folder), before.host, before.period) != (plan, new.host, new.period):
        return new
    old = {source.name: source for source in before.sources}
    sources = [
        old[each.name] if each.outcome != COMPLETE and each.name in old and _stays(folder, old[each.name]) else each
        for each in new.sources
    ]
    return replace(new, sources=sources)


def _stays(folder: Path, source: Source) -> bool:
    try:
        return source.outcome == COMPLETE and all(
            digested(folder / file.path) == (file.size, file.sha256) for file in source.files
        )
    except OSError:
        return False
