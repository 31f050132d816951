# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How each scanner is run on copies of the lock files, with a canary among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .._advisories.answers import Answer, npm_audit, pip_audit
from .._advisories.scanner import ended, osv, run
from .locks import Pin
from .options import FORMATS

_CANARY_NODE = "node_modules/tradingflow-maintenance-canary"


class Source(NamedTuple):
    """A lock file as it was read.

    :param key: of a canary, "canary:<ecosystem>"
    """

    key: str
    format: str
    text: str
    pins: List[Pin]


def canary(ecosystem: str, canaries: List[Dict[str, Any]]) -> Optional[Source]:
    """The canary of an ecosystem as a lock file of its own; None when none is declared."""
    named = [each for each in canaries if each["ecosystem"] == ecosystem]
    if not named:
        return None
    pins = [Pin(each["name"], each["version"]) for each in named]
    if ecosystem == "PyPI":
        text = "".join(f"{pin.name}=={pin.version}\n" for pin in pins)
        return Source(f"canary:{ecosystem}", "requirements", text, pins)
    entries = {f"node_modules/{pin.name}": {"version": pin.version} for pin in pins}
    root = {"name": "canary", "version": "0.0.0", "dependencies": {pin.name: pin.version for pin in pins}}
    lock = {"name": "canary", "version": "0.0.0", "lockfileVersion": 3, "packages": {"": root, **entries}}
    return Source(f"canary:{ecosystem}", "package-lock", json.dumps(lock), pins)


def scan(options: Dict[str, Any], program: str, sources: List[Source], scratch: Path) -> Answer:
    """Has all sources scanned, canaries among them.

    :param scratch: an empty private folder
    :raises DependencyError: there is no answer that could be believed
    """
    if options["scanner"] == "npm-audit":
        return _npm_audit(options, program, sources, scratch)
    paths = {}
    for number, source in enumerate(sources):
        folder = scratch / str(number)
        folder.mkdir()
        # A folder of its own: no configuration that lies beside the lock file can make the scanner overlook something.
        path = folder / FORMATS[source.format][1]
        # pip-audit wants digests for all or for none, and these are pip's business: versions are what is known here.
        bare = "".join(f"{pin.name}=={pin.version}\n" for pin in source.pins)
        path.write_bytes((bare if options["scanner"] == "pip-audit" else source.text).encode())
        paths[str(path)] = source
    if options["scanner"] == "osv-scanner":
        files = {str(path): (FORMATS[source.format][1], source.key) for path, source in paths.items()}
        return osv(options, program, files, scratch)
    return _pip_audit(options, program, paths, scratch)


def _pip_audit(options: Dict[str, Any], program: str, paths: Dict[str, Source], scratch: Path) -> Answer:
    arguments = [program, "--format=json", "--progress-spinner=off", "--no-deps", "--disable-pip"]
    arguments += ["--vulnerability-service=osv", f"--cache-dir={scratch / 'cache'}"]
    if options["service"]:
        arguments.append(f"--osv-url={options['service']}")
    keys: Dict[Tuple[str, str], List[str]] = {}
    for path, source in paths.items():
        arguments += ["--requirement", path]
        for pin in source.pins:
            keys.setdefault((pin.name, pin.version), []).append(source.key)
    status, said, messages = run(arguments, options["timeout"], scratch)
    ended("pip-audit", status, said, messages)
    return pip_audit(said, keys)


def _npm_audit(options: Dict[str, Any], program: str, sources: List[Source], scratch: Path) -> Answer:
    answer = Answer({}, {})
    canaries = [source for source in sources if source.key.startswith("canary:")]
    for number, source in enumerate(source for source in sources if source not in canaries):
        folder = scratch / str(number)
        folder.mkdir()
        lock: Dict[str, Any] = json.loads(source.text)
        entries: Dict[str, Tuple[str, str, Optional[str]]] = {}
        packages = {path: entry for path, entry in lock["packages"].items() if "node_modules/" in path}
        for path, entry in packages.items():
            if not entry.get("link"):
                entries[path] = (entry.get("name") or path.rpartition("node_modules/")[2], entry["version"], None)
        root = lock["packages"].setdefault("", {})
        for other in canaries:
            for count, pin in enumerate(other.pins):
                path = f"{_CANARY_NODE}-{count}"
                lock["packages"][path] = {"name": pin.name, "version": pin.version}
                wanted = {path.rpartition("/")[2]: f"npm:{pin.name}@{pin.version}"}
                root["dependencies"] = {**root.get("dependencies", {}), **wanted}
                entries[path] = (pin.name, pin.version, other.key)
        lock.pop("dependencies", None)  # what npm 6 read, of version 2
        (folder / "package-lock.json").write_text(json.dumps(lock), encoding="utf-8")
        (folder / "package.json").write_text(json.dumps(root), encoding="utf-8")
        arguments = [program, "audit", "--json", "--package-lock-only", "--ignore-scripts", "--no-update-notifier"]
        arguments += [f"--cache={scratch / 'cache'}", f"--userconfig={scratch / 'user'}"]
        arguments.append(f"--globalconfig={scratch / 'global'}")
        arguments += [f"--registry={options['service']}"] if options["service"] else []
        status, said, messages = run(arguments, options["timeout"], folder)
        ended("npm audit", status, said, messages)
        one = npm_audit(said, source.key, entries)
        # The canary must be found in each of them.
        for key in one.seen:
            first = key not in answer.seen
            answer.seen[key] = one.seen[key] if first else answer.seen[key] & one.seen[key]
            known = {(each.id, each.package) for each in one.found[key]}
            kept = [each for each in answer.found.get(key, []) if (each.id, each.package) in known]
            answer.found[key] = one.found[key] if first else kept
    return answer
