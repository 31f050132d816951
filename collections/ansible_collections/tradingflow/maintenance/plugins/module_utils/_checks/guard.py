# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nobody expected: an exception in one judgement leaves that check unknown, and the others go on."""

from __future__ import annotations

import os
import traceback
from typing import Any, Callable, Dict, Iterable, Iterator, List

from ..checks import Check, unknown
from ..words import printable

REMEDY = "Report it with the trace in the details. Until it is corrected, look at this by hand."


def trace(error: BaseException, frames: int = 4) -> List[str]:
    """Where an exception came from, innermost last: places only, no values and no paths of this machine."""
    found = traceback.extract_tb(error.__traceback__)[-frames:]
    return [f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in found]


def escaped(id: str, title: str, error: BaseException, **kwargs: Any) -> Check:
    """The finding that a check could not be judged, because of a mistake or of data that nobody thought of."""
    name = type(error).__name__
    text = printable(error, 200) if str(error).strip() else ""
    message = f"{title}: this could not be judged, because of {name}{f' ({text})' if text else ''}."
    details: Dict[str, Any] = {"trace": trace(error)}
    return unknown(id, title, message, REMEDY, details=details, **kwargs)


def guarded(id: str, title: str, judge: Callable[[], Check], **kwargs: Any) -> Check:
    """One check, unknown if judging it fails.

    :param kwargs: what the check has then, such as source
    """
    try:
        return judge()
    except Exception as error:
        return escaped(id, title, error, **kwargs)


def each(checks: Callable[[], Iterable[Check]], *planned: Any) -> Iterator[Check]:
    """Several checks; those that are planned and did not come are unknown if judging them fails.

    :param planned: id and title of each
    """
    done = set()
    try:
        for check in checks():
            done.add(check.id)
            yield check
    except Exception as error:
        for id, title in planned:
            if id not in done:
                yield escaped(id, title, error)
