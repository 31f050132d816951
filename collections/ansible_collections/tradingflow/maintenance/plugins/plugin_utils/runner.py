# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process of the run itself: ansible-playbook, of which an action's process is a worker that could outlive it."""

from __future__ import annotations

import multiprocessing
import os


def runner() -> int:
    """Its process id, as it was when this worker was made: after its death our parent is another process."""
    parent = multiprocessing.parent_process()
    return parent.pid if parent is not None and parent.pid is not None else os.getppid()


def is_gone() -> bool:
    """Whether the run has ended under us."""
    return os.getppid() != runner()
