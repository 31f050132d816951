#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_bundle
short_description: Seal what was collected for an audit into a signed bundle, and store it
version_added: "0.1.0"
description:
  - Takes what was collected of a period, host by host, and makes a bundle of it. A bundle is a folder, and in the store
    an archive, with a manifest, a guide for the auditor, and a signature over the complete list of its files.
  - Each bundle carries the digest of the one before. Its number is taken by a conditional write, so that two collectors
    cannot fork the chain.
  - Proves the bundle with the verifier that an auditor uses before it is uploaded. Then appends a record of kind audit
    to the evidence ledger.
  - A run that was killed is continued by the next one for the same period. The same inputs give the same bytes.
  - Runs on the controller, whatever the host. Use it with C(run_once).
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - boto3 and cryptography on the controller
  - rfc3161-client on the controller, for O(timestamp)
options:
  state:
    description:
      - V(prepared) says which period it is, makes the folder to collect into, and names the hosts of which everything
        is there already.
      - V(sealed) makes the bundle of what lies there.
    type: str
    required: true
    choices: [prepared, sealed]
  environment_name:
    description: The environment, as the inventory calls it. Each has a chain of its own.
    type: str
    required: true
  directory:
    description:
      - Folder on the controller for bundles, and for what is collected until it is sealed. Mode 0700.
      - Relative to the project, the folder with its C(ansible.cfg).
    type: path
    required: true
  hosts:
    description: Hosts of which something must be there. One of which there is nothing is named in the bundle as failed.
    type: list
    elements: str
    default: []
  plans:
    description:
      - Digest of the options by which each host is to be collected, by its name. Where another run has collected it by
        other options, it counts as not collected.
    type: dict
    default: {}
  begin:
    description: When the period begins, a day or a time such as C(2026-10-01T00:00:00Z). Together with O(end).
    type: str
    default: ""
  end:
    description: When it ends. This moment no longer belongs to it, and must be past.
    type: str
    default: ""
  month:
    description: A month such as C(2026-10) instead. By default the previous month.
    type: str
    default: ""
  timezone:
    description: In which days and months are meant.
    type: str
    default: UTC
  again:
    description: Whether a period that has its bundle is collected once more. Else the bundle that is there is proven.
    type: bool
    default: false
  scratch_limit:
    description: Bytes of what was collected that are accepted. V(0) for no limit.
    type: int
    default: 0
  redaction:
    description:
      - What is replaced before anything is packed, besides secrets, which always are.
      - Fields first, then patterns. A second scanner looks at the result; a source in which it still finds a secret has
        failed, and nothing of it gets into the bundle.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What stands where something was, and under what it is counted.
        type: str
        required: true
      fields:
        description: Names of JSON members, columns and fields of the journal whose values are replaced.
        type: list
        elements: str
      pattern:
        description:
          - Regular expression of RE2, which has no references back and no look-around.
          - Instead of O(redaction[].fields).
        type: str
      action:
        description: Whether nothing is left of it, or the same value has the same pseudonym throughout.
        type: str
        default: mask
        choices: [mask, pseudonym]
  pseudonym_key:
    description: Key of pseudonyms, 32 bytes or more. By default it follows from the signing key.
    type: str
  evidence:
    description: Signs the bundle and its record. See M(tradingflow.maintenance.maintenance_report).
    type: dict
    required: true
  retention:
    description: How long the bundle must be kept.
    type: dict
    default: {}
    suboptions:
      class:
        description: What it is called, for whoever reads the manifest.
        type: str
        default: trading-records
      days:
        description: For so many days the store refuses to delete it, unless O(evidence.lock_mode=none).
        type: int
        default: 2557
  legal_hold:
    description: Whether it must be kept until somebody lifts that, also past its retention.
    type: bool
    default: false
  timestamp:
    description: An authority for time stamps (RFC 3161). Without it, bundles have none.
    type: dict
    suboptions:
      url:
        description: Where it answers.
        type: str
        required: true
      ca_files:
        description: Its root certificates, PEM, and intermediate ones that its answers lack.
        type: list
        elements: path
        required: true
      timeout:
        description: Seconds to wait for an answer.
        type: int
        default: 30
  witness:
    description:
      - File on the controller that remembers which records the ledger had.
      - Relative to the project.
    type: path
extends_documentation_fragment:
  - tradingflow.maintenance.evidence
  - tradingflow.maintenance.run
  - tradingflow.maintenance.storage
attributes:
  check_mode:
    description: Says which period would be collected, proves the newest bundle, and writes nothing.
    support: full
  diff_mode:
    description: A bundle has no earlier state.
    support: none
seealso:
  - module: tradingflow.maintenance.evidence_record
"""

EXAMPLES = r"""
- name: Seal what was collected of October
  tradingflow.maintenance.audit_bundle:
    state: sealed
    environment_name: production
    directory: artifacts/audit-bundles
    month: 2026-10
    hosts: [app1, db1]
    storage: "{{ tradingflow_storage }}"
    evidence: "{{ tradingflow_evidence }}"
  run_once: true
"""

RETURN = r"""
prepared:
  description: What is to be collected, and where. With O(state=prepared), and in check mode.
  returned: success
  type: dict
  contains:
    period:
      description: C(from) and C(to), RFC 3339 UTC. C(to) does not belong to it.
      type: dict
      returned: always
    staging:
      description: Folder for what is collected, one folder for each host in it.
      type: str
      returned: always
    collected:
      description: Hosts of which an earlier run collected all sources completely, each with the digest of its options.
      type: dict
      returned: always
    clocks:
      description: Of each host, the days of the period of which the ledger has a measurement of its clock.
      type: dict
      returned: always
    made:
      description: Whether the period has its bundle, so that nothing is collected.
      type: bool
      returned: always
    number:
      description: The number of the next bundle.
      type: int
      returned: always
    bundle:
      description: Name of the period's bundle, if there is one.
      type: str
      returned: always
bundle:
  description: The bundle. With O(state=sealed).
  returned: when it was made, or is there
  type: dict
  contains:
    bundle:
      description: Its name.
      type: str
      returned: always
    number:
      description: Its number in the chain.
      type: int
      returned: always
    digest:
      description: SHA-256 of its statement, which the next bundle carries.
      type: str
      returned: always
    key:
      description: Where its archive is in the store.
      type: str
      returned: always
    path:
      description: Its folder on the controller.
      type: str
      returned: when it is there
    sources:
      description: Each source with its outcome, its counts and its gaps.
      type: list
      elements: dict
      returned: when they are known
    verified:
      description: What the verifier says.
      type: str
      returned: when it is on the controller
worst_status:
  description: The worst status of the checks.
  returned: with O(state=sealed), in check mode, and on failure
  type: str
checks:
  description: The findings, see docs/report.md.
  returned: with O(state=sealed), in check mode, and on failure
  type: list
  elements: dict
actions:
  description: What was done, see docs/report.md.
  returned: with O(state=sealed), in check mode, and on failure
  type: list
  elements: dict
"""
