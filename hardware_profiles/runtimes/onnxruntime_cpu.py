"""onnxruntime on the CPU: fp32 as it is, int8 by dynamic quantisation, or by static with calibration rows."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic

from benchmarks.errors import TrimfitError
from benchmarks.onnx_file import load_graph
from hardware_profiles.isa import instruction_sets, multiplies_int8_exactly
from hardware_profiles.runtimes.embedding_tables import coarse_lookups
from hardware_profiles.runtimes.runtime import LOGIT_TOLERANCE, Feeds, Session
from hardware_profiles.runtimes.static_int8 import linear_nodes, quantize_linears

__all__ = ["OnnxRuntimeCpu"]

_LEVELS = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_SPINNING = "session.intra_op.allow_spinning"


@dataclass(frozen=True)
class OnnxRuntimeCpu:
    """The stock wheel's CPUExecutionProvider with its options.

    `config` holds session configuration entries. `reduce_range` quantises weights to 7 bits, as x86 without
    VNNI needs, where 8-bit products saturate in 16 bits; None: as this machine needs. `quantize_embeddings`
    stores the embedding tables in int8 too: a quarter of the bytes at no measured cost in latency.
    """

    disabled_optimizers: tuple[str, ...] = ()
    graph_optimization_level: str = "all"
    config: tuple[tuple[str, str], ...] = ()
    reduce_range: bool | None = None
    quantize_embeddings: bool = True

    name = "onnxruntime-cpu"
    precisions = ("fp32", "int8", "int8-static")
    contested: ClassVar[Mapping[str, str]] = {"int8-static": "int8"}
    skips_zeros = False
    logit_tolerance = LOGIT_TOLERANCE

    @property
    def version(self) -> str:
        """Version of the installed onnxruntime."""
        return str(onnxruntime.__version__)

    def at(self, precision: str) -> OnnxRuntimeCpu:
        """Itself: the precision is in the model."""
        return self

    def options(self) -> dict[str, Any]:
        """Options that differ from stock, JSON-able."""
        options: dict[str, Any] = {}
        if self.disabled_optimizers:
            options["disabled_optimizers"] = list(self.disabled_optimizers)
        if self.graph_optimization_level != "all":
            options["graph_optimization_level"] = self.graph_optimization_level
        if self.config:
            options["config"] = dict(self.config)
        return options

    def with_options(self, options: Mapping[str, Any]) -> OnnxRuntimeCpu:
        """The same runtime with exactly these options. Raises TrimfitError for an unknown one."""
        unknown = set(options) - {"disabled_optimizers", "graph_optimization_level", "config"}
        if unknown:
            raise TrimfitError(
                f"got option {min(unknown)!r} for {self.name}, expected disabled_optimizers,"
                " graph_optimization_level or config"
            )
        return replace(
            self,
            disabled_optimizers=tuple(options.get("disabled_optimizers", ())),
            graph_optimization_level=options.get("graph_optimization_level", "all"),
            config=tuple(sorted(options.get("config", {}).items())),
        )

    def alternatives(self, threads: int) -> dict[str, OnnxRuntimeCpu]:
        """Stock, without the fusion that loses on some CPUs, and without spinning where threads wait."""
        unfused = replace(self, disabled_optimizers=("SkipLayerNormFusion",))
        sets = {"stock": self, "SkipLayerNormFusion off": unfused}
        if threads > 1:
            quiet = ((_SPINNING, "0"),)
            sets["spinning off"] = replace(self, config=quiet)
            sets["SkipLayerNormFusion and spinning off"] = replace(unfused, config=quiet)
        return sets

    def loader(self) -> None:
        """The worker's own way."""

    def session(self, path: Path, threads: int) -> Session:
        """Load a model with `threads` intra-op threads. Raises TrimfitError when it cannot be loaded."""
        return self.load(path, self.session_options(threads))

    def session_options(self, threads: int) -> onnxruntime.SessionOptions:
        """onnxruntime's own options for `threads` intra-op threads."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.graph_optimization_level = self._level()
        for key, value in self.config:
            options.add_session_config_entry(key, value)
        return options

    def load(self, path: Path, options: onnxruntime.SessionOptions) -> Session:
        """Load a model with these `session_options`. Raises TrimfitError when it cannot be loaded."""
        try:
            session: Session = onnxruntime.InferenceSession(
                str(path),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=list(self.disabled_optimizers),
            )
        # onnxruntime raises its own classes, which it does not export
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TrimfitError(f"got {path}, expected an ONNX model that onnxruntime loads: {reason}") from error
        return session

    def prepare(
        self,
        fp32_model: Path,
        precision: str,
        target: Path,
        calibration: Feeds | None = None,
        keep_fp32: Collection[str] = (),
    ) -> Path:
        """Make the model of a precision.

        "fp32" is the file itself. "int8" writes `target`: weights of MatMul and Gemm int8 per output channel,
        embedding tables int8 where that is fine enough, activations quantised at run time. "int8-static" quantises
        the activations of the encoder's linear layers with scales taken from the rows of `calibration`. Nodes of
        the names in `keep_fp32` stay as they are. Raises TrimfitError for another precision, or rows that lack.
        """
        if precision == "fp32":
            return Path(fp32_model)
        if precision not in self.precisions:
            raise TrimfitError(f"got precision {precision!r}, expected one of {', '.join(self.precisions)}")
        source, target = Path(fp32_model), Path(target)
        if precision == "int8":
            return self._dynamic(source, target, ["MatMul", "Gemm", "Gather"], keep_fp32)
        rows = list(calibration or ())
        if not rows:
            raise TrimfitError(f"got no rows for {precision}, expected some to calibrate with: give `calibration`")
        with tempfile.TemporaryDirectory(prefix=".static-", dir=target.parent) as folder, _without_advice():
            between = self._dynamic(source, Path(folder) / "embeddings.onnx", ["Gather"], keep_fp32)
            return quantize_linears(
                between,
                target,
                rows,
                nodes=[name for name in linear_nodes(load_graph(source)) if name not in keep_fp32],
                reduce_range=self._reduces_range(),
                signed="asimd" in instruction_sets(),
            )

    def _dynamic(self, source: Path, target: Path, operators: list[str], keep: Collection[str]) -> Path:
        with _without_advice():
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=operators,
                nodes_to_exclude=[*self._lookups_left(onnx.load(source)), *keep],
                per_channel=True,
                reduce_range=self._reduces_range(),
                weight_type=QuantType.QInt8,
            )
        return target

    def _lookups_left(self, model: onnx.ModelProto) -> list[str]:
        if self.quantize_embeddings:
            return coarse_lookups(model)
        return [node.name for node in model.graph.node if node.op_type == "Gather"]

    def _reduces_range(self) -> bool:
        return not multiplies_int8_exactly(instruction_sets()) if self.reduce_range is None else self.reduce_range

    def _level(self) -> Any:
        try:
            return _LEVELS[self.graph_optimization_level]
        except KeyError:
            raise TrimfitError(
                f"got graph_optimization_level {self.graph_optimization_level!r}, expected one of {', '.join(_LEVELS)}"
            ) from None


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence the quantiser's advice to pre-process: it changes nothing for these graphs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
