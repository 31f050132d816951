# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  database:
    description: The PostgreSQL database.
    type: dict
    required: true
    suboptions:
      host:
        description: Its host.
        type: str
        default: localhost
      port:
        description: Its port.
        type: int
        default: 5432
      name:
        description: The database's name.
        type: str
        required: true
      user:
        description: The role to connect as.
        type: str
        required: true
      password:
        description: Its password.
        type: str
      sslmode:
        description: How TLS is used, as libpq defines it.
        type: str
        default: verify-full
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
      sslrootcert:
        description: File of the CA that signed the server's certificate.
        type: path
      connect_timeout:
        description: Seconds to wait for a connection.
        type: int
        default: 10
      statement_timeout:
        description: Seconds one statement may take.
        type: int
        default: 60
"""
