# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the body of a health endpoint says: of the application, and of all that it names as a part of itself."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, List, Tuple

from .._http.request import Answer
from ..checks import CRITICAL, OK, UNKNOWN, WARNING
from ..errors import ConfigurationError
from ..words import printable

#: What health endpoints say, in lower case.
HEALTHY = {"ok", "okay", "healthy", "up", "pass", "passing", "ready", "alive", "live", "serving", "success", "true"}
DEGRADED = {"degraded", "warn", "warning", "partial"}
UNHEALTHY = {"error", "fail", "failed", "failing", "down", "unhealthy", "not ready", "notready", "unready", "starting"}
UNHEALTHY |= {"stopping", "not_ready", "unavailable", "critical", "out_of_service", "false"}

#: What they say of parts besides.
FINE = {"available", "connected", "online", "reachable", "running", "active", "enabled", "green", "good"}
# A circuit breaker that is closed is well; a port may be either.
FINE |= {
    "open",
    "closed",
    "half_open",
    "operational",
    "accessible",
    "disabled",
    "skipped",
    "not configured",
    "not_configured",
    "n/a",
    "none",
    "idle",
}
BROKEN = {"disconnected", "not connected", "offline", "unreachable", "inaccessible", "timeout", "timed out", "timedout"}
BROKEN |= {"stopped", "dead", "lost", "broken", "red", "ko", "nok", "bad", "inactive", "refused", "crashed"}
BROKEN |= {"not_serving", "not serving", "outofservice", "outage", "killed", "exhausted", "expired"}
POOR = {"yellow", "slow", "reconnecting", "recovering", "lagging"}

#: Keys under which parts stand, each with its state; and those that say the state of what they stand in.
PARTS = {"checks", "components", "dependencies", "services", "entries", "results", "subsystems", "health"}
STATES = {"status", "state"}
YES = {"healthy", "ok", "up", "ready", "alive", "connected", "reachable", "success", "passed"}
COMPLAINTS = {"error", "errors", "failure", "failures", "exception"}
#: What is set to a word such as "error" and says no state by it.
_SETTING = re.compile(r"(?i)level|mode|policy|severity|action|^on_|^default")


@dataclass
class Words:
    """Words of an application's own, in lower case, besides those that are known."""

    healthy: FrozenSet[str] = frozenset()
    degraded: FrozenSet[str] = frozenset()
    unhealthy: FrozenSet[str] = frozenset()

    @classmethod
    def of(cls, given: Dict[str, List[str]]) -> Words:
        """From the option: see words_spec().

        :raises ConfigurationError: a word is empty, or would mean two things
        """
        known = {"healthy": HEALTHY, "degraded": DEGRADED, "unhealthy": UNHEALTHY}
        own = {key: frozenset(str(each).strip().lower() for each in given.get(key) or ()) for key in known}
        for key, words in own.items():
            for each in sorted(words):
                others = [other for other in known if other != key and each in known[other] | own[other]]
                if not each or others:
                    text = f"means {others[0]} already" if others else "is empty"
                    raise ConfigurationError(
                        f"The word {each!r} of the application, given as {key}, {text}.", "Correct the option words."
                    )
        return cls(**own)


def words_spec() -> Dict[str, Any]:
    """Argument spec of the option "words"."""
    lists = {key: {"type": "list", "elements": "str", "default": []} for key in ("healthy", "degraded", "unhealthy")}
    return {"type": "dict", "apply_defaults": True, "options": lists}


#: None of its own.
PLAIN = Words()


def word(answer: Answer, own: Words = PLAIN) -> Tuple[str, str]:
    """The one word of a body that tells its state, judged: plain, or "status" of a JSON object."""
    if answer.truncated:
        return UNKNOWN, "more than it should"
    text = answer.body.decode("utf-8-sig", "replace").strip()
    if not text:
        # 204 means that there is nothing to say; anything else may be a proxy or a page that broke off.
        return (OK, "nothing, with success") if answer.status == 204 else (UNKNOWN, "")
    try:
        data = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        data = text
    bad: List[str] = []
    odd: List[str] = []
    if isinstance(data, dict):
        bad, odd = parts(data, own)
        data = data.get("status", data.get("state", ""))
    said = str(data).strip().lower() if isinstance(data, (str, bool)) else ""
    known = (OK, HEALTHY | own.healthy), (WARNING, DEGRADED | own.degraded), (CRITICAL, UNHEALTHY | own.unhealthy)
    for status, words in known:
        if said in words:
            if status == OK and bad:
                return WARNING, f"{said}, but {', '.join(bad[:5])} {'are' if bad[1:] else 'is'} not"
            if status == OK and odd:
                return UNKNOWN, f"{said}, and nothing that is understood of {', '.join(odd[:5])}"
            return status, said
    return UNKNOWN, ""


def once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """A JSON object in which no key is there twice.

    :raises ValueError: one is, and nobody knows which of them counts
    """
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key is there twice")
    return result


def parts(data: Dict[str, Any], own: Words) -> Tuple[List[str], List[str]]:
    """Names of what an application calls bad though it calls itself well, and of what it says nothing known of."""
    bad: List[str] = []
    odd: List[str] = []
    # What is said, under which name, and whether only states stand there.
    waiting: List[Tuple[Any, str, bool]] = [(data, "", False)]
    while waiting:
        value, name, states = waiting.pop()
        if isinstance(value, list):
            waiting += [(each, name, False) for each in reversed(value)]
        elif isinstance(value, dict):
            told = value.get("name", name)
            name = told if isinstance(told, str) and not states else name
            for key, each in value.items():
                about = name if key.lower() in STATES | YES | COMPLAINTS else key
                state = key.lower() in STATES and (name or not isinstance(each, dict))
                if (key.lower() in YES and each is False) or (key.lower() in COMPLAINTS and complains(each)):
                    bad.append(about or key)
                elif key.lower() in PARTS and isinstance(each, (dict, list)):
                    waiting.append((each, name, isinstance(each, dict)))
                elif isinstance(each, (dict, list)):
                    waiting.append((each, about or key, False))
                elif isinstance(each, bool):
                    bad += [about or key] * ((states or bool(state)) and not each)
                elif isinstance(each, str) and (state or states or not _SETTING.search(key)):
                    judged = of_part(each, own)
                    bad += [about or key] * (judged == WARNING)
                    # The word of the whole is judged by itself.
                    odd += [about] * (judged == UNKNOWN and (states or bool(state and name)))
    return named(bad), named(odd)


def complains(value: Any) -> bool:
    """Whether a field for errors has one."""
    if isinstance(value, str):
        return value.strip().lower() not in {"", "none", "null", "false", "no", "ok", "0"}
    return value is True or (isinstance(value, list) and bool(value))


def of_part(said: str, own: Words) -> str:
    """What a word says of a part. A version, a number or an address is no word."""
    text = said.strip().lower()
    if text in own.healthy:
        return OK
    if text in own.degraded | own.unhealthy:
        return WARNING
    if text in UNHEALTHY | BROKEN | DEGRADED | POOR:
        return WARNING
    if not text or text in HEALTHY | FINE or not text[0].isalpha() or "://" in text or text[1:2].isdigit():
        return OK
    return UNKNOWN


def named(names: List[str]) -> List[str]:
    """Each once, in their order, for people."""
    return list(dict.fromkeys(printable(name, 40) for name in names))
