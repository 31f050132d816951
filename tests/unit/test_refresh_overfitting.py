"""The probability of backtest overfitting, against a plain loop over all splits."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.overfitting import (
    BLOCKS,
    backtest_overfitting,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.returns import Undefined


def plainly(returns: np.ndarray, blocks: int) -> float:
    """As the paper says it, split by split."""
    length = returns.shape[1] // blocks
    parts = np.split(returns[:, -length * blocks :], blocks, axis=1)
    splits = list(combinations(range(blocks), blocks // 2))
    logits = []
    for chosen in splits:
        inside = np.concatenate([parts[place] for place in chosen], axis=1)
        outside = np.concatenate([parts[place] for place in range(blocks) if place not in chosen], axis=1)
        best = int((inside.mean(axis=1) / inside.std(axis=1, ddof=1)).argmax())
        ratios = outside.mean(axis=1) / outside.std(axis=1, ddof=1)
        rank = 1 + int((ratios < ratios[best]).sum())
        share = rank / (len(returns) + 1)
        logits.append(np.log(share / (1 - share)))
    return float((np.array(logits) <= 0).mean())


@pytest.mark.parametrize(("trials", "periods", "blocks", "seed"), [(10, 160, 8, 1), (12, 170, 8, 2), (25, 99, 6, 3)])
def test_is_what_a_plain_loop_says(trials: int, periods: int, blocks: int, seed: int) -> None:
    returns = np.random.default_rng(seed).normal(0, 0.01, (trials, periods))
    assert backtest_overfitting(returns.tolist(), blocks) == pytest.approx(plainly(returns, blocks), abs=1e-12)


def test_sixteen_blocks_are_12870_splits() -> None:
    assert len(list(combinations(range(BLOCKS), BLOCKS // 2))) == 12_870
    random = np.random.default_rng(7)
    noise = random.normal(0, 0.01, (20, 480))
    assert 0.2 < backtest_overfitting(noise.tolist()) < 0.95
    # One that is better throughout is no product of chance.
    noise[3] += 0.01
    assert backtest_overfitting(noise.tolist()) == 0.0
    # One that is good in one half only, and there only by chance, is.
    turned = np.concatenate([np.eye(16).repeat(30, axis=1)], axis=0) * 0.01 + random.normal(0, 1e-4, (16, 480))
    assert backtest_overfitting(turned.tolist()) > 0.95


@pytest.mark.parametrize(
    ("returns", "why"),
    [
        (np.ones((9, 100)).tolist(), "fewer than 10 trials"),
        ([], "fewer than 10 trials"),
        (np.zeros((10, 31)).tolist(), "fewer than 32 periods"),
        (np.full((10, 64), np.nan).tolist(), "no number"),
        (np.full((10, 64), 0.001).tolist(), "do not vary"),
    ],
)
def test_what_says_nothing(returns: list[list[float]], why: str) -> None:
    with pytest.raises(Undefined, match=why):
        backtest_overfitting(returns)


def test_a_trial_that_held_nothing_for_half_the_time_counts() -> None:
    returns = np.random.default_rng(3).normal(0, 0.01, (10, 64))
    returns[0, :40] = 0
    assert 0 <= backtest_overfitting(returns.tolist()) <= 1
