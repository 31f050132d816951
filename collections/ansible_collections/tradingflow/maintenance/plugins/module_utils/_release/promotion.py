# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A promotion: exactly the digest that has soaked in one namespace, released to another; or each reason why not."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Dict, List, Mapping, Optional

from .._kubernetes.client import CLUSTER_SPEC
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check
from ..errors import ClusterError, ConfigurationError, MaintenanceError
from ..storage import STORAGE_SPEC
from ..words import printable
from . import engine, soak, soaked_chart
from .eligibility import Verdict, eligible
from .live import Live
from .live import read as read_live
from .options import MAJOR, RELEASE
from .options import SPEC as RELEASE_SPEC
from .options import checked as release_checked
from .preflight import Finding, guarded, passed_by
from .record import FAILED, PROMOTED, SOAKING, UNDONE, Release, Stored
from .session import Outcome, Session

_NEEDS = ("hours", "requests", "market_minutes")
#: What the soak decides, and nobody else.
_DECIDED = ("action", "version", "image", "digest", "promoted_from")
#: Argument spec of the action release_promote, without "run".
SPEC: Dict[str, Any] = {
    **{name: spec for name, spec in RELEASE_SPEC.items() if name not in _DECIDED},
    "version": {"type": "str", "default": ""},
    "from_namespace": {"type": "str", "required": True},
    "from_deployment": {"type": "str"},
    "from_environment_name": {"type": "str"},
    "from_kubernetes": CLUSTER_SPEC,
    "from_storage": {"type": "dict", "options": STORAGE_SPEC},
    **{name: {**soak.WANTED_SPEC[name], "default": 0} for name in _NEEDS},
}
#: Reasons that are no facts about the release: nobody knows.
_UNKNOWN = ("live",)


def checked(options: Mapping[str, Any]) -> None:
    """
    :raises ConfigurationError: an option makes no sense
    """
    where = source_options(options)
    same = all(where[name] == options[name] for name in ("environment_name", "storage"))
    if same and options["from_namespace"] == options["namespace"]:
        raise ConfigurationError(
            f"A version cannot be promoted from {options['namespace']} to {options['namespace']}.",
            "Set release_promote_from_namespace and release_promote_namespace.",
        )
    release_checked(engine_options(options, tag="any", image="any", digest="any", soaked="any"))


def source_options(options: Mapping[str, Any]) -> Dict[str, Any]:
    """Options of the session in which the release soaks."""
    given = options["from_kubernetes"] or {}
    # A time limit alone, which has a default, names no cluster.
    cluster = given if given.get("kubeconfig") or given.get("context") else None
    return {
        **options,
        "namespace": options["from_namespace"],
        "deployment": options["from_deployment"] or options["deployment"],
        "environment_name": options["from_environment_name"] or options["environment_name"],
        "kubernetes": cluster or options["kubernetes"],
        "storage": options["from_storage"] or options["storage"],
    }


def engine_options(options: Mapping[str, Any], *, tag: str, image: str, digest: str, soaked: str) -> Dict[str, Any]:
    """Options of the release to be made: exactly what has soaked."""
    known = {name: options[name] for name in RELEASE_SPEC if name not in _DECIDED}
    return {
        **known,
        "action": RELEASE,
        "version": tag,
        "image": image,
        "digest": digest,
        "promoted_from": soaked,
    }


def run(target: Session, source: Session, now: Optional[datetime] = None, *, dry_run: bool = False) -> Outcome:
    """Promotes, or says why not.

    :param target: where it is released to; with options of SPEC
    :param source: where it soaks; with source_options
    :param dry_run: only say what would be done
    :raises MaintenanceError: nothing was begun
    """
    outcome = Outcome()
    stored = source.stored()
    release = stored.release if stored else None
    if release is not None and _done(target, release):
        outcome.nothing = f"Release {release.id} ({release.tag}) was promoted to {target.namespace} already."
        outcome.checks = [Check("release.promotion", "Promotion", OK, "nothing to do", message=outcome.nothing)]
        # A run that was killed right after the rollout: the cluster is as it should be, only the record is not.
        outcome.record = {"unmarked": release.state == SOAKING}
        if not dry_run:
            outcome.checks += _marked(target, source, release.id)
        return outcome
    live, problem = _seen(source, release)
    at_least = {name: target.options[name] for name in _NEEDS}
    verdict = eligible(release, now or datetime.now(timezone.utc), live, at_least=at_least)
    found = findings(verdict, release, target.options["version"], problem)
    if release is not None and not any(each.forbids for each in found):
        looked = guarded(soaked_chart.NAME, lambda: soaked_chart.findings(target, source, release))
        found += passed_by(looked, target.options["overrides"], target.options["reason"])
        found += guarded("values.flags", lambda: _flags(target, release))
    if release is None or any(each.forbids for each in found):
        outcome.findings = found
        return outcome
    made = engine.run(
        replace(
            target,
            options=engine_options(
                _as_soaked(target.options, release),
                tag=release.tag,
                image=release.image,
                digest=release.digest,
                soaked=release.id,
            ),
        ),
        dry_run=dry_run,
    )
    made.findings = [*found, *made.findings]
    made.record.update(promoted=release.id, from_namespace=source.namespace)
    if made.record.get("pending"):
        # It is on its way: the mark is for when it is there.
        return made
    if made.nothing:
        # It runs there by an earlier release: only the record of its soak is to be written.
        made.record["unmarked"] = True
    # What was there already of the same digest counts too: a run that died after the rollout left it so.
    if not dry_run and not made.forbidden and not made.failed:
        made.checks += _marked(target, source, release.id)
    return made


