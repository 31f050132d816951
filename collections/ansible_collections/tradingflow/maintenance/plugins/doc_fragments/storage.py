# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  storage:
    description: The S3 store, AWS's or another.
    type: dict
    required: true
    suboptions:
      bucket:
        description: The bucket.
        type: str
        required: true
      prefix:
        description: Put before every key.
        type: str
        default: ""
      endpoint:
        description: URL of a store other than AWS's.
        type: str
      region:
        description: The region.
        type: str
        default: us-east-1
      access_key:
        description: Access key. Without it the SDK's own chain is used (role, profile, environment).
        type: str
      secret_key:
        description: Secret key.
        type: str
      session_token:
        description: Session token of temporary credentials.
        type: str
      ca_file:
        description: File of the CA that signed the store's certificate.
        type: path
      addressing_style:
        description: How the bucket is named in the URL.
        type: str
        default: auto
        choices: [auto, path, virtual]
      connect_timeout:
        description: Seconds to wait for a connection.
        type: int
        default: 5
      read_timeout:
        description: Seconds to wait for an answer.
        type: int
        default: 60
      retry_seconds:
        description:
          - How long a request is tried again while the store is overloaded, restarting or out of reach.
          - Where it has not answered yet, and nothing would be lost, 10 s at the most.
        type: int
        default: 120
      max_attempts:
        description: How often a request is tried in all at most, V(0) for as often as O(storage.retry_seconds) allows.
        type: int
        default: 0
"""
