# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scanners: which program it is, and how each is run on copies of the lock files, with a canary among them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .._work.asked import asked
from .._work.programs import child_setup, last_words
from ..errors import DependencyError
from ..words import printable
from .answers import Answer, npm_audit, osv_scanner, pip_audit
from .locks import Pin
from .options import FORMATS, SCANNERS

#: What of the environment a scanner gets, so that it finds its service.
_PASSED = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE")
_CANARY_NODE = "node_modules/tradingflow-maintenance-canary"


class Source(NamedTuple):
    """A lock file as it was read.

    :param key: of a canary, "canary:<ecosystem>"
    """

    key: str
    format: str
    text: str
    pins: List[Pin]


def identity(options: Dict[str, Any]) -> Dict[str, Any]:
    """The scanner that would be run: name, program, digest, version.

    :raises DependencyError: it is not there, or does not say its version
    """
    wanted = options["program"] or SCANNERS[options["scanner"]][0]
    found = shutil.which(wanted)
    if not found:
        raise DependencyError(
            f"The scanner {wanted} is not there.", "Install it, or name its program in patching_dependencies_program."
        )
    path = os.path.realpath(found)
    try:
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise DependencyError(f"The scanner {path} cannot be read: {error.strerror}.", "Check its rights.") from None
    status, said, messages = run([path, "--version"], 60, None)
    if status or not said.strip():
        raise DependencyError(f"{path} --version fails: {last_words(messages)}", "Install the scanner anew.")
    version = printable(said.splitlines()[0].strip())
    return {"name": options["scanner"], "program": path, "sha256": digest, "version": version}


def run(arguments: List[str], timeout: int, folder: Optional[Path], **more: str) -> Tuple[int, str, bytes]:
    """Exit status, output and messages of a program.

    :raises DependencyError: it did not run, or not to its end
    """
    environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
    environment.update(PATH=os.environ.get("PATH", ""), LC_ALL="C.UTF-8", HOME=str(folder or "/nonexistent"), **more)
    name = os.path.basename(arguments[0])
    try:
        done = asked(arguments, environment, timeout, cwd=folder, preexec_fn=child_setup(0))
    except TimeoutError:
        raise DependencyError(
            f"{name} did not end within {timeout} s.", "Raise patching_dependencies_timeout."
        ) from None
    except OSError as error:
        raise DependencyError(f"{name} did not run: {error}.", "Install the scanner anew.") from None
    return done.status, done.text, done.messages


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
    return (_osv_scanner if options["scanner"] == "osv-scanner" else _pip_audit)(options, program, paths, scratch)


def _osv_scanner(options: Dict[str, Any], program: str, paths: Dict[str, Source], scratch: Path) -> Answer:
    if not options["database"]:
        raise DependencyError(
            "osv-scanner has no database.", "Set patching_dependencies_database to the folder that has PyPI/all.zip."
        )
    place = scratch / "database"
    place.mkdir()
    for name in ("osv-scalibr", "osv-scanner"):  # where version 2.3 and newer look, and where older ones do
        (place / name).symlink_to(os.path.abspath(options["database"]))
    arguments = [program, "scan", "source", "--offline", "--no-resolve", "--all-packages", "--all-vulns"]
    arguments += ["--format=json", f"--local-db-path={place}"]
    for path, source in paths.items():
        arguments.append(f"--lockfile={FORMATS[source.format][1]}:{path}")
    status, said, messages = run(arguments, options["timeout"], scratch)
    _ended("osv-scanner", status, said, messages)
    return osv_scanner(said, {path: source.key for path, source in paths.items()})


def _ended(name: str, status: int, said: str, messages: bytes) -> None:
    """With the canary among what is scanned, a scanner must end with 1: found something. Some fail with that, too."""
    if status == 0:
        raise DependencyError(
            f"{name} says that it found nothing, also not in the canary.",
            "Seed its database anew, or check its service.",
        )
    if status != 1 or not said.strip():
        text = f"{name} failed with exit status {status}: {last_words(messages)}"
        raise DependencyError(text, "Read the message; nothing is known until it runs.")


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
    _ended("pip-audit", status, said, messages)
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
        _ended("npm audit", status, said, messages)
        one = npm_audit(said, source.key, entries)
        # The canary must be found in each of them.
        for key in one.seen:
            first = key not in answer.seen
            answer.seen[key] = one.seen[key] if first else answer.seen[key] & one.seen[key]
            known = {(each.id, each.package) for each in one.found[key]}
            kept = [each for each in answer.found.get(key, []) if (each.id, each.package) in known]
            answer.found[key] = one.found[key] if first else kept
    return answer
