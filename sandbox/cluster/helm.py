# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Helm 3 and Helm 4, built from the Go module proxy like Kubernetes: no package registry carries these versions."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from pathlib import Path

from . import programs

VERSIONS = {3: "v3.22.0", 4: "v4.3.1"}
#: The chart of the sample app.
CHART = Path(__file__).with_name("chart")


def _source(major: int) -> Path:
    return Path(__file__).with_name(f"helm{major}")


def _flags(major: int) -> str:
    """Linker flags: without them the programs know only their minor version."""
    module = f"helm.sh/helm/v{major}"
    values = {f"{module}/internal/version.version": VERSIONS[major]}
    if major == 3:
        # What a chart sees as the version of Kubernetes where no server is asked; Helm 4 finds it by itself.
        values |= {
            f"{module}/pkg/chartutil.k8sVersion{part}": value for part, value in (("Major", "1"), ("Minor", "37"))
        }
    return "-s -w " + " ".join(f"-X {name}={value}" for name, value in values.items())


def folder(major: int) -> Path:
    """Where a Helm is, or will be."""
    inputs = hashlib.sha256(f"{VERSIONS[major]} {_flags(major)} {platform.machine()}".encode())
    for name in ("go.mod", "go.sum", "tools.go"):
        inputs.update((_source(major) / name).read_bytes())
    return programs.cache() / f"helm{major}-{inputs.hexdigest()[:16]}"


def program(major: int, tell: Callable[[str], None]) -> Path:
    """The program ``helm`` of a major version, built when it is missing: four minutes of two cores.

    :param major: 3 or 4
    :param tell: gets a line whenever there is news
    :raises SandboxError: there is no Go, or it fails
    """
    targets = [("helm", f"helm.sh/helm/v{major}/cmd/helm", _flags(major))]
    return programs.built(folder(major), _source(major), targets, f"Helm {VERSIONS[major]}", tell) / "helm"
