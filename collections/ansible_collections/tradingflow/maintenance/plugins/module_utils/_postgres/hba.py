# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a server will let a role in that is not there yet, by its pg_hba.conf."""

from __future__ import annotations

import ipaddress
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from .server import rows

#: With these a password of ours opens.
PASSWORD = ("scram-sha-256", "md5", "password", "trust")
_RULES = """
SELECT type, database, user_name, address, netmask, auth_method, error FROM pg_hba_file_rules ORDER BY line_number"""
_WHO = """
SELECT host(inet_client_addr()), coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
  coalesce((SELECT encrypted FROM pg_stat_gssapi WHERE pid = pg_backend_pid()), false)"""


class Who(NamedTuple):
    """Somebody who connects.

    :param address: None by a socket
    """

    address: Optional[str]
    ssl: bool
    gss: bool


Rule = Tuple[str, List[str], List[str], Optional[str], Optional[str], Optional[str], Optional[str]]

_KINDS: Dict[str, Callable[[Who], bool]] = {
    "local": lambda who: who.address is None,
    "host": lambda who: who.address is not None,
    "hostssl": lambda who: who.address is not None and who.ssl,
    "hostnossl": lambda who: who.address is not None and not who.ssl,
    "hostgssenc": lambda who: who.address is not None and who.gss,
    "hostnogssenc": lambda who: who.address is not None and not who.gss,
}


def method(rules: List[Rule], who: Who, database: str, user: str) -> Optional[str]:
    """How a role has to log in: the method of the first rule for it, "reject" when there is none.

    :param user: a role that is a member of nothing known
    :returns: None when that cannot be told
    """
    for kind, databases, users, address, netmask, how, error in rules:
        if error or kind not in _KINDS:
            return None
        if not _KINDS[kind](who):
            continue
        found = (_named(databases, database), _named(users, user), _near(who, address, netmask))
        if False in found:
            continue
        return None if None in found else str(how)
    return "reject"


def _named(names: List[str], name: str) -> Optional[bool]:
    if "all" in names or name in names:
        return True
    # Patterns, groups, and databases called as a role of theirs.
    return None if any(each[:1] in ("/", "+", "@") or each in ("samerole", "samegroup") for each in names) else False


def _near(who: Who, address: Optional[str], netmask: Optional[str]) -> Optional[bool]:
    if who.address is None or address == "all":
        return True
    if netmask is None:
        # A host's name, or samenet.
        return None
    try:
        mask = bin(int(ipaddress.ip_address(netmask))).count("1")
        return ipaddress.ip_address(who.address) in ipaddress.ip_network(f"{address}/{mask}", strict=False)
    except ValueError:
        return None


def of_server(connection: Any) -> Tuple[List[Rule], Who]:
    """The rules, and who we are to the server.

    :raises psycopg2.Error: it does not tell us
    """
    return list(rows(connection, _RULES)), Who(*rows(connection, _WHO)[0])
