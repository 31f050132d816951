# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan on hosts with RPM, by dnf's own solver. It only plans: nothing here changes a host."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from typing import Any, Dict, List, Optional, Tuple

from ..errors import PatchingError
from ..words import printable

try:
    import dnf  # type: ignore[import-not-found]
    import dnf.exceptions  # type: ignore[import-not-found]
    import hawkey  # type: ignore[import-not-found]
except ImportError:
    dnf = None

#: How bad advisories say that it is.
SEVERITIES = {"Critical": "critical", "Important": "high", "Moderate": "medium", "Low": "low"}

SPEC: Dict[str, Any] = {
    "scope": {"type": "str", "default": "security", "choices": ["security", "all"]},
    "packages": {"type": "list", "elements": "str", "default": []},
    "approved": {"type": "list", "elements": "str", "default": []},
    "installroot": {"type": "path", "default": "/"},
    "scratch_directory": {"type": "path", "default": "/var/tmp"},  # noqa: S108
}


def available() -> bool:
    """Whether this Python has dnf's library."""
    return dnf is not None


def plan(options: Dict[str, Any]) -> Dict[str, Any]:
    """What would be done, and what forbids it.

    :raises PatchingError: it cannot be said
    """
    if dnf is None:
        raise PatchingError("Python's library dnf is not there.", "Install python3-dnf, for the host's own Python.")
    if os.geteuid() != 0:
        raise PatchingError("Only root may ask dnf about all repositories.", "Set ansible_become, or run with -b.")
    with tempfile.TemporaryDirectory(prefix="tradingflow-patching-", dir=options["scratch_directory"]) as cache:
        try:
            return _planned(options, cache)
        except dnf.exceptions.Error as error:
            text = f"dnf cannot plan: {printable(' '.join(str(error).split()), 300)}"
            raise PatchingError(text, "Look with dnf check-update; every repository must answer.") from None


def _base(options: Dict[str, Any], cache: str) -> Any:
    """dnf with the host's configuration and plugins, and metadata of its own."""
    base = dnf.Base()
    conf, root = base.conf, options["installroot"]
    conf.installroot = root
    if root != "/":
        conf.config_file_path = os.path.join(root, "etc/dnf/dnf.conf")
        conf.pluginconfpath = [os.path.join(root, "etc/dnf/plugins")]
        conf.reposdir = [os.path.join(root, "etc/yum.repos.d")]
        conf.varsdir = [os.path.join(root, "etc/dnf/vars")]
    if os.path.exists(conf.config_file_path):
        conf.read(priority=dnf.conf.PRIO_MAINCONFIG)
    conf.cachedir, conf.logdir, conf.persistdir = cache, cache, cache
    # Where no release is installed, a repository that asks for it cannot be fetched, and that is said.
    conf.releasever = dnf.rpm.detect_releasever(root) or "unknown"
    conf.substitutions.update_from_etc(root)
    # The one that decides what stays. Others print, or change something.
    base.init_plugins(disabled_glob=["*"], enable_plugins=["versionlock"])
    base.pre_configure_plugins()
    base.read_all_repos()
    base.configure_plugins()
    for repo in base.repos.iter_enabled():
        # A list that cannot be fetched is not the same as a list without anything newer.
        repo.skip_if_unavailable = False
    return base


def _planned(options: Dict[str, Any], cache: str) -> Dict[str, Any]:
    base = _base(options, cache)
    try:
        enabled = list(base.repos.iter_enabled())
        if not enabled:
            raise PatchingError("No repository is enabled.", "Enable one in /etc/yum.repos.d.")
        base.fill_sack(load_system_repo=True)
        silent = [repo.id for repo in enabled if not _advises(repo)]
        if options["scope"] == "security" and len(silent) == len(enabled):
            raise PatchingError(
                "No repository gives advisories (updateinfo), so what is a security update is not known.",
                "Enable one that does, or set patching_scope: all.",
            )
        _must_be_installed(base, options["packages"])
        wanted = base.sack.query().upgrades()
        if options["packages"]:
            wanted = wanted.filter(name=options["packages"])
        if options["scope"] == "security":
            # As dnf upgrade --security: what an advisory names, or newer, as that version may be gone.
            wanted = wanted.filter(advisory_type__gte="security")
        names = sorted({package.name for package in wanted})
        for package in wanted.latest():
            base.package_upgrade(package)
        base.resolve(allow_erasing=False)
        rows, refusals = _rows(base, names)
        found: Dict[str, Any] = {"scope": options["scope"], "packages": rows, "refusals": refusals}
        found["kept"] = _kept(base, options, rows, silent)
        found["download"] = sum(row["download"] for row in rows)
        found["digest"] = _digest(found)
        found["wanted"] = bool(rows)
        if options["approved"] and rows and found["digest"] not in options["approved"]:
            text = f"The plan {found['digest']} is not approved."
            refusals.append({"name": "approved", "message": text, "remedy": "Read it, and approve it by its digest."})
        return found
    finally:
        base.close()


