# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What npm's registry says of a package: its versions with their digests, what they need, and when they came out."""

from __future__ import annotations

import http.client
import json
import re
from datetime import datetime
from typing import Any, Dict, NamedTuple, Optional
from urllib.parse import quote

from .._advisories.database import moment
from .._http.request import context, get, replica
from ..errors import ConfigurationError, DependencyError
from ..words import printable

_MOST = 128 << 20
_INTEGRITY = re.compile(r"sha512-[A-Za-z0-9+/]{86}==")
_SCRIPTS = ("preinstall", "install", "postinstall")
#: What npm copies into a lock file, in its order of names.
_COPIED = ("dependencies", "engines", "optionalDependencies", "peerDependencies", "peerDependenciesMeta")


class Version(NamedTuple):
    """One version.

    :param published: None when the registry does not say
    :param entry: as the lock file has it: what it needs, and where it is
    :param problem: why it cannot be written into a lock file
    """

    published: Optional[datetime]
    deprecated: bool
    entry: Dict[str, Any]
    problem: str = ""

    @property
    def runs(self) -> bool:
        """Whether it runs something when it is installed."""
        return bool(self.entry.get("hasInstallScript"))


def versions(registry: str, package: str, timeout: float = 30) -> Dict[str, Version]:
    """The versions of a package.

    :raises DependencyError: the registry does not answer, or not with what is understood
    """
    try:
        target = replica(registry, 1)
    except ConfigurationError:
        raise ConfigurationError(
            "patching_dependencies_npm_registry is not a plain http or https URL.", "Write https://host/path."
        ) from None
    try:
        answer = get(target, quote(package, safe="@"), timeout, context(None), _MOST, Accept="application/json")
        if answer.status != 200 or answer.truncated:
            raise ValueError(f"status {answer.status}{', too long' if answer.truncated else ''}")
        return read(json.loads(answer.body), package)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        text = f"{target.name} does not say which versions of {package} there are: {printable(error, 200)}"
        raise DependencyError(text, "Check patching_dependencies_npm_registry: it must give whole documents.") from None


def read(document: Dict[str, Any], package: str) -> Dict[str, Version]:
    """The versions of a registry's document of a package."""
    times = document.get("time") or {}
    found = {}
    for number, each in document["versions"].items():
        if each["name"] != package or each["version"] != number:
            raise ValueError(f"its document speaks of {printable(each['name'], 80)} {printable(each['version'], 80)}")
        found[number] = Version(moment(times.get(number)), bool(each.get("deprecated")), *_entry(each))
    return found


def _entry(each: Dict[str, Any]) -> Any:
    integrity, tarball = each["dist"].get("integrity"), each["dist"]["tarball"]
    if not isinstance(integrity, str) or not _INTEGRITY.fullmatch(integrity):
        return {}, "the registry gives no SHA-512 of it"
    if not re.match(r"https?://", tarball):
        return {}, "the registry gives no address of it"
    if each.get("bundleDependencies") or each.get("bundledDependencies") or each.get("_hasShrinkwrap"):
        return {}, "it brings packages of its own"
    entry: Dict[str, Any] = {"version": each["version"], "resolved": tarball, "integrity": integrity}
    for name in _COPIED:
        if isinstance(each.get(name), dict) and each[name]:
            entry[name] = dict(each[name])
    for name in entry.get("optionalDependencies", {}):  # registries have them in both
        entry.get("dependencies", {}).pop(name, None)
    if not entry.get("dependencies", True):
        del entry["dependencies"]
    for name in ("os", "cpu", "libc"):
        if each.get(name):
            entry[name] = [each[name]] if isinstance(each[name], str) else list(each[name])
    licensed = each.get("license")
    if isinstance(licensed, dict):
        licensed = licensed.get("type")
    if isinstance(licensed, str):
        entry["license"] = licensed
    funding = each.get("funding")
    if funding:
        entry["funding"] = {"url": funding} if isinstance(funding, str) else funding
    programs = each.get("bin")
    if isinstance(programs, str):
        programs = {each["name"].rpartition("/")[2]: programs}
    if isinstance(programs, dict) and programs:
        entry["bin"] = {name: re.sub(r"^(?:\./)+", "", path) for name, path in programs.items()}
    if isinstance(each.get("deprecated"), str) and each["deprecated"]:
        entry["deprecated"] = each["deprecated"]
    scripts = each.get("scripts") or {}
    if each.get("hasInstallScript") or any(scripts.get(name) for name in _SCRIPTS):
        entry["hasInstallScript"] = True
    return entry, ""
