# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was done on a host is told, whatever comes after it."""

from __future__ import annotations

from typing import Any, Callable, Dict

from .._work.job import outcome


def concluded(plan: Callable[[], Dict[str, Any]], done: Dict[str, Any]) -> Dict[str, Any]:
    """The plan as it is afterwards, or the error that it cannot be made; in both cases with what was done.

    :returns: the plan or {"error": {kind, message, remedy}}, and done
    """
    return {**outcome(plan), "done": done}
