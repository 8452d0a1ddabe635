"""Heads and neurons that go one at a time: the least missed first, the others as least squares would have them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from optimizer.pruning import removal
from optimizer.pruning.removal import Removal, columns_of, refit, refit_bias, regress, remove_columns, remove_groups


def inputs(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    """Correlated inputs [rows, width]."""
    random = torch.Generator().manual_seed(seed)
    mixed = torch.randn(rows, width, generator=random) @ torch.randn(width, width, generator=random)
    return (mixed + torch.randn(rows, width, generator=random)).double()


def weights(outputs: int, width: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(outputs, width, generator=torch.Generator().manual_seed(seed)).double()


def hessian_of(x: torch.Tensor) -> torch.Tensor:
    return x.T @ x / len(x)


def error(w: torch.Tensor, h: torch.Tensor, kept: torch.Tensor) -> float:
    difference = refit(w, h, kept) - w
    return float((difference @ h * difference).sum())


def test_what_stays_is_what_least_squares_finds_on_the_remaining_columns() -> None:
    x, w = inputs(200, 8), weights(3, 8)
    kept = torch.tensor([0, 3, 4, 7])
    found = refit(w, hessian_of(x), kept)
    torch.testing.assert_close(found[:, kept].T, torch.linalg.lstsq(x[:, kept], x @ w.T).solution)
    assert (found[:, [1, 2, 5, 6]] == 0).all()


def test_a_removal_worked_out_by_hand() -> None:
    """H = [[2, 1], [1, 2]], so [H^-1]_jj = 2/3: the columns 1 and 3 cost 1 / (2/3) and 9 / (2/3)."""
    h, w = torch.tensor([[2.0, 1.0], [1.0, 2.0]]), torch.tensor([[1.0, 3.0]])
    found = remove_columns(w, h)
    assert found.order == (0, 1)
    np.testing.assert_allclose(found.errors, [1.5 + 3.5**2 * 2, 1.5, 0])  # of the last, 3.5 by then, W H W^T is left
    torch.testing.assert_close(refit(w, h, torch.tensor([1])), torch.tensor([[0.0, 3.5]]))


@pytest.mark.parametrize("size", [1, 3])
def test_errors_are_those_of_the_best_weights_that_are_left(size: int) -> None:
    x, w = inputs(300, 12), weights(4, 12)
    h = hessian_of(x)
    found = remove_groups(w, h, size)
    assert len(found.errors) == 12 // size + 1
    for width, reached in enumerate(found.errors):
        assert error(w, h, columns_of(found.kept(width), size)) == pytest.approx(reached, rel=1e-8, abs=1e-9)
    assert found.errors[-1] == 0
    assert found.errors[0] == pytest.approx(float((x @ w.T).square().sum()) / 300)


@pytest.mark.parametrize("size", [1, 2])
def test_every_step_takes_the_unit_that_costs_least(size: int) -> None:
    x, w = inputs(100, 8, seed=3), weights(5, 8)
    h, units = hessian_of(x), 8 // size
    found = remove_groups(w, h, size)
    left = set(range(units))
    for unit in found.order[:-1]:
        costs = {u: error(w, h, columns_of(tuple(sorted(left - {u})), size)) for u in left}
        assert unit == min(costs, key=costs.__getitem__)
        left.remove(unit)


@pytest.mark.parametrize("panel", [1, 4, 64])
def test_columns_go_in_panels_as_they_would_one_by_one(panel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "PANEL", panel)
    w, h = weights(6, 30), hessian_of(inputs(400, 30))
    whole, single = remove_columns(w, h), remove_groups(w, h, 1)
    assert whole.order == single.order
    np.testing.assert_allclose(whole.errors, single.errors, rtol=1e-9)


def test_of_twins_one_is_not_missed_and_the_other_takes_its_part() -> None:
    x, w = inputs(500, 4), weights(3, 4)
    x[:, 2] = x[:, 1]
    h = hessian_of(x) + 1e-9 * torch.eye(4)
    found = remove_columns(w, h)
    assert found.order[0] in (1, 2)
    assert found.errors[3] < 1e-6
    twin = 3 - found.order[0]
    torch.testing.assert_close(
        refit(w, h, columns_of(found.kept(3), 1))[:, twin], w[:, 1] + w[:, 2], rtol=1e-4, atol=1e-4
    )


def test_weights_can_be_fitted_to_other_outputs() -> None:
    x, w, t = inputs(200, 6), weights(2, 6), weights(200, 2, seed=5)
    kept = torch.tensor([1, 2, 5])
    found = refit(w, hessian_of(x), kept, t.T @ x / 200)
    torch.testing.assert_close(found[:, kept].T, torch.linalg.lstsq(x[:, kept], t).solution)


def test_with_covariances_the_bias_is_fitted_too() -> None:
    x, w, b = inputs(200, 6) + 3, weights(2, 6), torch.tensor([0.5, -2.0]).double()
    kept, mean = torch.tensor([0, 4]), x.mean(dim=0)
    t = x @ w.T + b
    weight = refit(w, torch.cov(x.T, correction=0), kept)
    ones = torch.cat([x[:, kept], torch.ones(200, 1).double()], dim=1)
    solution = torch.linalg.lstsq(ones, t).solution
    torch.testing.assert_close(weight[:, kept].T, solution[:2])
    torch.testing.assert_close(refit_bias(t.mean(dim=0), weight, mean), solution[2])


def test_without_columns_only_the_bias_is_left() -> None:
    w, h = weights(2, 3), torch.eye(3)
    assert (refit(w, h, torch.tensor([], dtype=torch.long)) == 0).all()
    assert refit_bias(torch.ones(2), torch.zeros(2, 3), torch.ones(3)).tolist() == [1, 1]


def test_the_last_to_go_are_kept_and_rank_highest() -> None:
    found = Removal.of([2, 0, 1], [1.0, 2.0, 4.0])
    assert [found.kept(count) for count in range(4)] == [(), (1,), (0, 1), (0, 1, 2)]
    assert found.ranks().tolist() == [1, 2, 0]
    assert found.errors.tolist() == [7, 3, 1, 0]


def test_a_regression_is_least_squares_dimension_by_dimension() -> None:
    x, t = inputs(50, 3), weights(50, 3, seed=7)
    slope, intercept = regress(x, t)
    for d in range(3):
        expected = torch.linalg.lstsq(torch.stack([x[:, d], torch.ones(50).double()], dim=1), t[:, [d]]).solution
        torch.testing.assert_close(torch.stack([slope[d], intercept[d]]), expected[:, 0])
    assert regress(torch.ones(4, 1), torch.full((4, 1), 3.0)) == (torch.ones(1), torch.full((1,), 2.0))
