import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.pruning.allocation import GRID, Option, allocate, pareto


def brute_force(layers: list[list[Option]], budget: float) -> float | None:
    losses = [sum(o.loss for o in pick) for pick in itertools.product(*layers) if sum(o.ms for o in pick) <= budget]
    return min(losses, default=None)


def options(rng: np.random.Generator, count: int) -> list[Option]:
    return [Option(i, i, ms=float(rng.uniform(0, 2)), loss=float(rng.uniform(0, 1))) for i in range(count)]


def test_the_cheapest_loss_that_fits_is_taken() -> None:
    layer = [Option(1, 1, ms=1.0, loss=5.0), Option(2, 2, ms=2.0, loss=1.0), Option(3, 3, ms=3.0, loss=0.0)]
    assert [o.ms for o in allocate([layer, layer], 4.0)] == [2.0, 2.0]
    assert [o.ms for o in allocate([layer, layer], 6.0)] == [3.0, 3.0]
    assert sorted(o.ms for o in allocate([layer, layer], 5.0)) == [2.0, 3.0]


def test_nothing_fits_gives_none() -> None:
    layer = [Option(1, 1, ms=1.0, loss=5.0)]
    assert allocate([layer, layer], 1.9) is None
    assert allocate([layer], 0.0) is None
    assert allocate([layer], -1.0) is None


def test_layers_differ_when_their_losses_do() -> None:
    tender = [Option(0, 0, ms=0.0, loss=9.0), Option(4, 0, ms=1.0, loss=0.0)]
    tough = [Option(0, 0, ms=0.0, loss=0.1), Option(4, 0, ms=1.0, loss=0.0)]
    assert [o.heads for o in allocate([tender, tough, tender], 2.0)] == [4, 0, 4]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), depth=st.integers(1, 4), count=st.integers(1, 5), budget=st.floats(0.5, 8))
def test_never_over_budget_and_optimal_but_for_the_grid(seed: int, depth: int, count: int, budget: float) -> None:
    rng = np.random.default_rng(seed)
    layers = [options(rng, count) for _ in range(depth)]
    chosen = allocate(layers, budget)
    spare = budget * (1 - depth / GRID)
    if chosen is None:
        assert brute_force(layers, spare) is None
        return
    assert sum(o.ms for o in chosen) <= budget + 1e-9
    loss = sum(o.loss for o in chosen)
    assert loss >= brute_force(layers, budget) - 1e-9
    with_spare = brute_force(layers, spare)
    assert with_spare is None or loss <= with_spare + 1e-9


def test_dominated_options_are_left_out() -> None:
    best = Option(2, 2, ms=1.0, loss=1.0)
    assert pareto([Option(1, 1, ms=2.0, loss=1.5), best, Option(3, 3, ms=3.0, loss=0.5)]) == [
        best,
        Option(3, 3, ms=3.0, loss=0.5),
    ]


def test_of_two_equal_options_the_larger_is_kept() -> None:
    assert pareto([Option(1, 8, ms=1.0, loss=0.0), Option(1, 16, ms=1.0, loss=0.0)]) == [
        Option(1, 16, ms=1.0, loss=0.0)
    ]


@pytest.mark.parametrize("depth", [1, 12, 24])
def test_a_deep_model_uses_its_budget(depth: int) -> None:
    layer = [Option(w, w, ms=w / 10, loss=1 / (1 + w)) for w in range(13)]
    chosen = allocate([layer] * depth, 0.6 * depth)
    assert 0.58 * depth <= sum(o.ms for o in chosen) <= 0.6 * depth
