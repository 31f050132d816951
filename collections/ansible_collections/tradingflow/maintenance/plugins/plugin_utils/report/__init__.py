# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Contract 2, the report of a run (schema: schemas/report-1.json), in all its forms. No Ansible in here."""

from __future__ import annotations

from . import glass
from .build import build
from .checkpoints import checkpoints, clocks
from .files import point_latest, summary, write
from .history import load_history
from .kept import bring_back, keep
from .probe import answered
from .scope import PARTIAL, is_partial, is_whole, last_whole, left_out, narrowed, scope_of
from .series import METRICS_SPEC, publish
from .text import table

__all__ = [
    "METRICS_SPEC",
    "PARTIAL",
    "answered",
    "bring_back",
    "build",
    "checkpoints",
    "clocks",
    "glass",
    "is_partial",
    "is_whole",
    "keep",
    "last_whole",
    "left_out",
    "load_history",
    "narrowed",
    "point_latest",
    "publish",
    "scope_of",
    "summary",
    "table",
    "write",
]
