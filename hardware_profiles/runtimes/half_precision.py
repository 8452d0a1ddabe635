"""Half precision: an fp32 ONNX model in fp16, its attention as one operator that the GPU's fused kernels run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from benchmarks.onnx_file import file_parts
from hardware_profiles.runtimes.sparse.attention_cores import AttentionCore, attention_cores
from hardware_profiles.runtimes.sparse.graph_edits import declare, replace_nodes, sweep
from hardware_profiles.runtimes.sparse.graph_view import GraphView
from hardware_profiles.runtimes.sparse.linear_ends import linear_ends

__all__ = ["fuse_attention", "to_fp16", "write_fp16"]

_CONTRIB, _CONTRIB_VERSION = "com.microsoft", 1
_MASK = "attention_mask/int32"
_LARGEST = 65504.0
_SMALLEST = 5.97e-08  # the least that the converter takes; smaller weights become this large


def write_fp16(fp32_model: Path, target: Path, keep: Collection[str] = ()) -> Path:
    """Write an fp32 model in fp16; nodes of the names in `keep` stay in fp32, as do inputs and outputs."""
    large = len(file_parts(Path(fp32_model))) > 1
    made = to_fp16(fuse_attention(onnx.load(fp32_model)), keep)
    target = Path(target)
    onnx.save_model(made, target, save_as_external_data=large, location=f"{target.name}_data" if large else None)
    return target


def to_fp16(model: onnx.ModelProto, keep: Collection[str] = ()) -> onnx.ModelProto:
    """The model with weights and activations in fp16, by onnxruntime's own converter. Inputs and outputs stay fp32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    with _silent():
        found: onnx.ModelProto = convert_float_to_float16(
            model,
            min_positive_val=_SMALLEST,
            max_finite_val=_LARGEST,
            keep_io_types=True,
            node_block_list=list(keep),
        )
        OnnxModel(found).topological_sort()  # its casts come last
    return found


def fuse_attention(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every self-attention that can be recognised is one MultiHeadAttention.

    It is recognised by what it computes (`attention_cores`), so that heads may differ from layer to layer. What is not
    recognised stays as it is.
    """
    fused = onnx.ModelProto()
    fused.CopyFrom(model)
    view = GraphView(fused)
    layers = list(linear_ends(view))
    cores = list(attention_cores(view, layers))
    if not cores:
        return fused
    features = {layer.output: layer.features for layer in layers}
    made = {core.output: [_attention(core)] for core in cores}
    made[cores[0].output].insert(0, helper.make_node("Cast", [cores[0].attention_mask], [_MASK], to=TensorProto.INT32))
    replace_nodes(fused.graph, made)
    # the converter to fp16 has to know what the new operator makes
    declare(
        fused.graph,
        (
            helper.make_tensor_value_info(core.output, TensorProto.FLOAT, [None, None, features[core.value]])
            for core in cores
        ),
    )
    sweep(fused.graph)
    if not any(entry.domain == _CONTRIB for entry in fused.opset_import):
        fused.opset_import.append(helper.make_opsetid(_CONTRIB, _CONTRIB_VERSION))
    return fused


def _attention(core: AttentionCore) -> onnx.NodeProto:
    return helper.make_node(
        "MultiHeadAttention",
        [core.query, core.key, core.value, "", _MASK],
        [core.output],
        name=f"{core.output}/attention",
        domain=_CONTRIB,
        num_heads=core.heads,
        scale=core.scale,
    )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The converter warns of each weight that fp16 rounds to its least or its largest value."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
