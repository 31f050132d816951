# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which hosts go first, and whether the next ones may follow: decided over the whole run, not per batch."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

from ..errors import ConfigurationError
from ..words import plural

#: What the run knows of a host. A host of which less is known counts as not planned.
STATE: Dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "planned": {"type": "bool", "default": False},
    "wanted": {"type": "bool", "default": False},
    "canary": {"type": "bool", "default": False},
    "begun": {"type": "bool", "default": False},
    "well": {"type": "bool", "default": False},
    "held": {"type": "str", "default": ""},
    "batch": {"type": "int", "default": 1},
    "digest": {"type": "str", "default": ""},
}

#: What the gates go by, of a host's variables: options of the role maintenance_window, and what its defaults take.
WINDOW = "maintenance_window_"
TAKEN = (
    *("tradingflow_environment", "tradingflow_storage", "tradingflow_database", "tradingflow_evidence"),
    *("trading_check_calendars", "backup_engines", "patching_duration"),
)
#: What the role says of earlier answers.
ANSWERS = ("maintenance_window_answer", "maintenance_window_text", "maintenance_window_ends")


def joined(states: List[Any]) -> List[Any]:
    """One state of each host: what is said of it later is added. What is no state is left for others to refuse."""
    found: Dict[Any, Any] = {}
    for number, state in enumerate(states):
        named = isinstance(state, dict) and isinstance(state.get("host"), str)
        key = state["host"] if named else number
        found[key] = {**found.get(key, {}), **state} if named else state
    return list(found.values())


def canaries(named: List[str], groups: Dict[str, List[str]], states: List[Dict[str, Any]]) -> List[str]:
    """The hosts that go before all others.

    A named host of this run is a canary unless there is nothing to do on it; of a named group it is the first host
    that has something to do. Where names are given and none of them is in this run, the first host is.

    :param groups: the inventory's hosts by group
    :raises ConfigurationError: a name is neither a host nor a group, or a batch is none
    """
    if any(state["batch"] < 1 for state in states):
        # Ansible takes 0 for all at once.
        raise ConfigurationError(
            "patching_batch must be 1 or more.", "Give the number of hosts that may be down at once."
        )
    known = {state["host"]: state for state in states}
    hosts = {host for members in groups.values() for host in members}
    found: List[str] = []
    for name in named:
        if name in hosts:
            # A canary that could not be planned stays one: it is not proven, and nobody follows it.
            if name in known and (known[name]["wanted"] or not known[name]["planned"]):
                found.append(name)
        elif name in groups:
            found += [host for host in groups[name] if host in known and known[host]["wanted"]][:1]
        else:
            raise ConfigurationError(
                f"patching_canary names {name}, which is neither a host nor a group of the inventory.",
                "Correct it: names of hosts, or of groups whose first host goes first.",
            )
    if named and not found:
        found = [state["host"] for state in states if state["wanted"]][:1]
    return list(dict.fromkeys(found))


def told(states: List[Dict[str, Any]], chosen: List[str], allowed: int) -> str:
    """Who would be patched when, and how that is approved; empty when there is nothing to do.

    :param chosen: see canaries
    :param allowed: hosts of the whole run that may fail
    """
    wanted = [state["host"] for state in states if state["wanted"]]
    if not wanted:
        return ""
    missing = [state["host"] for state in states if not state["planned"]]
    stuck = [host for host in chosen if host in missing]
    if stuck:
        return f"The canary has no plan, and nobody follows it: {', '.join(stuck)}."
    rest = [host for host in wanted if host not in chosen]
    batch = min(state["batch"] for state in states)
    together = f"up to {batch} at a time" if batch > 1 else "one after the other"
    parts = [f"First {', '.join(chosen)}, as canar{'ies' if len(chosen) > 1 else 'y'}"] if chosen else []
    parts += [f"{'then ' if chosen else ''}{', '.join(rest)}, {together}"] if rest else []
    text = f"{'; '.join(parts)}. Ends after {plural(allowed + 1, 'failure')}. "
    text += f"Not planned: {', '.join(missing)}. " if missing else ""
    digests = list(dict.fromkeys(state["digest"] for state in states if state["wanted"] and state["digest"]))
    approved = json.dumps({"patching_approved": digests})
    return f"{text}To have these plans carried out, and no other: leave out --check, and add -e '{approved}'"


def askers(batch: List[str], said: Dict[str, Optional[Dict[str, Any]]]) -> Dict[str, str]:
    """Who asks the gates for each host of a batch: the first one for which these go by the same.

    :param said: what they go by, by host; None where that cannot be told, and then the host asks for itself
    """
    first: Dict[str, str] = {}
    found: Dict[str, str] = {}
    for host in batch:
        options = said.get(host)
        found[host] = host if options is None else first.setdefault(json.dumps(options, sort_keys=True), host)
    return found


def marked(states: List[Dict[str, Any]], chosen: List[str]) -> List[Dict[str, Any]]:
    """The states, with all canaries in them: also those whose planning failed before they were told."""
    return [{**state, "canary": state["canary"] or state["host"] in chosen} for state in states]


def stop(host: str, states: List[Dict[str, Any]], allowed: int) -> str:
    """Why a host is left alone, as a sentence; empty when it may be patched.

    :param allowed: hosts of the whole run that may fail
    """
    mine = next((state for state in states if state["host"] == host), None)
    if mine is None or not mine["wanted"]:
        return "Left alone, as no plan for it is known."
    for state in states:
        if state["held"]:
            return f"Left alone: {state['held']}"
    first = [state for state in states if state["canary"] and state["host"] != host]
    # Of other canaries, those that have been begun; everybody else waits for all of them.
    bad = [state["host"] for state in first if not state["well"] and (state["begun"] or not mine["canary"])]
    if bad:
        return f"Left alone, as the canary is not proven: {', '.join(bad)}."
    failed = [state["host"] for state in states if state["begun"] and not state["well"]]
    if len(failed) > allowed:
        return f"Left alone, as patching failed on {', '.join(failed)} (patching_failures_allowed is {allowed})."
    return ""
