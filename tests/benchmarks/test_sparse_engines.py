"""The sparse engines study: its grid, its targets, its file; the measuring itself is done by hand."""

import json

import numpy as np
import onnx
import pytest
from rich.console import Console

from benchmarks import TrimfitError, Workload
from benchmarks.suites.sparse_engines import __main__ as suite
from benchmarks.suites.sparse_engines.bisection import smallest
from benchmarks.suites.sparse_engines.cell import Cell
from benchmarks.suites.sparse_engines.encoders import ENCODERS, dense_encoder_bytes, write_encoder
from benchmarks.suites.sparse_engines.grid import asked_cells, chosen_cells, grid
from benchmarks.suites.sparse_engines.linear import in_tiles, write_linear
from benchmarks.suites.sparse_engines.names import BLOCK_INT8, DEEPSPARSE, SPARSE_FP32
from benchmarks.suites.sparse_engines.study import LISTS, Study
from benchmarks.suites.sparse_engines.targets import TARGETS, verdicts
from benchmarks.suites.sparse_engines.torch_reference import torch_logits
from hardware_profiles.micro_graph import random_inputs
from hardware_profiles.runtimes import OnnxRuntimeCpu
from hardware_profiles.runtimes.sparse.rewriting import sparsify
from hardware_profiles.shape import EncoderShape

CONDITIONS = {"device": "a machine"}
KERNEL, MODEL = Cell("kernel", "768x768"), Cell("model", "bert-4", sparsity=0.9)
HIDDEN = Cell("model", "bert-4", sparsity=0.9, isa="avx2")


def row(contestant=SPARSE_FP32, **other):
    return {
        "model": "bert-4",
        "tokens": 128,
        "threads": 1,
        "sparsity": 0.9,
        "contestant": contestant,
        "median_ms": 10.0,
        "speedup_over_onnxruntime_fp32": 4.0,
        "speedup_over": {},
        "max_abs_logit_difference_to_torch": 1e-6,
        "file_bytes": dense_encoder_bytes("bert-4") // 5,
        **other,
    }


def judged(**lists):
    found = {**{name: [] for name in LISTS}, **lists}
    return {verdict.target.what: verdict for verdict in verdicts(found)}


def test_cells_that_targets_ask_for_come_first():
    asked = asked_cells()
    assert grid()[: len(asked)] == asked
    assert len(set(grid())) == len(grid())


def test_threads_change_fastest_so_that_prepared_files_are_shared():
    whole = [cell for cell in asked_cells() if cell.kind == "model" and cell.tokens == 128]
    assert [(a.subject, a.sparsity) for a in whole[::2]] == [(b.subject, b.sparsity) for b in whole[1::2]]


def test_cells_are_chosen_by_parts_of_their_labels():
    chosen = chosen_cells(grid(), ["minilm-6/tokens=384/threads=2", "kernel/768x768/*isa=best"])
    assert {cell.subject for cell in chosen} == {"minilm-6", "768x768"}
    assert {cell.layout for cell in chosen if cell.kind == "kernel"} == {"tiles", "rows"}
    assert chosen_cells(grid(), ["asked"]) == asked_cells()


def test_a_pattern_that_fits_no_cell_is_refused():
    with pytest.raises(TrimfitError, match="got --only bert-5"):
        chosen_cells(grid(), ["bert-5"])


def test_a_hidden_instruction_set_reaches_the_operators_and_is_named():
    assert HIDDEN.env == {"TRIMFIT_ISA": "avx2"}
    assert HIDDEN.isa_name == "avx2"
    assert MODEL.env == {}


def test_the_break_even_is_found_to_within_its_width():
    asked = []

    def holds(value):
        asked.append(value)
        return value >= 0.43

    found = smallest(holds, 0.2, 0.8, 0.01)
    assert 0.43 <= found <= 0.44
    assert len(asked) == 8


def test_what_never_pays_has_no_break_even_and_what_always_pays_the_lowest():
    assert smallest(lambda value: False, 0.2, 0.8, 0.01) is None
    assert smallest(lambda value: True, 0.2, 0.8, 0.01) == 0.2


def test_a_target_is_met_only_where_every_value_meets_it():
    kernels = [{"shape": "a", "sparsity": 0.9, "speedup_over_dense": 6.0}]
    name = "kernel over onnxruntime dense fp32, 90%, tiled"
    assert judged(kernels=kernels)[name].met is True
    slower = [*kernels, {"shape": "b", "sparsity": 0.9, "speedup_over_dense": 5.4}]
    assert judged(kernels=slower)[name].met is False
    assert judged(kernels=slower)[name].worst == ("b", 5.4)


def test_what_was_not_measured_is_neither_met_nor_missed():
    assert {verdict.met for verdict in judged().values()} == {None}
    assert len(judged()) == len(TARGETS)


def test_a_layer_that_never_breaks_even_misses_the_target():
    verdict = judged(break_even=[{"shape": "a", "sparsity": None}])["zeros at which the kernel breaks even, tiled"]
    assert verdict.met is False


