# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Feature flags, read back from each pod: the value that it goes by, and OpenFeature's reason for it."""

from __future__ import annotations

import json
import time
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from .._kubernetes.client import Cluster, Missing
from ..checks import CRITICAL, OK, UNKNOWN, Check, worst
from ..errors import ClusterError
from ..words import plural, printable
from .verified import asked_each

ID, TITLE = "release.flags", "Feature flags"
#: Reasons by which a value holds. Another word is not known, and what is not known is not good.
GOOD = ("STATIC", "DEFAULT", "TARGETING_MATCH", "CACHED", "DISABLED")
#: Reasons for which a value holds only for now, or only for some, or nobody knows why.
DOUBTFUL = {
    "SPLIT": "only some of those who ask get it",
    "STALE": "it is of an earlier answer, and the flag server is away",
    "UNKNOWN": "the flag server does not say why",
}
ERROR = "ERROR"
NOT_SAID = "It does not say its flags."
#: Bytes of an answer.
MOST = 1 << 20


def read_back(
    cluster: Cluster,
    namespace: str,
    pods: List[Dict[str, Any]],
    wanted: Mapping[str, Any],
    *,
    port: int,
    path: str,
    tries: int = 5,
    pause: Callable[[float], None] = time.sleep,
) -> Check:
    """The check of all pods; asked again while one is not as wanted, as a flag server may take a moment.

    :param wanted: flag -> value, with its type: true is neither 1 nor "true"
    """
    status, good, wrong = asked_each(
        pods, lambda pod: _asked(cluster, namespace, pod, wanted, port, path), tries=tries, pause=pause
    )
    if not pods:
        text = "No pod is there that could be asked for its flags."
    else:
        text = wrong or f"All {plural(len(pods), 'pod')} go by {', '.join(_assigned(wanted))}."
    remedy = "" if status == OK else f"See what {path} of the pod says, and where its flags come from."
    value = None if status == UNKNOWN else good
    details = {"flags": dict(wanted)}
    return Check(ID, TITLE, status, value, "pods", message=text, remedy=remedy, source=path, details=details)


def gone_by(
    cluster: Cluster, namespace: str, pods: List[Dict[str, Any]], names: Iterable[str], *, port: int, path: str
) -> Dict[str, Any]:
    """What the pods of now go by, for an undo: {"values": {flag: value}, "unknown": {flag: why}}.

    A flag that no pod knows is in neither: the version of now came before it.
    """
    found: Dict[str, Dict[str, Any]] = {"values": {}, "unknown": {}}
    answers = [_answer(cluster, namespace, pod, port, path) for pod in pods]
    for name in sorted(names):
        said: List[Any] = [flags.get(name) for flags, _why in answers]
        why = next((why for _flags, why in answers if why), "") or ("" if answers else "No pod is there.")
        if why:
            found["unknown"][name] = why
        elif any(each is not None for each in said):
            why = _unlike(said)
            found["unknown" if why else "values"][name] = why or said[0]["value"]
    return found


def _answer(
    cluster: Cluster, namespace: str, pod: Mapping[str, Any], port: int, path: str
) -> Tuple[Dict[str, Any], str]:
    """The flags of a pod, none where it has no page of them; or why they are not known."""
    try:
        said = _page(cluster, namespace, pod, port, path)
    except Missing:
        return {}, ""
    except ClusterError as error:
        return {}, error.message
    flags = _flags(said)
    return (flags, "") if flags is not None else ({}, NOT_SAID)


def _unlike(said: List[Any]) -> str:
    """Why what pods say of a flag is no value to go back to."""
    if not all(isinstance(each, dict) and "value" in each for each in said):
        return "Not all pods say its value."
    doubtful = [each.get("reason") for each in said if each.get("reason") not in GOOD]
    if doubtful:
        return f"A pod has it by reason {printable(doubtful[0], 40)}."
    return "" if all(same(each["value"], said[0]["value"]) for each in said) else "Pods say different values."


def _assigned(wanted: Mapping[str, Any]) -> List[str]:
    return [f"{name}={json.dumps(value)}" for name, value in sorted(wanted.items())]


def _asked(
    cluster: Cluster, namespace: str, pod: Mapping[str, Any], wanted: Mapping[str, Any], port: int, path: str
) -> Tuple[str, str]:
    """Status of a pod's flags, and what is wrong with them."""
    try:
        return judged(_page(cluster, namespace, pod, port, path), wanted)
    except ClusterError as error:
        return UNKNOWN, error.message


def _page(cluster: Cluster, namespace: str, pod: Mapping[str, Any], port: int, path: str) -> Any:
    """What a pod says of its flags.

    :raises ClusterError: nothing, or no JSON
    """
    try:
        return json.loads(cluster.proxied(namespace, str(pod["metadata"]["name"]), port, path, MOST))
    except ValueError:
        raise ClusterError(f"{path} answers with what is no JSON.", "See what it says.") from None


def _flags(said: Any) -> Optional[Dict[str, Any]]:
    """The flags in what a pod says; None where it does not say them."""
    flags = said.get("flags") if isinstance(said, dict) else None
    return flags if isinstance(flags, dict) else None


def judged(said: Any, wanted: Mapping[str, Any]) -> Tuple[str, str]:
    """Status of what a pod says, and what is wrong with it.

    :param said: {"flags": {name: {"value": ..., "reason": ...}}}
    """
    flags = _flags(said)
    if flags is None:
        return UNKNOWN, NOT_SAID
    found = [_one(name, flags.get(name), value) for name, value in sorted(wanted.items())]
    wrong = [each for each in found if each[0] != OK]
    return worst(each[0] for each in found), " ".join(text for _status, text in wrong)


def _one(name: str, said: Any, wanted: Any) -> Tuple[str, str]:
    if said is None:
        return CRITICAL, f"It knows no flag {name}."
    if not isinstance(said, dict) or "value" not in said:
        return UNKNOWN, f"It does not say which value {name} has."
    value, reason = said["value"], said.get("reason")
    shown = printable(json.dumps(value), 60)
    if reason == ERROR:
        code = printable(said.get("errorCode") or "no code", 40)
        return CRITICAL, f"{name} is {shown} because of an error ({code}): nobody decided it."
    if not same(value, wanted):
        return CRITICAL, f"{name} is {shown}, not {printable(json.dumps(wanted), 60)}."
    if isinstance(reason, str) and reason in DOUBTFUL:
        return UNKNOWN, f"{name} is {shown}, but by reason {reason}: {DOUBTFUL[reason]}."
    if reason not in GOOD:
        return UNKNOWN, f"{name} is {shown} by a reason that is not known here: {printable(reason, 40)}."
    return OK, ""


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, types too; 1 and 1.0 are one number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
