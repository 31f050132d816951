# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  kubernetes:
    description: The cluster. In a pod without C(KUBECONFIG) its own account is used.
    type: dict
    default: {}
    suboptions:
      kubeconfig:
        description: The file that leads to it, on the controller. By default C(KUBECONFIG) or that of the user's home.
        type: path
      context:
        description: Which of its contexts; by default the current one.
        type: str
      timeout:
        description: Seconds that one request may take.
        type: float
        default: 10.0
"""
