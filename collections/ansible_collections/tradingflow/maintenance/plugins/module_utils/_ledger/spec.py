# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of the ledger as an option. Apart: modules on hosts know it, and have nothing that reads keys."""

from __future__ import annotations

from typing import Any, Dict

#: Argument spec of what reads records.
KEYS_SPEC: Dict[str, Any] = {
    "signing_key": {"type": "str", "no_log": True},
    "signing_key_file": {"type": "path"},
    "trusted_key_files": {"type": "list", "elements": "path", "default": [], "no_log": False},
}
