"""Every objective that compares layers, against its formula worked out in numpy on two layers, hidden 8, 2 heads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer.distillation.catalog import DEFAULT_OBJECTIVE, OBJECTIVES, name_of, objective_named
from optimizer.distillation.cofi import CoFi, closest
from optimizer.distillation.distilbert import DistilBert
from optimizer.distillation.imitation import Imitation
from optimizer.distillation.minilm import MiniLM, MiniLMv2
from optimizer.distillation.objectives import LayerObjective, Objective, SoftTargets, loss, stages
from optimizer.distillation.signals import Need
from optimizer.distillation.tinybert import TinyBert

Make = Callable[..., PreTrainedModel]
SMALL = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 6, "num_hidden_layers": 2}
LENGTHS = (5, 3)
LABELS = torch.tensor([2, 0])
BATCH = {
    "input_ids": torch.tensor([[0, 7, 9, 20, 2], [0, 11, 2, 1, 1]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}
COMPARING = [objective for objective in map(objective_named, OBJECTIVES) if isinstance(objective, LayerObjective)]


@pytest.fixture(autouse=True)
def in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.inference.trains_in_bf16", lambda: False)


@dataclass
class Row:
    """What a model says of one row, read off its own outputs and weights without a hook, padding cut off."""

    logits: np.ndarray
    states: list[np.ndarray]  # the embedding, then each layer's [t, d]
    q: list[np.ndarray]  # each layer's [heads, t, head size]
    k: list[np.ndarray]
    v: list[np.ndarray]


def rows_of(model: PreTrainedModel) -> list[Row]:
    with torch.no_grad():
        output = model(**BATCH, output_hidden_states=True)
    found = []
    for row, length in enumerate(LENGTHS):
        states = [state[row, :length].double().numpy() for state in output.hidden_states]
        made: dict[str, list[np.ndarray]] = {"query": [], "key": [], "value": []}
        for read, layer in zip(states, model.base_model.encoder.layer, strict=False):
            for name, heads in made.items():
                linear = getattr(layer.attention.self, name)
                y = read @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy()
                heads.append(y.reshape(length, -1, 4).transpose(1, 0, 2))
        found.append(Row(output.logits[row].double().numpy(), states, made["query"], made["key"], made["value"]))
    return found


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q), mean over all but the last dimension."""
    return float((p * np.log(p / q)).sum(-1).mean())


def relation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return softmax(x @ y.transpose(0, 2, 1) / np.sqrt(x.shape[-1]))


def mse(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).mean())


def soft(s: Row, t: Row, label: int, T: float = 2.0, share: float = 0.7) -> float:
    labelled = -np.log(softmax(s.logits)[label])
    return share * T * T * divergence(softmax(t.logits / T), softmax(s.logits / T)) + (1 - share) * labelled


def distilbert(s: Row, t: Row, label: int, W: dict[str, np.ndarray]) -> float:
    a, b = s.states[-1], t.states[-1]
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return 5 * soft(s, t, label, share=1.0) + 2 * soft(s, t, label, share=0.0) + float((1 - cosine).mean())


def tinybert(s: Row, t: Row, label: int, W: dict[str, np.ndarray]) -> float:
    value = mse(s.states[0] @ W["embedding"], t.states[0])
    for m in (0, 1):
        value += mse(s.states[m + 1] @ W["hidden"], t.states[m + 1])
        value += mse(s.q[m] @ s.k[m].transpose(0, 2, 1) / 2, t.q[m] @ t.k[m].transpose(0, 2, 1) / 2)
    return value


def minilm(s: Row, t: Row, label: int, W: dict[str, np.ndarray]) -> float:
    at = divergence(relation(t.q[1], t.k[1]), relation(s.q[1], s.k[1]))
    return soft(s, t, label) + at + divergence(relation(t.v[1], t.v[1]), relation(s.v[1], s.v[1]))


def minilmv2(s: Row, t: Row, label: int, W: dict[str, np.ndarray]) -> float:
    """8 relation heads of 1: the largest number up to 48 that divides the width 8."""
    value = soft(s, t, label)
    for name in "qkv":
        theirs, mine = (
            getattr(model, name)[1].transpose(1, 0, 2).reshape(-1, 8, 1).transpose(1, 0, 2) for model in (t, s)
        )
        value += divergence(relation(theirs, theirs), relation(mine, mine))
    return value


