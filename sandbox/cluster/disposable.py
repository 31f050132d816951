# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster of the user's own in the place of the sandbox's: one that the user names as disposable.

TRADINGFLOW_DISPOSABLE_CLUSTER is the context's name in KUBECONFIG; TRADINGFLOW_DISPOSABLE_REGISTRY the HOST:PORT of a
registry that this machine writes to and the cluster pulls from; TRADINGFLOW_DISPOSABLE_DATABASE_URL how its pods reach
the sandbox's database.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ..layout import SandboxError, State, write_private
from . import manifests

CONTEXT, REGISTRY, DATABASE = (f"TRADINGFLOW_DISPOSABLE_{name}" for name in ("CLUSTER", "REGISTRY", "DATABASE_URL"))
#: On the namespaces, with what tells sandboxes apart: others are never touched.
LABEL = "tradingflow.org/sandbox"


def named() -> str | None:
    """The context that the user names, None if there is none."""
    return os.environ.get(CONTEXT) or None


def identity(state: State) -> str:
    """The label's value."""
    return hashlib.sha256(str(state.layout.root).encode()).hexdigest()[:12]


def describe(kubectl: str, place: Path) -> dict[str, Any]:
    """The state's section of such a cluster.

    :param place: a folder for its kubeconfig, with nothing of other clusters in it
    :raises SandboxError: there is no such context, or something is not said
    """
    context = named()
    if unsaid := [name for name in (REGISTRY, DATABASE) if not os.environ.get(name)]:
        raise SandboxError(f"{CONTEXT} is set, and {' and '.join(unsaid)} {'is' if len(unsaid) == 1 else 'are'} not.")
    done = subprocess.run(
        [kubectl, "config", "view", "--raw", "--flatten", "--minify", "--context", str(context), "-o", "json"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SandboxError(f"There is no context {context} in KUBECONFIG: {done.stderr.strip()}")
    content = json.loads(done.stdout)
    content["contexts"][0]["context"]["namespace"] = manifests.NAMESPACES[0]
    file = place / "disposable.kubeconfig"
    write_private(file, json.dumps(content, indent=1) + "\n")
    host, _, port = os.environ[REGISTRY].rpartition(":")
    if not host or not port.isdigit():
        raise SandboxError(f"{REGISTRY} is {os.environ[REGISTRY]!r}. Set it to HOST:PORT.")
    return {
        "disposable": True,
        "server": content["clusters"][0]["cluster"]["server"],
        "registry": os.environ[REGISTRY],
        "context": context,
        "kubeconfig": str(file),
        "admin_kubeconfig": str(file),
        "kubectl": kubectl,
    }


def check(state: State) -> None:
    """Looks whether the namespaces are free.

    :raises SandboxError: one is there, and is not this sandbox's
    """
    for name in manifests.NAMESPACES:
        found = _run(state, "get", "namespace", name, "--ignore-not-found", "-o", "json")
        if found.strip() and json.loads(found)["metadata"].get("labels", {}).get(LABEL) != identity(state):
            raise SandboxError(f"{state['cluster']['context']} has a namespace {name} that is not this sandbox's.")


def mark(state: State, objects: list[dict[str, Any]]) -> None:
    """Says of namespaces that are about to be made whose they are."""
    for each in objects:
        if each["kind"] == "Namespace":
            each["metadata"]["labels"] = {LABEL: identity(state)}


def release(state: State) -> None:
    """Deletes the namespaces that are this sandbox's."""
    _run(state, "delete", "namespace", "-l", f"{LABEL}={identity(state)}", "--ignore-not-found", "--timeout=180s")


def _run(state: State, *arguments: str) -> str:
    section = state["cluster"]
    done = subprocess.run(
        [section["kubectl"], "--kubeconfig", section["admin_kubeconfig"], *arguments], capture_output=True, text=True
    )
    if done.returncode:
        raise SandboxError(f"kubectl {arguments[0]} failed: {done.stderr.strip()[-1000:]}")
    return done.stdout


def kubectl() -> str | None:
    """The one on the PATH."""
    return shutil.which("kubectl")