def _advises(repo: Any) -> bool:
    """Whether a repository has advisories."""
    return bool(repo.get_metadata_path("updateinfo"))


def _must_be_installed(base: Any, packages: List[str]) -> None:
    missing = [name for name in packages if not base.sack.query().installed().filter(name=name)]
    if missing:
        text = f"Not installed: {', '.join(missing[:5])}."
        raise PatchingError(text, "Correct patching_packages.")


def _rows(base: Any, names: List[str]) -> Tuple[List[Dict[str, Any]], List[Dict[str, str]]]:
    rows, refusals = [], []
    transaction = base.transaction or []
    gone = {
        item.pkg.name: _version(item.pkg) for item in transaction if item.action in dnf.transaction.BACKWARD_ACTIONS
    }
    for item in transaction:
        package = item.pkg
        if item.action in dnf.transaction.FORWARD_ACTIONS:
            advisories = _advisories(base, package)
            security = [each for each in advisories if each["type"] == "security"]
            reason = "dependency" if package.name not in names else "security" if security else "update"
            rows.append(
                {
                    "package": package.name,
                    "architecture": package.arch,
                    "from": gone.get(package.name),
                    "to": _version(package),
                    "reason": reason,
                    "repository": package.reponame,
                    "sha256": _checksum(package),
                    "download": int(package.downloadsize),
                    "advisories": advisories,
                }
            )
            if item.action == dnf.transaction.PKG_DOWNGRADE:
                text = f"{package.name} would go back to {_version(package)}."
                refusals.append({"name": "downgrade", "message": text, "remedy": "Find out why with dnf upgrade."})
        elif item.action in (dnf.transaction.PKG_REMOVE, dnf.transaction.PKG_OBSOLETED):
            text = f"{package.name} would be removed."
            refusals.append({"name": "remove", "message": text, "remedy": "Decide that by hand with dnf."})
    return sorted(rows, key=lambda row: (row["package"], row["architecture"])), refusals


def _version(package: Any) -> str:
    return str(package.evr)


def _checksum(package: Any) -> Optional[str]:
    kind, value = package.chksum or (None, None)
    return value.hex() if kind == hawkey.CHKSUM_SHA256 and value else None


def _advisories(base: Any, package: Any) -> List[Dict[str, Any]]:
    """What comes with this version and is not installed yet; types and severities that are not known are "unknown"."""
    names = {
        hawkey.ADVISORY_SECURITY: "security",
        hawkey.ADVISORY_BUGFIX: "bugfix",
        hawkey.ADVISORY_ENHANCEMENT: "enhancement",
        hawkey.ADVISORY_NEWPACKAGE: "newpackage",
    }
    installed = base.sack.query().installed().filter(name=package.name)
    had = {each.id for one in installed for each in one.get_advisories(hawkey.EQ | hawkey.LT)}
    return [
        {
            "id": each.id,
            "type": names.get(each.type, "unknown"),
            "severity": SEVERITIES.get(each.severity or "", "unknown"),
            "references": sorted(reference.id for reference in each.references if reference.id),
        }
        for each in package.get_advisories(hawkey.EQ | hawkey.LT)
        if each.id not in had
    ]


def _kept(base: Any, options: Dict[str, Any], rows: List[Dict[str, Any]], silent: List[str]) -> List[Dict[str, Any]]:
    """What stays though there is something newer, and why.

    :param silent: repositories without advisories: what is only there may be a security update
    """
    taken = {row["package"]: row["to"] for row in rows}
    everything = base.sack.query(flags=hawkey.IGNORE_EXCLUDES).upgrades().latest()
    advised = {(package.name, _version(package)) for package in everything if package.reponame not in silent}
    visible = {(package.name, _version(package)) for package in base.sack.query().upgrades()}
    found = {}
    for package in everything:
        if taken.get(package.name) == _version(package):
            continue
        advisories = _advisories(base, package)
        security = [each["id"] for each in advisories if each["type"] == "security"]
        if (package.name, _version(package)) not in visible:
            reason = "hold"
        elif options["packages"] and package.name not in options["packages"]:
            reason = "not chosen"
        elif options["scope"] == "security" and not security:
            reason = "not security" if (package.name, _version(package)) in advised else "no advisories"
        else:
            reason = "unsolvable"
        row = {
            "package": package.name,
            "version": _version(package),
            "reason": reason,
            "security": sorted(security),
            "repository": package.reponame,
        }
        found[package.name] = row
    return [found[name] for name in sorted(found)]


def _digest(found: Dict[str, Any]) -> str:
    keys = ("package", "architecture", "from", "to", "sha256")
    data = [[row[key] for key in keys] for row in found["packages"]]
    return hashlib.sha256(json.dumps(["rpm", data], separators=(",", ":")).encode()).hexdigest()