def _as_soaked(options: Mapping[str, Any], release: Release) -> Dict[str, Any]:
    """The options, which ask for no less than what soaked was asked for: a recovery point first, and its flags."""
    asked = (release.previous.more.get("wanted") if release.previous else None) or {}
    kind = MAJOR if asked.get("kind") == MAJOR else options["kind"]
    return {**options, "kind": kind, "flags": {**(asked.get("flags") or {}), **options["flags"]}}


def findings(verdict: Verdict, release: Optional[Release], version: str, problem: str = "") -> List[Finding]:
    """What the soak says, as what was looked at before the release.

    :param version: the tag that somebody expects to be promoted; empty for whatever has soaked
    :param problem: why what runs could not be seen
    """
    title = "the soak"
    found = []
    if release is not None and version and version.removeprefix("v") != release.tag.removeprefix("v"):
        text = f"{version} is to be promoted, and what soaks is {release.tag} ({release.digest})."
        found.append(Finding("soak.digest", title, CRITICAL, release.tag, text, "Promote what has soaked."))
    for reason in verdict.reasons:
        status = UNKNOWN if reason.name in _UNKNOWN else CRITICAL
        text = f"{reason.message} {problem}".rstrip() if reason.name == "live" else reason.message
        value = None if status == UNKNOWN else reason.name
        found.append(Finding(f"soak.{reason.name}", title, status, value, text, reason.remedy))
    if not found and release is not None and verdict.eligible:
        text = f"{release.tag} ({release.digest}) has soaked as release {release.id}."
        found.append(Finding("soak", title, OK, release.digest, text))
    return found


def _flags(target: Session, release: Release) -> List[Finding]:
    """Flags that the target gets and where it soaked nobody asked for: what they change has not soaked."""
    wanted = (release.previous.more if release.previous else {}).get("wanted")
    soaked, given = (wanted or {}).get("flags") or {}, target.options["flags"]
    # As JSON: 1 is not true.
    others = sorted(name for name in given if name not in soaked or json.dumps(soaked[name]) != json.dumps(given[name]))
    if wanted is None or not others:
        return []
    text = f"{', '.join(map(printable, others[:8]))}: with this value, {release.tag} has not soaked."
    remedy = f"See whether they are to differ in {target.namespace} (release_promote_flags)."
    return [Finding("values.flags", "feature flags", WARNING, len(others), text, remedy)]


def _seen(source: Session, release: Optional[Release]) -> tuple[Optional[Live], str]:
    """What runs where it soaks; None, and why, when that could not be seen."""
    if release is None:
        return None, ""
    try:
        return (
            read_live(
                source.cluster,
                source.namespace,
                source.options["deployment"],
                source.container,
                source.measured_by,
                measured=False,
            ),
            "",
        )
    except ClusterError as error:
        return None, error.message


def _done(target: Session, release: Release) -> bool:
    """Whether it was promoted already: the target's release came from it, and is through."""
    there = target.stored()
    if there is None or there.release.promoted_from != release.id or there.release.digest != release.digest:
        return False
    return there.release.state in (SOAKING, PROMOTED)


def _marked(target: Session, source: Session, id: str) -> List[Check]:
    """Writes into the record of what has soaked that it is promoted; ticks may write it meanwhile."""
    text = f"Promoted to {target.namespace}."
    try:
        for last in (False, True):
            stored: Optional[Stored] = source.stored()
            if stored is None or stored.release.id != id:
                return []
            if stored.release.state in (FAILED, UNDONE):
                marked = any(each.kind == PROMOTED for each in stored.release.events)
                return [] if marked else [_failed_meanwhile(target, stored.release)]
            if stored.release.state != SOAKING:
                return []
            stored.release.becomes(PROMOTED, text, run_id=source.run_id)
            try:
                source.save(stored)
                return []
            except MaintenanceError:
                if last:
                    raise
    except MaintenanceError as error:
        message = f"It is promoted, and the record of its soak does not say so: {error.message}"
        remedy = "Run playbooks/promote.yml again: it only writes that."
        return [Check("release.marked", "Record of the soak", WARNING, 0, message=message, remedy=remedy)]
    return []


def _failed_meanwhile(target: Session, release: Release) -> Check:
    """That what is in place now has failed where it soaked, while it was promoted."""
    ended = "failed" if release.state == FAILED else "been undone"
    text = f"{release.tag} runs in {target.namespace}, and meanwhile its soak has {ended}: {release.reason}"
    remedy = f"Undo it in {target.namespace} too (release_action=undo), unless the reason is none there."
    return Check("release.marked", "Record of the soak", CRITICAL, 0, message=text, remedy=remedy)
