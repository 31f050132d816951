# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What scanners answer, each in its documented JSON. What is not in there, or is something else, is an error."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Set, Tuple

from ..errors import DependencyError
from ..words import printable

#: From best to worst, by CVSS; unrated is what nobody rated, or rated by a word that is not known here.
SEVERITIES = ("none", "low", "medium", "high", "critical", "unrated")
_WORDS = {"none": "none", "info": "low", "low": "low", "medium": "medium", "moderate": "medium"}
_WORDS.update(high="high", critical="critical")


@dataclass
class Vulnerability:
    """A known vulnerability of one pinned package.

    :param fixed: versions in which it is fixed, as the advisory has them
    :param affected: the advisory's own parts about this package, for other versions; empty when the scanner says none
    """

    id: str
    aliases: List[str]
    package: str
    version: str
    severity: str
    fixed: List[str] = field(default_factory=list)
    affected: List[Dict[str, Any]] = field(default_factory=list)

    @property
    def names(self) -> Set[str]:
        return {self.id, *self.aliases}


@dataclass
class Answer:
    """Of one scan: key of a source -> packages that were looked at, and what was found in them."""

    seen: Dict[str, Set[Tuple[str, str]]]
    found: Dict[str, List[Vulnerability]]


def severity(word: Any, score: Any = None) -> str:
    """A severity in one word of SEVERITIES.

    :param score: CVSS base score; without one the word counts
    """
    try:
        number = float(score)
    except (TypeError, ValueError):
        return _WORDS.get(word.lower(), "unrated") if isinstance(word, str) else "unrated"
    if not 0 <= number <= 10:
        return "unrated"
    limits = (("none", 0), ("low", 3.9), ("medium", 6.9), ("high", 8.9))
    return next((name for name, most in limits if number <= most), "critical")


def wrong(scanner: str, what: str) -> DependencyError:
    return DependencyError(
        f"The answer of {scanner} is not understood: {what}.",
        "Use a version that docs/dependencies.md names, or report it with the scanner's output.",
    )


def loaded(scanner: str, text: str) -> Dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        raise wrong(scanner, "it is no JSON") from None
    if not isinstance(data, dict):
        raise wrong(scanner, "it is no object")
    return data


def osv_scanner(text: str, keys: Dict[str, str]) -> Answer:
    """Of osv-scanner scan source --format=json --all-packages.

    :param keys: path of a lock file -> key of its source
    """
    answer = Answer({key: set() for key in keys.values()}, {key: [] for key in keys.values()})
    try:
        for result in loaded("osv-scanner", text)["results"]:
            path = result["source"]["path"]
            if path not in keys:
                raise wrong("osv-scanner", f"it speaks of a file that it was not given, {printable(path)}")
            for each in result["packages"]:
                package = str(each["package"]["name"]), str(each["package"]["version"])
                answer.seen[keys[path]].add(package)
                answer.found[keys[path]] += _osv_found(each, package)
    except (KeyError, TypeError, AttributeError) as error:
        raise wrong("osv-scanner", f"{type(error).__name__} {printable(error)}") from error
    return answer


def _osv_found(each: Dict[str, Any], package: Tuple[str, str]) -> List[Vulnerability]:
    """One for each vulnerability: databases of several publishers tell of the same one, which the scanner groups."""
    records = {str(record["id"]): record for record in each.get("vulnerabilities") or []}
    groups = [(group["ids"], group.get("max_severity")) for group in each.get("groups") or []]
    grouped = {id for ids, _score in groups for id in ids}
    groups += [([id], None) for id in records if id not in grouped]
    ecosystem = str(each["package"]["ecosystem"])
    return [_merged([records[id] for id in ids], score, ecosystem, package) for ids, score in groups]


def _merged(records: List[Dict[str, Any]], score: Any, ecosystem: str, package: Tuple[str, str]) -> Vulnerability:
    affected = [
        part
        for record in records
        for part in record.get("affected") or []
        if _about(part.get("package") or {}, ecosystem, package[0])
    ]
    fixed = {
        event["fixed"]
        for part in affected
        for range in part.get("ranges") or []
        if range.get("type") in ("ECOSYSTEM", "SEMVER")
        for event in range.get("events") or []
        if "fixed" in event
    }
    words = [severity((record.get("database_specific") or {}).get("severity"), score) for record in records]
    # What one publisher rates, another leaves open.
    rated = max((word for word in words if word != "unrated"), key=SEVERITIES.index, default="unrated")
    names = [str(name) for record in records for name in (record["id"], *(record.get("aliases") or []))]
    # A distribution's advisory about a single vulnerability is that vulnerability.
    names += [str(record["upstream"][0]) for record in records if len(record.get("upstream") or []) == 1]
    id = str(records[0]["id"])
    aliases = sorted({name for name in names if name != id})
    return Vulnerability(id, aliases, *package, rated, sorted(fixed), affected)


