# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a package index says of releases: when they were uploaded, their digests, and whether they were withdrawn.

The JSON form of Python's simple index, PEP 691 with PEP 700.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Dict, List, Optional

from .._advisories.database import moment
from .._http.request import context, get, replica
from ..errors import ConfigurationError, DependencyError
from ..words import printable

try:
    from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
except ImportError:  # only the controller needs it, where ansible-core brings it
    parse_wheel_filename = None  # type: ignore[assignment]

_ACCEPT = "application/vnd.pypi.simple.v1+json"
_MOST = 64 << 20


@dataclass
class Release:
    """One version.

    :param uploaded: when its last file was uploaded; None when the index does not say
    """

    uploaded: Optional[datetime] = None
    yanked: bool = False
    hashes: List[str] = field(default_factory=list)


def releases(index: str, package: str, timeout: float = 30) -> Dict[str, Release]:
    """The releases of a package by their version.

    :raises DependencyError: the index does not answer, or not with what is understood
    """
    try:
        target = replica(index, 1)
    except ConfigurationError:
        raise ConfigurationError(
            "patching_dependencies_index is not a plain http or https URL.", "Write https://host/simple."
        ) from None
    try:
        answer = get(target, f"{package}/", timeout, context(None), _MOST, Accept=_ACCEPT)
        if answer.status != 200 or answer.truncated:
            raise ValueError(f"status {answer.status}{', too long' if answer.truncated else ''}")
        return read(json.loads(answer.body))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        text = f"{target.name} does not say which releases of {package} there are: {printable(error, 200)}"
        raise DependencyError(text, "Check patching_dependencies_index: it must speak PEP 691 (JSON).") from None


def read(page: Dict[str, Any]) -> Dict[str, Release]:
    """The releases on a project's page."""
    found: Dict[str, Release] = {}
    undated = set()
    for file in page["files"]:
        name = file["filename"]
        try:
            version = str(parse_wheel_filename(name)[1] if name.endswith(".whl") else parse_sdist_filename(name)[1])
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue  # eggs and installers, which pip does not take
        release = found.setdefault(version, Release())
        uploaded = moment(file.get("upload-time"))
        if uploaded is None:
            undated.add(version)
        else:
            release.uploaded = max(release.uploaded or uploaded, uploaded)
        # Where any file was withdrawn, the version is not what it was.
        release.yanked = release.yanked or bool(file.get("yanked"))
        release.hashes.append(str(file["hashes"]["sha256"]))
    for version in undated:
        found[version].uploaded = None
    return found
