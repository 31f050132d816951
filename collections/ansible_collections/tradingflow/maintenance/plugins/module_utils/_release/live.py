# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Deployment as it is now: what it runs, by which configuration, and what its pods say of themselves."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .._checks.metrics import BadMetrics
from .._kubernetes import workloads
from .._kubernetes.client import Cluster
from .._kubernetes.configuration import hashes
from .._kubernetes.configuration import read as read_configuration
from .._logs.entries import Entries
from .._logs.tally import Tally
from .._logs.times import Times
from ..errors import ClusterError
from ..words import plural, printable, size
from .record import text_of
from .samples import Pod, counters_of

#: Bytes of a pod's log that one look reads.
MOST_LOG = 4 << 20
#: How far back the version of now is looked at for kinds of errors that are not new.
BASELINE = timedelta(hours=24)
#: Pods that are asked at a time.
THREADS = 8
_CARRIED = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)) ")


@dataclass
class Live:
    """A Deployment and its pods at one moment.

    :param digest: by which the template pins the container's image; None when it does not
    :param replicas: wanted
    :param generation: of the Deployment
    :param configuration: hashes, see record.LastGood
    :param pods: of the template, that are not being deleted
    :param unsettled: why the rollout is not through; empty when it is
    """

    digest: Optional[str]
    template_hash: str
    configuration: Dict[str, str]
    replicas: int
    generation: int
    pods: List[Pod] = field(default_factory=list)
    unsettled: str = ""

    def identity(self) -> Dict[str, Any]:
        """What must stay as it is while a release soaks, as JSON data."""
        return {
            "digest": self.digest,
            "template_hash": self.template_hash,
            "configuration": self.configuration,
            "replicas": self.replicas,
            "pods": {pod.uid: pod.name for pod in self.pods},
        }


def read(
    cluster: Cluster,
    namespace: str,
    deployment: str,
    container: str,
    options: Mapping[str, Any],
    *,
    log_since: Optional[datetime] = None,
    measured: bool = True,
    whole_log: bool = True,
    earlier: Optional[Mapping[str, Any]] = None,
) -> Live:
    """Looks.

    :param options: measures.SPEC, and port
    :param log_since: from when on logs are read; None: not at all
    :param measured: whether pods are asked for metrics and logs
    :param whole_log: whether more log than can be read is a problem
    :param earlier: uid -> Pod.kept() of the last look, from whose last line on logs are read
    :raises ClusterError: the API does not answer, or there is no such Deployment
    """
    seen = workloads.look(cluster, namespace, deployment)
    objects = read_configuration(cluster, namespace, seen.template)
    current = seen.current()
    found = [_pod(each, container) for each in seen.pods_of(current)]
    if measured:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="pods") as pool:
            where = (cluster, namespace, container)
            past = earlier or {}
            list(
                pool.map(
                    lambda pod: _measure(*where, pod, options, log_since, whole_log, past.get(pod.uid) or {}), found
                )
            )
    return Live(
        digest=workloads.digest_of(str(workloads.container(seen.template, container).get("image") or "")),
        template_hash=workloads.template_hash(seen.template),
        configuration=hashes(objects),
        replicas=seen.replicas,
        generation=int(seen.deployment["metadata"].get("generation") or 0),
        pods=found,
        unsettled=unsettled(seen, found),
    )


def unsettled(seen: workloads.Seen, pods: List[Pod]) -> str:
    """Why a rollout is not through, as a sentence; empty when it is."""
    metadata, spec = seen.deployment["metadata"], seen.deployment["spec"]
    status = seen.deployment.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "The Deployment is being deleted."
    if spec.get("paused"):
        return "The Deployment is paused."
    if int(status.get("observedGeneration") or 0) < int(metadata.get("generation") or 0):
        return "The Deployment's last change has not been looked at yet."
    if not seen.replicas:
        return "The Deployment is scaled to 0."
    ready = sum(pod.ready for pod in pods)
    if ready < seen.replicas or len(pods) != seen.replicas:
        return f"{ready} of {plural(seen.replicas, 'pod')} ready, {len(pods)} there."
    others = len([each for each in seen.pods if not each["metadata"].get("deletionTimestamp")]) - len(pods)
    if others:
        return f"{plural(others, 'pod')} of another template still there."
    return ""


