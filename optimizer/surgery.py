"""Surgery: heads, neurons and layers that leave a model, with their rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer.architecture import Architecture, LayerShape
from optimizer.encoders import EncoderLayer, walk
from optimizer.hidden_size import narrow_hidden
from optimizer.narrowing import keep_inputs, keep_outputs
from optimizer.removed_blocks import BiasOnly, NoNeurons, RemovedAttention

__all__ = ["LayerOrigin", "LayerPlan", "SurgeryReport", "compose", "keep", "keep_hidden", "reshape"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LayerPlan(_Record):
    """What to keep of one layer: indices of heads and of FFN neurons, each rising. () removes that block."""

    heads: tuple[int, ...]
    ffn: tuple[int, ...]


class LayerOrigin(_Record):
    """Where a surviving layer comes from: its layer, heads and neurons in the model that was cut."""

    layer: int
    heads: tuple[int, ...]
    ffn: tuple[int, ...]


class SurgeryReport(_Record):
    """Shape before and after, and the origin of every layer that is left.

    `dimensions` are those of the hidden states before that are left, rising; None where all are.
    """

    before: Architecture
    after: Architecture
    layers: tuple[LayerOrigin, ...]
    dimensions: tuple[int, ...] | None = None

    @classmethod
    def untouched(cls, architecture: Architecture) -> SurgeryReport:
        """Report that everything was kept; the first of a chain of `compose`."""
        layers = (
            LayerOrigin(layer=index, heads=tuple(range(layer.heads)), ffn=tuple(range(layer.ffn)))
            for index, layer in enumerate(architecture.layers)
        )
        return cls(before=architecture, after=architecture, layers=tuple(layers))


def compose(first: SurgeryReport, second: SurgeryReport) -> SurgeryReport:
    """Join two surgeries on the same model, the second done after the first, into one.

    The indices of the result refer to the model before the first. Raises TrimfitError when `second` did not
    start from the shape that `first` ended with.
    """
    if first.after != second.before:
        raise TrimfitError(
            f"got a surgery of layers {_widths(second.before)}, expected {_widths(first.after)}: "
            "compose reports in the order in which the model was cut"
        )
    layers = (_traced(first.layers[origin.layer], origin) for origin in second.layers)
    dimensions = _traced_dimensions(first.dimensions, second.dimensions)
    return SurgeryReport(before=first.before, after=second.after, layers=tuple(layers), dimensions=dimensions)


def _traced_dimensions(earlier: tuple[int, ...] | None, later: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if earlier is None or later is None:
        return later if earlier is None else earlier
    return tuple(earlier[dimension] for dimension in later)


def _traced(earlier: LayerOrigin, later: LayerOrigin) -> LayerOrigin:
    return LayerOrigin(
        layer=earlier.layer,
        heads=tuple(earlier.heads[head] for head in later.heads),
        ffn=tuple(earlier.ffn[neuron] for neuron in later.ffn),
    )


def keep(model: PreTrainedModel, plan: Sequence[LayerPlan | None]) -> tuple[PreTrainedModel, SurgeryReport]:
    """Keep what `plan` names of each layer and remove the rest, in place.

    Args:
        model: a supported encoder, with a head or bare. Its logits become those that it gave with the removed
            heads' and neurons' activations set to zero, and the removed layers skipped.
        plan: one entry per layer; None removes the layer. A block without heads or neurons leaves its output
            bias, the residual connection and LayerNorm.

    Returns:
        The same model, whose config tells the new shape, and what was kept.

    Raises TrimfitError for a plan that does not fit the model or leaves no layer.
    """
    before = Architecture.of(model)
    _check(plan, before)
    encoder = walk(model)
    kept = [
        (index, layer, entry)
        for index, (layer, entry) in enumerate(zip(encoder.layers, plan, strict=True))
        if entry is not None
    ]
    for _, layer, entry in kept:
        _cut_attention(layer, entry.heads)
        _cut_ffn(layer, entry.ffn)
    encoder.layer_list = nn.ModuleList(layer.module for _, layer, _ in kept)
    _write_shape(model)
    origins = tuple(LayerOrigin(layer=index, heads=entry.heads, ffn=entry.ffn) for index, _, entry in kept)
    report = SurgeryReport(before=before, after=Architecture.of(model), layers=origins)
    _verify(model, report)
    return model, report


def keep_hidden(model: PreTrainedModel, dimensions: Sequence[int]) -> tuple[PreTrainedModel, SurgeryReport]:
    """Keep these dimensions of the hidden states, the residual stream that all layers share, and remove the others.

    In place, from embeddings, every layer, LayerNorms and whatever reads the last layer; heads keep their size. What
    is left is the model with the removed dimensions at zero and LayerNorms that do not count them. config.json says the
    new size under `trimfit`; its `hidden_size` stays that at which transformers builds the model before it is cut.

    Args:
        model: a supported encoder, bare or a sequence classifier.
        dimensions: rising indices.

    Returns:
        The same model, and the shape before and after; no layer, head or neuron went.

    Raises TrimfitError for indices that do not fit, or none.
    """
    before = Architecture.of(model)
    kept = tuple(dimensions)
    if not kept:
        raise TrimfitError("got no dimensions to keep, expected at least one: keep some of the hidden states")
    _check_indices(kept, before.hidden_size, "hidden dimensions")
    narrow_hidden(model, kept)
    _write_shape(model)
    gone = {"after": Architecture.of(model), "dimensions": kept if len(kept) < before.hidden_size else None}
    report = SurgeryReport.untouched(before).model_copy(update=gone)
    if report.after != before.model_copy(update={"hidden_size": len(kept)}):
        raise RuntimeError(
            f"surgery left hidden size {report.after.hidden_size}, planned {len(kept)}: a bug in trimfit"
        )
    _verify(model, report)
    return model, report


def reshape(model: PreTrainedModel, architecture: Architecture) -> PreTrainedModel:
    """Give a freshly built model the shape of `architecture`, in place; any weights may survive.

    Raises TrimfitError when the model is smaller than `architecture` somewhere.
    """
    shape = Architecture.of(model)
    surplus = shape.depth - architecture.depth
    plan = [LayerPlan(heads=tuple(range(layer.heads)), ffn=tuple(range(layer.ffn))) for layer in architecture.layers]
    keep(model, [*plan, *[None] * surplus])
    if architecture.hidden_size != shape.hidden_size:
        keep_hidden(model, range(architecture.hidden_size))
    return model


def _check(plan: Sequence[LayerPlan | None], shape: Architecture) -> None:
    if len(plan) != shape.depth:
        raise TrimfitError(
            f"got a plan for {len(plan)} layers, expected {shape.depth}: name every layer, None to remove it"
        )
    if all(entry is None for entry in plan):
        raise TrimfitError("got a plan that removes every layer, expected one to stay: keep at least one layer")
    for index, (entry, layer) in enumerate(zip(plan, shape.layers, strict=True)):
        if entry is not None:
            _check_indices(entry.heads, layer.heads, f"heads of layer {index}")
            _check_indices(entry.ffn, layer.ffn, f"FFN neurons of layer {index}")


def _check_indices(indices: tuple[int, ...], total: int, what: str) -> None:
    rising = all(low < high for low, high in pairwise(indices))
    if not rising or (indices and not 0 <= indices[0] <= indices[-1] < total):
        shown = f"{indices[:8]}..." if len(indices) > 8 else f"{indices}"
        raise TrimfitError(f"got {what} {shown}, expected rising indices below {total}: sort them and drop repeats")


def _cut_attention(layer: EncoderLayer, heads: tuple[int, ...]) -> None:
    if len(heads) == layer.heads:
        return
    if not heads:
        _remove_attention(layer)
        return
    device = layer.query.weight.device
    rows = torch.tensor(heads, device=device)[:, None] * layer.head_size + torch.arange(layer.head_size, device=device)
    for projection in (layer.query, layer.key, layer.value):
        keep_outputs(projection, rows.flatten())
    keep_inputs(layer.attention_output, rows.flatten())
    setattr(layer.attention, layer.family.heads_attribute, len(heads))
    setattr(layer.attention, layer.family.width_attribute, len(heads) * layer.head_size)


def _remove_attention(layer: EncoderLayer) -> None:
    bias = BiasOnly(layer.attention_output).train(layer.module.training)
    inside, _, name = layer.family.attention_output.rpartition(".")
    output_inside = inside == layer.family.attention
    layer.attention = RemovedAttention(name if output_inside else None).train(layer.module.training)
    layer.attention_output = bias


def _cut_ffn(layer: EncoderLayer, neurons: tuple[int, ...]) -> None:
    if len(neurons) == layer.ffn:
        return
    if not neurons:
        layer.down = BiasOnly(layer.down).train(layer.module.training)
        layer.up = NoNeurons().train(layer.module.training)
        return
    index = torch.tensor(neurons, device=layer.up.weight.device)
    keep_outputs(layer.up, index)
    keep_inputs(layer.down, index)


def _write_shape(model: PreTrainedModel) -> None:
    """Make the config tell the shape; transformers alone can load it where every layer has the same width."""
    architecture = Architecture.of(model)
    config = model.config
    config.num_hidden_layers = architecture.depth
    config.pruned_heads = {}  # transformers would prune again at every load
    widths = {layer.ffn for layer in architecture.layers}
    if len(widths) == 1 and 0 not in widths:
        setattr(config, walk(model).family.ffn_field, widths.pop())
    config.trimfit = architecture.as_config()


def _verify(model: PreTrainedModel, report: SurgeryReport) -> None:
    encoder = walk(model)
    planned = tuple(LayerShape(heads=len(origin.heads), ffn=len(origin.ffn)) for origin in report.layers)
    if report.after.layers != planned or not all(_consistent(layer, encoder.hidden_size) for layer in encoder.layers):
        raise RuntimeError(f"surgery left layers {_widths(report.after)}, planned {planned}: this is a bug in trimfit")


def _consistent(layer: EncoderLayer, hidden: int) -> bool:
    width, ffn = layer.heads * layer.head_size, layer.ffn
    expected = dict.fromkeys(("query", "key", "value"), (width, hidden))
    expected |= {"attention_output": (hidden, width), "up": (ffn, hidden), "down": (hidden, ffn)}
    return all(tuple(linear.weight.shape) == expected[name] for name, linear in layer.linears().items())


def _widths(architecture: Architecture) -> str:
    return ", ".join(f"{layer.heads} heads/{layer.ffn}" for layer in architecture.layers)
