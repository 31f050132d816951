# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The platform's own tests, as Jobs beside the version that was just rolled out: followed, counted, and removed."""

from __future__ import annotations

import hashlib
import json
import re
import time
from copy import deepcopy
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .._kubernetes.client import Conflict, Missing, Refused, Unanswered, path_of
from .._kubernetes.jobs import COMPLETE, FAILED, Ended, follow
from .._kubernetes.workloads import container
from ..checks import CRITICAL, OK, UNKNOWN, Check
from ..errors import ClusterError, ConfigurationError, MaintenanceError
from ..words import plural, printable, size
from .record import Release, Stored
from .results import Results, results
from .session import Session

ID, TITLE = "release.tests", "Tests"
#: Argument spec of one of them.
TEST_SPEC: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "command": {"type": "list", "elements": "str", "required": True},
    "image": {"type": "str"},
    "env": {"type": "dict", "default": {}},
    "deadline": {"type": "int", "default": 600},
}
TESTS_SPEC: Dict[str, Any] = {"type": "list", "elements": "dict", "options": TEST_SPEC, "default": []}
LABEL, TEST, HASH = "tradingflow.io/release", "tradingflow.io/test", "tradingflow.io/sha256"
_OWNER = {"app.kubernetes.io/managed-by": "tradingflow-maintenance"}
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,28}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Bytes of the log, seconds for which a finished Job is kept when nobody comes for it, seconds that the API and a
#: Job that is being deleted are waited for.
MOST_LOG, KEPT, PATIENCE = 4 << 20, 86400, 30.0
#: Of a container of the application, what only a server has.
_SERVES = ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle")
#: What configures the application, and is nothing for another image.
_CONFIGURES = ("env", "envFrom", "volumeMounts", "volumeDevices")


def checked(tests: List[Mapping[str, Any]]) -> None:
    """
    :raises ConfigurationError: a test cannot be run so
    """
    names = [str(each["name"]) for each in tests]
    for name in names:
        if not _NAME.fullmatch(name) or names.count(name) > 1:
            raise ConfigurationError(
                f"{printable(name)} is no name of tests, or one of two: at most 30 small letters, digits and hyphens.",
                "Correct release_tests.",
            )
    for each in tests:
        strange = [name for name in each["env"] or {} if not _VARIABLE.fullmatch(str(name))]
        if not each["command"] or each["deadline"] <= 0 or strange:
            raise ConfigurationError(
                f"The tests {each['name']} need a command, a deadline above 0, and names of variables in env.",
                "Correct release_tests.",
            )


def run(session: Session, stored: Stored, template: Mapping[str, Any], image: str) -> Tuple[Stored, List[Check]]:
    """Runs all of them, one after the other, until one is not well. Killed, and run again, it goes on with its Job.

    :param template: of the pods that were rolled out
    :param image: of the release, by digest
    :returns: the record as it is then, and the checks
    :raises StorageError, ReleaseError: the record cannot be written
    """
    checks: List[Check] = []
    tests = session.options["tests"]
    for number, test in enumerate(tests, 1):
        check, job = _guarded(session, stored.release, template, image, test)
        checks.append(check)
        stored.release.happened("tested", f"{test['name']}: {check.message}", run_id=session.run_id)
        stored = session.save(stored, f"tested {test['name']}")
        if job is not None:
            _forget(session, job)
        if check.status != OK:
            if number < len(tests):
                check.message += f" {plural(len(tests) - number, 'further suite was', 'further suites were')} not run."
            break
    return stored, checks


