# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading logs on a managed host: standard library only, Python 3.9 or newer, in bounded memory.

From bytes to numbers: files.py and programs.py give lines, entries.py says what a line is (times.py: when),
reading.py counts the entries of a window, fingerprints.py tells kinds of errors apart and keeps secrets at home.
"""
