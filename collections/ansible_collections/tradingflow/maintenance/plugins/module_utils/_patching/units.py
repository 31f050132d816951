# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systemd says of its units."""

from __future__ import annotations

from typing import Dict, List

from .._work.asked import asked
from ..errors import PatchingError
from . import commands


def systemd(arguments: List[str], fails: bool = False) -> str:
    """What systemctl prints.

    :param fails: its exit code says no more than what it prints
    :raises PatchingError: it cannot be run, or failed
    """
    try:
        said = asked(["systemctl", *arguments], commands.ENVIRONMENT, 600)
    except OSError as error:
        raise PatchingError(f"systemctl cannot be run: {error}") from None
    if said.status and not fails:
        text = said.messages.decode("utf-8", "replace").strip()[-300:]
        raise PatchingError(f"systemctl {arguments[0]} failed ({said.status}): {text}", "systemctl --failed")
    return said.text


def shown(units: List[str], *names: str) -> List[Dict[str, str]]:
    """Properties of units, those that systemd names.

    :raises PatchingError: it does not say
    """
    wanted = [part for name in names for part in ("-p", name)]
    # A block of lines for each, NAME=VALUE.
    blocks = systemd(["show", *wanted, "--", *units]).split("\n\n")
    return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]


def listed(state: str) -> List[str]:
    """Units in a state, by their names."""
    said = systemd(["list-units", "--all", f"--state={state}", "--plain", "--no-legend", "--full", "--no-pager"])
    return sorted(line.split()[0] for line in said.splitlines() if line.split())
