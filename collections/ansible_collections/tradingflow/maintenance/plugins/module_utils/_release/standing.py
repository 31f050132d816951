# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What there is before a release: the image; the last release, and whether what runs is what it left."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional, Tuple

from .._kubernetes.workloads import Seen, differences, same_template
from ..checks import CRITICAL, OK, UNKNOWN
from ..errors import ImageError
from ..words import printable
from . import last_good
from .preflight import Finding
from .record import FAILED, ROLLING_OUT, STAGED, UNDONE, Release, Stored, said
from .target import Target, resolved


def finding(
    earlier: Optional[Stored],
    seen: Seen,
    container: str,
    *,
    going_on: bool,
    options: Optional[Mapping[str, Any]] = None,
) -> Finding:
    """Whether what runs is what the record of the last release says.

    :param earlier: the record of now
    :param container: whose image is changed
    :param going_on: whether the release of the record is the one that is to be made
    :param options: flags and tests that it is gone on with
    """
    title = "the record"
    if earlier is None:
        return Finding("record", title, OK, "none", "This is the first release on the record.")
    before = earlier.release
    if before.state in (ROLLING_OUT, *STAGED) and not going_on:
        what = f"Release {before.id} ({before.tag or before.digest})"
        text = f"{what} is {said(before.state)} since {before.began_at}, and has not come to its end."
        remedy = "Run it again to its end, or undo it (release_action: undo)."
        return Finding("record", title, CRITICAL, before.state, text, remedy)
    if before.state == FAILED and before.strategy and not before.strategy.get("retired"):
        text = f"Release {before.id} failed and was not undone: {before.strategy['helper']} may still get requests."
        remedy = "Undo it first (release_action: undo)."
        return Finding("record", title, CRITICAL, before.state, text, remedy)
    if going_on and options is not None and (text := _otherwise(before, options)):
        remedy = "Run it with those, or undo it (release_action: undo) and release again."
        return Finding("record", title, CRITICAL, before.state, f"Release {before.id} was begun {text}", remedy)
    ours = last_good.released_template(before)
    good = before.previous
    known = [ours] if ours is not None else []
    back = good is not None and last_good.is_back(seen, good, container)
    same = any(same_template(seen.template, each) for each in known)
    if going_on:
        if back or same:
            text = f"Release {before.id} was begun at {before.began_at}, and is gone on with."
            return Finding("record", title, OK, before.state, text)
    elif (back and before.state in (UNDONE, FAILED)) or (same and before.state != UNDONE) or not known:
        return Finding(
            "record",
            title,
            OK,
            before.state,
            f"Release {before.id} is {said(before.state)}, and runs as it should.",
        )
    base = good.template if good is not None and before.state == UNDONE else ours
    places = differences(base, seen.template) if base is not None else []
    changed = ", ".join(places[:6]) or "the template"
    text = f"What runs is not what release {before.id} ({said(before.state)}) left: {changed}."
    remedy = "See who changed it, and why; to release over it: release_overrides: [drift], with a reason."
    return Finding("drift", title, CRITICAL, len(places), text, remedy)


def _otherwise(begun: Release, options: Mapping[str, Any]) -> str:
    """What was asked of it when it was begun, and is not now: its record would say what nobody has proven."""
    more = begun.previous.more if begun.previous is not None else {}
    wanted = more.get("wanted")
    # As JSON: 1 is not true.
    if wanted and json.dumps(wanted.get("flags"), sort_keys=True) != json.dumps(options["flags"], sort_keys=True):
        return f"with other flags: {', '.join(map(printable, sorted(wanted.get('flags') or {}))) or 'none'}."
    if more.get("tests") and not options["tests"]:
        return f"with tests ({', '.join(map(printable, more['tests'][:5]))}), and none is given now."
    return ""


def named(options: Mapping[str, Any], repository: str) -> Tuple[Optional[Target], Finding]:
    """What a version names in the registry; None, and the finding why, when that cannot be said.

    :param options: options.SPEC
    """
    title = "the image"
    try:
        found = resolved(options["registry"], repository, options["version"], options["digest"])
    except ImageError as error:
        # Not there is a fact; a registry that does not answer is not.
        status = CRITICAL if type(error).__name__ == "Missing" else UNKNOWN
        value = None if status == UNKNOWN else "missing"
        return None, Finding("image", title, status, value, error.message, error.remedy)
    text = f"{found.repository}:{found.tag} is {found.digest}."
    return found, Finding("image", title, OK, found.digest, text)
