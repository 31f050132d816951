# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module of long work does: it plans, works, or leaves the work to a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Optional

from ..errors import MaintenanceError
from . import scratch
from .job import Kind, described, detach, outcome
from .progress import Progress


def run(
    options: Dict[str, Any],
    check_mode: bool,
    kind: Kind,
    plan: Callable[[Dict[str, Any]], Dict[str, Any]],
    work: Callable[[Dict[str, Any], Progress], Dict[str, Any]],
    mask: Callable[[Dict[str, Any]], Dict[str, Any]],
    mode: Callable[[Dict[str, Any]], int] = lambda options: 0o700,
) -> Dict[str, Any]:
    """What the module gives back, as JSON data.

    :param options: of the module, "run" and scratch_directory among them
    :param mask: takes secrets out of a result
    :param mode: of the folder of a detached job; a MaintenanceError of it ends the job before it begins
    :returns: plan in check mode; job and pid of a detached job; else what work gives; or error
    """
    watched = (options["run"] or {}).get("watched", [])

    def result(directory: Optional[Path]) -> Dict[str, Any]:
        if check_mode:
            return mask(outcome(lambda: {"plan": plan(options)}))
        progress = Progress(directory, watched, kind)
        return mask(outcome(lambda: work(options, progress)))

    if not (options["run"] or {}).get("detach") or check_mode:
        return result(None)
    try:
        directory = scratch.job_directory(options["scratch_directory"], kind, mode(options))
    except MaintenanceError as error:
        return {"error": described(error)}
    return {"pid": detach(directory, lambda: result(directory)), "job": str(directory)}
