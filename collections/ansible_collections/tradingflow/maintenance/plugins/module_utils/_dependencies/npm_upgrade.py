# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is proposed for npm's lock file: versions that fix what is known, as far as those who need them allow it."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from typing import Any, Callable, Dict, List, Optional, Tuple

from .._advisories.answers import Vulnerability
from ..errors import ConfigurationError, DependencyError, MaintenanceError
from .npm_registry import Version
from .npm_tree import Edge, Tree
from .ranges import of_package, satisfies
from .versions import affects, fixed_version, parsed

Versions = Callable[[str], Dict[str, Version]]
#: Packages that one change may bring.
_MOST_NEW = 50


def proposed(
    text: str,
    project: Optional[str],
    found: List[Vulnerability],
    options: Dict[str, Any],
    versions: Versions,
    now: datetime,
) -> Tuple[List[Dict[str, Any]], str]:
    """A row for each entry that has something newer which is wanted, and the lock file with what is taken.

    :param project: text of package.json; None when it is not there
    :param versions: asks the registry about a package
    :raises ConfigurationError: the lock file cannot be changed here
    """
    tree = Tree(text, project)
    before = {_plain(edge) for edge in tree.bad()}
    rows = []
    for path in [path for path in tree.packages if "node_modules/" in path]:
        if path not in tree.packages or tree.packages[path].get("link"):
            continue  # pruned meanwhile
        name, version = tree.name(path), str(tree.packages[path]["version"])
        mine = [each for each in found if (each.package, each.version) == (name, version)]
        if not mine and options["upgrade"] != "all":
            continue
        row = _row(path, name, version, mine)
        try:
            tree = _changed(tree, row, mine, options, versions, now, before)
        except MaintenanceError as error:
            row["why"] = error.message
        # Where nothing is to be fixed, a newer version that somebody's range keeps out is no news.
        if row["taken"] or (row["why"] and (mine or "younger" in row["why"])):
            rows.append(row)
    return rows, tree.text()


def _row(path: str, name: str, version: str, mine: List[Vulnerability]) -> Dict[str, Any]:
    row: Dict[str, Any] = {"package": name, "from": version, "to": None, "taken": False, "why": "", "path": path}
    return {**row, "fixes": sorted({each.id for each in mine}), "released": None, "hashes": [], "brings": []}


def _plain(edge: Edge) -> Tuple[str, str]:
    return edge.source, edge.name


def _changed(
    tree: Tree,
    row: Dict[str, Any],
    mine: List[Vulnerability],
    options: Dict[str, Any],
    versions: Versions,
    now: datetime,
    before: Any,
) -> Tree:
    """The tree with the lowest version that fits, or with the newest where nothing is to be fixed; else as it was.

    :raises MaintenanceError: why nothing can be known of it
    """
    path, name = row["path"], row["package"]
    entry = tree.packages[path]
    if entry.get("inBundle"):
        raise ConfigurationError("It comes within another package, which alone can change it.")
    if not entry.get("integrity") or not str(entry.get("resolved", "https:")).startswith("http"):
        raise ConfigurationError("It comes from no registry.")
    over = tree.overridden(name)
    if over:
        raise ConfigurationError(f"overrides in package.json name it ({over}): change it there.")
    known = versions(name)
    row["to"] = fixed_version("npm", row["from"], mine) if mine else None
    candidates = _candidates(row["from"], mine, known, tree.packages[path])
    if not candidates and mine:
        row["why"] = "No version in the registry has none of these."
    first = ""
    for number in candidates:
        age = known[number].published
        young = age is None or now - age < timedelta(days=options["cooldown_days"])
        try:
            if young and not mine:
                raise ConfigurationError(f"younger than {options['cooldown_days']} days, or of an unknown age.")
            attempt = copy.deepcopy(tree)
            brings = _placed(attempt, path, number, known[number], options, versions, now)
            worse = sorted(_plain(edge) for edge in attempt.bad() if _plain(edge) not in before)
            if worse:
                raise ConfigurationError(f"{worse[0][1]} would no longer be what {worse[0][0] or 'the project'} needs.")
        except DependencyError:
            raise
        except MaintenanceError as error:
            first = first or f"{number}: {error.message}"
            continue
        row.update(to=number, taken=True, brings=brings, released=age.isoformat() if age else None)
        row["why"] = "It fixes what is known." if mine else ""
        if mine and young:
            row["why"] = f"It fixes what is known, so that {options['cooldown_days']} days are not waited for."
        return attempt
    if first:
        row["to"], row["why"] = row["to"] if mine else None, first
    return tree


