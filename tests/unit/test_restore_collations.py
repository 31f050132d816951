"""Text that sorts by another library than where its indexes were made."""

from __future__ import annotations

from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import collations


def test_what_is_to_be_reindexed() -> None:
    assert collations.judged({"databases": [], "collations": []}) == []
    (check,) = collations.judged(
        {"databases": [('a "b"', "2.36", "2.41")], "collations": [('public."x\n"', "72.1", None)] * 6}
    )
    assert (check.status, check.value) == ("warning", 7)
    assert "(made by 2.36, here 2.41)" in check.message
    assert "here none" in check.message
    assert 'ALTER DATABASE "a ""b""" REFRESH COLLATION VERSION; ALTER COLLATION public."x' in check.remedy
    assert "\n" not in check.message + check.remedy
