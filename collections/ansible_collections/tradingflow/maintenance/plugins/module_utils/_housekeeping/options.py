# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of housekeeping on a host."""

from __future__ import annotations

from typing import Any, Dict

from ..checks import thresholds_spec

#: One directory of temporary files.
DIRECTORY: Dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "days": {"type": "float", "default": 10},
    "quarantine_days": {"type": "float", "default": 0},
    "owners": {"type": "list", "elements": "str", "default": []},
    "names": {"type": "list", "elements": "str", "default": ["*"]},
    "keep": {"type": "list", "elements": "str", "default": []},
    "reads": {"type": "bool", "default": True},
}

#: One access log.
ACCESS: Dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "days": {"type": "float", "default": 7},
    "format": {"type": "str", "default": "auto", "choices": ["auto", "combined", "json"]},
    "fields": {"type": "dict", "default": {}},
    "ipv4_bits": {"type": "int", "default": 24},
    "ipv6_bits": {"type": "int", "default": 48},
    "maximum_lines": {"type": "int", "default": 5000000},
    "empty_ok": {"type": "bool", "default": False},
    "request_time": {"type": "str", "default": ""},
    "request_time_unit": {"type": "str", "default": "s", "choices": ["s", "ms", "us"]},
    "request_time_left_out": {"type": "list", "elements": "str", "default": []},
}
#: One configuration of logrotate that is managed.
MANAGED: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "paths": {"type": "list", "elements": "str", "required": True},
    "frequency": {"type": "str", "default": "daily", "choices": ["hourly", "daily", "weekly", "monthly"]},
    "keep": {"type": "int", "default": 14},
    "maximum_size": {"type": "str", "default": ""},
    "create": {"type": "str", "required": True},
    "su": {"type": "str", "default": ""},
    "reopen": {"type": "str", "required": True},
}
ROTATION: Dict[str, Any] = {
    "config": {"type": "path", "default": "/etc/logrotate.conf"},
    "state": {"type": "path", "default": "/var/lib/logrotate/status"},
    "program": {"type": "str", "default": "logrotate"},
    "managed": {"type": "list", "elements": "dict", "default": [], "options": MANAGED},
    "rotated": {"type": "list", "elements": "str", "default": []},
}
#: By default a quarter for its audit, and a month in which that is collected.
JOURNAL: Dict[str, Any] = {
    "days": {"type": "float", "required": True},
    "retention_days": {"type": "float", "default": 123},
    "folders": {"type": "list", "elements": "path", "default": ["/var/log/journal", "/run/log/journal"]},
}
IMAGES: Dict[str, Any] = {
    "program": {"type": "str", "required": True},
    "remove": {"type": "list", "elements": "str", "default": []},
}
#: What is a warning, and what is critical.
LIMITS: Dict[str, Any] = {
    "unparsed": (1, None),
    "errors": (1, 5),
    "response_time_p50": (200, 1000),
    "response_time_p95": (500, 2500),
    "response_time_p99": (1000, 5000),
}

#: Argument spec of the module host_housekeeping, without "run".
SPEC: Dict[str, Any] = {
    "temporary": {"type": "list", "elements": "dict", "default": [], "options": DIRECTORY},
    "access_logs": {"type": "list", "elements": "dict", "default": [], "options": ACCESS},
    "rotation": {"type": "dict", "options": ROTATION},
    "journal": {"type": "dict", "options": JOURNAL},
    "package_cache": {"type": "bool", "default": False},
    "kernels": {"type": "bool", "default": False},
    "images": {"type": "list", "elements": "dict", "default": [], "options": IMAGES},
    "thresholds": thresholds_spec(LIMITS),
    "maximum": {"type": "int", "default": 5000},
    "look_at": {"type": "int", "default": 2000000},
    "clock": {"type": "float"},
    "approved": {"type": "list", "elements": "str"},
    "planned": {"type": "list", "elements": "str", "default": []},
}
