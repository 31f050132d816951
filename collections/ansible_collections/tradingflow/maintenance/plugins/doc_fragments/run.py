# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  run:
    description:
      - The run this belongs to, as the role P(tradingflow.maintenance.run#role) sets it in C(maintenance_run).
      - Findings are then also put into the run's folder, where the report finds them.
      - Without it they are only returned.
    type: dict
"""