def cofi(s: Row, t: Row, label: int, W: dict[str, np.ndarray], m: tuple[int, int]) -> float:
    layers = sum(mse(s.states[1 + m[i]] @ W["hidden"], t.states[1 + i]) for i in (0, 1))
    return 0.3 * soft(s, t, label, share=1.0) + 0.7 * layers


@pytest.fixture
def pair(make_classifier: Make) -> tuple[PreTrainedModel, PreTrainedModel]:
    """(student, teacher) of two layers each."""
    return make_classifier(seed=1, **SMALL), make_classifier(**SMALL)


def imitation_of(objective: Objective, student: PreTrainedModel, teacher: PreTrainedModel) -> Imitation:
    """With projections that are not the identity any more."""
    made = Imitation(objective, student, teacher).eval()
    with torch.no_grad():
        for parameter in made.projections.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)), alpha=0.3)
    return made


@pytest.mark.parametrize(
    ("objective", "formula"),
    [(DistilBert(), distilbert), (TinyBert(), tinybert), (MiniLM(), minilm), (MiniLMv2(), minilmv2)],
    ids=lambda value: type(value).__name__ if isinstance(value, Objective) else "",
)
def test_an_objective_is_its_papers_formula(objective: Objective, formula: Callable, pair: tuple) -> None:
    student, teacher = pair
    imitation = imitation_of(objective, student, teacher)
    W = {name: linear.weight.detach().double().numpy().T for name, linear in imitation.projections.items()}
    both = zip(rows_of(student), rows_of(teacher), LABELS.tolist(), strict=True)
    expected = np.mean([formula(s, t, label, W) for s, t, label in both])
    assert imitation(**BATCH, labels=LABELS).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ordered", [False, True])
def test_cofis_layers_find_the_closest(ordered: bool, pair: tuple) -> None:
    student, teacher = pair
    imitation = imitation_of(CoFi(ordered=ordered), student, teacher)
    W = {name: linear.weight.detach().double().numpy().T for name, linear in imitation.projections.items()}
    mine, theirs = rows_of(student), rows_of(teacher)
    distance = np.mean(
        [
            [[mse(s.states[1 + j] @ W["hidden"], t.states[1 + i]) for j in (0, 1)] for i in (0, 1)]
            for s, t in zip(mine, theirs, strict=True)
        ],
        axis=0,
    )
    m = tuple(distance.argmin(1))
    if ordered:
        m = (0, m[1])  # below the partner of the last layer there is at most layer 0
    expected = np.mean([cofi(s, t, y, W, m) for s, t, y in zip(mine, theirs, LABELS.tolist(), strict=True)])
    assert imitation(**BATCH, labels=LABELS).item() == pytest.approx(expected, rel=1e-5)


def test_the_closest_layer_is_taken_in_order_only_where_that_is_asked() -> None:
    distances = torch.tensor([[0.1, 0.5, 0.2], [0.3, 0.4, 0.1], [0.9, 0.2, 0.5], [0.3, 0.2, 0.4]])
    assert closest(distances).tolist() == [0, 2, 1, 1]
    assert closest(distances, ordered=True).tolist() == [0, 0, 0, 1]
    assert closest(distances[[0, 2, 1]], ordered=True).tolist() == [0, 1, 2]


def test_tinyberts_second_step_is_the_prediction_alone() -> None:
    """Jiao et al. 2020, eq. 10: the gradient of CE(z_T / t, z_S / t) is (softmax(z_S) - softmax(z_T)) / t, t = 1."""
    (_, first), (end, second) = stages(TinyBert(first_step=0.25))
    assert (first, end) == (TinyBert(first_step=0.25), 1.0)
    z, v = torch.tensor([[0.5, -0.5, 0.1]], requires_grad=True), torch.tensor([[-0.2, 0.7, 0.0]])
    said = type("Said", (), {"logits": z}), type("Said", (), {"logits": v})
    (gradient,) = torch.autograd.grad(loss(second, said[0], LABELS[:1], said[1]).sum(), z)
    torch.testing.assert_close(gradient, z.softmax(-1).detach() - v.softmax(-1))


@pytest.mark.parametrize("objective", COMPARING, ids=name_of)
def test_a_student_that_equals_its_teacher_has_no_layer_left_to_imitate(objective: Objective, pair: tuple) -> None:
    _, model = pair
    left = {
        "distilbert": 2 * np.mean([soft(s, s, y, share=0.0) for s, y in zip(rows_of(model), (2, 0), strict=True)]),
        "minilm": np.mean([soft(s, s, y) for s, y in zip(rows_of(model), (2, 0), strict=True)]),
    }
    left["minilmv2"] = left["minilm"]
    value = Imitation(objective, model, model).eval()(**BATCH, labels=LABELS)
    assert value.item() == pytest.approx(left.get(name_of(objective), 0.0), rel=1e-5, abs=1e-6)


