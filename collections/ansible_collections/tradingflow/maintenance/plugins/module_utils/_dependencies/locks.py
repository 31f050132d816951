# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lock files: what is pinned in them, by their grammar, and how they read with other versions."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ..errors import ConfigurationError

try:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name
except ImportError:  # only the controller needs it, where ansible-core brings it
    Requirement = None  # type: ignore[assignment,misc]

#: Lines of a requirements file that name no package. Others that begin with a dash are not recognised.
_GLOBAL = re.compile(
    r"(-i|-f|--index-url|--extra-index-url|--find-links|--no-binary|--only-binary|--trusted-host)[ =]\S+"
    r"|--(no-index|require-hashes|prefer-binary|pre)"
)
_HASHES = re.compile(r"(?:\s*\\?\s+--hash=\w+:[0-9a-fA-F]+)+")
_COMMENT = re.compile(r"(^|\s+)#.*$")


class Pin(NamedTuple):
    """One pinned package.

    :param name: in the ecosystem's own normal form
    :param where: begin and end of what pins it in the text; none where the text is not edited
    :param hashes: whether digests of its files are pinned, too
    """

    name: str
    version: str
    where: Optional[Tuple[int, int]] = None
    hashes: bool = False


def pins(format: str, text: str, name: str) -> List[Pin]:
    """What a lock file pins.

    :param name: of the source, for messages
    :raises ConfigurationError: it is not understood, or pins something not exactly
    """
    return (_requirements if format == "requirements" else _package_lock)(text, name)


def _logical(text: str) -> List[Tuple[int, int, int]]:
    """Begin, end and number of the logical lines: a backslash at the end of a line goes on with the next."""
    lines, begin, number, at = [], 0, 1, 0
    open_number = 1
    for line in text.splitlines(keepends=True):
        at += len(line)
        bare = line.rstrip("\r\n")
        # As pip does: a comment ends with its line, whatever its last character is.
        if not bare.endswith("\\") or _COMMENT.search(bare):
            lines.append((begin, at - len(line) + len(bare), open_number))
            begin, open_number = at, number + 1
        number += 1
    if begin < at:
        lines.append((begin, at, open_number))
    return lines


def _requirements(text: str, name: str) -> List[Pin]:
    if Requirement is None:
        raise ConfigurationError("The Python library packaging is missing.", "It comes with ansible-core.")
    found = []
    for begin, end, number in _logical(text):
        line = _COMMENT.sub("", text[begin:end].replace("\r", "")).rstrip()
        if not line.strip() or _GLOBAL.fullmatch(line.strip()):
            continue
        hashed = _HASHES.search(line)
        plain = line[: hashed.start()] + line[hashed.end() :] if hashed else line
        found.append(Pin(*_pinned(plain.strip(), name, number), (begin, end), bool(hashed)))
    return found


def _pinned(line: str, name: str, number: int) -> Tuple[str, str]:
    remedy = "Lock it exactly, such as with pip-compile or uv: name==version."
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        raise ConfigurationError(f"Line {number} of {name} is not understood.", remedy) from None
    exact = [each for each in requirement.specifier if each.operator == "=="]
    if requirement.url or len(list(requirement.specifier)) != 1 or not exact or exact[0].version.endswith("*"):
        raise ConfigurationError(f"Line {number} of {name} pins {requirement.name} not exactly.", remedy)
    return canonicalize_name(requirement.name), exact[0].version


def _package_lock(text: str, name: str) -> List[Pin]:
    remedy = "Write it anew with npm 7 or newer: npm install --package-lock-only."
    try:
        lock = json.loads(text)
    except ValueError:
        raise ConfigurationError(f"{name} is not JSON.", remedy) from None
    packages = lock.get("packages") if isinstance(lock, dict) else None
    if not isinstance(packages, dict) or lock.get("lockfileVersion") not in (2, 3):
        raise ConfigurationError(f"{name} is no package-lock.json of version 2 or 3.", remedy)
    found = []
    for path, entry in packages.items():
        if not isinstance(entry, dict):
            raise ConfigurationError(f"{name} has an entry that is not understood: {path}.", remedy)
        # The project itself, its workspaces, and links to these.
        if "node_modules/" not in path or entry.get("link"):
            continue
        package, version = entry.get("name") or path.rpartition("node_modules/")[2], entry.get("version")
        if not isinstance(version, str) or not isinstance(package, str):
            raise ConfigurationError(f"{name} pins {package} not exactly.", remedy)
        found.append(Pin(package, version))
    return found


def rewritten(text: str, name: str, changes: Dict[Tuple[str, str], Any]) -> str:
    """A requirements file with other versions; nothing else in it differs.

    :param changes: (package, version) -> {"to": version, "hashes": [SHA-256]}
    :raises ConfigurationError: it would not read as wanted
    """
    before, new = pins("requirements", text, name), text
    for pin in reversed(before):
        change = changes.get((pin.name, pin.version))
        if change and pin.where:
            begin, end = pin.where
            line = re.sub(r"==(\s*)" + re.escape(pin.version), f"==\\g<1>{change['to']}", new[begin:end], count=1)
            if pin.hashes:
                hashes = "".join(f" \\\n    --hash=sha256:{each}" for each in change["hashes"])
                line = _HASHES.sub(hashes.replace("\\", r"\\"), line, count=1)
            new = new[:begin] + line + new[end:]
    wanted = [(pin.name, changes.get((pin.name, pin.version), {"to": pin.version})["to"]) for pin in before]
    if [(pin.name, pin.version) for pin in pins("requirements", new, name)] != wanted:
        raise ConfigurationError(f"{name} cannot be changed by its text alone.", "Change its versions by hand.")
    return new
