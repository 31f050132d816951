# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release: looked at first, written on a condition, followed to its end, proven; and undone when it is not good."""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Dict, Iterator, List, Mapping, Optional

from .._kubernetes.client import Conflict, Refused, Unanswered, path_of
from .._kubernetes.configuration import hashes
from .._kubernetes.workloads import Seen, container, differences, digest_of, same_template, template_hash, with_image
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, worst
from ..errors import MaintenanceError, StorageError
from . import analysis, kept, last_good, live, preflight, recovery_point, retirement, stages, standing, strategies
from .chart import RELEASED, Changed, Chart, NotWritten
from .leftovers import removed
from .options import MAJOR, RETIRE, ROLLING, SWITCH_BACK, UNDO
from .preflight import Finding, guarded
from .proof import flags_of_now, further
from .record import FAILED, ROLLING_OUT, SOAKING, UNDONE, LastGood, Stored, begin, new, said, text_of
from .session import Outcome, Session, drift_check, rollout_check
from .target import Target, repository_of, resolved, schemas, tag_of
from .undo import undo, undone_at_once, written
from .verified import verified

#: Seconds in which pods that have just begun are asked something, before a measure without data forbids a release.
PATIENCE = 20.0


def run(session: Session, *, dry_run: bool = False) -> Outcome:
    """Releases, or undoes, as the options say.

    :param dry_run: only say what would be done
    :raises MaintenanceError: nothing was begun
    """
    action, why = session.options["action"], session.options["reason"].strip()
    if action == UNDO:
        return undo(session, session.stored(), why or "Undone by hand.", dry_run=dry_run)
    if action == SWITCH_BACK:
        return retirement.switch_back(session, session.stored(), why or "Switched back by hand.", dry_run=dry_run)
    if action == RETIRE:
        return retirement.retire(session, session.stored(), dry_run=dry_run)
    return _Work(session).all(dry_run=dry_run)


