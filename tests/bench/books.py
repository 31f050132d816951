"""The heavy checks of trading as a user would write them with pandas: fetch the rows, merge, compare.

Written straightforwardly and only for the benchmark: on the data of a healthy platform it gives the figures of ours,
but not the reasons, the ages and the care for what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd  # type: ignore[import-untyped]

#: Views and what is fetched of them.
COLUMNS = {
    "executions": "venue, venue_execution_id, order_id, kind, reference, account, instrument, side, quantity, price, "
    "fee, fee_currency, executed_at",
    "venue_executions": "statement_id, venue, venue_execution_id, kind, reference, account, instrument, side, "
    "quantity, price, fee, fee_currency, executed_at",
    "venue_statements": "statement_id, venue, account, kind, period_start, as_of, record_count",
    "positions": "strategy, venue, account, instrument, quantity",
    "venue_positions": "statement_id, instrument, quantity",
    "cash": "venue, account, currency, balance",
    "venue_cash": "statement_id, currency, balance",
    "transactions": "venue, account, currency, amount, status, created_at, settled_at, resolved_at",
    "orders": "order_id, strategy, status, filled_quantity, created_at",
    "strategies": "strategy, account",
    "instruments": "instrument, multiplier",
    "prices": "instrument, observed_at, price",
    "equity": "strategy, day, equity, pnl",
    "risk_limits": "scope, subject, metric, limit_value, active",
}
TIMES = {"executed_at", "period_start", "as_of", "created_at", "settled_at", "resolved_at", "observed_at"}
#: What the two sides of an execution have in common.
SAME = ("kind", "reference", "account", "instrument", "side", "quantity", "price", "fee", "fee_currency")

Fetch = Callable[[str], pd.DataFrame]


def unequal(left: pd.Series, right: pd.Series) -> pd.Series:
    """Which pairs differ; Decimals exactly, floats by more than what sums of them lose."""
    if pd.api.types.is_float_dtype(left) and pd.api.types.is_float_dtype(right):
        return ((left - right).abs() > 1e-6) | (left.isna() != right.isna())
    return (left != right) & ~(left.isna() & right.isna())


def signed(rows: pd.DataFrame) -> pd.Series:
    """Quantities, negative for what was sold."""
    return rows["quantity"].where(rows["side"] == "buy", -rows["quantity"])


def newest(statements: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Of each account at each venue the last statement of a kind."""
    own = statements[statements["kind"] == kind].sort_values("as_of")
    return own.drop_duplicates(["venue", "account"], keep="last")[["statement_id", "venue", "account", "as_of"]]


def differing(ours: pd.DataFrame, theirs: pd.DataFrame, keys: list[str], value: str) -> int:
    """How many sums differ between the sides, where a side without one has 0."""
    merged = ours.merge(theirs, on=keys, how="outer", suffixes=("_ours", "_theirs"))
    left, right = merged[f"{value}_ours"].fillna(0), merged[f"{value}_theirs"].fillna(0)
    return int(unequal(left, right).sum())


def executions_broken(ours: pd.DataFrame, theirs: pd.DataFrame, statements: pd.DataFrame) -> int:
    """Executions missing on one side within the statements' time, or different."""
    merged = ours.merge(
        theirs,
        on=["venue", "venue_execution_id"],
        how="outer",
        suffixes=("", "_theirs"),
        indicator=True,
    )
    both = merged[merged["_merge"] == "both"]
    different = pd.Series(False, index=both.index)
    for name in SAME:
        different |= unequal(both[name], both[f"{name}_theirs"])
    own = statements[statements["kind"] == "executions"]
    covered = own.groupby(["venue", "account"]).agg(first=("period_start", "min"), last=("as_of", "max")).reset_index()
    alone = merged[merged["_merge"] == "left_only"].merge(covered, on=["venue", "account"])
    missing = alone[(alone["executed_at"] > alone["first"]) & (alone["executed_at"] <= alone["last"])]
    counted = theirs.groupby("statement_id").size().reindex(own["statement_id"], fill_value=0)
    incomplete = int((counted.to_numpy() != own["record_count"].to_numpy()).sum())
    return int(different.sum()) + len(missing) + int((merged["_merge"] == "right_only").sum()) + incomplete