def _pod(pod: Mapping[str, Any], container: str) -> Pod:
    """A pod by its status."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    mine: Dict[str, Any] = next((dict(each) for each in statuses if each.get("name") == container), {})
    last = (mine.get("lastState") or {}).get("terminated") or {}
    ended = str(last.get("reason") or "")
    return Pod(
        name=str(pod["metadata"]["name"]),
        uid=str(pod["metadata"]["uid"]),
        digest=workloads.running_digests(pod, container),
        ready=workloads.condition(pod, "Ready").get("status") == "True",
        restarts=int(mine.get("restartCount") or 0),
        started_at=str(((mine.get("state") or {}).get("running") or {}).get("startedAt") or ""),
        ended=printable(ended, 40) if ended else "",
        others=_beside(pod, container),
    )


def _beside(pod: Mapping[str, Any], container: str) -> int:
    """Restarts of the other containers of a pod. One that runs before them, and ends, may have needed several tries."""
    sidecars = [
        each["name"] for each in pod["spec"].get("initContainers") or () if each.get("restartPolicy") == "Always"
    ]
    status = pod.get("status") or {}
    running = [each for each in status.get("containerStatuses") or () if each.get("name") != container]
    running += [each for each in status.get("initContainerStatuses") or () if each.get("name") in sidecars]
    return sum(int(each.get("restartCount") or 0) for each in running)


def _measure(
    cluster: Cluster,
    namespace: str,
    container: str,
    pod: Pod,
    options: Mapping[str, Any],
    log_since: Optional[datetime],
    whole_log: bool,
    past: Mapping[str, Any],
) -> None:
    """Asks one pod. What it does not answer is its problem and nobody else's.

    :param past: Pod.kept() of the last look; empty when there was none
    """
    try:
        body = cluster.proxied(namespace, pod.name, options["port"], options["metrics_path"])
        pod.counters = counters_of(body, options)
    except BadMetrics as error:
        pod.problem = f"what it answers {error}"
    except ClusterError as error:
        pod.problem = f"its metrics could not be read: {error.message.rstrip('.')}"
    except Exception as error:
        pod.problem = f"its metrics could not be understood: {type(error).__name__}"
    if log_since is None:
        return
    after: Optional[float] = past.get("log_at")
    # The node's clock is in the log, and it may be behind ours: nothing that it writes later may be left out.
    since = log_since if after is None else min(log_since, datetime.fromtimestamp(after, timezone.utc))
    try:
        data = cluster.logs(namespace, pod.name, container, text_of(since), MOST_LOG)
        pod.kinds, pod.log_at = read_on(data, since, after)
        if whole_log and len(data) >= MOST_LOG:
            pod.logs_problem = f"it wrote more than {size(MOST_LOG)} since the last look"
    except ClusterError as error:
        pod.logs_problem = f"its log could not be read: {error.message.rstrip('.')}"
    except Exception as error:
        pod.logs_problem = f"its log could not be understood: {type(error).__name__}"


def kinds_of(data: bytes, since: datetime) -> Dict[str, Dict[str, Any]]:
    """Kinds of errors, see read_on."""
    return read_on(data, since, None)[0]


def read_on(data: bytes, since: datetime, after: Optional[float]) -> Tuple[Dict[str, Dict[str, Any]], float]:
    """Kinds of errors in lines as the API gives them, each with its time before it: fingerprint -> level, count and a
    sample without secrets; and the time of the last line, for who reads on.

    :param after: time of the last line that was read before: what is not later was
    """
    now = time.time()
    last = since.timestamp() - 1 if after is None else after
    times = Times("UTC", now)
    entries = Entries({}, times)
    # Whole seconds: the API takes no finer ones, and what it gives is what counts.
    until = max(now, since.timestamp()) + 60
    tally = Tally(since.replace(microsecond=0).timestamp() - 1, until, time.time)
    tally.begin()
    for raw in data.decode("utf-8", "replace").split("\n"):
        match = _CARRIED.match(raw)
        if not match:
            continue
        at = times.value(match[1])
        if at is not None and after is not None and at <= after:
            continue
        tally.add(entries.record(raw[match.end() :], at))
        if at is not None and at <= until:
            last = max(last, at)
    tally.end()
    found = tally.kinds.found.items()
    return {name: {key: kind[key] for key in ("level", "count", "sample")} for name, kind in found}, last
