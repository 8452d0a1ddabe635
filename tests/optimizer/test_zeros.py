"""Zeros that a runtime skips are a candidate like others: as many as the target needs, kept, measured, deployed."""

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made_setting as made
import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from benchmarks.place import in_force
from hardware_profiles import Device
from hardware_profiles.runtimes import OnnxRuntimeCpu, get
from hardware_profiles.runtimes.sparse.library import library_path
from optimizer import workflow
from optimizer.artefact import build, logits_of
from optimizer.candidates import Candidate
from optimizer.compression import Student, compress, cut_and_train, predicted_ms, untouched
from optimizer.decision import decide, reason_of_runtime
from optimizer.deployment.folder import stage_files
from optimizer.encoders import walk
from optimizer.encoding import Encoded
from optimizer.inference import predict
from optimizer.preparation import _check_pattern, _check_profiled
from optimizer.pruning.curves import divergence
from optimizer.pruning.masks import block_mask, global_shares, magnitude_mask, n_of_m_mask, top_mask
from optimizer.pruning.patterns import Block, NOfM, Unstructured, Zeros, n_of_m_named
from optimizer.pruning.stream import Stream
from optimizer.pruning.zeros import KeepZeros, global_layers, hessians, linear_weights, set_zeros, sparsity_of
from optimizer.setting import Setting
from optimizer.target import LatencyMs, MaxDrop

Make = Callable[..., PreTrainedModel]


def has_library() -> bool:
    try:
        return library_path().is_file()
    except TrimfitError:
        return False


needs_library = pytest.mark.skipif(not has_library(), reason="the sparse operators are not built for this machine")


@pytest.fixture
def make_setting(make_classifier: Make, tokenizer: object, tmp_path: Path) -> Callable[..., Setting]:
    return lambda **options: made.setting(make_classifier(), tokenizer, tmp_path / "work", **options)


# masks


