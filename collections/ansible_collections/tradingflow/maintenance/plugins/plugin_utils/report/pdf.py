# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pages as PDF."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class NoPdf(Exception):
    """A PDF cannot be made here; the text says why and what to do."""


def pdf(html: str, moment: int | None = None) -> bytes:
    """A page as PDF. Nothing is fetched, from wherever.

    :param moment: seconds since 1970 that the PDF says it was made at: with one, the same page gives the same bytes
    :raises NoPdf: WeasyPrint or the libraries that it needs are missing
    """
    try:
        # Loads Pango and more: only where a PDF is made.
        import weasyprint
    except (ImportError, OSError) as error:
        name = " ".join(str(error).split())[:200]
        raise NoPdf(
            f"WeasyPrint cannot be used here ({name}). Install weasyprint and Pango (libpango-1.0-0)."
        ) from None

    class Refusing(weasyprint.urls.URLFetcher):  # type: ignore[misc]
        def fetch(self, url: str, headers: Any = None) -> Any:
            raise ValueError(f"{url} is not fetched")

    with _made_at(moment):
        done: bytes = weasyprint.HTML(string=html, url_fetcher=Refusing()).write_pdf()
    return done


@contextmanager
def _made_at(moment: int | None) -> Iterator[None]:
    """What WeasyPrint and the fonts that it cuts go by."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    if moment is not None:
        os.environ["SOURCE_DATE_EPOCH"] = str(moment)
    try:
        yield
    finally:
        if moment is not None:
            os.environ.pop("SOURCE_DATE_EPOCH")
        if before is not None:
            os.environ["SOURCE_DATE_EPOCH"] = before
