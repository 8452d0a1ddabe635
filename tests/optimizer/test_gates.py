import pytest
import torch
from torch.nn import functional as F

from benchmarks.errors import TrimfitError
from optimizer.gates import gated, skipping
from optimizer.surgery import LayerPlan, keep

WHOLE = LayerPlan(heads=(0, 1, 2, 3), ffn=tuple(range(12)))
LABELS = torch.tensor([0, 1, 2, 0])


def test_open_gates_change_nothing(family, make_classifier, batch):
    model = make_classifier(family)
    before = model(**batch).logits
    with gated(model) as gates:
        assert [gate.shape for gate in gates.heads] == [(4,)] * 3
        assert [gate.shape for gate in gates.ffn] == [(12,)] * 3
        assert torch.equal(model(**batch).logits, before)


def test_gates_are_gone_afterwards(family, make_classifier, batch):
    model = make_classifier(family)
    before = model(**batch).logits
    with gated(model) as gates:
        gates.set([None, WHOLE, WHOLE])
        assert not torch.equal(model(**batch).logits, before)
    assert torch.equal(model(**batch).logits, before)


def test_a_closed_head_hands_nothing_to_the_output_projection(family, make_classifier, batch):
    model = make_classifier(family)
    with gated(model) as gates:
        gates.heads[1].data[2] = 0
        masked = model(**batch).logits
    cut, _ = keep(model, [WHOLE, LayerPlan(heads=(0, 1, 3), ffn=WHOLE.ffn), WHOLE])
    torch.testing.assert_close(cut(**batch).logits, masked, atol=1e-6, rtol=0)


def test_gradients_are_the_slopes_of_the_loss(family, make_classifier, batch):
    model = make_classifier(family).double()
    step = 1e-6
    with gated(model) as gates:
        heads, ffn = gates.gradients(F.cross_entropy(model(**batch).logits, LABELS))
        for gate, gradient in ((gates.heads[0], heads[0]), (gates.ffn[2], ffn[2])):
            gate.data[1] = 1 + step
            high = F.cross_entropy(model(**batch).logits, LABELS)
            gate.data[1] = 1 - step
            low = F.cross_entropy(model(**batch).logits, LABELS)
            gate.data[1] = 1
            assert gradient[1].item() == pytest.approx(((high - low) / (2 * step)).item(), rel=1e-3, abs=1e-7)


def test_one_gate_per_row_gives_every_rows_gradient_in_one_backward_pass(family, make_classifier, batch):
    model = make_classifier(family)
    with gated(model, rows=4) as gates:
        together, _ = gates.gradients(F.cross_entropy(model(**batch).logits, LABELS, reduction="sum"))
    for row in range(4):
        alone = {name: values[row : row + 1] for name, values in batch.items()}
        with gated(model) as gates:
            single, _ = gates.gradients(F.cross_entropy(model(**alone).logits, LABELS[row : row + 1]))
        torch.testing.assert_close(together[1][row], single[1], atol=1e-6, rtol=1e-4)


def test_removed_blocks_have_gates_of_width_0(family, make_classifier, batch):
    model, _ = keep(make_classifier(family), [LayerPlan(heads=(), ffn=()), WHOLE, WHOLE])
    with gated(model) as gates:
        heads, ffn = gates.gradients(model(**batch).logits.sum())
    assert heads[0].shape == ffn[0].shape == (0,)


def test_a_skipped_layer_hands_on_what_it_got(family, make_classifier, batch):
    model = make_classifier(family)
    with skipping(model, [1]):
        states = model(**batch, output_hidden_states=True).hidden_states
        assert len(states) == 3
        skipped = model(**batch).logits
    cut, _ = keep(model, [WHOLE, None, WHOLE])
    assert torch.equal(cut(**batch).logits, skipped)


def test_skipped_layers_are_back_afterwards(make_classifier, batch):
    model = make_classifier()
    before = model(**batch).logits
    with skipping(model, [0, 1, 2]):
        assert not torch.equal(model(**batch).logits, before)
    assert torch.equal(model(**batch).logits, before)


def test_only_layers_that_exist_can_be_skipped(make_classifier):
    with (
        pytest.raises(TrimfitError, match=r"got layers \[3\] to skip, expected indices below 3"),
        skipping(make_classifier(), [3]),
    ):
        pass
