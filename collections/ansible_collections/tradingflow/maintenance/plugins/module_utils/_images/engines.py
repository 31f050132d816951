# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs in containers of a host, as its engines say it: docker, podman, crictl. Only asked, nothing is changed."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import Any, Dict, List, Optional, Tuple

from .._work.asked import asked
from .._work.programs import last_words
from ..errors import ImageError

ENGINES = ("podman", "docker", "crictl")
#: Argument spec of the module container_images.
SPEC: Dict[str, Any] = {
    "engines": {"type": "list", "elements": "str", "choices": list(ENGINES), "default": []},
    "timeout": {"type": "int", "default": 60},
}
#: By which a client is told where its engine is.
_PASSED: Tuple[str, ...] = (
    "HOME",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "CONTAINER_HOST",
)
_PASSED += ("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "XDG_RUNTIME_DIR", "CONTAINER_RUNTIME_ENDPOINT")
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{12,64}")


def found(options: Dict[str, Any]) -> List[Dict[str, Any]]:
    """What each engine says: {engine, problem, containers: [{name, image, id, digests}]}.

    Without named engines all that are there; none is there: an entry that says so.
    """
    names = options["engines"] or [name for name in ENGINES if shutil.which(name)]
    if not names:
        text = "none of podman, docker and crictl is there"
        return [{"engine": "containers", "problem": text, "containers": []}]
    return [_asked(name, options["timeout"]) for name in names]


def _asked(engine: str, timeout: int) -> Dict[str, Any]:
    entry: Dict[str, Any] = {"engine": engine, "problem": None, "containers": []}
    reader = crictl if engine == "crictl" else docker
    for turn in (1, 2):
        entry["problem"] = None
        try:
            entry["containers"] = reader(engine, timeout)
        except (ImageError, OSError) as error:
            entry["problem"] = str(getattr(error, "message", error))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            entry["problem"] = f"its answer is not understood ({type(error).__name__})"
        # A container may have ended between two questions.
        if entry["problem"] is None or turn == 2:
            break
    return entry


def _said(arguments: List[str], timeout: int) -> str:
    """
    :raises ImageError: it failed
    """
    environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
    environment.update(PATH=os.environ.get("PATH", ""), LC_ALL="C.UTF-8")
    answer = asked(arguments, environment, timeout)
    if answer.status:
        raise ImageError(f"{arguments[0]} fails with exit status {answer.status}: {last_words(answer.messages, 300)}")
    return answer.text


def docker(engine: str, timeout: int) -> List[Dict[str, Any]]:
    """Of docker and podman, which answer alike."""
    ids = _said([engine, "ps", "--quiet", "--no-trunc"], timeout).split()
    if not all(_ID.fullmatch(id) for id in ids):
        raise ValueError("no ids")
    if not ids:
        return []
    containers = json.loads(_said([engine, "inspect", "--type", "container", *ids], timeout))
    if len(containers) != len(ids):
        raise ValueError("another number of containers")
    images: Dict[str, List[str]] = {}
    for each in containers:
        id = str(each["Image"])
        if id not in images:
            images[id] = _digests(engine, id, timeout)
    return [container(each, images[str(each["Image"])]) for each in containers]


def _digests(engine: str, id: str, timeout: int) -> List[str]:
    """Names of an image with its digests, NAME@sha256:...; none when it was built here, or taken away since."""
    if not _ID.fullmatch(id):
        raise ValueError("no id")
    try:
        (image,) = json.loads(_said([engine, "image", "inspect", id], timeout))
    except ImageError:
        return []
    return [str(each) for each in image.get("RepoDigests") or []]


def container(each: Dict[str, Any], digests: List[str]) -> Dict[str, Any]:
    """One container of docker or podman, from what inspect says."""
    name = each.get("ImageName") or each["Config"]["Image"]
    id = str(each["Image"])
    more: Optional[str] = (each.get("ImageManifestDescriptor") or {}).get("digest")
    return {
        "name": str(each["Name"]).lstrip("/"),
        "image": str(name),
        "id": id if id.startswith("sha256:") else f"sha256:{id}",
        "digests": [*digests, more] if more else digests,
    }


def crictl(engine: str, timeout: int) -> List[Dict[str, Any]]:
    """Of containerd and CRI-O, by the runtime interface of Kubernetes."""
    running = json.loads(_said([engine, "ps", "--output", "json"], timeout))["containers"]
    images = json.loads(_said([engine, "images", "--output", "json"], timeout))["images"]
    return [cri_container(each, images) for each in running]


def cri_container(each: Dict[str, Any], images: List[Dict[str, Any]]) -> Dict[str, Any]:
    """One container of crictl ps, with its image among those of crictl images."""
    ids = {each["imageRef"], each["image"]["image"], each.get("imageId") or each["imageRef"]}
    mine = [image for image in images if ids & {image["id"], *(image.get("repoDigests") or ())}]
    pod = (each.get("labels") or {}).get("io.kubernetes.pod.name")
    name = each["metadata"]["name"]
    named = each["image"].get("userSpecifiedImage") or ""
    tags = [tag for image in mine for tag in image.get("repoTags") or ()]
    digests = [digest for image in mine for digest in image.get("repoDigests") or ()]
    return {
        "name": f"{pod}/{name}" if pod else name,
        "image": named or next(iter([*tags, *digests]), each["image"]["image"]),
        "id": mine[0]["id"] if mine else each["imageRef"],
        "digests": digests,
    }
