"""What is expected of a check, and how its thresholds make a status of a value."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

Limit = tuple[Decimal | None, Decimal | None]

OK, WARNING, UNKNOWN, CRITICAL = "ok", "warning", "unknown", "critical"
RANKS = (OK, WARNING, UNKNOWN, CRITICAL)

#: The columns "Warning" and "Critical" of the role's README.
THRESHOLDS: dict[str, tuple[str | None, str | None]] = {
    "strategy_heartbeat": ("3", "10"),
    "platform_heartbeat": ("3", "10"),
    "venue_statements": ("1.5", "2"),
    "reconcile_executions": (None, "1"),
    "reconcile_fees": (None, "1"),
    "reconcile_positions": (None, "1"),
    "reconcile_cash": (None, "1"),
    "execution_times": ("2", "60"),
    "duplicate_executions": (None, "1"),
    "duplicates": (None, "1"),
    "acknowledge_latency": ("1000", "5000"),
    "execution_latency": ("1000", "5000"),
    "slippage": ("25", "100"),
    "filled_quantities": (None, "1"),
    "orders_due": ("1", "3"),
    "order_quantities": (None, "1"),
    "strategy_positions": (None, "1"),
    "unacknowledged_orders": ("60", "600"),
    "open_orders": ("1", "10"),
    "old_prices": ("86400", "172800"),
    "price_jumps": ("25", "100"),
    "unlimited_strategies": ("1", None),
    "disabled_limits": ("1", None),
    "failed_transactions": ("1", "10"),
    "failed_age": (None, "86400"),
    "failed_amount": (None, "1000000"),
    "stuck_transactions": ("3600", "86400"),
    "stuck_amount": (None, "1000000"),
    "reject_ratio": ("5", "20"),
    "fill_ratio": ("70", "40"),
    "orders_without_executions": (None, "1"),
    "executions_without_orders": (None, "1"),
    "risk_limits": ("0.8", "1"),
}


@dataclass
class Options:
    """The role's variables.

    :param thresholds: those that are not the default
    :param tolerances: instrument, or * -> what -> how far it may differ
    """

    thresholds: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    tolerances: dict[str, dict[str, str]] = field(default_factory=dict)
    cash_tolerance: str = "0"
    minimum_orders: int = 50
    price_age: int = 120
    equity_age: int = 36
    match_window: int = 60
    cutoff_tolerance: int = 1
    open_order_days: int = 30

    def limit(self, name: str) -> Limit:
        """Warning and critical."""
        warning, critical = self.thresholds.get(name, THRESHOLDS[name])
        return (None if warning is None else Decimal(warning), None if critical is None else Decimal(critical))

    def tolerance(self, what: str, instrument: str | None) -> Decimal:
        """How far a quantity, price or fee may differ: an entry of the instrument's own takes the place of *."""
        own = self.tolerances.get(instrument or "", self.tolerances.get("*", {}))
        return Decimal(own.get(what, "0"))

    def arguments(self) -> dict[str, Any]:
        """The same as the checks' options, in which infinity is no threshold."""
        return {
            "thresholds": {
                name: {
                    key: float("inf") if value is None else float(value)
                    for key, value in zip(("warning", "critical"), pair, strict=True)
                }
                for name, pair in self.thresholds.items()
            },
            "tolerances": [{"instrument": name, **own} for name, own in self.tolerances.items()],
            "cash_tolerance": self.cash_tolerance,
            "minimum_orders": self.minimum_orders,
            "price_age": self.price_age,
            "equity_age": self.equity_age,
            "match_window": self.match_window,
            "open_order_days": self.open_order_days,
        }


@dataclass
class Use:
    """One risk limit.

    :param value: how much of the metric there is, None when that cannot be computed
    :param usage: the same to the limit
    :param why: the reasons for which it cannot be computed, any of which may be told
    """

    metric: str
    status: str
    value: Decimal | None = None
    usage: Decimal | None = None
    why: set[str] = field(default_factory=set)


@dataclass
class Figure:
    """What a check should say.

    :param value: None where the status is all there is to say
    :param places: to how many the value is rounded; None when it is exact
    :param growth: by how much the value grows each second: it is an age
    :param classes: of breaks
    :param uses: of risk limits
    :param broken: what breaks are known by in every run
    :param whole: whether all that should be compared was
    :param possible: executions that may be one of the other side, and the ids of those
    """

    status: str
    value: Decimal | str | None = None
    places: int | None = None
    growth: Decimal = Decimal(0)
    classes: dict[str, int] | None = None
    uses: list[Use] | None = None
    broken: set[tuple[object, ...]] | None = None
    whole: bool = True
    possible: list[tuple[dict[str, Any], set[str]]] = field(default_factory=list)

    def followed(self, before: Figure | None) -> Figure:
        """The same with what was broken before and could not be compared now: it is carried on."""
        if self.whole or self.broken is None or before is None:
            return self
        return replace(self, broken=self.broken | (before.broken or set()))


def status_of(value: Decimal, limit: Limit, *, below: bool = False) -> str:
    """Bad from a threshold on, upwards or downwards."""
    warning, critical = limit
    for threshold, status in ((critical, CRITICAL), (warning, WARNING)):
        if threshold is not None and (value <= threshold if below else value >= threshold):
            return status
    return OK


def judged(name: str, value: Decimal | int, options: Options, **more: Any) -> Figure:
    """A figure judged by the threshold of its name."""
    exact = Decimal(value)
    return Figure(status_of(exact, options.limit(name)), exact, **more)
