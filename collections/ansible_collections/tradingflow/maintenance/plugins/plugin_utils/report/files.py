# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's files."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...module_utils.run import write_private
from .html import html
from .machine import junit, openmetrics
from .scope import is_partial, is_whole, narrowed
from .text import markdown


def write(report: dict[str, Any], directory: Path, history: list[dict[str, Any]]) -> dict[str, Path]:
    """Writes report.{json,md,prom,xml,html} into the run's folder, each whole or not at all, mode 0600.

    Only a whole run has a report.prom: series of another one would stand for all of it, and for its having come.

    :returns: the paths by form
    """
    # The data first: whatever becomes of the forms, it is there.
    forms: dict[str, Callable[[], str]] = {
        "json": lambda: _json(report),
        "md": lambda: markdown(report),
        "prom": lambda: openmetrics(report),
        "xml": lambda: junit(report),
        "html": lambda: html(report, history),
    }
    if not is_whole(report):
        del forms["prom"]
    paths = {form: directory / f"report.{form}" for form in forms}
    for form, render in forms.items():
        write_private(paths[form], render())
    return paths


def _json(report: dict[str, Any]) -> str:
    """The report as JSON with a line for each check, action and other part: for diff and grep, and quick to write."""

    def dump(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    parts = []
    for key, value in report.items():
        listed = isinstance(value, list) and value
        text = "[\n  " + ",\n  ".join(dump(item) for item in value) + "\n ]" if listed else dump(value)
        parts.append(f" {dump(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def point_latest(directory: Path) -> None:
    """Lets artifacts/<playbook>/latest point to the run's folder, replaced in one step."""
    temporary = directory.parent / f".latest.{secrets.token_hex(4)}"
    temporary.symlink_to(directory.name, target_is_directory=True)
    try:
        os.replace(temporary, directory.parent / "latest")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def summary(report: dict[str, Any], directory: Path) -> dict[str, Any]:
    """The run for set_stats: small, flat, with the place and digest of report.json as written."""
    path = directory / "report.json"
    return {
        **{key: report[key] for key in ("run_id", "environment", "playbook", "worst_status", "passed")},
        **report["counts"],
        "expected_missing": len(report["expected_missing"]),
        "partial": is_partial(report),
        "scope": narrowed(report) or "whole",
        **{f"elsewhere_{status}": count for status, count in report["elsewhere"]["counts"].items()},
        "last_whole_run": report["run_id"] if is_whole(report) else report["elsewhere"]["run_id"],
        "report": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
