"""`make test-changed` finds the tests of what changed."""

from __future__ import annotations

from tests.changed import concerned, git

ERRORS = "collections/ansible_collections/tradingflow/maintenance/plugins/module_utils/errors.py"


def test_by_whatever_way() -> None:
    files = git("ls-files", "-z")
    assert concerned({"tests/unit/test_lock.py"}, files) == ["tests/unit/test_lock.py"]
    assert concerned({"README.md"}, files) == []
    by_clock = concerned({"tests/oracle/fees.py"}, files)
    # A package's own file imports it, and the test imports that.
    assert "tests/integration/test_trading_oracle.py" in by_clock
    assert "tests/unit/test_lock.py" not in by_clock
    assert len(concerned({ERRORS}, files)) > 30
