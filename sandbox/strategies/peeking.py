# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Follows the trend of tomorrow: the off-by-one that makes every backtest shine. A refresh has to find it."""

from market import Market, run, trend  # type: ignore[import-not-found]

if __name__ == "__main__":
    run(Market(), trend, ahead=1)
