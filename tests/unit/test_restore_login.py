"""Passwords of another time: whether one is the one that was kept, by what PostgreSQL keeps, and what is said of it."""

from __future__ import annotations

import hashlib

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import login

#: Of RFC 7677's example, as PostgreSQL keeps it.
SCRAM = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)
MD5 = "md554b6ed75c35d2a06a9f9da28bd2f6a22"


@pytest.mark.parametrize(
    ("kept", "user", "password", "fits"),
    [
        (SCRAM, "user", "pencil", True),
        (SCRAM, "user", "Pencil", False),
        (SCRAM, "user", "pencïl", None),  # written in several ways
        (MD5, "user", "pencil", False),
        ("SCRAM-SHA-512$what", "user", "pencil", None),
        ("", "user", "pencil", None),
    ],
)
def test_password_and_what_was_kept(kept: str, user: str, password: str, fits: bool | None) -> None:
    assert login.fits(kept, user, password) is fits


def test_old_kind() -> None:
    kept = "md5" + hashlib.md5(b"penciluser", usedforsecurity=False).hexdigest()
    assert login.fits(kept, "user", "pencil") is True
    assert login.fits(kept, "other", "pencil") is False


def test_roles_that_differ_from_today_are_named_without_what_they_have() -> None:
    before = {"me": "1", "app": "2", "odd\n": "3", "late": "4", "same": "5"}
    after = {"me": "9", "app": "8", "odd\n": "7", "same": "5", "old": "6"}
    (check,) = login.changed(before, after, "me")
    assert "today: app, late (not there), odd\\n." in check.message
    assert check.value == 3
    assert login.changed(before, before, "me") == login.changed({}, after, "me") == []