class Spy:
    """Signals that note what is read of them."""

    def __init__(self, signals: object) -> None:
        self.signals, self.read = signals, set()

    def __getattr__(self, name: str) -> object:
        self.read.add(name)
        return getattr(self.signals, name)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_an_objective_needs_is_what_is_collected_and_what_it_reads(
    name: str, pair: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, spies = objective_named(name), []
    plain = loss

    def spied(objective: Objective, student: object, labels: torch.Tensor, teacher: object) -> torch.Tensor:
        spies[:] = Spy(student), Spy(teacher)
        return plain(objective, spies[0], labels, spies[1])

    monkeypatch.setattr("optimizer.distillation.imitation.loss", spied)
    Imitation(objective, *pair)(**BATCH, labels=LABELS, teacher_logits=torch.zeros(2, 3))
    for spy in spies:
        found = {
            need for need in get_args(Need) if vars(spy.signals)[need] is not None and len(vars(spy.signals)[need])
        }
        assert found == objective.needs
        assert found == spy.read - {"logits", "mask"}
    assert not any(module._forward_hooks for model in pair for module in model.modules())


def test_the_teachers_cached_logits_are_taken(pair: tuple) -> None:
    imitation = Imitation(MiniLM(), *pair).eval()
    asked, known = imitation(**BATCH, labels=LABELS), torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    with torch.no_grad():
        same = imitation(**BATCH, labels=LABELS, teacher_logits=pair[1](**BATCH).logits)
    assert same.item() == pytest.approx(asked.item(), rel=1e-5)
    assert imitation(**BATCH, labels=LABELS, teacher_logits=known).item() != pytest.approx(asked.item(), rel=1e-3)


@pytest.mark.parametrize(
    ("objective", "other"),
    [
        (DistilBert(), {"hidden_size": 12, "num_attention_heads": 3}),
        (TinyBert(), {"hidden_size": 12}),
        (MiniLM(), {"hidden_size": 12}),
        (MiniLMv2(), {"hidden_size": 12, "num_attention_heads": 3}),
        (CoFi(), {"hidden_size": 12, "num_attention_heads": 3}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Objective) else "",
)
def test_a_narrower_student_can_be_taught(objective: Objective, other: dict, make_classifier: Make) -> None:
    student, teacher = make_classifier(seed=1, **SMALL), make_classifier(**{**SMALL, **other, "num_hidden_layers": 3})
    imitation = Imitation(objective, student, teacher)
    value = imitation(**BATCH, labels=LABELS)
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(p.grad).all() for p in imitation.parameters() if p.grad is not None)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in imitation.projections.parameters())


def test_relation_heads_divide_both_widths() -> None:
    v2 = MiniLMv2()
    assert v2.heads_between(384, 768) == 48
    assert v2.heads_between(7 * 32, 384) == 32
    assert v2.heads_between(32, 384) == 32
    assert MiniLMv2(relation_heads=12).heads_between(384, 384) == 12


def test_learned_matrices_start_as_the_identity_and_are_learned(pair: tuple) -> None:
    imitation = Imitation(CoFi(), *pair)
    weight = imitation.projections["hidden"].weight
    assert torch.equal(weight, torch.eye(8))
    imitation(**BATCH, labels=LABELS).backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (TinyBert, {"layers": "learned"}, "got layers 'learned' for TinyBert, expected one of origins"),
        (TinyBert, {"first_step": 1.0}, "expected a share between 0 and 1"),
        (DistilBert, {"alpha_cos": -1.0}, "got alpha_cos -1, expected a weight of at least 0"),
        (DistilBert, {"temperature": 0.0}, "expected a temperature above 0"),
        (MiniLMv2, {"relation_heads": 0}, "expected at least 1"),
        (MiniLM, {"values": float("nan")}, "got values nan"),
        (CoFi, {"prediction": 1.5}, r"expected a share in \[0, 1\]"),
    ],
)
def test_impossible_settings_are_refused(kind: type, settings: dict, message: str) -> None:
    with pytest.raises(TrimfitError, match=message):
        kind(**settings)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_its_name(name: str) -> None:
    assert name_of(objective_named(name)) == name
    assert objective_named(name) == objective_named(name)


def test_the_default_is_one_of_them() -> None:
    assert isinstance(objective_named(DEFAULT_OBJECTIVE), SoftTargets)
