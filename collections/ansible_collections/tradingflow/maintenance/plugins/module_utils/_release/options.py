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

RELEASE, UNDO = "release", "undo"
#: A major update begins only with something to go back to.
MINOR, MAJOR = "minor", "major"
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
    "action": {"type": "str", "choices": [RELEASE, UNDO], "default": RELEASE},
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
