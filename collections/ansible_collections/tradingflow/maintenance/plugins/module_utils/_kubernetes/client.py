# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The API of Kubernetes, as plain JSON: within a time limit, of a limited size, and without a word of what logs in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional
from urllib.parse import quote, urlencode

from ..errors import ClusterError, ConfigurationError
from ..words import printable
from .tls import in_memory, no_files_left

try:
    import kubernetes
    import urllib3
    import yaml
except ImportError:  # only the controller needs it
    kubernetes = None  # type: ignore[assignment]

#: Argument spec of what leads to a cluster.
CLUSTER_SPEC: Dict[str, Any] = {
    "type": "dict",
    "default": {},
    "options": {
        "kubeconfig": {"type": "path"},
        "context": {"type": "str"},
        "timeout": {"type": "float", "default": 10.0},
    },
}

#: Objects of one answer, and turns of a list that took longer than the API keeps its state.
_PAGE, _MOST_TURNS = 500, 3
#: Bytes of an answer that are read.
_MOST = 64 << 20
_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
#: Who we are to the API.
MANAGER = "tradingflow-maintenance"
JSON_PATCH = "application/json-patch+json"


class Unanswered(ClusterError):
    """The API does not answer, or not now: nobody knows whether what was asked for was done."""


class Missing(ClusterError):
    """The object is not there."""


class Conflict(ClusterError):
    """The object is another than the one that was judged; nothing was changed.

    :ivar causes: what the API says of each field, where it is about those that manage them
    """

    causes: List[str] = []


class Refused(ClusterError):
    """The API does not let us."""


