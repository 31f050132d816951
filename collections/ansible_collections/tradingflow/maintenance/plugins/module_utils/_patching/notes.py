# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""dpkg's own notes: what is installed and how, and which configuration files somebody changed."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Set, Tuple

from ..errors import PatchingError
from .solver import apt


def changed_conffiles(records: Dict[str, Dict[str, str]], digest: Any) -> Dict[str, List[str]]:
    """Configuration files that somebody changed, by package.

    :param records: path -> MD5 as it was shipped, by package
    :param digest: gives a file's MD5; None when it is gone
    """
    found: Dict[str, List[str]] = {}
    for package, files in records.items():
        changed: Set[str] = {path for path, shipped in files.items() if digest(path) != shipped}
        if changed:
            found[package] = sorted(changed)
    return found


def conffiles() -> Dict[str, Dict[str, str]]:
    """Configuration files as they were shipped: path -> MD5, by package.

    :raises PatchingError: dpkg's notes cannot be read
    """
    found: Dict[str, Dict[str, str]] = {}
    for name, section in _sections():
        lines = (section.get("Conffiles") or "").splitlines()
        # PATH MD5 [obsolete | remove-on-upgrade]: a path may have blanks in it.
        parts = [line.strip().rsplit(" ", 1) for line in lines if line.strip()]
        files = {path: digest for path, digest in parts if len(digest) == 32}
        if files:
            found[name] = files
    return found


def status() -> Dict[str, Dict[str, str]]:
    """Version and state of each package that dpkg knows, by name:architecture.

    :raises PatchingError: dpkg's notes cannot be read
    """
    found = {}
    for name, section in _sections():
        state = str(section.get("Status") or "").split()[-1:]
        if state and state != ["not-installed"]:
            found[name] = {"version": str(section.get("Version") or ""), "state": state[0]}
    return found


def _sections() -> Iterator[Tuple[str, Any]]:
    """dpkg's notes by name:architecture, packages of all architectures as of the host's own, as apt does."""
    module = apt()
    try:
        native = module.get_architectures()[0]
        with open(module.config.find_file("Dir::State::status"), "rb") as stream, module.TagFile(stream) as tags:
            for section in tags:
                architecture = section.get("Architecture") or native
                yield f"{section['Package']}:{native if architecture == 'all' else architecture}", section
    except (OSError, KeyError, module.Error) as error:
        raise PatchingError(f"dpkg's notes cannot be read: {error}", "Look with dpkg --audit.") from None
