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
  - Asks every replica for its health, readiness, version and metrics, and measures response times (docs/checks.md).
  - Requests that failed are counted since the run before, as its report says; a first run only begins to count.
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
  metrics_path:
    description:
      - Path of the metrics in Prometheus's text format or OpenMetrics.
      - Empty when the application has none; then nothing is checked of memory, pool and failed requests.
    type: str
    default: /metrics
  metrics:
    description:
      - Names of the metrics, such as C(name) or C(name{label="value"}). The first that exists is used.
      - A check whose list is empty is not made.
    type: dict
    suboptions:
      memory:
        description: Bytes of memory the process has resident.
        type: list
        elements: str
        default:
          - process_resident_memory_bytes
          - process_memory_usage_bytes
      started:
        description: When the process was started, in seconds since the epoch; tells restarts.
        type: list
        elements: str
        default:
          - process_start_time_seconds
      pool_in_use:
        description: Connections of the pool in use. Several pools are told apart by their labels.
        type: list
        elements: str
        default:
          - tradingflow_db_pool_in_use
          - hikaricp_connections_active
          - 'db_client_connection_count{state="used"}'
          - 'db_client_connections_usage{state="used"}'
      pool_size:
        description: Connections the pool may open at most.
        type: list
        elements: str
        default:
          - tradingflow_db_pool_limit
          - hikaricp_connections_max
          - db_client_connection_max
          - db_client_connections_max
      pool_waiting:
        description: Requests that wait for a connection; reported where it exists.
        type: list
        elements: str
        default:
          - tradingflow_db_pool_waiting
          - hikaricp_connections_pending
          - db_client_connection_pending_requests
          - db_client_connections_pending_requests
      requests:
        description: Counter of requests with their HTTP status in a label.
        type: list
        elements: str
        default:
          - tradingflow_http_requests_total
          - http_requests_total
          - http_server_requests_seconds_count
          - http_server_request_duration_seconds_count
      status_labels:
        description: Names of the label with the HTTP status.
        type: list
        elements: str
        default:
          - code
          - status
          - status_code
          - http_response_status_code
  expected_version:
    description: The version that all replicas should run. Without it they only must agree.
    type: str
  replicas:
    description: How many replicas should be well; fewer are critical. V(-1) when that is not declared.
    type: int
    default: -1
  words:
    description:
      - Words by which the application tells its state besides the known ones, such as C(ok), C(degraded) and C(down).
      - A word that is neither known nor here is unknown. One that would mean two things is refused.
    type: dict
    suboptions:
      healthy:
        description: All is well.
        type: list
        elements: str
        default: []
      degraded:
        description: A warning.
        type: list
        elements: str
        default: []
      unhealthy:
        description: Critical; of a part, a warning.
        type: list
        elements: str
        default: []
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
      error_rate:
        description: Percent of the requests since the last run that were answered by 5xx.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
            default: 5
      memory:
        description: Bytes of memory resident. Without thresholds only reported.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
      pool_used:
        description: Connections in use of those the application's pool may open, in percent.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 80
          critical:
            description: Critical from here on.
            type: float
            default: 100
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