class _Work:
    """One release."""

    def __init__(self, session: Session) -> None:
        self._session, self._options = session, session.options
        self._outcome = Outcome()
        self._seen = session.look()
        self._image = str(container(self._seen.template, session.container)["image"])
        self._repository = self._options["image"] or repository_of(self._image)
        self._objects = session.objects(self._seen.template)
        self._heads = session.heads()
        self._earlier = session.stored()
        self._pods: List[Any] = []
        self._chart: Optional[Chart] = None

    def all(self, *, dry_run: bool) -> Outcome:
        """See run."""
        outcome = self._outcome
        target = self._target()
        if target is None:
            return outcome
        wanted = self._wanted(target)
        if wanted is None:
            return outcome
        outcome.before = {"image": self._image, "template": self._seen.template}
        outcome.after = {"image": target.image, "template": wanted}
        if self._chart is not None:
            shown = self._chart.shown()
            outcome.before["objects"], outcome.after["objects"] = shown["before"], shown["after"]
        outcome.record = {"digest": target.digest, "version": target.tag, "image": target.repository}
        before = self._earlier.release if self._earlier else None
        # Before what runs is asked: at its end the first Deployment has the version, and the second is still there.
        if strategies.on_its_way(before, target.image, target.digest, outcome):
            return outcome
        ended = before is not None and before.state not in (ROLLING_OUT, FAILED, UNDONE)
        same = same_template(self._seen.template, wanted) and (self._chart is None or self._chart.unchanged())
        if before and ended and before.digest == target.digest and same:
            outcome.nothing = f"{target.image} runs already: release {before.id} is {said(before.state)}."
            outcome.checks = [Check("release.rollout", "Rollout", OK, "nothing to do", message=outcome.nothing)]
            return outcome
        going_on = bool(before and before.state == ROLLING_OUT and before.digest == target.digest)
        outcome.going_on = going_on
        found = list(self._looked(target, wanted, going_on))
        outcome.findings += preflight.passed_by(found, self._options["overrides"], self._options["reason"])
        if not outcome.forbidden and not dry_run:
            stored = self._begun(target, wanted, going_on)
            if stored is not None:
                try:
                    self._rolled_out(stored, target, wanted)
                except MaintenanceError as error:
                    # Begun it is, so what was seen of it is told too.
                    self._lost(error)
        return outcome

    def _target(self) -> Optional[Target]:
        """What the version names; None, with the finding why, when that cannot be said."""
        target, finding = standing.named(self._options, self._repository)
        self._outcome.findings.append(finding)
        return target

    def _wanted(self, target: Target) -> Optional[Dict[str, Any]]:
        """The pod template that is to run; None, with the finding why, when the chart does not say."""
        if not self._options["helm"]["chart"]:
            return with_image(self._seen.template, self._session.container, target.image)
        try:
            self._chart = Chart(self._session, target, self._seen, self._earlier)
            return self._chart.template()
        except MaintenanceError as error:
            status = UNKNOWN if isinstance(error, (Unanswered, Refused)) else CRITICAL
            value = None if status == UNKNOWN else "failed"
            self._outcome.findings.append(Finding("chart", "the chart", status, value, error.message, error.remedy))
            return None

    def _looked(self, target: Target, wanted: Dict[str, Any], going_on: bool) -> Iterator[Finding]:
        """The preflight. Each look for itself: one that breaks off is unknown, and takes no other along."""
        seen, session, now = self._seen, self._session, datetime.now(timezone.utc)
        deployment, name = self._chart.tried if self._chart else seen.deployment, session.container
        yield standing.finding(self._earlier, seen, name, going_on=going_on, options=self._options)
        chart = self._chart
        yield from guarded("helm", lambda: chart.findings(wanted) if chart else preflight.helm(seen.deployment))
        if self._options["kind"] == MAJOR:
            yield from guarded(recovery_point.NAME, lambda: [self._point(going_on)])
        if not going_on:
            yield from guarded("rollout", lambda: [preflight.rollout(seen, name, now)])
        yield from guarded("strategy", lambda: [preflight.strategy(deployment)])
        begun = self._earlier.release if going_on and self._earlier else None
        if self._options["strategy"] != ROLLING or (begun and begun.strategy):
            yield from guarded("service", lambda: list(strategies.looked(session, seen, wanted, target.image, begun)))
        yield from guarded("probes", lambda: list(preflight.probes(wanted, name)))
        yield from guarded("configuration", lambda: [preflight.configuration(wanted, self._found(wanted))])
        works = schemas(target, self._options["schemas_label"], tuple(self._options["schemas"]))
        asked = bool(self._options["database"])
        what = f"{target.repository}:{target.tag}"
        yield from guarded("schema", lambda: [preflight.schema(self._heads, works, what, asked=asked)])
        if not going_on:
            yield from guarded("quota", lambda: list(self._quotas(wanted)))
            yield from guarded("disruption", lambda: [preflight.disruption(self._list("PodDisruptionBudget"), wanted)])
            yield from guarded("metrics", self._metrics)

    def _found(self, wanted: Dict[str, Any]) -> Mapping[str, Any]:
        if self._chart is None:
            return self._objects
        return kept.with_made(self._session.objects(wanted), self._chart.rendered, self._session.namespace)

    def _point(self, going_on: bool) -> Finding:
        """What there is to go back to."""
        begun = self._earlier.release.previous if self._earlier and going_on else None
        found = recovery_point.finding(self._options, begun.more.get("recovery_point") if begun else None)
        if found.status == OK:
            self._outcome.record["recovery_point"] = found.value
        return found

    def _list(self, kind: str) -> List[Dict[str, Any]]:
        return self._session.cluster.items(path_of(kind, self._session.namespace))

    def _quotas(self, wanted: Dict[str, Any]) -> Iterator[Finding]:
        more = preflight.surge(self._seen.deployment) + stages.more_pods(self._options, self._seen.replicas)
        yield from preflight.quotas(self._list("ResourceQuota"), self._list("LimitRange"), wanted, more)

    def _metrics(self) -> List[Finding]:
        """Whether every measure has data now: one that never has any would let a soak hold for ever."""
        session = self._session
        options = session.measured_by
        # Kinds of errors that the version of now logs are not new in the next.
        since = datetime.now(timezone.utc) - live.BASELINE
        where = (session.cluster, session.namespace, self._options["deployment"], session.container)
        deadline = time.monotonic() + PATIENCE
        while True:
            found = live.read(*where, options, log_since=since, whole_log=False)
            self._pods = found.pods
            refusals = analysis.preflight(found.pods, options)
            if not refusals or time.monotonic() >= deadline:
                break
            time.sleep(self._options["interval"])
        measures = self._options["analysis"]["measures"]
        if not refusals:
            text = f"{', '.join(measures)}: all have data now."
            return [Finding("metrics", "metrics", OK, len(measures), text)]
        return [Finding(each.name, "metrics", CRITICAL, 0, each.message, each.remedy) for each in refusals]

    def _begun(self, target: Target, wanted: Dict[str, Any], going_on: bool) -> Optional[Stored]:
        """The record, written before anything is changed, so that whoever comes after us can undo it."""
        session, options, earlier = self._session, self._options, self._earlier
        if going_on and earlier is not None:
            earlier.release.run_id = session.run_id
            earlier.release.happened("resumed", "Another run goes on with it.", run_id=session.run_id)
            return session.save(earlier)
        previous = self._last_good()
        previous.more.pop(RELEASED, None)
        if self._chart is not None:
            previous.more[RELEASED] = wanted
            self._chart.keep(previous)
        previous.more.setdefault("flags", flags_of_now(session, self._seen))
        previous.more.update(self._goes_with_it())
        release = new(
            options["environment_name"],
            options["application"],
            session.namespace,
            options["deployment"],
            session.container,
            tag=target.tag,
            image=target.repository,
            digest=target.digest,
            previous=previous,
            actor=session.actor,
            run_id=session.run_id,
        )
        measured = {**options["analysis"], "port": options["port"]}
        release.baseline = analysis.baseline_of(self._pods, measured, text_of(datetime.now(timezone.utc)))
        release.phase, release.promoted_from = "changing", options["promoted_from"]
        release.strategy = strategies.planned(session, self._seen)
        try:
            kept.keep(session.cluster, session.namespace, self._objects)
        except Refused as error:
            text = f"ConfigMaps and Secrets cannot be kept as they are: {error.message}"
            self._outcome.checks.append(
                Check("release.kept", "Configuration kept", WARNING, 0, message=text, remedy=error.remedy)
            )
        if earlier is not None and earlier.release.state == FAILED:
            release.happened("replaces", f"Release {earlier.release.id} failed, and was not undone.")
        return begin(session.store, release, earlier)

    def _goes_with_it(self) -> Dict[str, Any]:
        """What belongs to last-good besides, and what was asked of the version that follows it."""
        id, options = self._outcome.record.get("recovery_point"), self._options
        found: Dict[str, Any] = {"wanted": {"kind": options["kind"], "flags": options["flags"]}}
        found["tests"] = [each["name"] for each in options["tests"]]
        return {**found, "recovery_point": recovery_point.point_of(options, id)} if id else found

    def _last_good(self) -> LastGood:
        """What an undo goes back to: what runs now, unless that is a release that failed."""
        earlier, now = self._earlier.release if self._earlier else None, digest_of(self._image)
        if earlier and earlier.state == FAILED and earlier.previous and now == earlier.digest:
            return deepcopy(earlier.previous)
        works: List[str] = []
        if earlier and earlier.previous and now == earlier.previous.digest:
            works = list(earlier.previous.more.get("schemas") or [])
        try:
            found = resolved(
                self._options["registry"], repository_of(self._image), tag_of(self._image) or "latest", now
            )
            works = list(schemas(found, self._options["schemas_label"])) or works
        except MaintenanceError as error:
            # It may have been removed from the registry; the schema that it runs with now is recorded anyway.
            self._session.say(error.message)
        return last_good.of(self._seen, self._session.container, hashes(self._objects), self._heads, works)

    def _rolled_out(self, stored: Stored, target: Target, wanted: Dict[str, Any]) -> None:
        """Changes, follows, proves."""
        session, outcome, seen = self._session, self._outcome, self._seen
        outcome.record["release"] = stored.release.id
        if stored.release.strategy:
            self._ended(strategies.begun(session, stored, seen, wanted, target.digests, outcome))
            return
        drift: List[str] = []
        if self._chart is not None or not same_template(seen.template, wanted):
            cause = f"release {target.tag} ({stored.release.id})"
            try:
                if self._chart is None:
                    changed = written(session, seen, wanted, cause)
                else:
                    changed = self._chart.written(stored, cause)
            except Conflict as error:
                text = f"Somebody else changed the Deployment meanwhile, nothing was written: {error.message}"
                self._abandoned(self._newest(stored), text)
                return
            except (NotWritten, Changed) as error:
                outcome.changed = True
                end = self._failed if isinstance(error, NotWritten) else self._abandoned
                end(self._newest(stored), error.message)
                return
            outcome.changed = True
            session.say(f"{self._image} -> {target.image}")
            wanted, stored = changed["spec"]["template"], self._newest(stored)
            if self._chart is not None and stored.release.previous is not None:
                stored.release.previous.more[RELEASED] = wanted
                # How many there are is the chart's to say.
                spec = {**seen.deployment["spec"], "replicas": changed["spec"].get("replicas", 1)}
                seen = replace(seen, deployment={**seen.deployment, "spec": spec})
        stored = session.save(stored, "following")
        followed = session.followed(wanted, seen, target.digests, drift)
        outcome.events = followed.events
        outcome.record.update(seconds=followed.seconds, noticed=followed.noticed, ended=followed.state)
        outcome.checks += [rollout_check("release.rollout", "Rollout", followed), *drift_check(drift)]
        if followed.state == "complete" and followed.seen is not None:
            self._proven(stored, followed.seen, target)
        elif followed.state == "failed":
            self._failed(stored, followed.message)
        elif followed.state == "drifted":
            self._abandoned(stored, followed.message)
        else:
            stored.release.happened("unknown", followed.message, run_id=session.run_id)
            outcome.failed = followed.message
            session.save(stored, "unknown")

    def _newest(self, stored: Stored) -> Stored:
        """The record as it lies there, where a chart has written it meanwhile."""
        return (self._chart.stored if self._chart is not None else None) or stored

    def _ended(self, came: strategies.Came) -> None:
        """What the first stage came to."""
        if came.state == strategies.COMPLETE:
            self._outcome.record["pending"] = came.stored.release.state
            self._outcome.checks.append(strategies.stage_check(came))
        elif came.state == strategies.BROKEN:
            self._failed(came.stored, came.text)
        elif came.state == strategies.DRIFTED:
            self._abandoned(came.stored, came.text)
        else:
            self._outcome.failed = came.text
            came.stored.release.happened("unknown", came.text, run_id=self._session.run_id)
            self._session.save(came.stored, "unknown")

    def _proven(self, stored: Stored, seen: Seen, target: Target) -> None:
        session, options, outcome = self._session, self._options, self._outcome
        version = options["expected_version"] or target.tag
        check = verified(
            session.cluster,
            session.namespace,
            seen.pods_of(seen.current()),
            port=options["port"],
            health_path=options["health_path"],
            version_path=options["version_path"],
            version=version,
        )
        checks = [check]
        if check.status == OK:
            stored, more = further(session, stored, seen, target.image)
            checks += more
        outcome.checks += checks
        status, wrong = worst(each.status for each in checks), " ".join(e.message for e in checks if e.status != OK)
        if status == CRITICAL:
            self._failed(stored, wrong)
            return
        if status != OK:
            outcome.failed = wrong
            stored.release.happened("unknown", wrong, run_id=session.run_id)
            session.save(stored, "unverified")
            return
        release, now = stored.release, session.look()
        if not same_template(now.template, seen.template):
            places = ", ".join(differences(seen.template, now.template)[:5])
            self._abandoned(stored, f"Somebody changed the pod template while its pods were asked: {places}.")
            return
        release.configuration = hashes(session.objects(now.template))
        release.template_hash, release.replicas = template_hash(now.template), now.replicas
        release.generation = int(now.deployment["metadata"]["generation"])
        release.verified_at = text_of(datetime.now(timezone.utc))
        release.becomes(SOAKING, check.message, run_id=session.run_id)
        session.save(stored)
        removed(session)

    def _lost(self, error: MaintenanceError) -> None:
        """Nobody knows how it ended: the record says how far it came, and whoever runs it again goes on."""
        self._outcome.failed = error.message
        remedy = f"{error.remedy} Then run it again: it goes on.".strip()
        check = Check("release.finished", "Release finished", UNKNOWN, None, message=error.message, remedy=remedy)
        self._outcome.checks.append(check)

    def _abandoned(self, stored: Stored, text: str) -> None:
        """Somebody else changed it: nothing of theirs is overwritten, and nothing is undone."""
        self._outcome.failed = text
        check = Check("release.changed", "Changed by others", CRITICAL, 1, message=text)
        check.remedy = "See who did, and why; then release again."
        self._outcome.checks.append(check)
        stored.release.becomes(FAILED, text, run_id=self._session.run_id)
        self._session.save(stored)

    def _failed(self, stored: Stored, text: str) -> None:
        """It is not good: recorded first, so that it stays so whatever becomes of us; then undone."""
        session, outcome = self._session, self._outcome
        outcome.failed = text
        # Whoever comes after us, a release, an undo or a tick, goes on from here.
        phase = "undo" if self._options["undo_on_failure"] else ""
        stored.release.becomes(FAILED, text, run_id=session.run_id, phase=phase)
        try:
            stored = session.save(stored)
        except StorageError as error:
            # What is bad is taken back all the same; to what, is known here.
            session.say(error.message)
        if not self._options["undo_on_failure"] or stored.release.previous is None:
            return
        undone, checks = undone_at_once(session, stored, text)
        outcome.checks += checks
        if undone is None:
            return
        offset = outcome.events[-1]["seconds"] if outcome.events else 0.0
        outcome.events += [{**each, "seconds": round(each["seconds"] + offset, 3)} for each in undone.events]
        outcome.record["undone"] = undone.record if not undone.forbidden and not undone.failed else {}