def test_whole_models_are_held_against_the_reference_and_the_other_engines():
    rows = [
        row(speedup_over={DEEPSPARSE: {"speedup": 1.2}}),
        row(BLOCK_INT8, speedup_over={SPARSE_FP32: {"speedup": 1.4}}),
    ]
    found = judged(rows=rows)
    assert found["model over onnxruntime fp32, 90%, 768 wide"].met is False
    assert found["model over DeepSparse, 90%"].met is True
    assert found["int8 in 1x4 blocks over fp32, 90%"].values == {"bert-4, 1 thread": 1.4}
    assert found["ONNX file at 90% over dense encoder weights"].met is True
    assert found["largest difference of logits from PyTorch's"].met is True


def test_a_narrow_model_is_not_held_to_the_wide_ones_speedup():
    assert judged(rows=[row(model="minilm-6")])["model over onnxruntime fp32, 90%, 768 wide"].met is None


def test_two_threads_are_compared_with_one_of_the_same_model():
    rows = [row(), row(threads=2, median_ms=5.0), row(model="bert-12", threads=2, median_ms=1.0)]
    assert judged(rows=rows)["two threads over one"].values == {"bert-4, 90%": 2.0}


def test_dense_encoder_weights_are_those_of_the_linear_layers():
    assert dense_encoder_bytes("bert-4") == 4 * 4 * (4 * 768 * 768 + 2 * 768 * 3072)


def test_an_interrupted_study_goes_on_where_it_was(tmp_path, monkeypatch):
    measured = []

    def measure(cell, models, quick):
        measured.append(cell)
        return {"kernels": [{"shape": cell.subject}]}

    monkeypatch.setattr(suite, "_measure", measure)
    path, console = tmp_path / "study.json", Console(quiet=True)
    suite.run(Study(path, CONDITIONS), [KERNEL], console)
    suite.run(Study(path, CONDITIONS), [KERNEL, MODEL], console)
    assert measured == [KERNEL, MODEL]
    assert [entry["cell"] for entry in json.loads(path.read_text())["kernels"]] == [KERNEL.label, MODEL.label]


def test_a_cell_that_cannot_be_measured_is_left_for_the_next_run(tmp_path, monkeypatch):
    def refuse(cell, models, quick):
        raise TrimfitError("no such engine")

    monkeypatch.setattr(suite, "_measure", refuse)
    study = Study(tmp_path / "study.json", CONDITIONS)
    suite.run(study, [KERNEL], Console(quiet=True))
    assert not study.has(KERNEL)


def test_a_cell_measured_again_replaces_what_it_gave(tmp_path):
    study = Study(tmp_path / "study.json", CONDITIONS)
    study.add(MODEL, {"rows": [row(median_ms=10.0)]}, {})
    study.add(MODEL, {"rows": [row(median_ms=9.0)]}, {})
    assert [entry["median_ms"] for entry in study.entries["rows"]] == [9.0]


def test_rows_with_wider_vectors_hidden_are_kept_apart(tmp_path):
    study = Study(tmp_path / "study.json", CONDITIONS)
    study.add(MODEL, {"rows": [row()]}, {})
    study.add(HIDDEN, {"rows": [row()]}, {})
    kept = json.loads(study.path.read_text())
    assert [entry["cell"] for entry in kept["rows"]] == [MODEL.label]
    assert [entry["isa"] for entry in kept["wider_vectors_hidden"]["rows"]] == ["avx2"]
    assert len(Study(study.path, CONDITIONS).entries["rows"]) == 2


def test_numbers_of_two_devices_never_share_a_file(tmp_path):
    Study(tmp_path / "study.json", CONDITIONS).save()
    with pytest.raises(TrimfitError, match="with device a machine, expected another"):
        Study(tmp_path / "study.json", {"device": "another"})


def test_a_layer_has_the_zeros_asked_for(tmp_path):
    model = onnx.load(str(write_linear(tmp_path / "linear.onnx", "64x32", sparsity=0.75)))
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
    assert weight.shape == (32, 64)
    assert np.mean(weight == 0) == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("pattern", ["unstructured", "block"])
def test_pytorch_gives_the_same_logits_for_the_same_weights(tmp_path, monkeypatch, pattern):
    monkeypatch.setitem(ENCODERS, "tiny", EncoderShape.uniform(8, 4, depth=2, heads=2, ffn=16))
    model = write_encoder("tiny", tmp_path / "tiny.onnx", 0.5, pattern)
    feed = random_inputs(Workload(seq_len=5))
    (logits,) = OnnxRuntimeCpu().session(model, 1).run(None, feed)
    np.testing.assert_allclose(torch_logits(model, "tiny", feed), logits, atol=1e-6)


@pytest.mark.parametrize(("tokens", "tiles", "width"), [(1, 1, 16), (64, 1, 64), (65, 2, 48), (128, 2, 64)])
def test_tiles_hold_at_most_64_tokens_in_steps_of_16(tmp_path, tokens, tiles, width):
    dense = onnx.load(str(write_linear(tmp_path / "linear.onnx", "64x32", sparsity=0.75)))
    assert in_tiles(sparsify(dense, "fp32", pays=lambda shape, share: True), tokens) == (tiles, 32, width)
