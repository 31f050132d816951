# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a release did, for the report."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping

from ..checks import as_action
from ..masking import MASK, masked, masked_data
from .record import said
from .session import Outcome

_TITLES = {
    "release": "Version released",
    "promote": "Version promoted",
    "retire": "Version of before retired",
    "switch_back": "Switched back",
}


def actions(
    action: str, where: str, outcome: Outcome, started_at: str, *, dry_run: bool = False
) -> List[Dict[str, Any]]:
    """One action, with the rollout as a timeline.

    :param action: release, promote or undo
    :param where: namespace/deployment
    :param dry_run: whether it only says what would be done
    """
    title = _TITLES.get(action, "Release undone")
    before, after = outcome.before.get("image", ""), outcome.after.get("image", "")
    change = f"{where}: {_short(before)} -> {_short(after)}"
    if outcome.nothing:
        status, text = "skipped", outcome.nothing
    elif outcome.forbidden:
        status = "skipped" if dry_run else "failed"
        text = "Nothing was changed: " + " ".join(each.message for each in outcome.forbidden)
    elif dry_run:
        status, text = "planned", change
    elif outcome.failed:
        status, text = "failed", outcome.failed
        if outcome.record.get("undone"):
            text += f"{'' if text.endswith('.') else '.'} Undone: {_short(before)} runs again."
    else:
        status, text = "ok", change
        if outcome.record.get("pending"):
            text += f". It is {said(outcome.record['pending'])}, and not through yet."
    details: Dict[str, Any] = {"where": where, "before": before, "after": after}
    if outcome.events:
        details["rollout"] = [
            {name: each[name] for name in ("at", "seconds", "state", "message")} for each in outcome.events
        ]
    details.update(
        {name: value for name, value in outcome.record.items() if name not in ("undone", "noticed", "unmarked")}
    )
    if outcome.record.get("noticed") is not None:
        details["noticed_s"] = outcome.record["noticed"]
    return [as_action(f"release.{action}", title, status, outcome.changed, text, started_at, details)]


def _short(image: str) -> str:
    """For people, who do not read digests to their end."""
    name, _at, digest = image.partition("@")
    return f"{name} ({digest.rpartition(':')[2][:12]})" if digest else name


def diff(outcome: Outcome, name: str) -> Mapping[str, Any]:
    """The pod template before and after, for --diff."""
    before, after = outcome.before.get("template"), outcome.after.get("template")
    if before is None or after is None:
        return {}
    if "objects" in outcome.after:
        before, after = ({"template": each["template"], **each["objects"]} for each in (outcome.before, outcome.after))
    text = [json.dumps(masked_data(_hidden(each)), indent=1, sort_keys=True) + "\n" for each in (before, after)]
    return {"before": text[0], "after": text[1], "before_header": f"{name} (before)", "after_header": f"{name} (after)"}


def _hidden(thing: Any) -> Any:
    """Without the values of variables that are named as secrets: of a container, and in a ConfigMap."""
    if isinstance(thing, list):
        return [_hidden(each) for each in thing]
    if not isinstance(thing, dict):
        return thing
    found = {name: _hidden(each) for name, each in thing.items()}
    if isinstance(found.get("name"), str) and isinstance(found.get("value"), str):
        found["value"] = _variable(found["name"], found["value"])
    if found.get("kind") == "ConfigMap" and isinstance(found.get("data"), dict):
        found["data"] = {name: _variable(str(name), each) for name, each in found["data"].items()}
    return found


def _variable(name: str, value: Any) -> Any:
    if not isinstance(value, str) or masked(value) != value:
        return value  # is masked by itself
    return value if masked(f"{name}={value}") == f"{name}={value}" else MASK
