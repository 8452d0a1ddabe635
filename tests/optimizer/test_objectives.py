import math

import pytest
import torch

from benchmarks.errors import TrimfitError
from optimizer.distillation.objectives import CrossEntropy, SoftTargets, loss
from optimizer.distillation.signals import Signals

LABELS = torch.tensor([0])


def said(logits: list[list[float]] | torch.Tensor) -> Signals:
    logits = torch.as_tensor(logits)
    return Signals(logits, torch.ones(len(logits), 1))


def softmax(values: list[float]) -> list[float]:
    total = sum(map(math.exp, values))
    return [math.exp(v) / total for v in values]


def test_soft_targets_are_hintons_formula_worked_out_by_hand() -> None:
    student, teacher, T, soft = [1.0, 0.0], [2.0, -1.0], 2.0, 0.7
    p = softmax([v / T for v in teacher])
    q = softmax([v / T for v in student])
    divergence = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    expected = soft * T * T * divergence - (1 - soft) * math.log(softmax(student)[0])
    got = loss(SoftTargets(T, soft), said([student]), LABELS, said([teacher]))
    assert got.item() == pytest.approx(expected, rel=1e-6)


def test_a_student_that_equals_its_teacher_has_only_the_labels_loss() -> None:
    logits = said([[0.3, -0.2, 1.0]])
    got = loss(SoftTargets(soft=0.7), logits, LABELS, logits)
    assert got.item() == pytest.approx(0.3 * loss(CrossEntropy(), logits, LABELS, None).item(), rel=1e-6)


def test_soft_gradients_keep_their_size_at_high_temperature() -> None:
    """Hinton et al. 2015, section 2.1: at high T the gradient is (z - v) / N, whatever T is, for centred logits."""
    z, v = torch.tensor([[0.5, -0.5]], requires_grad=True), torch.tensor([[-0.25, 0.25]])
    (gradient,) = torch.autograd.grad(loss(SoftTargets(1000.0, 1.0), said(z), LABELS, said(v)), z)
    assert torch.allclose(gradient, (z - v) / 2, atol=1e-3)


def test_soft_targets_without_a_teacher_say_what_is_missing() -> None:
    with pytest.raises(ValueError, match="need the teacher's logits"):
        loss(SoftTargets(), said([[0.0, 0.0]]), LABELS, None)


def test_an_unregistered_objective_is_refused() -> None:
    with pytest.raises(TypeError, match="not a distillation objective"):
        loss("hinton", said([[0.0, 0.0]]), LABELS, None)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"soft": 1.5}, {"temperature": float("nan")}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(TrimfitError, match="expected a temperature above 0"):
        SoftTargets(**settings)


def test_the_loss_is_each_rows_own() -> None:
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    whole = loss(SoftTargets(), said(logits), labels, said(logits.flip(0)))
    alone = [loss(SoftTargets(), said(logits[[i]]), labels[[i]], said(logits.flip(0)[[i]])).item() for i in (0, 1)]
    assert whole.tolist() == pytest.approx(alone)
