"""Whether a role that is not there yet will be let in, as pg_hba.conf says."""

from __future__ import annotations

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres.hba import Rule, Who, method

SOCKET = Who(None, False, False)
NEAR = Who("10.0.0.5", True, False)
FAR = Who("2001:db8::5", False, False)
RULES: list[Rule] = [
    ("local", ["all"], ["postgres"], None, None, "peer", None),
    ("local", ["replication"], ["all"], None, None, "trust", None),
    ("hostnossl", ["all"], ["all"], "10.0.0.0", "255.0.0.0", "reject", None),
    ("hostssl", ["books", "other"], ["all"], "10.0.0.0", "255.255.255.0", "scram-sha-256", None),
    ("host", ["sameuser"], ["all"], "all", None, "cert", None),
]


@pytest.mark.parametrize(
    ("rules", "who", "database", "how"),
    [
        (RULES, NEAR, "books", "scram-sha-256"),
        (RULES, NEAR._replace(ssl=False), "books", "reject"),
        (RULES, NEAR, "another", "reject"),
        (RULES, NEAR._replace(address="10.0.1.5"), "books", "reject"),
        (RULES, FAR, "books", "reject"),
        (RULES, SOCKET, "books", "reject"),
        ([*RULES, ("local", ["all"], ["all"], None, None, "peer", None)], SOCKET, "books", "peer"),
        ([("local", ["all"], ["ours"], None, None, "md5", None)], SOCKET, "books", "md5"),
        ([("host", ["all"], ["all"], "2001:db8::", "ffff:ffff::", "password", None)], FAR, "books", "password"),
        # What depends on more than is known here: a group, a pattern, a name, a broken line, a kind of the future.
        ([("local", ["all"], ["+app"], None, None, "peer", None)], SOCKET, "books", None),
        ([("local", ["/^b"], ["all"], None, None, "peer", None)], SOCKET, "books", None),
        ([("host", ["all"], ["all"], "db.example.com", None, "peer", None)], NEAR, "books", None),
        ([("host", ["samerole"], ["all"], "all", None, "peer", None)], NEAR, "books", None),
        ([("local", ["all"], ["all"], None, None, "peer", "wrong"), *RULES], SOCKET, "books", None),
        ([("hostquic", ["all"], ["all"], None, None, "peer", None)], SOCKET, "books", None),
    ],
)
def test_method(rules: list[Rule], who: Who, database: str, how: str | None) -> None:
    assert method(rules, who, database, "ours") == how
