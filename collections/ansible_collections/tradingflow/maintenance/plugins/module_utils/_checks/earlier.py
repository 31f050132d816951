# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What earlier runs said of a check, for those that compare."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Callable, Dict, List, Optional

#: Id of a check -> what earlier reports say of it (contract 1), oldest first, without those that did not measure it.
Earlier = Callable[[str], List[Dict[str, Any]]]


def nothing(_id: str) -> List[Dict[str, Any]]:
    """Earlier runs of which there are none."""
    return []


def number(value: Any) -> Optional[float]:
    """A number of an earlier report; None when it is none."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def moment(check: Dict[str, Any]) -> Optional[datetime]:
    """When an earlier check was observed; None when it does not say."""
    try:
        return datetime.strptime(check["observed_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except (KeyError, TypeError, ValueError):
        return None
