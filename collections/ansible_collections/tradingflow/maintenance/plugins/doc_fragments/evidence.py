# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # A module adds what it does with the ledger: the option's description.
    DOCUMENTATION = r"""
options:
  evidence:
    type: dict
    suboptions:
      signing_key:
        description: The Ed25519 private key itself, PEM. Trusted when O(evidence.trusted_key_files) is empty.
        type: str
      signing_key_file:
        description: File of the Ed25519 private key, PEM, mode 0600; likewise.
        type: path
      trusted_key_files:
        description: Files of the public keys that may have signed the ledger, or their text.
        type: list
        elements: path
        default: []
      lock_mode:
        description: Object lock of the records that are written, where the bucket supports it.
        type: str
        default: governance
        choices: [none, governance, compliance]
      lock_days:
        description: For how many days.
        type: int
        default: 2557
"""
