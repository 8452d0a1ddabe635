"""Weights that go by second order: the least missed go, the others make up for them as least squares would."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch

from optimizer.pruning.masks import magnitude_mask, n_of_m_mask
from optimizer.pruning.second_order import damped, least_squares, output_error, removals, remove, remove_n_of_m


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


def test_the_error_is_that_of_the_outputs_on_the_rows_that_the_hessian_is_of() -> None:
    x, before, after = inputs_of_rank(4, 50, 6), weights(3, 6), weights(6, 3).T
    assert output_error(before, after, hessian_of(x)) == pytest.approx(error(x, before, after) / len(x), rel=1e-4)


def test_cutting_on_goes_through_every_share_with_ever_more_error() -> None:
    x, w = inputs_of_rank(8, 400, 64), weights(16, 64)
    h = damped(hessian_of(x))
    shares = (0.3, 0.6, 0.9)
    found = list(removals(w, h, shares))
    assert [int((each == 0).sum()) for each in found] == [round(share * w.numel()) for share in shares]
    errors = [output_error(w, each, h) for each in found]
    assert errors == sorted(errors)
    assert errors[0] > 0
    assert all((later[earlier == 0] == 0).all() for earlier, later in pairwise(found))


def test_zeros_stay_where_fewer_are_asked_for() -> None:
    h, w = damped(hessian_of(inputs_of_rank(8, 400, 64))), weights(16, 64)
    sparse = remove(w, h, 0.75)
    assert bool((remove(sparse, h, 0.5)[sparse == 0] == 0).all())


def test_cutting_on_gives_no_zero_back() -> None:
    h, w = damped(hessian_of(inputs_of_rank(8, 400, 64))), weights(16, 64)
    there = remove(w, h, 0.5)
    (found,) = removals(there, h, (0.3,))
    assert torch.equal(found == 0, there == 0)


def test_of_every_four_inputs_goes_the_one_whose_loss_the_others_make_up_for_best() -> None:
    """3:4 of one group: against each of the four choices with its least-squares solution."""
    x, w = inputs_of_rank(3, 200, 4), weights(6, 4)
    h = damped(hessian_of(x), 1e-6)
    found = remove_n_of_m(w, h, 3, 4)
    for row, got in zip(w, found, strict=True):
        best = min(
            (float((x @ row - x[:, kept] @ torch.linalg.lstsq(x[:, kept], x @ row).solution).square().sum()), kept)
            for kept in (list(k) for k in combinations(range(4), 3))
        )
        assert (got != 0).nonzero().flatten().tolist() == best[1]
        torch.testing.assert_close(
            got[best[1]], torch.linalg.lstsq(x[:, best[1]], x @ row).solution, atol=2e-2, rtol=2e-2
        )


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (2, 8)])
def test_n_of_every_m_inputs_stay_and_outputs_change_less_than_where_the_smallest_go(n: int, m: int) -> None:
    x, w = inputs_of_rank(16, 800, 64), weights(32, 64)
    h = damped(hessian_of(x))
    found = remove_n_of_m(w, h, n, m)
    assert (found.reshape(32, -1, m) != 0).sum(dim=2).unique().tolist() == [n]
    smallest = w * n_of_m_mask(w.abs(), n, m)
    assert error(x, w, found) < 0.5 * error(x, w, smallest)


def test_zeros_in_a_group_go_first_and_stay() -> None:
    h, w = damped(hessian_of(inputs_of_rank(8, 400, 8))), weights(4, 8)
    w[:, [0, 5]] = 0.0
    found = remove_n_of_m(w, h, 2, 4)
    assert (found[:, [0, 5]] == 0).all()
    assert (found.reshape(4, 2, 4) != 0).sum(dim=2).unique().tolist() == [2]
