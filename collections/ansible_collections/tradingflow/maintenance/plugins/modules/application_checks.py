#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: application_checks
short_description: Check the health of the application over HTTP
version_added: "0.1.0"
description:
  - Asks every replica for its health, readiness and version, and measures response times (docs/checks.md).
  - Runs on the controller. Every request is bounded in time and size.
  - Proxies named in the environment are not used, and redirects are not followed.
  - A replica that does not answer is critical, and its other checks are unknown then.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  urls:
    description: Base URL of every replica, such as C(https://app-1.example.com:3000). Without user and password.
    type: list
    elements: str
    required: true
  ca_file:
    description: File of the CA that signed the replicas' certificates. Without it the system's CAs are trusted.
    type: path
  health_path:
    description: Path that says whether the replica is healthy.
    type: str
    default: /health
  ready_path:
    description: Path that says whether the replica is ready for work.
    type: str
    default: /ready
  version_path:
    description: Path that says the version, as plain text or as C(version) of a JSON object.
    type: str
    default: /version
  expected_version:
    description: The version that all replicas should run. Without it they only must agree.
    type: str
  probes:
    description:
      - How often the health path of each replica is asked.
      - It is asked less often when that takes more than three times O(timeout).
    type: int
    default: 20
  timeout:
    description: Seconds one request may take in all, from resolving the name to the last byte.
    type: float
    default: 5
  thresholds:
    description:
      - From which value on a check is a warning or critical. What is left out keeps its default.
      - C(.inf) means that there is no such threshold.
    type: dict
    suboptions:
      answered:
        description: Percent of the probes that were answered at all; bad downwards.
        type: dict
        suboptions:
          warning:
            description: Warning from here downwards.
            type: float
            default: 99
          critical:
            description: Critical from here downwards.
            type: float
            default: 50
      certificate:
        description: Days until the certificate of an https replica expires; bad downwards.
        type: dict
        suboptions:
          warning:
            description: Warning from here downwards.
            type: float
            default: 30
          critical:
            description: Critical from here downwards.
            type: float
            default: 7
      response_time_p50:
        description: Milliseconds within which half of the probes are answered.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 200
          critical:
            description: Critical from here on.
            type: float
            default: 1000
      response_time_p95:
        description: Milliseconds within which 95 percent of the probes are answered.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 500
          critical:
            description: Critical from here on.
            type: float
            default: 2000
      response_time_p99:
        description: Milliseconds within which 99 percent of the probes are answered.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1000
          critical:
            description: Critical from here on.
            type: float
            default: 3000
extends_documentation_fragment:
  - tradingflow.maintenance.run
"""

EXAMPLES = r"""
- name: Check the application
  tradingflow.maintenance.application_checks:
    run: "{{ maintenance_run }}"
    urls:
      - https://app-1.example.com:3000
      - https://app-2.example.com:3000
    ca_file: /etc/ssl/tradingflow-ca.pem
    thresholds:
      response_time_p99: {warning: 300, critical: 800}
"""

RETURN = r"""
checks:
  description: The checks, as contract 1 (docs/checks.md).
  returned: always
  type: list
  elements: dict
worst_status:
  description: The worst status of all, from best to worst ok, warning, unknown, critical.
  returned: always
  type: str
  sample: ok
application_version:
  description: The version, null unless all replicas report the same one.
  returned: always
  type: str
  sample: 1.2.0
"""
