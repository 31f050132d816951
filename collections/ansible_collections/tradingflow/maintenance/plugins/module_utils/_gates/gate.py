# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one gate says: its checks, and the time in which it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Callable, List

from .._checks.guard import escaped
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, unknown, worst
from ..errors import MaintenanceError
from .windows import Interval


@dataclass
class Gate:
    """One gate.

    :param name: of options.GATES
    :param checks: why; a warning is what ends by itself at a known time
    :param busy: when it holds
    :param known_until: beyond this moment nobody knows when it holds
    """

    name: str
    checks: List[Check]
    busy: List[Interval] = field(default_factory=list)
    known_until: float = math.inf

    @property
    def forbids(self) -> bool:
        """Whether waiting is not enough: it is bad, or nobody knows."""
        return self.status in (CRITICAL, UNKNOWN)

    @property
    def status(self) -> str:
        return worst(check.status for check in self.checks)

    @property
    def holds(self) -> bool:
        """Whether it is not passed now."""
        return self.status != OK


def guarded(name: str, title: str, ask: Callable[[], Gate]) -> Gate:
    """A gate's answer; unknown when it cannot be had."""
    try:
        gate = ask()
        if not gate.checks:
            raise ValueError("it says nothing")
        return gate
    except MaintenanceError as error:
        return Gate(name, [unknown(f"gate.{name}", title, error.message, error.remedy)])
    except Exception as error:
        return Gate(name, [escaped(f"gate.{name}", title, error)])


def held(id: str, title: str, value: str, message: str, remedy: str = "", **kwargs: object) -> Check:
    """A check of what ends by itself."""
    return Check(id, title, WARNING, value, message=message, remedy=remedy, **kwargs)  # type: ignore[arg-type]