def test_a_block_mask_drops_the_blocks_of_least_energy() -> None:
    weight = torch.tensor([[3.0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0, 0, 0, 2, 2, 2, 2]])
    kept = block_mask(weight, 0.5)
    assert kept[:, ::4].tolist() == [[True, False], [False, True]]
    assert all(torch.equal(kept[:, i], kept[:, i // 4 * 4]) for i in range(8))


def test_inputs_that_are_no_multiple_of_4_leave_a_smaller_block() -> None:
    kept = block_mask(torch.tensor([[1.0, 1, 1, 1, 9, 9]]), 0.5)
    assert kept.tolist() == [[False] * 4 + [True] * 2]


def test_the_greatest_n_of_every_m_stay() -> None:
    scores = torch.tensor([[3.0, 1, 2, 0, 5, 5, 5, 9], [0.0, 0, 0, 0, 1, 2, 3, 4]])
    assert n_of_m_mask(scores, 2, 4).int().tolist() == [[1, 0, 1, 0, 1, 0, 0, 1], [1, 1, 0, 0, 0, 0, 1, 1]]
    assert n_of_m_mask(scores, 1, 8).int().tolist() == [[0] * 7 + [1]] * 2
    assert n_of_m_mask(scores[:, :5], 2, 4)[:, 4].tolist() == [True, True], "what is left of a row keeps as many"


def test_a_group_is_worth_the_sum_of_its_members() -> None:
    scores = torch.tensor([[-1.0, 4, 0, 0, 1, 1, 1, 1]])  # 3 and 4
    assert top_mask(scores, 0.5, 4).tolist() == [[False] * 4 + [True] * 4]
    assert top_mask(scores, 0.25).int().tolist()[0].count(0) == 2


def test_one_threshold_takes_more_where_weights_are_small() -> None:
    """Of 1 ... 8 and 0.1 ... 0.8 half go: the smaller set altogether but one, of the larger none but the least."""
    large, small = torch.arange(1.0, 9).reshape(2, 4), torch.arange(1.0, 9).reshape(2, 4) / 10
    assert global_shares([[large], [small]], 0.5) == [0.0, 1.0]
    assert global_shares([[large], [small]], 9 / 16) == [1 / 8, 1.0]
    assert global_shares([[large, small]], 0.25) == [0.25]
    assert global_shares([[large], [small]], 0.25, group=4) == [0.0, 0.5]


def test_global_magnitude_drops_the_smallest_of_all_layers(make_classifier: Make) -> None:
    model = make_classifier()
    with torch.no_grad():
        walk(model).layers[1].up.weight.mul_(0.5)
    before = torch.cat([weight.detach().abs().flatten() for weight in linear_weights(model)])
    set_zeros(model, Unstructured(0.5, "magnitude-global"))
    after = torch.cat([weight.detach().flatten() for weight in linear_weights(model)])
    threshold = before.sort().values[round(0.5 * len(before))]
    assert torch.equal(after == 0, before < threshold)
    layers = global_layers(make_classifier(), 0.5, Unstructured(0.5, "magnitude-global"))
    assert 0.4 < layers[0].ffn[0] < 0.6


def test_local_magnitude_drops_the_same_share_everywhere(make_classifier: Make) -> None:
    model = make_classifier()
    expected = [weight * magnitude_mask(weight, 0.5) for weight in linear_weights(model)]
    rows = made.rows(model)
    set_zeros(model, Unstructured(0.5, "magnitude"), rows)
    assert all(torch.equal(a, b) for a, b in zip(expected, linear_weights(model), strict=True))


@pytest.mark.parametrize("by", ["second-order", "magnitude"])
def test_groups_of_zeros_are_set_in_every_layer(make_classifier: Make, by: str) -> None:
    model = make_classifier()
    rows = made.rows(model)
    found = set_zeros(copy.deepcopy(model), NOfM(n=2, m=4, by=by), rows)
    for weight, before in zip(linear_weights(found), linear_weights(model), strict=True):
        assert (weight.reshape(len(weight), -1, 4) != 0).sum(dim=2).unique().tolist() == [2]
        kept = weight != 0
        assert torch.equal(weight[kept], before[kept]) == (by == "magnitude"), "by second order the others move"


def test_groups_are_named_as_they_are() -> None:
    assert (n_of_m_named("2:4"), n_of_m_named("block")) == ((2, 4), None)
    assert NOfM(n=1, m=4).sparsity == 0.75
    assert NOfM(n=1, m=4).times(0.5) == NOfM(n=2, m=4)
    with pytest.raises(TrimfitError, match="got 4:4, expected n:m with n below m"):
        NOfM(n=4, m=4)


def test_blocks_stay_zero_while_training(make_classifier: Make) -> None:
    model = set_zeros(make_classifier(), Block(0.5))
    callback = KeepZeros(model)
    with torch.no_grad():
        for weight in linear_weights(model):
            weight.add_(1.0)
    callback.on_step_end(None, None, None)
    for weight in linear_weights(model):
        zeros = (weight.reshape(len(weight), -1, 4) == 0).sum(dim=2)
        assert set(zeros.unique().tolist()) == {0, 4}
        assert (zeros == 4).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_a_zero_is_a_positive_zero(make_classifier: Make) -> None:
    """A negative one would be a difference to those who look at bits."""
    for weight in linear_weights(set_zeros(make_classifier(), Unstructured(0.9))):
        assert not torch.signbit(weight[weight == 0]).any()


def test_what_layers_read_does_not_count_padding(make_classifier: Make) -> None:
    model = make_classifier()
    rows = made.rows(model, 6)
    first, second = walk(model).layers[:2]

    def read(some: Encoded) -> dict[str, torch.Tensor]:
        stream = Stream(model, some)
        stream.advance(first)
        return hessians(stream, second)

    together = read(rows)
    assert set(together) == {"query", "attention_output", "up", "down"}
    each = [(int(n), read(rows.take([i]))) for i, n in enumerate(rows.lengths)]
    for name, found in together.items():
        alone = sum(n * one[name] for n, one in each) / int(rows.lengths.sum())
        torch.testing.assert_close(found, alone, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("pattern", [Unstructured(0.5), Block(0.5)])
def test_zeros_by_second_order_change_the_answers_less(make_classifier: Make, pattern: Zeros) -> None:
    model = make_classifier()
    rows = made.rows(model)
    second, smallest = (set_zeros(copy.deepcopy(model), pattern, some) for some in (rows, None))
    assert sparsity_of(second) == pytest.approx(0.5, abs=0.02)
    assert divergence(second, rows) < divergence(smallest, rows)


# decision


def test_only_the_precision_that_was_asked_is_raced(make_setting: Callable[..., Setting]) -> None:
    decision = decide(replace(make_setting(), precision="fp32"))
    assert {c.precision for c in decision.candidates if not c.refused} == {"fp32"}
    assert "width int8: only fp32 was allowed" in [c.refused for c in decision.candidates]


def test_where_one_pattern_is_named_nothing_else_races(make_setting: Callable[..., Setting]) -> None:
    decision = decide(replace(make_setting(), pattern="width"))
    assert {c.cut for c in decision.candidates if not c.refused} == {"width"}
    assert "dense int8: only width was allowed" in [c.refused for c in decision.candidates]


def test_a_runtime_that_skips_zeros_gets_as_few_as_the_target_needs(make_setting: Callable[..., Setting]) -> None:
    """Blocks take 2 (1 - s) of their dense time: 2 ms of 6 less 3 % for safety need s = 1 - 0.97 / 6 = 0.838."""
    found = made.candidate(decide(make_setting()), "unstructured", made.SPARSE)
    assert found.name == "unstructured 84 % fp32 with sparse operators"
    assert found.sparsity == 0.84
    assert found.pattern_name == "unstructured"
    assert found.predicted.ms <= 2.0 * 0.97
    assert "does not" not in (found.refused or "")


def test_a_runtime_that_multiplies_by_zeros_is_refused_as_measured(make_setting: Callable[..., Setting]) -> None:
    decision = decide(make_setting())
    refusals = {c.name: c.refused for c in decision.candidates if c.runtime == made.STOCK}
    assert refusals["unstructured 90 % fp32"] == (
        "unstructured 90 % fp32: 1.00x measured on onnxruntime-cpu: this runtime does not skip zeros"
    )


def test_zeros_that_do_not_pay_at_a_precision_are_refused(make_setting: Callable[..., Setting]) -> None:
    found = made.candidate(decide(make_setting()), "block", made.SPARSE)
    assert found.refused == (
        "block 95 % int8 with sparse operators: 1.00x measured on onnxruntime-cpu+sparse: "
        "on this device zeros do not pay in int8"
    )


def test_a_target_beyond_the_most_zeros_is_refused_with_what_they_bring(make_setting: Callable[..., Setting]) -> None:
    found = made.candidate(decide(make_setting(target=LatencyMs(0.5))), "unstructured", made.SPARSE)
    assert found.refused == (
        "unstructured 95 % fp32 with sparse operators: 10.00x measured on onnxruntime-cpu+sparse, "
        "0.60 ms predicted, 0.50 ms wanted"
    )


def test_zeros_are_not_set_where_the_dense_model_is_fast_enough(make_setting: Callable[..., Setting]) -> None:
    found = made.candidate(decide(make_setting(target=LatencyMs(7.0))), "unstructured", made.SPARSE)
    assert "no zeros are needed to reach 7.00 ms, 6.00 ms predicted without them" in str(found.refused)


def test_groups_are_refused_where_no_kernel_is_for_them(make_setting: Callable[..., Setting]) -> None:
    decision = decide(replace(make_setting(), pattern="2:4"))
    found = made.candidate(decision, "2:4 fp32 with sparse operators", made.SPARSE)
    assert (found.pattern, found.cut, found.predicted.ms) == (NOfM(by="second-order-even"), "2:4", pytest.approx(6.0))
    assert found.refused == (
        "2:4 fp32 with sparse operators: onnxruntime-cpu+sparse has no kernel for 2:4, no more than any CPU: it would"
        " multiply by these zeros"
    )
    again = Candidate.from_record(found.record(6.0, chosen=False), found.architecture)
    assert again.pattern == found.pattern


def test_asking_for_groups_on_a_cpu_says_so_at_once() -> None:
    with pytest.raises(TrimfitError, match=r"got --pattern 2:4, .* no CPU's has; take unstructured or block"):
        _check_pattern("2:4", None)
    with pytest.raises(TrimfitError, match=r"expected one of dense, .* or e\.g\. 2:4"):
        _check_pattern("nothing", None)


def test_a_precision_that_no_runtime_could_be_profiled_with_is_refused() -> None:
    known = [made.profile(made.STOCK, {"fp32": 1.0, "int8": 1.0})]
    _check_profiled("int8", known)
    with pytest.raises(
        TrimfitError, match="got --precision bf16, expected one that could be profiled here: fp32, int8"
    ):
        _check_profiled("bf16", known)


def test_blocks_are_tried_where_they_pay(make_setting: Callable[..., Setting]) -> None:
    decision = decide(make_setting(target=LatencyMs(1.0), pays={"fp32": True, "int8": True}))
    found = made.candidate(decision, "block", made.SPARSE)
    assert found.pattern == Block(0.84, "second-order-even")
    assert found.pattern_name == "block"


def test_every_candidate_has_a_name_of_its_own(make_setting: Callable[..., Setting]) -> None:
    names = [c.name for c in decide(make_setting(target=LatencyMs(0.6 / 0.95))).candidates]
    assert len(set(names)) == len(names)


def test_a_record_gives_the_candidate_back(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting(target=LatencyMs(1.0), pays={"fp32": True, "int8": True})
    decision = decide(setting)
    assert decision.view is not None
    for candidate in decision.candidates:
        again = Candidate.from_record(candidate.record(6.0, chosen=False), decision.view.architecture)
        assert (again.pattern, again.runtime, again.zeros) == (candidate.pattern, candidate.runtime, candidate.zeros)


def test_the_reason_says_why_the_runtime(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting()
    decision = decide(setting)
    sparse = made.candidate(decision, "unstructured", made.SPARSE)
    assert reason_of_runtime(setting, sparse) == (
        "; onnxruntime-cpu+sparse runs its layers 3.12x faster with 84% zeros than dense, as measured here"
    )
    assert reason_of_runtime(setting, made.candidate(decision, "width fp32", made.STOCK)) == ""


# compression


def winner_of(setting: Setting) -> Candidate:
    return made.candidate(decide(setting), "unstructured", made.SPARSE)


def test_zeros_grow_over_the_rounds_and_are_all_there_in_the_end(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting()
    winner = winner_of(setting)
    student = compress(setting, winner, 2.0)
    assert [r.sparsity for r in student.rounds] == [pytest.approx(0.84 * 7 / 8), pytest.approx(0.84)]
    assert sparsity_of(student.model) == pytest.approx(0.84, abs=0.01)
    assert student.rounds[-1].predicted_ms == pytest.approx(predicted_ms(setting, winner, student))
    assert student.rounds[-1].predicted_ms < 2.0
    assert student.rounds[0].predicted_ms > 2.0


def test_a_student_keeps_its_zeros_on_disk(make_setting: Callable[..., Setting], tmp_path: Path) -> None:
    setting = make_setting()
    student = compress(setting, winner_of(setting), 2.0)
    student.save(tmp_path / "student")
    again = Student.load(tmp_path / "student")
    assert again.form == student.form
    assert sparsity_of(again.model) == sparsity_of(student.model)


def test_a_tighter_budget_means_more_zeros_and_a_looser_one_gives_none_back(
    make_setting: Callable[..., Setting],
) -> None:
    setting = make_setting()
    winner = winner_of(setting)
    more = cut_and_train(setting, untouched(setting), winner, 1.2, name="a", minutes=0.01, only_smaller=True)
    assert more.sparsity == 0.9
    looser = cut_and_train(setting, more, winner, 3.0, name="b", minutes=0.01, only_smaller=True)
    assert looser is more
    most = cut_and_train(setting, more, winner, 0.1, name="c", minutes=0.01, only_smaller=True)
    assert most.sparsity == 0.95, "where no zeros suffice, as many as were measured"


@needs_library
def test_a_missed_target_teaches_the_sparse_runtime_and_raises_the_sparsity(
    make_setting: Callable[..., Setting],
) -> None:
    setting = make_setting()
    winner = winner_of(setting)
    shape = winner.architecture
    before = made.prices(setting).predict(shape, "unstructured", 0.84).ms
    taught = setting.corrected("student 1", winner, shape, 0.84, 1.3 * before)
    assert made.prices(taught).predict(shape, "unstructured", 0.84).ms == pytest.approx(1.3 * before, rel=0.05)
    assert made.prices(taught).least_sparsity(shape, "unstructured", 2.0) > 0.84
    assert taught.engines[0] is setting.engines[0], "the stock runtime has learned nothing"


def test_without_a_latency_to_reach_the_first_stride_decides(make_setting: Callable[..., Setting]) -> None:
    found = made.candidate(decide(make_setting(target=MaxDrop(1))), "unstructured", made.SPARSE)
    assert found.predicted.ms <= 3.0 / 1.6
    assert found.refused is None or "nats" in found.refused


def test_a_job_whose_runtime_has_gone_says_so(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting()
    winner = winner_of(setting)
    with pytest.raises(TrimfitError, match=r"got a job for onnxruntime-cpu\+sparse, expected one for onnxruntime-cpu,"):
        compress(replace(setting, engines=setting.engines[:1]), winner, 2.0)


def test_a_stride_starts_from_what_the_last_student_takes(
    make_setting: Callable[..., Setting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has more zeros than a stride needs; the next budget is below what it takes, or it would be the last."""
    setting = make_setting(target=MaxDrop(1))
    winner, asked = winner_of(setting), []
    more = {0.0: 0.8, 0.8: 0.9, 0.9: 0.9}

    def cut(setting: Setting, student: Student, winner: Candidate, budget_ms: float, **_: object) -> Student:
        asked.append(budget_ms)
        return replace(student, sparsity=more[student.sparsity])

    monkeypatch.setattr(workflow, "cut_and_train", cut)
    trail = workflow._trail(setting, winner, untouched(setting), lowest=0.0)
    assert [student.sparsity for student in trail] == [0.0, 0.8, 0.9]
    assert asked == [pytest.approx(predicted_ms(setting, winner, student) / workflow.STRIDE) for student in trail]


# deployment


@pytest.fixture
def deployed(make_setting: Callable[..., Setting], tmp_path: Path) -> Path:
    """A folder with a model of 90 % zeros and the library."""
    from hardware_profiles.runtimes import OnnxRuntimeSparse

    runtime = OnnxRuntimeSparse()
    setting = make_setting(sparse_runtime=runtime)
    model = set_zeros(setting.teacher, Unstructured(0.9))
    artefact = build(model, setting.tokenizer, runtime, "fp32", tmp_path / "export", setting.dev)
    assert artefact.parity.max_abs_logit_difference < 1e-4
    assert artefact.path != artefact.fp32, "the sparse file beside the exported one"
    answers = logits_of(runtime, artefact.path, setting.dev)
    np.testing.assert_allclose(answers, predict(model, setting.dev), atol=1e-4)
    out = tmp_path / "out"
    stage_files(
        out,
        model=model,
        tokenizer=setting.tokenizer,
        onnx=artefact.path,
        runtime=runtime,
        device=setting.device,
        workload=setting.workload,
        longest=16,
        measurements=[],
    )
    return out


class Board:
    """An aarch64 machine somewhere else, as far as runtimes ask."""

    name, is_here, machine, system, isa = "ssh://board", False, "aarch64", "Linux", ("asimd", "asimddp")


@needs_library
def test_what_is_made_for_another_machine_brings_that_ones_operators_and_is_scored_here(
    make_setting: Callable[..., Setting], tmp_path: Path
) -> None:
    try:
        library = library_path("aarch64", "Linux")
    except TrimfitError:
        pytest.skip("the sparse operators are not built for aarch64")
    device = Device(name="board", isa=Board.isa, machine="aarch64", system="Linux")
    with in_force(Board()):
        runtime = get(made.SPARSE)
        setting = make_setting(sparse_runtime=runtime)
        model = set_zeros(setting.teacher, Unstructured(0.9))
        artefact = build(model, setting.tokenizer, runtime, "fp32", tmp_path / "export", setting.dev)
        answers = logits_of(runtime, artefact.path, setting.dev)
        np.testing.assert_allclose(answers, predict(model, setting.dev), atol=1e-4)
        stage_files(
            tmp_path / "out",
            model=model,
            tokenizer=setting.tokenizer,
            onnx=artefact.path,
            runtime=runtime,
            device=device,
            workload=setting.workload,
            longest=16,
            measurements=[],
        )
    assert (tmp_path / "out" / library.name).read_bytes() == library.read_bytes()
    note = json.loads((tmp_path / "out" / "runtime.json").read_text())
    assert (note["machine"], note["options"]["custom_op_library"]) == ("Linux aarch64", library.name)


def alone(*command: object, folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=120, cwd=folder,
        env=environment, check=False,
    )  # fmt: skip


@needs_library
def test_a_sparse_deployment_brings_its_operators_and_runs_wherever_it_lies(deployed: Path, tmp_path: Path) -> None:
    library = library_path().name
    assert (deployed / library).read_bytes() == library_path().read_bytes()
    note = json.loads((deployed / "runtime.json").read_text())
    assert note["runtime"] == made.SPARSE
    assert note["options"]["custom_op_library"] == library
    elsewhere = tmp_path / "elsewhere"
    shutil.move(deployed, elsewhere)
    done = alone(elsewhere / "run.py", "the film was good", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\t")[0] in ("bad", "mixed", "good")


@needs_library
def test_benchmarking_a_sparse_model_finds_the_operators(deployed: Path, tmp_path: Path) -> None:
    done = alone(
        "-c", "from optimizer.cli import main; main()", "benchmark", deployed / "model.onnx",
        "--seq-len", 8, "--threads", 1, "--json", folder=Path.cwd(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measurements"][0]["samples"]


def test_a_dense_deployment_brings_no_operators(make_setting: Callable[..., Setting], tmp_path: Path) -> None:
    setting = make_setting()
    artefact = build(setting.teacher, setting.tokenizer, OnnxRuntimeCpu(), "int8", tmp_path / "export", setting.dev)
    out = tmp_path / "out"
    stage_files(
        out,
        model=setting.teacher,
        tokenizer=setting.tokenizer,
        onnx=artefact.path,
        runtime=setting.stock,
        device=setting.device,
        workload=setting.workload,
        longest=16,
        measurements=[],
    )
    assert not list(out.glob("*.so"))
    assert json.loads((out / "runtime.json").read_text())["options"] == {}
