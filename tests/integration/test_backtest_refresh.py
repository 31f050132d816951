"""A backtest refresh on a sandbox: its prices, damaged prices, a universe of the platform's own, and the playbook."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._refresh import engine, options, snapshot
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

from tests.conftest import Playbook, Sandbox
from tests.integration.trading_worker import altered, changed
from tests.unit.ledger_fixtures import reviews
from tests.unit.refresh_fixtures import LEAVES, walls, written

COIN = "COINX:BTC-USD"


@pytest.fixture(scope="module", autouse=True)
def _walls() -> None:
    walls()


def last_day(platform: Sandbox) -> date:
    return datetime.fromisoformat(platform.state["history"]["anchor"]).date() - timedelta(days=1)


def asked(platform: Sandbox, folder: Path, *strategies: dict[str, Any], **given: Any) -> dict[str, Any]:
    wanted = {"database": platform.database, "directory": str(folder / "store"), "until": str(last_day(platform))}
    result = ArgumentSpecValidator(options.SPEC).validate(
        {**wanted, "strategies": list(strategies), "cuts": 1, "retries": 0, **given}
    )
    assert not result.error_messages
    return dict(result.validated_parameters)


def idle(platform: Sandbox, folder: Path, **given: Any) -> dict[str, Any]:
    """A strategy that does nothing, on one coin: what is tested is what it gets."""
    first = str(last_day(platform) - timedelta(days=20))
    instruments = [{"instrument": COIN, "from": "2020-01-01"}]
    return {**written(folder / "code", LEAVES), "instruments": instruments, "from": first, "warm_up_days": 0, **given}


def refreshed(platform: Sandbox, folder: Path, *strategies: dict[str, Any], **given: Any) -> dict[str, Check]:
    checks = engine.refresh(asked(platform, folder, *strategies, **given), sys.executable).checks
    return {check.id.removeprefix("backtest."): check for check in checks}


def test_the_snapshot_is_what_the_view_says_at_one_moment(platform: Sandbox, tmp_path: Path) -> None:
    given = asked(platform, tmp_path, idle(platform, tmp_path))
    settings = options.checked(given, sys.executable)
    found = snapshot.read(given["database"], 60, settings.until, settings.strategies, tmp_path)
    first = last_day(platform) - timedelta(days=50)
    rows = platform.sql(
        "superuser",
        "SELECT to_char(observed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), price::text FROM prices "
        f"WHERE instrument_code = '{COIN}' AND observed_at >= '{first} 00:00+00' "
        f"AND observed_at < '{last_day(platform) + timedelta(days=1)} 00:00+00' ORDER BY observed_at",
    )
    kept = (tmp_path / found.prices[COIN].sha256).read_text(encoding="ascii").splitlines()
    assert kept == ["observed_at,price", *(f"{time},{price}" for time, price in rows)]
    assert found.prices[COIN].rows == len(rows) > 1000
    assert os.stat(tmp_path / found.prices[COIN].sha256).st_mode & 0o077 == 0
    # A slice has the days that were asked for, and nothing else.
    one = settings.strategies[0]
    day = last_day(platform) - timedelta(days=3)
    part = snapshot.cut(found, tmp_path, one, day, day, one.instruments, tmp_path / "slice")
    mine = (tmp_path / "slice/prices/0001.csv").read_text(encoding="ascii").splitlines()[1:]
    assert mine == [line for line in kept[1:] if line.startswith(str(day))] != []
    assert part.files[COIN] == snapshot.sha256(tmp_path / "slice/prices/0001.csv")
    manifest = json.loads((tmp_path / "slice/manifest.json").read_text(encoding="utf-8"))
    assert manifest["prices"][0]["sha256"] == part.files[COIN]
    # The same prices are the same snapshot, whenever it is taken.
    again = snapshot.read(given["database"], 60, settings.until, settings.strategies, tmp_path)
    assert (again.digest, again.at != found.at) == (found.digest, True)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (
            "UPDATE prices SET price = 'NaN' WHERE instrument_code = '{coin}' AND observed_at > current_date - 9",
            "no numbers",
        ),
        (
            "UPDATE prices SET currency = 'EUR' WHERE instrument_code = '{coin}' AND observed_at > current_date - 9",
            "2 currencies",
        ),
        ("DELETE FROM prices WHERE instrument_code = '{coin}'", "there is no price of it"),
    ],
)
def test_prices_that_cannot_be_relied_on(platform: Sandbox, tmp_path: Path, statement: str, why: str) -> None:
    with changed(platform, statement.format(coin=COIN)):
        found = refreshed(platform, tmp_path, idle(platform, tmp_path))
    assert found["snapshot"].status == found["run:one"].status == "unknown"
    assert why in found["run:one"].message


def test_a_view_that_is_missing_and_a_day_that_is_not_over(platform: Sandbox, tmp_path: Path) -> None:
    rename = "ALTER VIEW maintenance.prices RENAME TO {}"
    with (
        altered(platform, rename.format("prices_then"), "ALTER VIEW maintenance.prices_then RENAME TO prices"),
        pytest.raises(ConfigurationError, match=r"no view maintenance\.prices"),
    ):
        refreshed(platform, tmp_path, idle(platform, tmp_path))
    with pytest.raises(ConfigurationError, match="is not over"):
        refreshed(platform, tmp_path, idle(platform, tmp_path), until=str(date.today() + timedelta(days=1)))


def test_a_universe_of_the_platform(platform: Sandbox, tmp_path: Path) -> None:
    """Each run gets it as it was known by then: what ends after its last day has no end."""
    day = last_day(platform) - timedelta(days=5)
    view = (
        f"CREATE VIEW maintenance.universe AS SELECT '{COIN}'::text AS instrument, '2020-01-01'::date AS valid_from, "
        f"'{day}'::date AS valid_until; GRANT SELECT ON maintenance.universe TO maintenance"
    )
    bought = f"{LEAVES}\ntext = open('/in/universe.csv').read()\nprint(text)\n" + (
        "rows = open('/in/prices/0001.csv').read().splitlines()[-1].split(',')\n"
        "open('fills.csv', 'a').write(f'{rows[0]},COINX:BTC-USD,buy,1,{rows[1]},0\\n')\n"
        f"assert (request['window']['to'] < '{day}') == text.endswith(',\\n'), text\n"
    )
    one = idle(platform, tmp_path, instruments=[{"instrument": COIN}])
    (tmp_path / "code/strategy.py").write_text(bought, encoding="utf-8")
    with altered(platform, view, "DROP VIEW maintenance.universe"):
        found = refreshed(platform, tmp_path, one)
    assert found["run:one"].status == "ok", found["run:one"].message
    assert found["universe:one"].status == "critical"
    assert "was not in its universe then" in found["universe:one"].message
    # Its shorter runs came to their end, too: they saw no end that had not come.
    assert "gave nothing" not in found["lookahead:one"].message


def test_the_monthly_refreshes_and_records(platform: Sandbox, play: Callable[..., Playbook], tmp_path: Path) -> None:
    samples = json.dumps({"local_backtests": ["honest", "peeking", "restless"]})
    more = ("-e", f"backtest_refresh_directory={tmp_path}/store", "-vvv")
    done = play("monthly", "--tags", "backtest", "-e", samples, *more)
    assert done.returncode == 0, done.output
    assert platform.database["password"] not in done.output
    report = done.report("monthly")
    assert {check["area"] for check in report["checks"]} == {"backtest"}
    status = {check["id"].removeprefix("backtest."): check["status"] for check in report["checks"]}
    assert len(status) == 3 + 3 * 12
    assert status["lookahead:peeking"] == status["determinism:restless"] == "critical"
    for id in ("run", "determinism", "lookahead", "warm_up", "universe", "books"):
        assert status[f"{id}:honest"] == "ok", id
    page = max((done.artifacts / "monthly").glob("2*/report.html")).read_text(encoding="utf-8")
    assert page.count('<figure class="chart">') == 3
    (record,) = reviews(platform.storage, report["run_id"])
    assert record["method"] == engine.METHOD
    assert len(record["snapshot"]["sha256"]) == 64
    assert record["strategies"]["honest"]["verdicts"]["lookahead"] == "ok"
    assert record["strategies"]["honest"]["figures"]["sessions"] == 60
    assert platform.database["password"] not in json.dumps(record)
    # With --check nothing is run, and nothing is known.
    looked = play("monthly", "--tags", "backtest", "--check", *more)
    assert [check["status"] for check in looked.report("monthly")["checks"]] == ["unknown"], looked.output
