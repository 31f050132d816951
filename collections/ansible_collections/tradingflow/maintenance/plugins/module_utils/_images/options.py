# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of looking after images."""

from __future__ import annotations

from typing import Any, Dict

from .._advisories.options import ACCEPTED, CANARIES

#: Argument spec of the module image_updates, without "run".
SPEC: Dict[str, Any] = {
    "images": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "reference": {"type": "str", "required": True},
            "running": {"type": "list", "elements": "str", "default": []},
            "follow": {"type": "str"},
            "base": {"type": "str"},
            "platform": {"type": "str", "default": "linux/amd64"},
            "known": {"type": "list", "elements": "str", "default": []},
        },
    },
    "observed": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "source": {"type": "str", "required": True},
            "problem": {"type": "str"},
            "containers": {"type": "list", "elements": "dict", "default": []},
        },
    },
    "hosts": {"type": "list", "elements": "str", "default": []},
    "kubernetes": {
        "type": "dict",
        "options": {
            "kubeconfig": {"type": "path"},
            "context": {"type": "str"},
            "namespaces": {"type": "list", "elements": "str", "default": []},
        },
    },
    "ignored": {"type": "list", "elements": "str", "default": []},
    "auth_file": {"type": "path"},
    "ca_file": {"type": "path"},
    "plain_http": {"type": "list", "elements": "str", "default": []},
    "proposals_directory": {"type": "path"},
    "timeout": {"type": "int", "default": 30},
    "content": {"type": "bool", "default": True},
    "content_limit": {"type": "int", "default": 16 << 30},
    "content_timeout": {"type": "int", "default": 900},
    "scratch_directory": {"type": "path", "default": "/var/tmp"},  # noqa: S108
    "program": {"type": "path"},
    "database": {"type": "path"},
    "database_age": {"type": "int", "default": 7},
    "canaries": CANARIES,
    "accepted": ACCEPTED,
}
