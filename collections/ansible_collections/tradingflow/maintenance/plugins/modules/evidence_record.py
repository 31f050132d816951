#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: evidence_record
short_description: Append a record to the evidence ledger
version_added: "0.1.0"
description:
  - Appends one signed, numbered record to the environment's ledger in the S3 store. It carries the digest of the record
    before, and is written only where none is, so that two writers cannot fork the ledger.
  - Proves the newest record first, and appends nothing when that does not verify.
  - Runs on the controller, whatever the host. Use it with C(run_once).
  - Every run of a playbook leaves its own record by M(tradingflow.maintenance.maintenance_report). This module is for
    what else must go on the record, such as an incident or a review.
  - Needs the Python libraries C(boto3) and C(cryptography) on the controller.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  environment_name:
    description: The environment, as the inventory calls it. Each has a ledger of its own.
    type: str
    required: true
  kind:
    description: What the record is about.
    type: str
    required: true
    choices:
      [run, backup, drill, restore, deletion, release, migration, patch, review, incident, override, rehearsal,
      data_update, audit, tuning]
  run_id:
    description: The run it belongs to. By default one of its own.
    type: str
  actor:
    description: Who did it. By default AWX's user, or the user who runs C(ansible-playbook).
    type: str
  subjects:
    description:
      - The things it is about, each with its digest.
      - Without any, the record is about its own content.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the thing, for example a file or an object.
        type: str
        required: true
      digest:
        description: Its digest.
        type: dict
        required: true
        suboptions:
          sha256:
            description: SHA-256, 64 hexadecimal digits.
            type: str
            required: true
  content:
    description: What is recorded. Readable by everyone who may read the ledger, for as long as it is kept. No secrets.
    type: dict
    default: {}
  signing_key_file:
    description:
      - File of the Ed25519 private key (PEM, PKCS8, not encrypted) on the controller, readable by nobody else.
      - One of O(signing_key_file) and O(signing_key) is needed.
    type: path
  signing_key:
    description: The private key itself as PEM text, from Vault.
    type: str
  trusted_key_files:
    description:
      - Files of the public keys whose records count, or their PEM text itself. The signing key's own is among them, and
        after a rotation the old ones.
      - Without any, only the signing key's own.
    type: list
    elements: path
    default: []
  lock_mode:
    description:
      - Whether the store shall refuse to delete the record, and whether administrators may undo that.
      - Where the bucket has no object lock, the record is written without one and RV(notes) say so.
    type: str
    default: none
    choices: [none, governance, compliance]
  lock_days:
    description: For how many days. The default is seven years.
    type: int
    default: 2557
  witness:
    description:
      - File on the controller that remembers which records there were, so that removed ones are missed.
      - Relative to the project, the folder with its C(ansible.cfg).
    type: path
extends_documentation_fragment:
  - tradingflow.maintenance.storage
attributes:
  check_mode:
    description: Proves keys, store and newest record, and writes nothing.
    support: full
  diff_mode:
    description: Shows what is recorded.
    support: full
seealso:
  - module: tradingflow.maintenance.maintenance_report
"""

EXAMPLES = r"""
- name: Record that a key was rotated
  tradingflow.maintenance.evidence_record:
    storage: "{{ tradingflow_storage }}"
    environment_name: production
    kind: review
    run_id: key-rotation-2026-11
    actor: operations
    content:
      title: Evidence key rotated
      new_keyid: 3f0c9d6f3c1f5d0d3e9f7a3d4c5b6a79808f9eadbccddbeafb0c1d2e3f405162
    signing_key: "{{ vault_evidence_signing_key }}"
    trusted_key_files: [keys/evidence-2025.pub, keys/evidence-2026.pub]
    lock_mode: compliance
    witness: artifacts/ledger-production.jsonl
  run_once: true
"""

RETURN = r"""
number:
  description: The record's number. In check mode, the one it would get.
  returned: success
  type: int
  sample: 42
key:
  description: Its key in the bucket.
  returned: success
  type: str
  sample: evidence/production/00000042.json
digest:
  description: SHA-256 of the envelope's bytes, which the next record will carry. Nothing in check mode.
  returned: success
  type: str
keyid:
  description: Id of the key that signed it, SHA-256 of the public key (SubjectPublicKeyInfo, DER).
  returned: success
  type: str
recorded_at:
  description: When it was recorded, RFC 3339 UTC.
  returned: success
  type: str
steps:
  description: Where the record is, in words. Nothing in check mode.
  returned: success
  type: list
  elements: str
notes:
  description: What the operator should know, such as a bucket that cannot lock objects.
  returned: success
  type: list
  elements: str
"""
