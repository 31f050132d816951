"""An independent oracle of the area trading: the same figures, computed once more and another way.

Written for the tests alone, from what the documentation says (roles/trading_check/README.md, docs/sandbox.md) and not
from the checks' SQL: CSV exports of the views, read as text into pandas, and Decimal arithmetic. Where both disagree,
one of them is wrong, or the documentation says too little.

- ``books``: the views as tables
- ``figures``: what is expected of a check, and the thresholds
- ``alive``, ``statements``, ``reconciliation``, ``fees``, ``trades``, ``execution``, ``waiting``, ``prices``,
  ``risk``, ``times``: the figures
- ``compare``: expected against reported, and what became of the breaks of the run before
- ``platforms``, ``faults``: random platforms, and what is wrong with them
"""

from __future__ import annotations

from decimal import Context, localcontext

from . import alive, execution, fees, prices, reconciliation, risk, statements, times, trades, waiting
from .books import Books
from .figures import Figure, Options

#: Sums of numeric columns are exact, however long the numbers are.
EXACT = Context(prec=200)


def expected(books: Books, options: Options) -> dict[str, Figure]:
    """All figures of the area trading, by the check's id without the area."""
    figures: dict[str, Figure] = {}
    with localcontext(EXACT):
        for area in (alive, statements, reconciliation, fees, trades, execution, waiting, prices, risk, times):
            found = area.figures(books, options)
            assert not found.keys() & figures.keys()
            figures.update(found)
    return figures
