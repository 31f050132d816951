# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an attempt at a revision has done, by what the project's sessions told."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from .._postgres.sql import WORD, NotUnderstood
from .project import Answers
from .rows import CHANGING, ROWLESS
from .tokens import claim, read, validates

#: What the server calls statements that leave the same when they are carried out once more, or fail.
_REPEATABLE = (*ROWLESS, "ALTER TYPE")
#: Statements that can commit in the middle of themselves.
_COMMITTING = ("call", "do")


def changed(answers: Answers) -> bool:
    """Whether anything was committed that could have changed something."""
    whole = [event for event in answers.of("commit") if not event["autocommit"]]
    strong = any(each["mode"] != "AccessShareLock" for event in whole for each in event["held"])
    alone = bool(committed_alone(answers))
    if not answers.error and not answers.of("end"):
        # Nobody has heard how the last one ended.
        alone = any(event["autocommit"] for event in answers.of("statement"))
    return bool(strong or any(event["written"] for event in whole) or alone)


def committed_alone(answers: Answers) -> List[Dict[str, Any]]:
    """Statements outside a transaction that the server carried out: a failure later does not take them back."""
    done = {event["number"] for event in answers.of("done")}
    return [event for event in answers.of("statement") if event["autocommit"] and event["number"] in done]


def unrepeatable(answers: Answers, own: str = "alembic_version") -> List[str]:
    """What an attempt that failed has committed, or may have, and must not do once more: tables, and statements.

    An autocommit_block commits what stands before it in the revision, and each of its own statements.
    """
    found: List[str] = []
    last = max(
        (at for at, event in enumerate(answers.events) if event["event"] not in ("rollback", "error")), default=0
    )
    for at, event in enumerate(answers.events):
        # Told right before it commits: where nothing came after it, the commit was what failed.
        if event["event"] == "commit" and not event["autocommit"] and at < last:
            tables = [each for each in event["held"] if each["kind"] in "rpmf" and each["mode"] in CHANGING]
            found += [each["name"] for each in [*event["written"], *tables] if each["name"] != own]
    done = {event["number"]: event for event in answers.of("done")}
    for event in answers.of("statement"):
        if event["autocommit"] and not _repeatable(event["sql"], done.get(event["number"])):
            found.append(" ".join(event["sql"].split())[:200])
    return list(dict.fromkeys(found))


def _repeatable(sql: str, done: Optional[Dict[str, Any]]) -> bool:
    """Whether a statement outside a transaction does no harm once more.

    :param done: what the server made of it; None when it failed
    """
    try:
        (tokens,) = read(sql)
    except (NotUnderstood, ValueError):
        return False
    if done is None:
        return not (tokens[0].kind == WORD and tokens[0].value.lower() in _COMMITTING)
    made = claim(tokens)
    return str(done["tag"] or "").startswith(_REPEATABLE) or made is not None or validates(tokens)
