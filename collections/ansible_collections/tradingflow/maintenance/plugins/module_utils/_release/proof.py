# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What proves a release besides health and version: its feature flags, and the platform's own tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, List, Tuple

from .._kubernetes.workloads import Seen
from ..checks import OK, UNKNOWN, Check, worst
from . import tests_job
from .flags import gone_by, read_back
from .record import LastGood, Stored
from .session import Session


def further(session: Session, stored: Stored, seen: Seen, image: str) -> Tuple[Stored, List[Check]]:
    """Flags first, which take a second; then the tests, which ask for them. None when none is wanted.

    :param seen: as it was rolled out
    :param image: that was, by digest
    :returns: the record as it is then
    """
    options, checks = session.options, []
    if options["flags"]:
        check = read_back(
            session.cluster,
            session.namespace,
            seen.pods_of(seen.current()),
            options["flags"],
            port=options["port"],
            path=options["flags_path"],
        )
        checks.append(check)
        if check.status != OK:
            return stored, checks
    if options["tests"]:
        stored, found = tests_job.run(session, session.save(stored, "testing"), seen.template, image)
        checks += found
    return stored, checks


def flags_of_now(session: Session, seen: Seen) -> Dict[str, Any]:
    """What the wanted flags are before the release, for its last-good; nothing where none are wanted."""
    options = session.options
    if not options["flags"]:
        return {}
    pods, where = seen.pods_of(seen.current()), {"port": options["port"], "path": options["flags_path"]}
    return {**gone_by(session.cluster, session.namespace, pods, options["flags"], **where), **where}


def flags_back(session: Session, previous: LastGood, seen: Seen) -> List[Check]:
    """Whether, after an undo, flags are what they were before the release; no check where none were known.

    :param seen: as it is by now
    """
    before = previous.more.get("flags") or {}
    if not before.get("values") and not before.get("unknown"):
        return []
    id, title = "release.undone:flags", "Feature flags of last-good"
    told = [f"What {name} was is not known: {why}" for name, why in sorted((before.get("unknown") or {}).items())]
    remedy = "See that flags are what the version of before needs."
    if not before.get("values"):
        return [Check(id, title, UNKNOWN, None, message=" ".join(told), remedy=remedy)]
    pods, where = seen.pods_of(seen.current()), {"port": before["port"], "path": before["path"]}
    check = read_back(session.cluster, session.namespace, pods, before["values"], **where)
    if told:
        text = " ".join((check.message, *told))
        check = replace(check, status=worst((check.status, UNKNOWN)), message=text, remedy=check.remedy or remedy)
    return [replace(check, id=id, title=title)]