class Cluster:
    """One cluster; keep one for a task. Every method raises ClusterError or one of its kinds.

    :param options: CLUSTER_SPEC; timeout: seconds that one request may take. Without kubeconfig: the one of
        KUBECONFIG or of the user's home, or in a pod its account's
    :raises ConfigurationError: what leads to the cluster cannot be used
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        if kubernetes is None:
            raise ConfigurationError("The Python library kubernetes is missing on the controller.", "Install it.")
        self.timeout = float(options.get("timeout") or 10.0)
        #: Of the kubeconfig, the context that is used whatever it calls its current one later; empty in a pod.
        self.context = ""
        with no_files_left():
            self._configuration = self._led(options)
            self._client: Any = kubernetes.client.ApiClient(self._configuration)  # type: ignore[no-untyped-call]
            try:
                in_memory(self._client)
            except OSError as error:
                raise ConfigurationError(
                    f"The certificate or key of the kubeconfig cannot be used: {printable(error, 200)}.",
                    "Write it by kubectl config view --raw.",
                ) from None

    def _led(self, options: Mapping[str, Any]) -> Any:
        configuration: Any = kubernetes.client.Configuration()  # type: ignore[no-untyped-call]
        file = options.get("kubeconfig")
        try:
            if in_cluster(options):
                kubernetes.config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
            else:
                self.context = options.get("context") or _current(file)
                kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call]
                    file, self.context, configuration, persist_config=False
                )
        except yaml.YAMLError as error:  # its text may quote the file
            raise ConfigurationError(
                f"The kubeconfig is no YAML ({type(error).__name__}).", "Write it by kubectl config view --raw."
            ) from None
        except (kubernetes.config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"The kubeconfig cannot be used: {printable(error, 200)}.", "Check its path, and the context."
            ) from None
        return configuration

    @property
    def host(self) -> str:
        """The API's address, for messages."""
        return str(self._configuration.host)

    def get(self, path: str, **query: str) -> Dict[str, Any]:
        """The object or list at a path such as /api/v1/namespaces/staging/pods."""
        return self._json("GET", path, query)

    def items(self, path: str, **query: str) -> List[Dict[str, Any]]:
        """All objects of a list, page by page, all of one state of the cluster."""
        for _turn in range(_MOST_TURNS):
            found: List[Dict[str, Any]] = []
            token = ""
            while True:
                more = {"continue": token} if token else {}
                try:
                    page = self._json("GET", path, {**query, "limit": str(_PAGE), **more})
                except Conflict:  # what the token stands for is gone: from the beginning
                    break
                if not isinstance(page.get("items"), list) or not isinstance(page.get("metadata"), dict):
                    raise ClusterError(f"{self.host} answers {path} with what is no list", "Check its address.")
                found += page["items"]
                token = page["metadata"].get("continue") or ""
                if not token:
                    return found
        raise Unanswered(f"The list {path} did not end within {_MOST_TURNS} turns", "Run again.")

    def patch(self, path: str, operations: List[Dict[str, Any]], *, dry_run: bool = False) -> Dict[str, Any]:
        """Changes an object by a JSON patch, whole or not at all; its "test" operations are the condition.

        :raises Conflict: a test did not hold
        """
        return self._json("PATCH", path, _dry(dry_run), operations, JSON_PATCH)

    def create(self, path: str, body: Dict[str, Any], *, dry_run: bool = False) -> Dict[str, Any]:
        """Makes an object in a list.

        :raises Conflict: one of that name is there
        """
        return self._json("POST", path, _dry(dry_run), body)

    def replace(self, path: str, body: Dict[str, Any], *, dry_run: bool = False) -> Dict[str, Any]:
        """Puts an object in the place of the one whose metadata.resourceVersion it has.

        :raises Conflict: that one has changed meanwhile
        """
        return self._json("PUT", path, _dry(dry_run) if dry_run else {}, body)

    def applied(self, path: str, body: Dict[str, Any], *, manager: str, force: bool = False) -> Dict[str, Any]:
        """What an object would be if somebody applied this to it on the server; nothing is changed.

        :param manager: of the fields: who would apply it
        :param force: also fields that somebody else manages
        :raises Conflict: somebody else manages what would be changed
        """
        query = {"fieldManager": manager, "force": "true" if force else "false", "dryRun": "All"}
        return self._json("PATCH", path, query, body, "application/apply-patch+yaml")

    def delete(self, path: str, *, uid: str, version: str = "") -> None:
        """Deletes exactly this object, and what it owns. That it is gone already is no error.

        :param version: its resourceVersion, where it must not have changed
        :raises Conflict: it is another by now
        """
        conditions = {"uid": uid, **({"resourceVersion": version} if version else {})}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions}
        try:
            self._json("DELETE", path, {}, {**body, "propagationPolicy": "Background"})
        except Missing:
            return

    def proxied(self, namespace: str, pod: str, port: int, path: str, most: int = 4 << 20) -> bytes:
        """What a pod answers to GET, by way of the API.

        :raises ClusterError: it does not answer, or not with 200
        """
        place = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}:{port}/proxy/{path.lstrip('/')}"
        return self._request("GET", place, {}, None, "", most)

    def logs(self, namespace: str, pod: str, container: str, since: str, most: int = 4 << 20) -> bytes:
        """What a pod's container has written since a moment (RFC 3339), each line with its time before it, the oldest
        first; not more than so many bytes of it.

        :raises ClusterError: the API or the node does not answer, or refuses
        """
        place = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/log"
        query = {"container": container, "timestamps": "true", "sinceTime": since, "limitBytes": str(most)}
        return self._request("GET", place, query, None, "", most)

    def _json(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None, kind: str = "application/json"
    ) -> Dict[str, Any]:
        answer = self._request(method, path, query, body, kind, _MOST)
        try:
            data = json.loads(answer)
        except ValueError:
            raise ClusterError(f"{self.host} answers {path} with what is no JSON", "Check its address.") from None
        if not isinstance(data, dict):
            raise ClusterError(f"{self.host} answers {path} with what is no object", "Check its address.")
        return data

    def _request(self, method: str, path: str, query: Mapping[str, str], body: Any, kind: str, most: int) -> bytes:
        url = f"{self.host}{path}{f'?{urlencode(query)}' if query else ''}"
        headers = {"Accept": "application/json" if kind else "*/*", "User-Agent": MANAGER}
        # Asked each time: a token may have been renewed.
        with no_files_left():
            for setting in self._configuration.auth_settings().values():
                headers[str(setting["key"])] = str(setting["value"])
        if body is not None:
            headers["Content-Type"] = kind
        try:
            answer = self._client.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=urllib3.Timeout(total=self.timeout),
                preload_content=False,
                retries=False,
                redirect=False,
            )
            try:
                content = answer.read(most + 1, decode_content=True)
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unanswered(
                f"The API at {self.host} does not answer {method} {path}: {printable(error, 200)}",
                "Check the cluster, then run again.",
            ) from None
        if answer.status >= 300:
            raise _error(self.host, method, path, answer.status, content)
        if len(content) > most:
            raise ClusterError(f"{path}: the answer has more than {most} bytes", "Ask for less.")
        return bytes(content)