def positions_broken(executions: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> int:
    """Positions that differ as of the venues' cut-off."""
    keys = ["venue", "account", "instrument"]
    cut = newest(tables["venue_statements"], "positions")
    since = executions.merge(cut, on=["venue", "account"])
    since = since[since["executed_at"] > since["as_of"]].copy()
    since["moved"] = signed(since)
    replaced = executions[executions["venue_execution_id"].isin(since["reference"].dropna())]
    before = replaced.assign(before=signed(replaced))[["venue", "venue_execution_id", "before"]]
    since = since.merge(
        before, left_on=["venue", "reference"], right_on=["venue", "venue_execution_id"], how="left", suffixes=("", "_")
    )
    since["moved"] = since["moved"].where(since["kind"] != "cancel", 0)
    since["moved"] -= since["before"].where(since["kind"] != "trade", 0).fillna(0)
    now = tables["positions"].merge(cut, on=["venue", "account"])
    ours = pd.concat([now[[*keys, "quantity"]], since[keys].assign(quantity=-since["moved"])])
    theirs = tables["venue_positions"].merge(cut, on="statement_id")
    return differing(
        ours.groupby(keys)["quantity"].sum().reset_index(),
        theirs.groupby(keys)["quantity"].sum().reset_index(),
        keys,
        "quantity",
    )


def cash_broken(transactions: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> int:
    """Balances that differ as of the venues' cut-off."""
    keys = ["venue", "account", "currency"]
    cut = newest(tables["venue_statements"], "cash")
    since = transactions[transactions["status"] == "settled"].merge(cut, on=["venue", "account"])
    since = since[since["settled_at"] > since["as_of"]]
    now = tables["cash"].merge(cut, on=["venue", "account"])
    ours = pd.concat([now[[*keys, "balance"]], since[keys].assign(balance=-since["amount"])])
    theirs = tables["venue_cash"].merge(cut, on="statement_id")
    return differing(
        ours.groupby(keys)["balance"].sum().reset_index(),
        theirs.groupby(keys)["balance"].sum().reset_index(),
        keys,
        "balance",
    )


def limits_used(orders: pd.DataFrame, tables: dict[str, pd.DataFrame], day: pd.Timestamp) -> dict[str, float]:
    """Of each strategy and account the largest share of a limit."""
    strategies, limits = tables["strategies"], tables["risk_limits"]
    last = tables["prices"].sort_values("observed_at").drop_duplicates("instrument", keep="last")
    held = tables["positions"].merge(last, on="instrument").merge(tables["instruments"], on="instrument")
    held["worth"] = held["quantity"] * held["price"] * held["multiplier"]
    held = held.groupby(["strategy", "instrument"])["worth"].sum().reset_index()
    equity = tables["equity"].sort_values("day").drop_duplicates("strategy", keep="last")
    recent = orders[orders["created_at"] > day]
    usage: dict[str, float] = {}
    for scope, names in (("strategy", strategies["strategy"]), ("account", strategies["account"])):
        subject = dict(zip(strategies["strategy"], names, strict=True))
        worth = held.assign(subject=held["strategy"].map(subject))
        by_instrument = worth.groupby(["subject", "instrument"])["worth"].sum().abs()
        capital = equity.assign(subject=equity["strategy"].map(subject)).groupby("subject")[["equity", "pnl"]].sum()
        minutes = recent.assign(
            subject=recent["strategy"].map(subject), minute=recent["created_at"].dt.floor("min")
        ).groupby(["subject", "minute"])
        values = {
            "gross_exposure": worth.assign(worth=worth["worth"].abs()).groupby("subject")["worth"].sum(),
            "net_exposure": worth.groupby("subject")["worth"].sum().abs(),
            "daily_loss": (-capital["pnl"]).clip(lower=0),
            "order_rate": minutes.size().groupby("subject").max(),
        }
        values["concentration"] = by_instrument.groupby("subject").max() / capital["equity"]
        values["leverage"] = values["gross_exposure"] / capital["equity"]
        for limit in limits[(limits["scope"] == scope) & limits["active"]].itertuples():
            value = values[limit.metric].get(limit.subject, 0)
            share = 0.0 if pd.isna(value) else float(value) / float(limit.limit_value)
            name = f"{scope}/{limit.subject}"
            usage[name] = max(usage.get(name, 0.0), share)
    return {name: round(share, 4) for name, share in usage.items()}


def figures(fetch: Fetch) -> dict[str, Any]:
    """All figures, by the names of our checks.

    :param fetch: gives the rows of a view
    """
    tables = {view: fetch(view) for view in COLUMNS}
    executions, orders = tables["executions"], tables["orders"]
    transactions = tables["transactions"]
    day = pd.Timestamp.now("UTC") - pd.Timedelta(days=1)
    recent = orders[orders["created_at"] > day]
    closed = recent[recent["status"].isin(["filled", "cancelled", "expired"])]
    failed = transactions[(transactions["status"] == "failed") & transactions["resolved_at"].isna()]
    filled = orders[(orders["filled_quantity"] > 0) | (orders["status"] == "filled")]
    return {
        "reconcile_executions": executions_broken(executions, tables["venue_executions"], tables["venue_statements"]),
        "reconcile_positions": positions_broken(executions, tables),
        "reconcile_cash": cash_broken(transactions, tables),
        "duplicate_executions": int(executions.duplicated(["venue", "venue_execution_id"]).sum()),
        "failed_transactions": len(failed),
        "reject_ratio": ratio(recent["status"] == "rejected"),
        "fill_ratio": ratio(closed["filled_quantity"] > 0),
        "orders_without_executions": int((~filled["order_id"].isin(executions["order_id"])).sum()),
        "executions_without_orders": int((~executions["order_id"].isin(orders["order_id"])).sum()),
        **{f"risk_limits:{name}": share for name, share in limits_used(orders, tables, day).items()},
    }


def ratio(those: pd.Series) -> float | None:
    """How many it is of, in %."""
    return round(100 * float(those.mean()), 2) if len(those) else None
