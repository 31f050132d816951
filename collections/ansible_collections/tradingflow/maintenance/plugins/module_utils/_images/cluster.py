# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs in a cluster, as the API of Kubernetes says it: the images of all containers of all pods. Only read."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

from .._kubernetes.tls import in_memory, no_files_left
from ..errors import ImageError
from ..words import printable

try:
    import kubernetes
    import urllib3
    import yaml
except ImportError:  # only the controller needs it
    kubernetes = None  # type: ignore[assignment]

#: Pods of one answer.
_PAGE = 500
#: A list that takes longer than the API keeps its state begins anew.
_MOST_TURNS = 3
_GROUPS = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


def found(options: Dict[str, Any], timeout: float) -> List[Dict[str, Any]]:
    """What runs: {engine, problem, containers: [{name, image, id, digests}]}, one entry for each namespace.

    :param options: kubeconfig, context, namespaces; of none all of them, in one entry
    """
    entries = []
    for namespace in options.get("namespaces") or [None]:
        place = f"namespace {namespace}" if namespace else "Kubernetes"
        entry: Dict[str, Any] = {"engine": place, "problem": None, "containers": []}
        entries.append(entry)
        try:
            entry["containers"] = _containers(options, namespace, timeout)
        except ImageError as error:
            entry["problem"] = error.message
    return entries


@no_files_left()
def _containers(options: Dict[str, Any], namespace: Optional[str], timeout: float) -> List[Dict[str, Any]]:
    """
    :raises ImageError: the API refuses, does not answer, or not as it must
    """
    if kubernetes is None:
        raise ImageError("The Python library kubernetes is missing")
    configuration: Any = kubernetes.client.Configuration()  # type: ignore[no-untyped-call]
    # A question that failed is asked again by the next run, and not for minutes by this one.
    configuration.retries = False
    try:
        kubernetes.config.load_kube_config(  # type: ignore[no-untyped-call]
            options.get("kubeconfig"), options.get("context"), configuration, persist_config=False
        )
    except yaml.YAMLError as error:  # its text may quote the file
        raise ImageError(f"The kubeconfig is no YAML ({type(error).__name__})") from None
    except (kubernetes.config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        raise ImageError(f"The kubeconfig cannot be used: {printable(error, 200)}") from None
    with kubernetes.client.ApiClient(configuration) as client:  # type: ignore[no-untyped-call]
        try:
            in_memory(client)
        except OSError as error:
            raise ImageError(
                f"The certificate or key of the kubeconfig cannot be used: {printable(error, 200)}"
            ) from None
        pods = _pods(kubernetes.client.CoreV1Api(client), namespace, timeout)
    try:
        return [each for pod in pods for each in _of_pod(pod)]
    except (KeyError, TypeError, AttributeError) as error:
        raise ImageError(f"A pod is not understood ({type(error).__name__})") from None


def _pods(api: Any, namespace: Optional[str], timeout: float) -> List[Dict[str, Any]]:
    """All pods, page by page, all of one state of the cluster."""
    for _turn in range(_MOST_TURNS):
        pods: List[Dict[str, Any]] = []
        token = None
        while True:
            try:
                page = _page(api, namespace, token, timeout)
            except kubernetes.client.ApiException as error:
                if error.status == 410 and token:
                    break  # what the token stands for is gone: from the beginning
                if not error.status:  # so says the library of TLS
                    raise ImageError(f"The API does not answer: {printable(error.reason, 200)}") from None
                raise ImageError(f"The API says {error.status} {printable(error.reason, 80)}") from None
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise ImageError(f"The API does not answer: {printable(error, 200)}") from None
            if not isinstance(page.get("items"), list) or not isinstance(page.get("metadata"), dict):
                raise ImageError("The API answers with what is no list of pods")
            pods += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                return pods
    raise ImageError(f"The list of pods did not end within {_MOST_TURNS} turns")


def _page(api: Any, namespace: Optional[str], token: Optional[str], timeout: float) -> Dict[str, Any]:
    more: Dict[str, Any] = {"limit": _PAGE, "_request_timeout": timeout, "_preload_content": False}
    if token:
        more["_continue"] = token
    answer = api.list_namespaced_pod(namespace, **more) if namespace else api.list_pod_for_all_namespaces(**more)
    try:
        data = json.loads(answer.data)
    except ValueError:
        raise ImageError("The API answers with what is no JSON") from None
    if not isinstance(data, dict):
        raise ImageError("The API answers with what is no list of pods")
    return data


def _of_pod(pod: Dict[str, Any]) -> List[Dict[str, Any]]:
    """The containers of a pod that has not ended. One that has no image yet waits for it."""
    if pod["status"].get("phase") in ("Succeeded", "Failed"):
        return []
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    found = []
    # The status has what the runtime made of the name, which may be another one.
    groups = ("containers", "initContainers", "ephemeralContainers")
    said = {one["name"]: one.get("image") for key in groups for one in (pod.get("spec") or {}).get(key) or []}
    for group in _GROUPS:
        for each in pod["status"].get(group) or []:
            state = each.get("state") or {}
            if group == "initContainerStatuses" and "terminated" in state:
                continue
            id = each.get("imageID") or ""
            if not id and "running" not in state:
                continue
            text = id.partition("://")[2] if "://" in id else id
            found.append(
                {
                    "name": f"{name}/{each['name']}",
                    "image": said.get(each["name"]) or each["image"],
                    "id": text,
                    "digests": [text] if "@" in text else [],
                }
            )
    return found
