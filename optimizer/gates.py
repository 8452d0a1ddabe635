"""Gates on heads, FFN neurons and hidden dimensions: to ask what a model would be without them before it is cut.

A gate is a factor on what a head or neuron hands on, that is on the input of the projection that follows it.
At 1 nothing changes, at 0 the head or neuron is gone exactly as `surgery.keep` would have it, and the
gradient with respect to a gate is what importance formulas are made of. No formula lives here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from benchmarks.errors import TrimfitError
from optimizer.encoders import EncoderLayer, walk
from optimizer.hidden_size import entry_of
from optimizer.surgery import LayerPlan

__all__ = ["Gates", "gated", "gated_hidden", "skipping"]


@dataclass(frozen=True)
class Gates:
    """The gates of a model, one tensor per layer: `heads[layer]` and `ffn[layer]`.

    Each has shape [heads] or [neurons], or [rows, heads] or [rows, neurons] where one gate per row of the
    batch was asked for. They require gradients; a removed block has width 0. To mask, write zeros into
    `.data`, or call `set`.
    """

    heads: tuple[torch.Tensor, ...]
    ffn: tuple[torch.Tensor, ...]

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Return the gates of all layers' heads, then of all layers' neurons."""
        return (*self.heads, *self.ffn)

    def gradients(self, loss: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Differentiate a scalar with respect to the gates of heads and of neurons.

        The gradients have the gates' shapes; the `.grad` of the model's own weights is not touched.
        """
        found = torch.autograd.grad(loss, self.tensors(), allow_unused=True, materialize_grads=True)
        return list(found[: len(self.heads)]), list(found[len(self.heads) :])

    def set(self, plan: Sequence[LayerPlan | None]) -> None:
        """Open what `plan` keeps and close the rest. For a layer that is None, use `skipping` as well."""
        for heads, ffn, entry in zip(self.heads, self.ffn, plan, strict=True):
            _open_only(heads, entry.heads if entry else ())
            _open_only(ffn, entry.ffn if entry else ())


def _open_only(gate: torch.Tensor, indices: tuple[int, ...]) -> None:
    with torch.no_grad():
        gate.zero_()
        gate[..., list(indices)] = 1.0


@contextmanager
def gated(model: PreTrainedModel, rows: int | None = None) -> Iterator[Gates]:
    """Put gates, all 1, into a model; they are gone when the context ends.

    Args:
        model: a supported encoder, with a head or bare.
        rows: one gate per row of a batch with this many rows, so that one backward pass gives the gradient of
            every row by itself (sum the rows' losses). None: one gate for all rows.
    """
    layers = walk(model).layers
    gates = Gates(
        heads=tuple(_ones(layer, layer.heads, rows) for layer in layers),
        ffn=tuple(_ones(layer, layer.ffn, rows) for layer in layers),
    )
    handles = []
    try:
        for layer, heads, ffn in zip(layers, gates.heads, gates.ffn, strict=True):
            handles.append(layer.attention_output.register_forward_pre_hook(_times(heads, layer.head_size)))
            handles.append(layer.down.register_forward_pre_hook(_times(ffn, 1)))
        yield gates
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def gated_hidden(model: PreTrainedModel, rows: int | None = None) -> Iterator[torch.Tensor]:
    """Put one gate on each dimension of the hidden states, the same one wherever they are read: [hidden] of ones.

    It multiplies what the embeddings and every LayerNorm of a layer give. A closed one is not yet what
    `surgery.keep_hidden` does: LayerNorms count the dimension until it is removed.

    Args:
        model: a supported encoder, with a head or bare.
        rows: a gate for each row of a batch, [rows, hidden], as in `gated`.
    """
    encoder = walk(model)
    like = next(encoder.layer_list.parameters())
    shape = (encoder.hidden_size,) if rows is None else (rows, encoder.hidden_size)
    gate = torch.ones(shape, device=like.device, dtype=like.dtype, requires_grad=True)

    def multiply(_: nn.Module, __: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        return output * (gate if gate.dim() == 1 else gate[:, None, :]).to(output.dtype)

    norms = [module for module in encoder.layer_list.modules() if isinstance(module, nn.LayerNorm)]
    handles = [module.register_forward_hook(multiply) for module in (entry_of(encoder), *norms)]
    try:
        yield gate
    finally:
        for handle in handles:
            handle.remove()


def _ones(layer: EncoderLayer, width: int, rows: int | None) -> torch.Tensor:
    shape = (width,) if rows is None else (rows, width)
    like = next(layer.module.parameters())
    return torch.ones(shape, device=like.device, dtype=like.dtype, requires_grad=True)


def _times(gate: torch.Tensor, size: int) -> Callable[[nn.Module, tuple[torch.Tensor]], tuple[torch.Tensor]]:
    """Hook that multiplies an input [rows, tokens, width * size] by a gate [width] or [rows, width]."""

    def multiply(_: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        factors = gate if size == 1 else gate.repeat_interleave(size, dim=-1)
        return (inputs[0] * (factors if gate.dim() == 1 else factors[:, None, :]).to(inputs[0].dtype),)

    return multiply


@contextmanager
def skipping(model: PreTrainedModel, layers: Iterable[int]) -> Iterator[None]:
    """Run a model without the layers of these indices, which are neither computed nor changed.

    Raises TrimfitError for a layer that the model does not have.
    """
    encoder = walk(model)
    whole, skipped = encoder.layer_list, set(layers)
    if not skipped <= set(range(len(whole))):
        raise TrimfitError(f"got layers {sorted(skipped)} to skip, expected indices below {len(whole)}")
    try:
        encoder.layer_list = nn.ModuleList(layer for index, layer in enumerate(whole) if index not in skipped)
        yield
    finally:
        encoder.layer_list = whole
