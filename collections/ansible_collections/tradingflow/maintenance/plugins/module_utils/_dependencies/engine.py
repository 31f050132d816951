# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the lock files, has them scanned together with the canaries, and proposes other versions."""

from __future__ import annotations

import hashlib
import os
import tempfile
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from .._advisories.answers import Answer, Vulnerability, normal
from .._advisories.findings import row, validated
from .._advisories.scanner import canary, identity, watched
from .._work.proposals import written
from ..errors import ConfigurationError, DependencyError, MaintenanceError
from . import index, npm_registry, npm_upgrade, scanners
from .locks import pins, rewritten
from .options import FORMATS, SCANNERS
from .upgrade import patch, proposed


def examined(options: Dict[str, Any], now: datetime, *, write: bool) -> Dict[str, Any]:
    """What is known about all sources; what went wrong is in it, by source, ecosystem or as a whole.

    :param write: whether proposals are written
    :raises MaintenanceError: the options make no sense
    """
    checked(options)
    found: Dict[str, Any] = {"scanner": None, "problem": None, "databases": {}, "canaries": {}, "sources": []}
    found.update(scanned_at=now.isoformat(), changed=False)
    pairs: List[Tuple[Dict[str, Any], scanners.Source]] = []
    for number, declared in enumerate(options["sources"]):
        entry, source = _read(declared, str(number), options["scanner"])
        found["sources"].append(entry)
        pairs += [(entry, source)] if source else []
    sources = [source for _entry, source in pairs]
    ecosystems = sorted({FORMATS[source.format][0] for source in sources})
    canaries = [each for each in (scanners.canary(name, options["canaries"]) for name in ecosystems) if each]
    try:
        if not sources:
            raise DependencyError("No lock file could be read.", "See why below.")
        found["scanner"] = identity(options["program"] or SCANNERS[options["scanner"]][0], options["scanner"])
        answer = _scanned(options, [*sources, *canaries], found, now)
    except (MaintenanceError, OSError) as error:
        text = getattr(error, "message", "") or f"It could not be scanned: {error}."
        remedy = getattr(error, "remedy", "") or "See whether the temporary folder has room."
        found["problem"] = {"message": text, "remedy": remedy}
        return found
    for name in ecosystems:
        found["canaries"][name] = canary(name, options["canaries"], answer)
    for entry, source in pairs:
        _judge(entry, source, answer, options, now)
        _propose(entry, source, answer, canaries, options, now, found, write)
    return found


def checked(options: Dict[str, Any]) -> None:
    """Options that the argument spec cannot judge.

    :raises ConfigurationError: they make no sense
    """
    names = [each["name"] for each in options["sources"]]
    if len(set(names)) < len(names):
        raise ConfigurationError("Two lock files have the same name.", "Give each of patching_dependencies its own.")
    if "@" in (options["service"] or ""):
        raise ConfigurationError(
            "patching_dependencies_service has a user or password, which the process list would show.",
            "Use a service within your network that needs none.",
        )
    validated(options["accepted"])


def _read(declared: Dict[str, Any], key: str, scanner: str) -> Any:
    entry: Dict[str, Any] = {**declared, "problem": None, "sha256": None, "packages": 0, "missed": [], "found": []}
    entry.update(rows=[], proposal=None)
    try:
        if declared["format"] not in SCANNERS[scanner][1]:
            raise ConfigurationError(f"{scanner} does not read {declared['format']}.", "Choose osv-scanner for it.")
        content = Path(declared["path"]).read_bytes()
        entry["sha256"] = hashlib.sha256(content).hexdigest()
        text = content.decode()
        found = pins(declared["format"], text, declared["name"])
        if not found:
            raise ConfigurationError(f"{declared['name']} pins nothing.", "Check patching_dependencies.")
        entry["packages"] = len({(pin.name, pin.version) for pin in found})
        return entry, scanners.Source(key, declared["format"], text, found)
    except MaintenanceError as error:
        entry["problem"] = {"message": error.message, "remedy": error.remedy}
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        text = f"{declared['path']} cannot be read: {why}."
        entry["problem"] = {"message": text, "remedy": "Check the path in patching_dependencies."}
    return entry, None


def _scanned(options: Dict[str, Any], sources: List[scanners.Source], found: Dict[str, Any], now: datetime) -> Answer:
    """A scan, with the databases looked at before and after."""
    seeded = options["scanner"] == "osv-scanner" and options["database"]
    names = sorted({FORMATS[source.format][0] for source in sources}) if seeded else []

    def scan() -> Answer:
        with tempfile.TemporaryDirectory(prefix="tradingflow-dependencies-") as place:
            return scanners.scan(options, found["scanner"]["program"], sources, Path(place))

    return watched(options, names, found["databases"], now, scan)