def normal(name: str) -> str:
    """A package's name in PyPI's normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _about(package: Dict[str, Any], ecosystem: str, name: str) -> bool:
    """Whether an advisory's part is about a package of this ecosystem; another one may have the same name."""
    mine, theirs = name, str(package.get("name"))
    if ecosystem == "PyPI":
        mine, theirs = normal(mine), normal(theirs)
    about = str(package.get("ecosystem"))
    # An advisory may be about all releases of a distribution.
    return mine == theirs and (ecosystem == about if ":" in ecosystem and ":" in about else _base(ecosystem, about))


def _base(one: str, other: str) -> bool:
    return one.partition(":")[0] == other.partition(":")[0]


def pip_audit(text: str, keys: Dict[Tuple[str, str], List[str]]) -> Answer:
    """Of pip-audit --format=json, which does not say in which file something is.

    :param keys: package and version -> keys of the sources that have it
    """
    everything = {key for found in keys.values() for key in found}
    answer = Answer({key: set() for key in everything}, {key: [] for key in everything})
    try:
        for each in loaded("pip-audit", text)["dependencies"]:
            if "skip_reason" in each:
                continue  # not seen, which is missed by whoever compares
            package = str(each["name"]), str(each["version"])
            if package not in keys:
                raise wrong("pip-audit", f"it speaks of {printable(' '.join(package))}, which no file has")
            for key in keys[package]:
                answer.seen[key].add(package)
                for vulnerability in each["vulns"]:
                    fixed = [str(version) for version in vulnerability["fix_versions"]]
                    aliases = [str(alias) for alias in vulnerability.get("aliases") or []]
                    found = Vulnerability(str(vulnerability["id"]), aliases, *package, "unrated", fixed)
                    answer.found[key].append(found)
    except (KeyError, TypeError, AttributeError) as error:
        raise wrong("pip-audit", f"{type(error).__name__} {printable(error)}") from error
    return answer


def _interval(text: Any) -> List[Dict[str, Any]]:
    """npm's range of versions, where it is a single one with an end, as OSV would have it; else none."""
    match = re.fullmatch(r"(?:>=(\S+) )?<(\S+)", text) if isinstance(text, str) else None
    if not match:
        return []
    events = [{"introduced": match[1] or "0"}, {"fixed": match[2]}]
    return [{"ranges": [{"type": "SEMVER", "events": events}]}]


def npm_audit(text: str, key: str, entries: Dict[str, Tuple[str, str, Optional[str]]]) -> Answer:
    """Of npm audit --json, of one lock file that has the canary in it.

    :param entries: path in the lock -> package, version, and key of another source that it stands for
    """
    answer = Answer({key: set()}, {key: []})
    for _name, _version, other in entries.values():
        answer.seen.setdefault(other or key, set())
        answer.found.setdefault(other or key, [])
    data = loaded("npm audit", text)
    try:
        if "error" in data or data.get("auditReportVersion") != 2:
            said = data.get("error") or data.get("message") or f"version {data.get('auditReportVersion')}"
            raise wrong("npm audit", printable(said, 200))
        total = data["metadata"]["dependencies"]["total"]
        if total == len(entries):
            for name, version, other in entries.values():
                answer.seen[other or key].add((name, version))
        for found in data["vulnerabilities"].values():
            # A text there is a package through which it comes: that one has an entry of its own.
            advisories = [via for via in found["via"] if isinstance(via, dict)]
            for node in found["nodes"] if advisories else []:
                name, version, other = entries[node]
                for advisory in advisories:
                    id = str(advisory["url"]).rpartition("/")[2]
                    rated = severity(advisory["severity"])
                    affected = _interval(advisory["range"])
                    fixed = [event["fixed"] for part in affected for event in part["ranges"][0]["events"][1:]]
                    found_here = Vulnerability(id, [], name, version, rated, fixed, affected)
                    answer.found[other or key].append(found_here)
    except (KeyError, TypeError, AttributeError) as error:
        raise wrong("npm audit", f"{type(error).__name__} {printable(error)}") from error
    return answer
