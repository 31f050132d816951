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
        description: Names of metrics and their labels, as M(tradingflow.maintenance.application_checks) takes them.
        type: dict
      durations:
        description: Names of the histogram of durations in seconds.
        type: list
        elements: str
      route_labels:
        description: Names of the label that has a request's route.
        type: list
        elements: str
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
        description:
          - By C(errors) (percent), C(latency) (p95 in ms) and C(memory) (bytes) the C(factor) of the version of before,
            the C(floor) that is allowed in any case, and the C(ceiling) that is never.
        type: dict
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