def _dry(dry_run: bool) -> Dict[str, str]:
    return {"fieldManager": MANAGER, **({"dryRun": "All"} if dry_run else {})}


def _error(host: str, method: str, path: str, status: int, content: bytes) -> ClusterError:
    """What a status means."""
    said, causes = "", None
    try:
        data = json.loads(content[:65536])
        said, causes = str(data.get("message") or ""), (data.get("details") or {}).get("causes")
    except (ValueError, AttributeError):
        pass
    text = f"{host} says {status} to {method} {path}{f': {printable(said, 400)}' if said else ''}"
    if status == 404:
        return Missing(text, "Check namespace and name.")
    if status in (401, 403):
        # A namespace's quota also answers 403; what is said tells.
        return Refused(text, "Check the login, its rights in the namespace, and the namespace's quota.")
    # A patch whose test does not hold is a 422 as well; an object that is not valid has causes.
    if status in (409, 410, 412) or (method == "PATCH" and status == 422 and not causes):
        conflict = Conflict(text, "Look at the object, and run again.")
        conflict.causes = [str(each.get("message")) for each in causes or [] if isinstance(each, dict)]
        return conflict
    if status in (408, 429) or status >= 500:
        return Unanswered(text, "Check the cluster, then run again.")
    return ClusterError(text, "Correct what is asked for.")


def in_cluster(options: Mapping[str, Any]) -> bool:
    """Whether the account of the pod that we run in leads to the cluster.

    :param options: CLUSTER_SPEC
    """
    return not options.get("kubeconfig") and "KUBECONFIG" not in os.environ and _IN_CLUSTER.exists()


def _current(file: Optional[str]) -> str:
    _all, active = kubernetes.config.list_kube_config_contexts(file)  # type: ignore[no-untyped-call]
    return str(active["name"])


def path_of(kind: str, namespace: str, name: Optional[str] = None) -> str:
    """The path of an object, or of all of a namespace.

    :raises KeyError: a kind that is not known here
    """
    group = _GROUPS[kind]
    place = f"{group}/namespaces/{quote(namespace, safe='')}/{_PLURALS[kind]}"
    return f"{place}/{quote(name, safe='')}" if name else place


def place_of(cluster: Cluster, thing: Mapping[str, Any], namespace: str) -> str:
    """The path of an object of any kind, by what the API says of its kinds.

    :param namespace: where it is when it does not say
    :raises Missing: it has no such kind
    """
    version, metadata = str(thing.get("apiVersion")), thing["metadata"]
    folder = f"/apis/{version}" if "/" in version else f"/api/{version}"
    for each in cluster.get(folder).get("resources") or []:
        if each.get("kind") == thing["kind"] and "/" not in str(each.get("name")):
            place = quote(str(metadata.get("namespace") or namespace), safe="")
            inside = f"/namespaces/{place}" if each.get("namespaced") else ""
            return f"{folder}{inside}/{each['name']}/{quote(str(metadata['name']), safe='')}"
    raise Missing(
        f"The API has no kind {printable(thing['kind'], 60)} in {printable(version, 60)}", "Correct the chart."
    )


_GROUPS = {
    "Deployment": "/apis/apps/v1",
    "ReplicaSet": "/apis/apps/v1",
    "Pod": "/api/v1",
    "ConfigMap": "/api/v1",
    "Secret": "/api/v1",
    "ResourceQuota": "/api/v1",
    "LimitRange": "/api/v1",
    "PodDisruptionBudget": "/apis/policy/v1",
    "Job": "/apis/batch/v1",
    "Service": "/api/v1",
    "EndpointSlice": "/apis/discovery.k8s.io/v1",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2",
}
_PLURALS = {kind: f"{kind.lower()}s" for kind in _GROUPS}
#: Of which path_of knows.
KINDS = tuple(_GROUPS)
