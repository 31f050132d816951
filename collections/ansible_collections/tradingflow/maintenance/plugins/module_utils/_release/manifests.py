# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manifests of a second Deployment: a template of the role, rendered to plain objects, and looked at before use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping

from .._kubernetes.workloads import digest_of, matches
from ..errors import ConfigurationError
from ..words import printable

try:
    import jinja2
    import jinja2.sandbox
    import yaml
except ImportError:  # only the controller needs it
    jinja2 = None  # type: ignore[assignment]

#: Kinds that a template may have beside the one Deployment.
BESIDE = ("PodDisruptionBudget",)
#: On what is ours: the id of the release that made it.
RELEASE_OF = "tradingflow.io/release"


def rendered(file: str, values: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """The objects of a template.

    :param values: name, namespace, release, replicas, labels, selector, pod_template, image, version, of, service,
        budgets ({name, spec} for each PodDisruptionBudget)
    :raises ConfigurationError: it cannot be read, or is none; never with what it says, which may be secret
    """
    if jinja2 is None:
        raise ConfigurationError("The Python libraries jinja2 and yaml are missing on the controller.", "Install them.")
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The manifest {printable(file, 200)} cannot be read ({type(error).__name__}).", "Correct release_manifest."
        ) from None
    try:
        environment = jinja2.sandbox.SandboxedEnvironment(undefined=jinja2.StrictUndefined)
        objects = [each for each in yaml.safe_load_all(environment.from_string(text).render(**values)) if each]
    except jinja2.UndefinedError as error:
        raise _wrong(file, printable(error, 200)) from None
    except jinja2.TemplateSyntaxError as error:
        raise _wrong(file, f"line {error.lineno} is no Jinja") from None
    except Exception as error:  # its text may quote values
        raise _wrong(file, type(error).__name__) from None
    if not all(isinstance(each, dict) and isinstance(each.get("metadata"), dict) for each in objects):
        raise _wrong(file, "it has something that is no object of Kubernetes")
    return objects


def checked(file: str, objects: List[Dict[str, Any]], values: Mapping[str, Any], container: str) -> Dict[str, Any]:
    """The Deployment among the objects, when all of them are what they may be.

    :param values: that they were rendered with
    :param container: whose image is proven to be the release's
    :raises ConfigurationError: they are not
    """
    found = [each for each in objects if each.get("kind") == "Deployment"]
    if len(found) != 1:
        raise _wrong(file, f"it has {len(found)} Deployments, of one")
    for each in objects:
        kind, metadata = printable(each.get("kind"), 60), each["metadata"]
        if each.get("kind") not in ("Deployment", *BESIDE):
            raise _wrong(file, f"it has a {kind}; beside the Deployment there may be {', '.join(BESIDE)}")
        if metadata.get("namespace", values["namespace"]) != values["namespace"]:
            raise _wrong(file, f"its {kind} is of another namespace")
        metadata.setdefault("namespace", values["namespace"])
        metadata.setdefault("annotations", {})[RELEASE_OF] = values["release"]
    deployment = found[0]
    spec = deployment.get("spec") or {}
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if deployment["metadata"].get("name") != values["name"]:
        raise _wrong(file, f"its Deployment is not named {values['name']}")
    images = [each.get("image") for each in (template.get("spec") or {}).get("containers") or []]
    mine = [each for each in (template.get("spec") or {}).get("containers") or [] if each.get("name") == container]
    if len(mine) != 1 or digest_of(str(mine[0].get("image"))) != digest_of(str(values["image"])):
        raise _wrong(file, f"its container {container} does not run {values['image']} ({len(images)} containers)")
    if spec.get("replicas") != values["replicas"]:
        raise _wrong(file, f"it wants {printable(spec.get('replicas'), 20)} pods, of {values['replicas']}")
    if any(labels.get(name) != value for name, value in values["labels"].items()):
        raise _wrong(file, "its pods have not all labels by which the Service finds them")
    if not matches(spec.get("selector"), labels):
        raise _wrong(file, "its selector does not select its own pods")
    if matches(spec.get("selector"), values["others"]):
        raise _wrong(file, f"its selector selects the pods of {values['of']}, too")
    return deployment


def release_of(thing: Mapping[str, Any]) -> str:
    """The id of the release that made an object; empty when none did."""
    return str((thing["metadata"].get("annotations") or {}).get(RELEASE_OF) or "")


def _wrong(file: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"The manifest {printable(file, 200)} cannot be used: {why}.", "Correct it.")
