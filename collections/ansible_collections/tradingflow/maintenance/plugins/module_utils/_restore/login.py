# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles and passwords are of the target's time, too: whoever restores has to get in once it is in place."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Any, Dict, List, Optional

from .._postgres import server
from ..checks import WARNING, Check
from ..database import quoted
from ..errors import RestoreError
from ..words import printable

try:
    from psycopg2.extensions import encrypt_password
except ImportError:
    encrypt_password = None  # type: ignore[assignment]

_SCRAM = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):[A-Za-z0-9+/=]+")
_MD5 = re.compile(r"md5[0-9a-f]{32}")
_NAMED = 10

_ROLE = """
SELECT rolsuper, rolpassword, rolvaliduntil IS NOT NULL AND rolvaliduntil <= clock_timestamp()
FROM pg_authid WHERE rolname = current_user"""
_DIGESTS = """
SELECT rolname::text, encode(sha256(convert_to(coalesce(rolpassword, ''), 'UTF8')), 'hex') FROM pg_authid
WHERE rolcanlogin"""


def fits(verifier: str, user: str, password: str) -> Optional[bool]:
    """Whether a password is the one that a server has kept; None when that cannot be told."""
    if _MD5.fullmatch(verifier):
        return hmac.compare_digest(
            verifier, "md5" + hashlib.md5((password + user).encode(), usedforsecurity=False).hexdigest()
        )
    match = _SCRAM.fullmatch(verifier)
    if not match or not password.isascii():
        return None
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(match[2]), int(match[1]))
    key = hmac.new(salted, b"Client Key", "sha256").digest()
    return hmac.compare_digest(base64.b64decode(match[3]), hashlib.sha256(key).digest())


def digests(connection: Any) -> Dict[str, str]:
    """Of what the server keeps of passwords, by role; nothing but whether two are the same can be told from them."""
    return dict(server.rows(connection, _DIGESTS))


def let_in(connection: Any, user: str, password: Optional[str]) -> List[Check]:
    """Sees that a role of the promoted copy gets in with its password of today.

    :raises RestoreError: it was no superuser then
    """
    superuser, verifier, expired = server.rows(connection, _ROLE)[0]
    if not superuser:
        raise RestoreError(
            f"At the target the role {printable(user)} was no superuser: it became one later.",
            "Name a superuser of that time in restore_database.",
        )
    # Without a kept password it gets in by other means.
    other = bool(verifier and password) and fits(verifier, user, password or "") is False
    if not other and not (verifier and expired):
        return []
    server.run(connection, "SET default_transaction_read_only = off")
    # What is sent is what the server keeps, which its log may have.
    server.run(connection, "SET password_encryption = 'scram-sha-256'")
    kept = encrypt_password(password or "", user, scope=connection, algorithm="scram-sha-256") if other else None
    if kept:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER ROLE {quoted(user)} PASSWORD %s", (kept,))
    if expired:
        server.run(connection, f"ALTER ROLE {quoted(user)} VALID UNTIL 'infinity'")
    what = "another password" if other else "a password that has expired since"
    text = f"At the target the role {printable(user)} had {what}. It was given the one of restore_database, without an"
    text += " end, so that the restore could end."
    remedy = "Other roles have their passwords of then: set those that were changed since, the application's first."
    return [Check("restore.login", "Password of whoever restores", WARNING, user, message=text, remedy=remedy)]


def changed(before: Dict[str, str], after: Dict[str, str], but: str) -> List[Check]:
    """Roles whose passwords are not those of today, and roles that are no more.

    :param before, after: digests of the server that was replaced, and of what was restored
    :param but: a role that was looked after
    """
    names = sorted(name for name, digest in before.items() if name != but and after.get(name) != digest)
    if not names:
        return []
    gone = [name for name in names if name not in after]
    shown = ", ".join(printable(name) + (" (not there)" if name in gone else "") for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    text = f"Roles have passwords as of the target, not of today: {shown}{more}."
    remedy = (
        "Set today's before the application starts (ALTER ROLE ... PASSWORD), or it cannot connect; and one that was"
    )
    remedy += " changed because somebody else knew it is valid again."
    return [Check("restore.passwords", "Passwords", WARNING, len(names), message=text, remedy=remedy)]
