# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # What a release, its soak and its promotion have in common.
    DOCUMENTATION = r"""
options:
  environment_name:
    description: The environment, as the inventory calls it; its records are kept apart in the store.
    type: str
    required: true
  application:
    description: Name of the application, under which the record is kept.
    type: str
    required: true
  namespace:
    description: The namespace.
    type: str
    required: true
  deployment:
    description: The Deployment.
    type: str
    required: true
  container:
    description: Its container whose image is changed.
    type: str
    required: true
  database:
    description:
      - The application's database, whose revision must be one with which the version works. Without it nobody looks.
    type: dict
    suboptions:
      host:
        description: Host name.
        type: str
        default: localhost
      port:
        description: Port.
        type: int
        default: 5432
      name:
        description: Name of the database.
        type: str
        required: true
      user:
        description: A user who may read C(alembic_version).
        type: str
        required: true
      password:
        description: Its password.
        type: str
      sslmode:
        description: As libpq takes it.
        type: str
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
        default: verify-full
      sslrootcert:
        description: Certificates that are trusted.
        type: path
      connect_timeout:
        description: Seconds for a connection.
        type: int
        default: 10
      statement_timeout:
        description: Seconds for a statement.
        type: int
        default: 60
  port:
    description: Port of the pods on which they are asked.
    type: int
    default: 3000
  deadline:
    description: Seconds after which a rollout that has neither succeeded nor failed is unknown.
    type: int
    default: 900
  ready_slack:
    description:
      - Seconds that a pod may take to become ready beyond what its probes allow, or beyond three times what the slowest
        pod of before took. With V(0) only the Deployment's progress deadline counts.
    type: int
    default: 15
  steady:
    description: Seconds for which all must stay well until the rollout counts as complete.
    type: float
    default: 3.0
  interval:
    description: Seconds between two looks.
    type: float
    default: 1.0
  undo_on_failure:
    description: Whether a release that has failed is undone at once.
    type: bool
    default: true
"""