def _guarded(
    session: Session, release: Release, template: Mapping[str, Any], image: str, test: Mapping[str, Any]
) -> Tuple[Check, Optional[Dict[str, Any]]]:
    """The check of one, and its Job where there is one. What breaks off is unknown."""
    job: Optional[Dict[str, Any]] = None
    try:
        job = _job(session, manifest(session, release, template, image, test))
        ended = follow(
            session.cluster,
            session.namespace,
            job,
            # The Job has the same limit; this one is for when nobody keeps it.
            deadline=float(test["deadline"]) + PATIENCE,
            interval=session.options["interval"],
            say=lambda text: session.say(f"{test['name']}: {text}"),
            stop=session.stop,
        )
        return judged(str(test["name"]), ended, _results(session, ended)), job
    except MaintenanceError as error:
        return _unknown(str(test["name"]), error.message, error.remedy), job
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        text = f"What the API says of them is not understood ({type(error).__name__})."
        return _unknown(str(test["name"]), text, "Tell who maintains this collection."), job


def _unknown(name: str, text: str, remedy: str) -> Check:
    return Check(f"{ID}:{name}", f"{TITLE} {name}", UNKNOWN, None, message=text, remedy=remedy)


def name_of(release: Release, test: str) -> str:
    """The name of the Job: of this release and no other."""
    return f"test-{test}-{release.id.lower()}"[:63]