def _judge(
    entry: Dict[str, Any], source: scanners.Source, answer: Answer, options: Dict[str, Any], now: datetime
) -> None:
    wanted = {(pin.name, pin.version) for pin in source.pins}
    seen = {(_plain(source, name), version) for name, version in answer.seen[source.key]}
    entry["missed"] = sorted(f"{name} {version}" for name, version in wanted - seen)
    entry["found"] += [
        row(each, _plain(source, each.package), options["accepted"], now.date()) for each in answer.found[source.key]
    ]


def _plain(source: scanners.Source, name: str) -> str:
    """A package's name as the lock file's pins have it."""
    return normal(name) if source.format == "requirements" else name


def _propose(
    entry: Dict[str, Any],
    source: scanners.Source,
    answer: Answer,
    canaries: List[scanners.Source],
    options: Dict[str, Any],
    now: datetime,
    found: Dict[str, Any],
    write: bool,
) -> None:
    """The rows, and where the lock file can be changed the proposal, which is scanned as well."""
    ecosystem = FORMATS[source.format][0]
    proposal: Dict[str, Any] = {"path": None, "sha256": None, "left": [], "problem": None}
    try:
        text = _rewritten(entry, source, answer.found[source.key], options, now)
        if text is None:
            return
        entry["proposal"] = proposal
        again = source._replace(text=text, pins=pins(source.format, text, entry["name"]))
        after = _scanned(options, [again, *[each for each in canaries if each.format == source.format]], found, now)
        if canary(ecosystem, options["canaries"], after)["missed"]:
            raise DependencyError("The canary was missed in the scan of the proposal.", "Run it again.")
        proposal["left"] = sorted(f"{each.package} {each.version}: {each.id}" for each in after.found[source.key])
        content = patch(source.text, text, os.path.basename(entry["path"])).encode()
        proposal["sha256"] = hashlib.sha256(content).hexdigest()
        if write and options["proposals_directory"]:
            proposal["path"], changed = written(options["proposals_directory"], entry["name"], content)
            found["changed"] = found["changed"] or changed
    except MaintenanceError as error:
        entry["proposal"] = proposal
        proposal["problem"] = {"message": error.message, "remedy": error.remedy}
    except OSError as error:
        text = f"The proposal cannot be written: {error.strerror}."
        proposal["problem"] = {"message": text, "remedy": "Check patching_dependencies_proposals."}


def _rewritten(
    entry: Dict[str, Any], source: scanners.Source, found: List[Vulnerability], options: Dict[str, Any], now: datetime
) -> Optional[str]:
    """The lock file with other versions, and the rows about it; None where nothing is to be changed.

    :raises MaintenanceError: it cannot be changed
    """
    ecosystem = FORMATS[source.format][0]
    asked = cache(partial(index.releases, options["index"])) if options["index"] and ecosystem == "PyPI" else None
    entry["rows"] = proposed(ecosystem, source.pins, found, options, asked, now)
    if source.format == "requirements":
        changes = {(row["package"], row["from"]): row for row in entry["rows"] if row["taken"]}
        return rewritten(source.text, entry["name"], changes) if changes else None
    if not options["npm_registry"] or not (found or options["upgrade"] == "all"):
        return None
    try:
        project = Path(entry["path"]).with_name("package.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        project = None
    versions = cache(partial(npm_registry.versions, options["npm_registry"]))
    try:
        entry["rows"], text = npm_upgrade.proposed(source.text, project, found, options, versions, now)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        text = f"{entry['name']} is not understood as a tree of packages ({type(error).__name__})."
        raise ConfigurationError(text, "Write it anew: npm install --package-lock-only.") from None
    return text if any(row["taken"] for row in entry["rows"]) else None


def summary(found: Dict[str, Any], status: str) -> Optional[Dict[str, Any]]:
    """What the ledger keeps of it."""
    keep = ("name", "sha256", "packages", "rows", "proposal")
    return {
        "state": "proposed",
        "worst_status": status,
        "scanner": found["scanner"],
        "problem": found["problem"],
        "databases": found["databases"],
        "canaries": found["canaries"],
        "scanned_at": found["scanned_at"],
        "sources": [
            {
                **{name: each[name] for name in keep},
                "found": [
                    {key: one[key] for key in ("id", "package", "version", "severity", "accepted")}
                    for one in each["found"]
                ],
            }
            for each in found["sources"]
        ],
    }
