# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a release."""

from __future__ import annotations

import re
from typing import Any, Dict, Mapping

from .._helm.client import HELM_SPEC
from .._kubernetes.client import CLUSTER_SPEC
from ..database import DATABASE_SPEC
from ..errors import ConfigurationError
from ..ledger import SIGNING_SPEC
from ..storage import STORAGE_SPEC
from ..words import printable
from . import tests_job
from .measures import ANALYSIS_SPEC

#: A major update begins only with something to go back to.
MINOR, MAJOR = "minor", "major"
RELEASE, UNDO, SWITCH_BACK, RETIRE = "release", "undo", "switch_back", "retire"
ACTIONS = (RELEASE, UNDO, SWITCH_BACK, RETIRE)
#: How a version comes to a namespace: pod by pod; beside that of before, by its share; or in its place, which is kept.
ROLLING, GRADUAL, BLUE_GREEN = "rolling", "gradual", "blue_green"
STRATEGIES = (ROLLING, GRADUAL, BLUE_GREEN)
#: Percent of the pods, and the healthy minutes for which they are. All of them comes after the last.
STEPS = [{"share": 10.0, "minutes": 10.0}, {"share": 25.0, "minutes": 10.0}, {"share": 50.0, "minutes": 30.0}]
#: What a preflight may find that an operator may pass by, with a reason on the record.
OVERRIDES = (
    "rollout",
    "strategy",
    "probes",
    "drain",
    "quota",
    "disruption",
    "schema",
    "metrics",
    "drift",
    "configuration",
    "values",
    "autoscaler",
)

REGISTRY_SPEC: Dict[str, Any] = {
    "type": "dict",
    "apply_defaults": True,
    "options": {
        "address": {"type": "str"},
        "auth_file": {"type": "path"},
        "ca_file": {"type": "path"},
        "plain_http": {"type": "list", "elements": "str", "default": []},
        "platform": {"type": "str", "default": "linux/amd64"},
        "timeout": {"type": "int", "default": 30},
    },
}

#: Argument spec of the action release, without "run".
SPEC: Dict[str, Any] = {
    "action": {"type": "str", "choices": list(ACTIONS), "default": RELEASE},
    "environment_name": {"type": "str", "required": True},
    "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
    "kubernetes": {**CLUSTER_SPEC, "apply_defaults": True},
    "application": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "deployment": {"type": "str", "required": True},
    "container": {"type": "str", "required": True},
    "image": {"type": "str"},
    "version": {"type": "str", "default": ""},
    "digest": {"type": "str"},
    "promoted_from": {"type": "str"},
    "expected_version": {"type": "str"},
    "registry": REGISTRY_SPEC,
    "helm": HELM_SPEC,
    "database": {"type": "dict", "options": DATABASE_SPEC},
    "schemas": {"type": "list", "elements": "str", "default": []},
    "schemas_label": {"type": "str", "default": "org.tradingflow.schemas"},
    "port": {"type": "int", "default": 3000},
    "health_path": {"type": "str", "default": "/health"},
    "version_path": {"type": "str", "default": "/version"},
    "kind": {"type": "str", "choices": [MINOR, MAJOR], "default": MINOR},
    "recovery_point_age": {"type": "int", "default": 3600},
    "recovery_point_proven_days": {"type": "int", "default": 0},
    "evidence": {"type": "dict", "options": SIGNING_SPEC},
    "flags": {"type": "dict", "default": {}},
    "flags_path": {"type": "str", "default": "/flags"},
    "tests": tests_job.TESTS_SPEC,
    "analysis": ANALYSIS_SPEC,
    "deadline": {"type": "int", "default": 900},
    "ready_slack": {"type": "int", "default": 15},
    "steady": {"type": "float", "default": 3.0},
    "interval": {"type": "float", "default": 1.0},
    "undo_on_failure": {"type": "bool", "default": True},
    "strategy": {"type": "str", "choices": list(STRATEGIES), "default": ROLLING},
    "steps": {
        "type": "list",
        "elements": "dict",
        "default": STEPS,
        "options": {"share": {"type": "float", "required": True}, "minutes": {"type": "float", "required": True}},
    },
    "service": {"type": "str"},
    "manifest": {"type": "path"},
    "retire_after": {"type": "float", "default": 60.0},
    "overrides": {"type": "list", "elements": "str", "choices": list(OVERRIDES), "default": []},
    "reason": {"type": "str", "default": ""},
}

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def checked(options: Mapping[str, Any]) -> None:
    """
    :raises ConfigurationError: an option makes no sense
    """
    for name in ("namespace", "deployment", "container"):
        if not _NAME.fullmatch(options[name]):
            raise ConfigurationError(
                f"{printable(options[name])} is no name of a {name}.", f"Correct release_{name}, such as staging."
            )
    if options["action"] == RELEASE and not _TAG.fullmatch(options["version"]):
        raise ConfigurationError(
            f"{printable(options['version']) or 'Nothing'} is no version to release.",
            "Name the image's tag: -e release_version=v1.2.1.",
        )
    if options["overrides"] and not options["reason"].strip():
        raise ConfigurationError(
            f"To pass {', '.join(options['overrides'])} by takes a reason for the record.", "Set release_reason."
        )
    tests_job.checked(options["tests"])
    for name in ("deadline", "interval"):
        if options[name] <= 0:
            raise ConfigurationError(f"release_{name} must be above 0.", "Correct it.")
    if options["action"] == RELEASE and options["strategy"] != ROLLING:
        _staged(options)


def _staged(options: Mapping[str, Any]) -> None:
    """
    :raises ConfigurationError: a release cannot come in such stages
    """
    if options["helm"]["chart"]:
        raise ConfigurationError(
            f"The strategy {options['strategy']} goes from Deployment to Deployment, and a chart has one.",
            "Release by chart with release_strategy: rolling, or by this strategy without release_chart.",
        )
    if options["tests"]:
        # Behind the Service they would mostly meet the version of before.
        raise ConfigurationError(
            f"Tests are not run in the stages of {options['strategy']}.",
            "Run release_tests where the version soaks, with release_strategy: rolling; here leave them out.",
        )
    if not options["manifest"]:
        raise ConfigurationError(
            f"The strategy {options['strategy']} makes a second Deployment, and no manifest of it is named.",
            "Set release_manifest, such as production-rollout.yaml.j2 of the role.",
        )
    if not 0 <= options["retire_after"] < float("inf"):
        raise ConfigurationError("release_retire_after is no number of minutes.", "Correct it.")
    if options["strategy"] != GRADUAL:
        return
    shares = [each["share"] for each in options["steps"]]
    # The version of before keeps all its pods: more than half would take more than twice as many.
    if not shares or sorted(set(shares)) != shares or not all(0 < each <= 50 for each in shares):
        raise ConfigurationError(
            f"release_steps has the shares {', '.join(f'{each:g}' for each in shares) or 'none'}.",
            "Give each step more than the one before, at most 50 (percent); all of it comes after the last.",
        )
    if not all(0 < each["minutes"] < float("inf") for each in options["steps"]):
        raise ConfigurationError("A step of release_steps takes no time: nobody would see anything.", "Correct it.")
