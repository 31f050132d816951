# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole run's series where monitoring reads them, such as the node exporter's folder of text files."""

from __future__ import annotations

import grp
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

#: Argument spec of the option "metrics".
METRICS_SPEC: dict[str, Any] = {
    "directory": {"type": "path", "required": True},
    "group": {"type": "str"},
    "mode": {"type": "str", "default": "0644", "choices": ["0600", "0640", "0644"]},
}


def publish(report: dict[str, Any], source: Path, metrics: dict[str, Any]) -> Path:
    """Copies report.prom there, whole or not at all, one file for each environment and playbook.

    :param source: report.prom
    :param metrics: as METRICS_SPEC says
    :raises OSError: it cannot be written, or given to the group
    :raises LookupError: there is no such group
    """
    folder = Path(metrics["directory"])
    name = "-".join(quote(part, safe="") for part in ("tradingflow", report["environment"], report["playbook"]))
    group = grp.getgrnam(metrics["group"]).gr_gid if metrics["group"] else -1
    # A name that no collector reads until it is whole.
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".tradingflow.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(source.read_bytes())
            stream.flush()
            os.fchown(stream.fileno(), -1, group)
            os.fchmod(stream.fileno(), int(metrics["mode"], 8))
            os.fsync(stream.fileno())
        os.replace(temporary, folder / f"{name}.prom")
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return folder / f"{name}.prom"
