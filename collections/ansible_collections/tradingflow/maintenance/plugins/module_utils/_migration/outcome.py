# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an attempt at a revision has done, by what the project's sessions told."""

from __future__ import annotations

from typing import Any, Dict, List

from .project import Answers


def changed(answers: Answers) -> bool:
    """Whether anything was committed that could have changed something."""
    whole = [event for event in answers.of("commit") if not event["autocommit"]]
    strong = any(each["mode"] != "AccessShareLock" for event in whole for each in event["held"])
    return bool(strong or any(event["written"] for event in whole) or committed_alone(answers))


def committed_alone(answers: Answers) -> List[Dict[str, Any]]:
    """Statements outside a transaction that the server carried out: a failure later does not take them back."""
    done = {event["number"] for event in answers.of("done")}
    return [event for event in answers.of("statement") if event["autocommit"] and event["number"] in done]
