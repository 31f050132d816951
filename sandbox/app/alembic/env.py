# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How alembic reaches the database: by the URL in TRADINGFLOW_DATABASE_URL, never by one in a file."""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from sandbox.app import backtest_models, compliance_models, risk_models
from sandbox.app.models import Base

#: The metadata have a module's tables once it is imported.
TABLES = (compliance_models.TradingEntry, backtest_models.BacktestExpectation, risk_models.RiskForecast)

if context.is_offline_mode():
    context.configure(
        url=os.environ.get("TRADINGFLOW_DATABASE_URL", "postgresql://"),
        target_metadata=Base.metadata,
        literal_binds=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    url = os.environ.get("TRADINGFLOW_DATABASE_URL")
    if not url:
        raise SystemExit("TRADINGFLOW_DATABASE_URL is not set.")
    with create_engine(url, poolclass=NullPool).connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
