# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that check the files before anything is put in place: promtool and amtool."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import Any, Dict, Sequence

from ..errors import ConfigurationError, MaintenanceError
from .options import as_yaml
from .rule import Rule, unit_tests


def _run(program: str, arguments: Sequence[str], folder: str, timeout: float) -> str:
    """What it prints.

    :raises ConfigurationError: it is not there, so that nobody can check the files
    :raises MaintenanceError: it found something
    """
    found = shutil.which(program)
    if not found:
        raise ConfigurationError(
            f"{program} is not there: what was generated cannot be checked, and nothing was changed.",
            "Install prometheus (promtool) and prometheus-alertmanager (amtool) on the host, or name their paths.",
        )
    try:
        done = subprocess.run(
            [found, *arguments],
            cwd=folder,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "HOME": folder},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MaintenanceError(f"{program} could not be run: {error}", "Run it by hand, and look.") from None
    said = " ".join(f"{done.stdout} {done.stderr}".split())
    if done.returncode:
        raise MaintenanceError(
            f"{program} {' '.join(arguments[:2])} refuses: {said[-600:]}", "Correct the options it tells of."
        )
    return said


def rules_valid(text: str, rules: Sequence[Rule], promtool: str, timeout: float) -> None:
    """Checks rules, and that each fires at its threshold and not before.

    :raises MaintenanceError: one does not, or nobody can check it
    """
    with tempfile.TemporaryDirectory(prefix="tradingflow-monitoring-") as folder:
        files: Dict[str, Any] = {"rules.yml": text, "tests.yml": as_yaml(unit_tests(rules, "rules.yml"))}
        for name, content in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as stream:
                stream.write(content)
        said = _run(promtool, ["check", "rules", "rules.yml"], folder, timeout)
        # Its exit status is 0 with rules that it found fault with.
        if f"SUCCESS: {len(rules)} rules found" not in said:
            raise MaintenanceError(f"promtool check rules finds fault: {said[-600:]}", "Correct what it tells of.")
        _run(promtool, ["test", "rules", "tests.yml"], folder, timeout)


def routes_valid(text: str, told: Dict[str, str], amtool: str, timeout: float) -> None:
    """Checks Alertmanager's configuration, and that alerts of each severity get to whom they are for.

    :param told: severity -> receiver
    :raises MaintenanceError: they do not, or nobody can check it
    """
    with tempfile.TemporaryDirectory(prefix="tradingflow-monitoring-") as folder:
        handle = os.open(os.path.join(folder, "alertmanager.yml"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        _run(amtool, ["check-config", "alertmanager.yml"], folder, timeout)
        for severity, receiver in told.items():
            asked = ["--config.file=alertmanager.yml", f"--verify.receivers={receiver}", f"severity={severity}"]
            _run(amtool, ["config", "routes", "test", *asked, "alertname=TradingFlowAny"], folder, timeout)
