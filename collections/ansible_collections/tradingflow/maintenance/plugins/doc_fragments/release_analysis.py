# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  analysis:
    description: What is measured of a version's pods, and what it may be, against the version of before.
    type: dict
    suboptions:
      metrics_path:
        description: Where each pod has its metrics.
        type: str
        default: /metrics
      metrics:
        description: Names of metrics. Of each the first that is there counts.
        type: dict
        suboptions:
          memory:
            description: Bytes of memory that the process has resident.
            type: list
            elements: str
            default:
              - process_resident_memory_bytes
              - process_memory_usage_bytes
          requests:
            description: Counter of requests answered.
            type: list
            elements: str
            default:
              - tradingflow_http_requests_total
              - http_requests_total
              - http_server_requests_seconds_count
              - http_server_request_duration_seconds_count
          status_labels:
            description: Its label that has the HTTP status.
            type: list
            elements: str
            default: [code, status, status_code, http_response_status_code]
      durations:
        description: Names of the histogram of durations in seconds, without C(_bucket).
        type: list
        elements: str
        default:
          - tradingflow_http_request_duration_seconds
          - http_request_duration_seconds
          - http_server_requests_seconds
          - http_server_request_duration_seconds
      route_labels:
        description: Names of the label that has a request's route.
        type: list
        elements: str
        default: [route, handler, uri, path, http_route]
      left_out:
        description: Routes that are no traffic, such as those of probes.
        type: list
        elements: str
        default: [/health, /ready, /metrics, /version]
      measures:
        description: What is measured; each must have data before anything is released.
        type: list
        elements: str
        choices: [errors, latency, memory, restarts, logs]
        default: [errors, latency, memory, restarts, logs]
      limits:
        description: What a measure may be.
        type: dict
        suboptions:
          errors:
            description: Percent of requests that are answered by 5xx.
            type: dict
            suboptions:
              factor:
                description: Of what the version of before had.
                type: float
                default: 2.0
              floor:
                description: What is allowed in any case.
                type: float
                default: 0.5
              ceiling:
                description: What is never allowed.
                type: float
                default: 5.0
          latency:
            description: p95 in ms.
            type: dict
            suboptions:
              factor:
                description: Of what the version of before had.
                type: float
                default: 1.5
              floor:
                description: What is allowed in any case.
                type: float
                default: 250.0
              ceiling:
                description: What is never allowed.
                type: float
                default: 2500.0
          memory:
            description: Bytes resident, of the pod with the most.
            type: dict
            suboptions:
              factor:
                description: Of what the version of before had.
                type: float
                default: 1.5
              floor:
                description: What is allowed in any case.
                type: float
                default: 64000000.0
              ceiling:
                description: What is never allowed.
                type: float
      minimum:
        description: Requests that an interval must have, to be judged.
        type: int
        default: 20
      restarts:
        description: Restarts that are allowed.
        type: int
        default: 0
      new_error_lines:
        description: Lines of new kinds of errors from which a version has failed.
        type: int
        default: 10
      known_errors:
        description: Fingerprints of kinds of errors that are accepted.
        type: list
        elements: str
        default: []
"""
