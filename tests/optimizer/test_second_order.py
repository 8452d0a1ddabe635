"""Weights that go by second order: the least missed go, the others make up for them as least squares would."""

from __future__ import annotations

import pytest
import torch

from optimizer.pruning.masks import magnitude_mask
from optimizer.pruning.second_order import damped, least_squares, remove


def inputs_of_rank(rank: int, rows: int, inputs: int) -> torch.Tensor:
    """Rows [rows, inputs] that `rank` causes explain up to a little noise, as activations of a transformer are."""
    random = torch.Generator().manual_seed(0)
    causes = torch.randn(rows, rank, generator=random) @ torch.randn(rank, inputs, generator=random) / rank**0.5
    return causes + 0.3 * torch.randn(rows, inputs, generator=random)


def weights(outputs: int, inputs: int) -> torch.Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(1))


def hessian_of(x: torch.Tensor) -> torch.Tensor:
    return x.T @ x / len(x)


def error(x: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> float:
    return float((x @ (before - after).T).square().sum())


def test_damping_is_a_share_of_the_mean_diagonal() -> None:
    assert damped(torch.diag(torch.tensor([1.0, 3.0])), 0.5).tolist() == [[2.0, 0.0], [0.0, 4.0]]
    assert damped(torch.zeros(2, 2)).tolist() == [[1.0, 0.0], [0.0, 1.0]], "inputs that are always zero are no error"


def test_what_is_left_is_the_least_squares_solution() -> None:
    x, w = inputs_of_rank(4, 300, 12), weights(5, 12)
    keep = weights(5, 12) > 0
    found = least_squares(w, hessian_of(x), keep, w)
    assert (found[~keep] == 0).all()
    for row, kept, got in zip(w, keep, found, strict=True):
        torch.testing.assert_close(got[kept], torch.linalg.lstsq(x[:, kept], x @ row).solution, atol=2e-2, rtol=1e-2)


def test_an_output_that_loses_everything_is_zero() -> None:
    w = weights(2, 6)
    keep = torch.tensor([[True] * 6, [False] * 6])
    found = least_squares(w, hessian_of(inputs_of_rank(2, 50, 6)), keep, w)
    assert torch.equal(found, torch.stack([w[0], torch.zeros(6)]))


def test_a_weight_whose_input_another_repeats_is_not_missed() -> None:
    """Inputs 0 and 1 are the same: one of the large weights goes, not the small one of an input of its own."""
    x = inputs_of_rank(3, 500, 3)
    x[:, 1] = x[:, 0]
    found = remove(torch.tensor([[2.0, 3.0, 0.5]]), damped(hessian_of(x), 1e-4), 1 / 3)
    torch.testing.assert_close(found, torch.tensor([[0.0, 5.0, 0.5]]), atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("inputs", [8, 130])
@pytest.mark.parametrize("sparsity", [0.0, 0.33, 0.9])
def test_exactly_this_share_of_groups_goes(inputs: int, sparsity: float, group: int) -> None:
    w = weights(7, inputs)
    found = remove(w, damped(hessian_of(inputs_of_rank(8, 400, inputs))), sparsity, group)
    gone = torch.stack([(found[:, j : j + group] == 0).all(dim=1) for j in range(0, inputs, group)])
    assert int(gone.sum()) == round(sparsity * gone.numel())
    assert torch.isfinite(found).all()
    if not sparsity:
        assert torch.equal(found, w)


@pytest.mark.parametrize("group", [1, 4])
def test_what_is_zero_already_goes_first(group: int) -> None:
    h, w = damped(hessian_of(inputs_of_rank(8, 400, 64))), weights(16, 64)
    once = remove(w, h, 0.5, group)
    torch.testing.assert_close(remove(once, h, 0.5, group), once, atol=1e-5, rtol=1e-5)
    assert (remove(once, h, 0.8, group)[once == 0] == 0).all()


def test_outputs_change_less_than_where_the_smallest_weights_go_and_than_at_one_stride() -> None:
    x, w = inputs_of_rank(32, 1000, 256), weights(64, 256)
    h = damped(hessian_of(x))
    strides, one, smallest = remove(w, h, 0.7), remove(w, h, 0.7, strides=1), w * magnitude_mask(w, 0.7)
    assert error(x, w, strides) < error(x, w, one) < 0.25 * error(x, w, smallest)
