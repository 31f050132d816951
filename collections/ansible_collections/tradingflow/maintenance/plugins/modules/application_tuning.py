#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: application_tuning
short_description: Look at response times by route, memory and pool of the application over the runs
version_added: "0.1.0"
description:
  - Reads the application's own histograms of durations and judges what came since the last run, route by route - p50,
    p95, p99 and errors. Counters that began again are seen, and what came before that is not known.
  - A histogram tells between which two bounds a quantile lies. Where a threshold lies between them too, it is unknown.
  - Ties slow routes to statements whose comment names the route, as sqlcommenter writes it.
  - Runs on the controller, whatever the host, and changes nothing.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  urls:
    description: Address of each replica, such as C(https://app1.example:3000).
    type: list
    elements: str
    required: true
  ca_file:
    description: CA certificates that the replicas are trusted by, instead of the system's.
    type: path
  metrics_path:
    description: Path of the metrics, in Prometheus's text format or OpenMetrics.
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
  durations:
    description: Names of the histogram of durations in seconds, without C(_bucket). The first that exists is used.
    type: list
    elements: str
    default:
      - tradingflow_http_request_duration_seconds
      - http_request_duration_seconds
      - http_server_requests_seconds
      - http_server_request_duration_seconds
  route_labels:
    description: Names of the label with the route.
    type: list
    elements: str
    default: [route, handler, uri, path, http_route]
  left_out:
    description: Routes that are not judged.
    type: list
    elements: str
    default: [/health, /ready, /metrics, /version]
  minimum:
    description: Requests since the last run below which a route is not judged.
    type: int
    default: 100
  timeout:
    description: Seconds that an answer of a replica or the database may take.
    type: int
    default: 10
  thresholds:
    description:
      - From which value on a check is a warning or critical. What is left out keeps its default.
      - C(.inf) means that there is no such threshold.
    type: dict
    suboptions:
      response_time_p50:
        description: Milliseconds within which half of a route's requests are answered.
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
        description: Milliseconds within which 95 percent of a route's requests are answered.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 500
          critical:
            description: Critical from here on.
            type: float
            default: 2500
      response_time_p99:
        description: Milliseconds within which 99 percent of a route's requests are answered.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1000
          critical:
            description: Critical from here on.
            type: float
            default: 5000
      errors:
        description: Percent of a route's requests that were answered by 5xx.
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
      memory_growth:
        description: Percent by which the memory of a process grows per week.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 10
          critical:
            description: Critical from here on.
            type: float
            default: 50
      pool_peak:
        description: Percent of its connections that the pool had in use at any look.
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
extends_documentation_fragment:
  - tradingflow.maintenance.run
  - tradingflow.maintenance.database
attributes:
  check_mode:
    description: Looks all the same; it changes nothing.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
"""

EXAMPLES = r"""
- name: Look at the application
  tradingflow.maintenance.application_tuning:
    run: "{{ maintenance_run }}"
    urls: ["https://app1.example:3000"]
    database: "{{ tradingflow_database }}"
    thresholds:
      response_time_p95: {warning: 250, critical: 1000}
"""

RETURN = r"""
checks:
  description: The checks, as contract 1 (docs/checks.md).
  returned: always
  type: list
  elements: dict
actions:
  description: The charts.
  returned: always
  type: list
  elements: dict
worst_status:
  description: The worst status of all, from best to worst ok, warning, unknown, critical.
  returned: always
  type: str
  sample: ok
"""