def manifest(
    session: Session, release: Release, template: Mapping[str, Any], image: str, test: Mapping[str, Any]
) -> Dict[str, Any]:
    """The Job: a pod like the application's, which serves nobody. It has no label by which a Service would find it.

    An image of its own gets nothing of what configures the application, whose passwords are not for everybody.
    """
    spec: Dict[str, Any] = deepcopy(dict(template["spec"]))
    like = {name: value for name, value in container(template, session.container).items() if name not in _SERVES}
    like = deepcopy(like)
    if test["image"]:
        like = {name: value for name, value in like.items() if name not in _CONFIGURES}
        spec.pop("volumes", None)
    own = {
        "RELEASE_ID": release.id,
        "RELEASE_VERSION": release.tag,
        "RELEASE_DIGEST": release.digest,
        "RELEASE_FLAGS": json.dumps(session.options["flags"], sort_keys=True),
        **{str(name): str(value) for name, value in (test["env"] or {}).items()},
    }
    kept = [each for each in like.get("env") or [] if each.get("name") not in own]
    like.update(
        name="tests",
        image=test["image"] or image,
        command=list(test["command"]),
        env=[*kept, *({"name": name, "value": value} for name, value in own.items())],
    )
    like.pop("args", None)
    for left in ("initContainers", "ephemeralContainers", "topologySpreadConstraints"):
        spec.pop(left, None)
    spec.update(containers=[like], restartPolicy="Never")
    labels = {**_OWNER, LABEL: release.id, TEST: str(test["name"])}
    body: Dict[str, Any] = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": int(test["deadline"]),
        "ttlSecondsAfterFinished": KEPT,
        "template": {"metadata": {"labels": labels}, "spec": spec},
    }
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    metadata = {"name": name_of(release, str(test["name"])), "labels": labels, "annotations": {HASH: digest}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": body}


def _job(session: Session, wanted: Dict[str, Any]) -> Dict[str, Any]:
    """The Job, made; or the very same, as a run that was killed left it.

    :raises ClusterError: it cannot be made
    """
    path = path_of("Job", session.namespace, wanted["metadata"]["name"])
    digest, deadline = wanted["metadata"]["annotations"][HASH], time.monotonic() + PATIENCE
    while True:
        try:
            try:
                return session.cluster.create(path_of("Job", session.namespace), wanted)
            except Conflict:
                there = session.cluster.get(path)
            metadata = there["metadata"]
            ours = (metadata.get("labels") or {}).get(LABEL) == wanted["metadata"]["labels"][LABEL]
            if not ours:
                raise ClusterError(f"A Job {metadata['name']} is there that is not ours", "See who made it.")
            if (metadata.get("annotations") or {}).get(HASH) == digest and not metadata.get("deletionTimestamp"):
                session.say(f"Going on with {metadata['name']}.")
                return there
            # Of this release, but by another command: that one says nothing any more.
            session.cluster.delete(path, uid=metadata["uid"])
        except Missing:
            pass  # made anew
        except Unanswered:
            if time.monotonic() > deadline or session.stop():
                raise
        if time.monotonic() > deadline:
            raise ClusterError(f"The Job {wanted['metadata']['name']} of before does not go away", "Delete it.")
        time.sleep(session.options["interval"])


def _forget(session: Session, job: Mapping[str, Any]) -> None:
    """Deletes it, once the record has what it found. One that stays goes by itself after a day."""
    try:
        session.cluster.delete(
            path_of("Job", session.namespace, str(job["metadata"]["name"])), uid=str(job["metadata"]["uid"])
        )
    except MaintenanceError as error:
        session.say(error.message)


def forget_all(session: Session, release: Release) -> None:
    """Deletes what a run that was killed left of a release that is undone: its pods would be of the bad version."""
    try:
        labels = f"{LABEL}={release.id}"
        for each in session.cluster.items(path_of("Job", session.namespace), labelSelector=labels):
            _forget(session, each)
    except Refused:
        pass  # who may not see Jobs has made none
    except ClusterError as error:
        session.say(error.message)


def _results(session: Session, ended: Ended) -> Optional[Results]:
    """What its log says, or the message that it left; None when neither can be had or read."""
    if ended.pod is None or ended.state not in (COMPLETE, FAILED):
        return None
    metadata, deadline = ended.pod["metadata"], time.monotonic() + PATIENCE
    while True:
        try:
            log = session.cluster.logs(
                session.namespace, str(metadata["name"]), "tests", str(metadata["creationTimestamp"]), MOST_LOG
            )
            break
        except Unanswered:
            if time.monotonic() > deadline or session.stop():
                return None
            time.sleep(session.options["interval"])
        except ClusterError:
            log = b""
            break
    lines = log.decode("utf-8", "replace").split("\n")
    found = results("\n".join(line.partition(" ")[2] for line in lines))
    if found is None:
        for each in (ended.pod.get("status") or {}).get("containerStatuses") or []:
            found = results(str(((each.get("state") or {}).get("terminated") or {}).get("message") or ""))
    elif len(log) >= MOST_LOG:
        found.problem = found.problem or f"their log has more than {size(MOST_LOG)}, which are read"
    return found


def judged(name: str, ended: Ended, found: Optional[Results]) -> Check:
    """The check of tests that ended so, and told so."""
    details: Dict[str, Any] = {"seconds": ended.seconds, "events": ended.events}
    code = ended.exit_code
    by = f" Their command ended with {code}." if code else ""
    remedy = "Read what they say; run again when it was not for the release."
    if found is not None:
        details.update(total=found.total, passed=found.passed, skipped=found.skipped, failed=found.failed)
    if found is not None and found.failures:
        status, text = CRITICAL, f"{found.said()}: {'; '.join(found.failed[:5])}."
        remedy = "Fix what they found, and release a version that has it."
    elif ended.state not in (COMPLETE, FAILED):
        status, text = UNKNOWN, f"How they end is not known: {ended.message}"
        remedy = "See why, and run again: it goes on."
    elif found is None:
        status, text = UNKNOWN, f"They do not say by JUnit's XML or by TAP what they found. {ended.message}{by}"
    elif found.problem:
        status, text = UNKNOWN, f"They do not say all of what they found: {found.problem}. {ended.message}{by}"
    elif not found.passed:
        status, text = UNKNOWN, f"Nothing was tested: {found.said()}."
    elif ended.state == FAILED:
        status, text = CRITICAL, f"{found.said()}, and yet: {ended.message}{by}"
    else:
        status, text, remedy = OK, f"{found.said()}.", ""
    value = None if status == UNKNOWN or found is None else found.passed
    source = f"Job, {found.total if found else 0} tests"
    title = f"{TITLE} {name}"
    return Check(
        f"{ID}:{name}", title, status, value, "tests", message=text, remedy=remedy, source=source, details=details
    )
