"""Made-up inputs fit the model; what cannot be known is asked for."""

import numpy as np
import pytest
from tiny_onnx import write_mlp

from benchmarks import Lengths, TrimfitError, Workload
from benchmarks.inputs import check_pool, model_inputs, random_pool

WORK = Workload(batch=2, seq_len=6)


def test_the_pool_has_the_workloads_shape(mlp):
    pool = random_pool(mlp, WORK, rows=4)
    assert pool["x"].shape == (4, 2, 6, 8)
    assert pool["x"].dtype == np.float32


def test_large_inputs_get_a_pool_of_few_rows(mlp):
    assert random_pool(mlp, Workload(batch=100, seq_len=8000))["x"].shape[0] == 2
    assert random_pool(mlp, Workload(batch=300, seq_len=8000), rows=4)["x"].shape[0] == 1


def test_made_up_tokens_stay_inside_the_vocabulary(embedding):
    pool = random_pool(embedding, WORK)
    assert pool["input_ids"].min() == 0
    assert pool["input_ids"].max() == 4


def test_all_made_up_tokens_are_real(embedding):
    assert (random_pool(embedding, WORK)["attention_mask"] == 1).all()


def test_the_seed_decides(embedding):
    first, again, other = (random_pool(embedding, WORK, seed=seed)["input_ids"] for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_an_unknown_dimension_is_asked_for(tmp_path):
    model = write_mlp(tmp_path / "m.onnx", length="frames")
    with pytest.raises(TrimfitError, match="give it with --dim frames=N"):
        random_pool(model, WORK)
    assert random_pool(model, WORK, {"frames": 3})["x"].shape == (16, 2, 3, 8)


def test_a_dimension_without_a_name_is_asked_for_by_its_place(tmp_path):
    model = write_mlp(tmp_path / "m.onnx", length="")
    with pytest.raises(TrimfitError, match=r"--dim x\[1\]=N"):
        random_pool(model, WORK)


def test_a_batch_without_a_name_is_the_first_dimension(tmp_path):
    assert random_pool(write_mlp(tmp_path / "m.onnx", batch=""), WORK)["x"].shape == (16, 2, 6, 8)


def test_a_model_with_a_fixed_batch_refuses_another(tmp_path):
    with pytest.raises(TrimfitError, match="got --batch 2, expected 4"):
        random_pool(write_mlp(tmp_path / "m.onnx", batch=4), WORK)


def test_weights_are_not_inputs(mlp):
    assert [declared.name for declared in model_inputs(mlp)] == ["x"]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"input_ids": (4, 2, 6)}, "expected also 'attention_mask'"),
        (
            {"input_ids": (4, 2, 6), "attention_mask": (4, 1, 6)},
            r"'attention_mask' has shape \(4, 1, 6\), expected .*2, 6",
        ),
        ({"input_ids": (2, 6), "attention_mask": (4, 2, 6)}, "'input_ids' has shape"),
    ],
)
def test_a_pool_that_does_not_fit_is_refused(embedding, tmp_path, arrays, words):
    np.savez(tmp_path / "pool.npz", **{name: np.ones(shape, np.int64) for name, shape in arrays.items()})
    with pytest.raises(TrimfitError, match=words):
        check_pool(embedding, tmp_path / "pool.npz", WORK)


def test_a_pool_of_pickles_is_refused(embedding, tmp_path):
    np.savez(tmp_path / "pool.npz", input_ids=np.array([{}], dtype=object))
    with pytest.raises(TrimfitError, match=r"expected an \.npz"):
        check_pool(embedding, tmp_path / "pool.npz", WORK)


MIX = Workload.over(Lengths(points=((4, 0.5), (6, 0.5)), shortest=3, longest=7), batch=2)


def test_a_pool_for_a_mix_has_rows_of_every_length(embedding, tmp_path):
    pool = random_pool(embedding, MIX, rows=3)
    assert pool["4/input_ids"].shape == (3, 2, 4)
    assert pool["6/input_ids"].shape == (3, 2, 6)
    np.savez(tmp_path / "pool.npz", **pool)
    check_pool(embedding, tmp_path / "pool.npz", MIX)
    del pool["6/input_ids"]
    np.savez(tmp_path / "pool.npz", **pool)
    with pytest.raises(TrimfitError, match="expected also '6/input_ids'"):
        check_pool(embedding, tmp_path / "pool.npz", MIX)
