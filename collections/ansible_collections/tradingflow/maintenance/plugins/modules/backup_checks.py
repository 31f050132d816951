#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_checks
short_description: Check the recovery points of an environment in the store
version_added: "0.1.0"
description:
  - Looks up the newest recovery point by its own time, not by the store's, and judges its age.
  - Compares every object of it with the recorded size and checksum by HEAD; nothing is downloaded.
  - An unreachable store makes this unknown; no recovery point at all is critical.
  - Runs on the controller and changes nothing. The task never fails because of what it finds.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - boto3
options:
  environment_name:
    description: Name of the environment.
    type: str
    required: true
  thresholds:
    description: From which value on a check is a warning or critical. What is left out keeps its default.
    type: dict
    suboptions:
      newest_age:
        description: Age of the newest recovery point's data, in s.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 93600
          critical:
            description: Critical from here on.
            type: float
            default: 180000
extends_documentation_fragment:
  - tradingflow.maintenance.storage
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Reads only, so it does the same.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Check the backups
  tradingflow.maintenance.backup_checks:
    environment_name: production
    storage:
      bucket: tradingflow-backups
      region: eu-central-1
    thresholds:
      newest_age:
        warning: 7200
"""

RETURN = r"""
checks:
  description: backups.newest_age and backups.newest_intact, as contract 1.
  returned: always
  type: list
  elements: dict
worst_status:
  description: The worst status of all.
  returned: always
  type: str
"""
