"""Orders that wait for too long."""

from __future__ import annotations

from decimal import Decimal

from .books import Books, Row
from .figures import CRITICAL, UNKNOWN, Figure, Options, judged
from .trades import STATUSES, happened

DAY = 86400
ALLOWED = {"ioc": 60, "fok": 60, "day": DAY, "opg": DAY, "cls": DAY, "gtc": None, "gtd": None}


def figures(books: Books, options: Options) -> dict[str, Figure]:
    names = ("unacknowledged_orders", "open_orders")
    if not books.rows("orders"):
        return dict.fromkeys(names, Figure(UNKNOWN))
    waiting = [row for row in books.rows("orders") if row["status"] == "open"]
    dated = [row for row in waiting if happened(books, row["created_at"])]
    silent = [row for row in dated if not happened(books, row["acknowledged_at"])]
    ages = [books.now - row["created_at"] for row in silent]
    late = [row for row in dated if overdue(row, books, options)]
    doubt = len(dated) < len(waiting) or any(row["status"] not in STATUSES for row in books.rows("orders"))
    odd = doubt or any(row["time_in_force"] not in ALLOWED for row in waiting)
    oldest = max([Decimal(0), *ages])
    found = (
        judged("unacknowledged_orders", oldest, options, places=1, growth=Decimal(bool(ages))),
        judged("open_orders", len(late), options),
    )
    return {
        name: Figure(UNKNOWN) if why and figure.status != CRITICAL else figure
        for name, figure, why in zip(names, found, (doubt, odd), strict=True)
    }


def overdue(row: Row, books: Books, options: Options) -> bool:
    if row["time_in_force"] not in ALLOWED:
        return False
    allowed = ALLOWED[row["time_in_force"]] or options.open_order_days * DAY
    return bool(books.now - row["created_at"] >= allowed)
