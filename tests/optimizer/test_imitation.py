"""A student in training beside its teacher: every family, pruned students, resuming."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made_setting
import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from hardware_profiles.latency_model import Prediction
from optimizer.architecture import Architecture
from optimizer.candidates import Candidate
from optimizer.compression import Student, recover
from optimizer.distillation.catalog import OBJECTIVES, objective_named
from optimizer.distillation.cofi import CoFi
from optimizer.distillation.distilbert import shallow_student
from optimizer.distillation.imitation import Imitation, check_teacher, stage_at
from optimizer.distillation.minilm import MiniLM, MiniLMv2
from optimizer.distillation.objectives import SoftTargets
from optimizer.distillation.tinybert import TinyBert
from optimizer.distillation.trainer import TRIES, Schedule, TrainingReport, steps_within, train
from optimizer.encoding import Encoded
from optimizer.inference import predict
from optimizer.pruning.patterns import Width
from optimizer.surgery import LayerPlan, SurgeryReport, keep

Make = Callable[..., PreTrainedModel]
ALL = tuple(range(12))
PLANS = {
    "heads": [LayerPlan(heads=(1, 3), ffn=(0, 5)), LayerPlan(heads=(0,), ffn=ALL), LayerPlan(heads=(2, 3), ffn=(7,))],
    "blocks": [LayerPlan(heads=(), ffn=(1, 2)), LayerPlan(heads=(0, 1, 2), ffn=()), LayerPlan(heads=(), ffn=())],
    "layers": [None, LayerPlan(heads=(0, 1, 2, 3), ffn=ALL), None],
    "attention": [LayerPlan(heads=(), ffn=ALL), None, LayerPlan(heads=(), ffn=(3,))],
}


@pytest.fixture
def rows() -> Encoded:
    rng = np.random.default_rng(0)
    ids = tuple([0, *rng.integers(4, 24, rng.integers(2, 7)).tolist(), 2] for _ in range(48))
    return Encoded(ids, rng.integers(0, 3, 48), pad_token_id=1)


def batch_of(rows: Encoded) -> dict[str, torch.Tensor]:
    return next(iter(rows.buckets(16)))[1]


def pruned(teacher: PreTrainedModel, plan: str) -> tuple[PreTrainedModel, SurgeryReport]:
    return keep(copy.deepcopy(teacher), PLANS[plan])


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_pruned_student_of_any_family_is_taught_by_its_unpruned_teacher(
    name: str, plan: str, family: str, make_classifier: Make, rows: Encoded
) -> None:
    teacher = make_classifier(family)
    student, origin = pruned(teacher, plan)
    before = copy.deepcopy(teacher.state_dict())
    batch = batch_of(rows.with_teacher(predict(teacher, rows)))
    imitation = Imitation(objective_named(name), student, teacher, origin).train()
    for share in (0.0, 0.9):
        value = imitation(**batch, share=share)
        assert torch.isfinite(value)
        value.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in imitation.parameters())
    assert any(p.grad is not None and p.grad.any() for p in student.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    assert not teacher.training
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())


def test_kept_heads_are_compared_with_themselves(make_classifier: Make, rows: Encoded, family: str) -> None:
    """The first layer reads the same in both: what is left of its attention scores as before, head for head."""
    teacher = make_classifier(family)
    student, origin = keep(copy.deepcopy(teacher), [LayerPlan(heads=(1, 3), ffn=(0,)), None, None])
    only_attention = TinyBert(embedding=0.0, hidden=0.0)
    batch = batch_of(rows)
    assert Imitation(only_attention, student, teacher, origin).eval()(**batch).item() == pytest.approx(0, abs=1e-2)
    student, other = keep(copy.deepcopy(teacher), [LayerPlan(heads=(0, 2), ffn=(0,)), None, None])
    mistaken = origin.model_copy(update={"after": other.after})
    assert Imitation(only_attention, student, teacher, mistaken).eval()(**batch).item() > 0.1


def test_a_teacher_that_is_missing_is_said(make_classifier: Make) -> None:
    with pytest.raises(ValueError, match="CoFi compares layers: give the teacher as well"):
        Imitation(CoFi(), make_classifier())


def test_a_student_of_another_vocabulary_is_refused(make_classifier: Make) -> None:
    teacher, student = make_classifier(), make_classifier()
    student.resize_token_embeddings(20)
    with pytest.raises(TrimfitError, match="got a student of 20 tokens and a teacher of 24"):
        Imitation(MiniLMv2(), student, teacher)
    Imitation(SoftTargets(), student, teacher)


def test_attention_that_knows_positions_is_refused_where_it_would_be_wrong(make_classifier: Make) -> None:
    teacher = make_classifier(position_embedding_type="relative_key")
    with pytest.raises(TrimfitError, match="got a model with relative_key position embeddings"):
        check_teacher(MiniLM(), teacher)
    check_teacher(MiniLMv2(), teacher)
    check_teacher(SoftTargets(), teacher)


def test_stages_follow_each_other_at_their_shares() -> None:
    objective = TinyBert(first_step=0.5)
    assert [stage_at(objective, share) for share in (0.0, 0.49)] == [objective] * 2
    assert [stage_at(objective, share) for share in (0.5, 0.99, 1.0)] == [SoftTargets(1.0, 1.0)] * 3
    assert stage_at(SoftTargets(), 1.0) == SoftTargets()


def test_a_shallow_student_has_the_teachers_layers_at_even_distances(make_classifier: Make) -> None:
    teacher = make_classifier(num_hidden_layers=6)
    student, report = shallow_student(teacher, 3)
    assert [origin.layer for origin in report.layers] == [1, 3, 5]
    taken, kept = (model.base_model.encoder.layer for model in (teacher, student))
    assert len(taken) == 6
    torch.testing.assert_close(kept[1].attention.self.query.weight, taken[3].attention.self.query.weight)


# training


def schedule(steps: int = 12) -> Schedule:
    return Schedule(steps, 5e-3, batch_size=16, evaluations=3)


def asked(teacher: PreTrainedModel) -> list[int]:
    """Grows with every forward pass of the teacher."""
    calls: list[int] = []
    teacher.register_forward_hook(lambda *_: calls.append(1))
    return calls


def taught(
    student: PreTrainedModel, teacher: PreTrainedModel, rows: Encoded, folder: Path, objective: object, **more: object
) -> TrainingReport:
    settings = {"schedule": schedule(), "metric": "accuracy", "folder": folder, **more}
    return train(student, rows, rows, objective=objective, teacher=teacher, **settings)


def test_the_teacher_is_asked_only_in_the_steps_that_need_it(
    make_classifier: Make, rows: Encoded, tmp_path: Path
) -> None:
    teacher = make_classifier()
    rows = rows.with_teacher(predict(teacher, rows))
    calls = asked(teacher)
    taught(make_classifier(seed=1), teacher, rows, tmp_path / "soft", SoftTargets())
    assert len(calls) == 0
    taught(make_classifier(seed=1), teacher, rows, tmp_path / "tiny", TinyBert(first_step=0.5))
    assert len(calls) == 6
    taught(make_classifier(seed=1), teacher, rows, tmp_path / "cofi", CoFi())
    assert len(calls) == 6 + 12


def test_steps_are_counted_with_what_the_teacher_takes(make_classifier: Make, rows: Encoded) -> None:
    teacher, student = make_classifier(), make_classifier(seed=1)
    rows = rows.with_teacher(predict(teacher, rows))
    calls, budget = asked(teacher), {"minutes": 100, "epochs": 2, "schedule": schedule(0)}
    assert steps_within(student, rows, CoFi(), teacher=teacher, **budget) == 8
    assert len(calls) == TRIES
    assert steps_within(student, rows, TinyBert(), teacher=teacher, **budget) == 8
    assert len(calls) == 2 * TRIES  # one of the two stages
    assert all(p.grad is None for p in student.parameters())


@pytest.mark.parametrize("objective", [CoFi(), TinyBert()], ids=["cofi", "tinybert"])
def test_an_interrupted_training_goes_on_with_its_learned_matrices(
    objective: object, make_classifier: Make, rows: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.distillation.trainer.CHECKPOINT_SECONDS", 0.0)
    teacher = make_classifier()
    rows = rows.with_teacher(predict(teacher, rows))

    class CutError(Exception):
        pass

    def cut_after(share: float) -> None:
        if share >= 0.75:
            raise CutError

    (whole, origin), (halved, _) = pruned(teacher, "heads"), pruned(teacher, "heads")
    taught(whole, teacher, rows, tmp_path / "whole", objective, origin=origin)
    with pytest.raises(CutError):
        taught(halved, teacher, rows, tmp_path / "halved", objective, origin=origin, advance=cut_after)
    with safe_open(tmp_path / "halved" / "checkpoint-8" / "model.safetensors", "pt") as saved:
        learned = saved.get_tensor("projections.hidden.weight")
    assert not torch.equal(learned, torch.eye(16))
    halved, _ = pruned(teacher, "heads")
    steps: list[float] = []
    taught(halved, teacher, rows, tmp_path / "halved", objective, origin=origin, advance=steps.append)
    assert steps[0] == pytest.approx(9 / 12)
    assert halved.state_dict().keys() == whole.state_dict().keys()
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(halved.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_layers_come_closer_to_the_teachers(make_classifier: Make, rows: Encoded) -> None:
    teacher = make_classifier()
    student, origin = pruned(teacher, "heads")
    imitation = Imitation(CoFi(prediction=0.0), student, teacher, origin)
    optimizer, distances = torch.optim.Adam(imitation.parameters(), 5e-3), []
    for _ in range(30):
        optimizer.zero_grad()
        distance = imitation(**batch_of(rows))
        distance.backward()
        optimizer.step()
        distances.append(distance.item())
    assert distances[-1] < 0.7 * distances[0]


def width(teacher: PreTrainedModel) -> Candidate:
    shape = Architecture.of(teacher)
    return Candidate("width", Width(), "fp32", made_setting.STOCK, None, shape, Prediction(1.0, 1.0, 1.0), 0.0)


class Heard:
    """Progress that remembers what was said."""

    def __init__(self) -> None:
        self.silent, self.sentences = made_setting.Silent(), []
        self.step, self.say = self.silent.step, self.sentences.append


@pytest.mark.parametrize(("best_step", "said"), [(0, True), (8, False)])
def test_it_is_said_where_distilling_did_not_help(
    best_step: int,
    said: bool,
    make_classifier: Make,
    tokenizer: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("optimizer.compression.train", lambda *_, **__: TrainingReport(8, 1.0, 0.9, best_step))
    progress = Heard()
    setting = replace(made_setting.setting(make_classifier(), tokenizer, tmp_path), progress=progress)
    candidate = width(setting.teacher)
    model, origin = pruned(setting.teacher, "heads")
    done = recover(setting, Student(model, origin), candidate, minutes=0.01)
    assert done.rounds[-1].kept_start == said
    assert any("the weights before it are kept" in sentence for sentence in progress.sentences) == said


def test_the_compression_teaches_with_the_settings_objective(
    make_classifier: Make, tokenizer: object, tmp_path: Path
) -> None:
    setting = replace(made_setting.setting(make_classifier(), tokenizer, tmp_path), objective=TinyBert())
    model, origin = pruned(setting.teacher, "layers")
    calls = asked(setting.teacher)  # a copy would count as well
    done = recover(setting, Student(model, origin), width(setting.teacher), minutes=1.0)
    assert done.rounds[-1].steps == 8
    assert len(calls) == TRIES + 4  # while steps are timed, and in the first of TinyBERT's two