def _candidates(version: str, mine: List[Vulnerability], known: Dict[str, Version], entry: Dict[str, Any]) -> List[str]:
    """The versions to try, in this order: the lowest first for a fix, else the newest."""
    current = parsed("npm", version)
    found = {}
    for number, each in known.items():
        other = parsed("npm", number)
        if current is None or other is None or other <= current or (other.is_prerelease and not current.is_prerelease):
            continue
        if each.deprecated or any(affects("npm", vulnerability, number) for vulnerability in mine):
            continue
        found[number] = other
    return sorted(found, key=lambda number: found[number], reverse=not mine)


def _placed(
    tree: Tree,
    path: str,
    number: str,
    version: Version,
    options: Dict[str, Any],
    versions: Versions,
    now: datetime,
) -> List[str]:
    """Puts a version in place, with what it needs and the lock file does not have yet; the paths of these.

    :raises ConfigurationError: somebody's range keeps it out, or it needs what cannot be had
    """
    for edge in tree.dependents(path):
        good = tree.good(edge, number)
        if not good:
            what = "is not understood" if good is None else "keeps it out"
            raise ConfigurationError(f"the range {edge.spec} of {edge.source or 'package.json'} {what}.")
    if version.problem:
        raise ConfigurationError(f"{version.problem}.")
    if version.runs and not tree.packages[path].get("hasInstallScript"):
        raise ConfigurationError("it would run a script when it is installed, which the version of now does not.")
    tree.put(path, version.entry)
    brought = _needed(tree, path, options, versions, now, [])
    tree.prune()
    return brought


def _needed(
    tree: Tree, path: str, options: Dict[str, Any], versions: Versions, now: datetime, brought: List[str]
) -> List[str]:
    for edge in list(tree.edges(path)):
        if tree.good(edge) or (edge.target is None and edge.optional):
            continue
        wanted = of_package(edge.spec, edge.name)
        if edge.peer or wanted is None or tree.overridden(edge.name):
            raise ConfigurationError(f"it needs {edge.name}@{edge.spec}, which the lock file does not have.")
        if len(brought) >= _MOST_NEW:
            raise ConfigurationError(f"it needs more than {_MOST_NEW} packages that the lock file does not have.")
        place = f"node_modules/{edge.name}" if edge.target is None else f"{path}/node_modules/{edge.name}"
        entry = _newest(edge.name, wanted, versions, options, now)
        flags: Dict[str, Any] = {
            key: tree.packages[path][key] for key in ("dev", "optional", "devOptional") if key in tree.packages[path]
        }
        tree.put(place, {**entry, **flags})
        brought.append(place)
        _needed(tree, place, options, versions, now, brought)
    return brought


def _newest(name: str, wanted: str, versions: Versions, options: Dict[str, Any], now: datetime) -> Dict[str, Any]:
    """The newest version in a range that is old enough."""
    limit = timedelta(days=options["cooldown_days"])
    good = {
        number: parsed("npm", number)
        for number, each in versions(name).items()
        if satisfies(wanted, number)
        and not (each.problem or each.deprecated or each.runs)
        and each.published is not None
        and now - each.published >= limit
    }
    if not good:
        raise ConfigurationError(f"it needs {name}@{wanted}, of which no version is old enough and fit to be taken.")
    return versions(name)[max(good, key=lambda number: good[number])].entry
