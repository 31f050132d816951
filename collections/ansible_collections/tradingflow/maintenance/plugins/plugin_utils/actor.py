# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who does this, for the record."""

from __future__ import annotations

import getpass
import os
from typing import Any


def actor(task_vars: dict[str, Any]) -> str:
    """Who started this: AWX's user, or the user of this machine (through sudo when so)."""
    for name in ("awx_user_name", "tower_user_name"):
        if task_vars.get(name):
            return f"{task_vars[name]} (AWX job {task_vars.get('awx_job_id') or task_vars.get('tower_job_id')})"
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    sudo = os.environ.get("SUDO_USER")
    return f"{sudo} as {user}" if sudo and sudo != user else user
