"""OpenVINO on the CPU, as a plug-in execution provider of the stock onnxruntime."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import onnxruntime

from benchmarks.environment import read_environment
from benchmarks.errors import TrimfitError
from benchmarks.place import current_place
from hardware_profiles.isa import instruction_sets
from hardware_profiles.runtimes.onnxruntime_cpu import OnnxRuntimeCpu
from hardware_profiles.runtimes.runtime import LOGIT_TOLERANCE, Feeds, Session

__all__ = ["OpenVinoEp"]

PACKAGE, DISTRIBUTION = "onnxruntime_ep_openvino", "onnxruntime-ep-openvino"
THREADS = "{threads}"  # stands for the number of threads in the provider's options
_BF16 = {"avx512_bf16", "amx_bf16"}
_HINTS = {"bf16": "bf16"}  # everything else computes what is not int8 in f32


@dataclass(frozen=True)
class OpenVinoEp:
    """The plug-in's CPU device with the precision it computes floats in: "f32", or "bf16" where the CPU has that.

    Making one raises TrimfitError where the plug-in is not installed, or offers no CPU device.
    """

    hint: str = "f32"

    name = "openvino-ep"
    contested: ClassVar[Mapping[str, str]] = {}
    skips_zeros = False
    logit_tolerance = LOGIT_TOLERANCE

    def __post_init__(self) -> None:
        _device()

    @property
    def version(self) -> str:
        """Versions of onnxruntime and of the plug-in."""
        return f"{onnxruntime.__version__}+{version(DISTRIBUTION)}"

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions that `prepare` makes; bf16 only where the CPU multiplies it."""
        return ("fp32", "bf16", "int8") if _BF16.intersection(instruction_sets()) else ("fp32", "int8")

    def at(self, precision: str) -> OpenVinoEp:
        """The same runtime with floats of this precision."""
        return replace(self, hint=_HINTS.get(precision, "f32"))

    def options(self) -> dict[str, Any]:
        """The plug-in and what it is told, JSON-able."""
        plugin = _plugin()
        return {
            "ep": {
                "name": plugin.get_ep_name(),
                "package": PACKAGE,
                "library": plugin.get_library_path(),
                "device": "CPU",
                "options": {"load_config": self._config(THREADS)},
            }
        }

    def with_options(self, options: Mapping[str, Any]) -> OpenVinoEp:
        """The same runtime with exactly these options; the plug-in is always this machine's.

        Raises TrimfitError for an unknown option.
        """
        if unknown := set(options) - {"ep"}:
            raise TrimfitError(f"got option {min(unknown)!r} for {self.name}, expected ep")
        config = options.get("ep", {}).get("options", {}).get("load_config")
        return replace(self, hint=json.loads(config)["CPU"]["INFERENCE_PRECISION_HINT"] if config else "f32")

    def alternatives(self, threads: int) -> dict[str, OpenVinoEp]:
        """None but itself: the provider compiles the whole graph, and onnxruntime's fusions do not matter."""
        return {"stock": self}

    def loader(self) -> None:
        """The worker's own way: the plug-in is among its options."""

    def session(self, path: Path, threads: int) -> Session:
        """Load a model with `threads` threads. Raises TrimfitError when it cannot be loaded, or runs elsewhere."""
        options = OnnxRuntimeCpu().session_options(threads)
        options.add_provider_for_devices([_device()], {"load_config": self._config(str(threads))})
        try:
            session: Session = onnxruntime.InferenceSession(str(path), options)
        # onnxruntime raises its own classes, which it does not export
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TrimfitError(f"got {path}, expected an ONNX model that {self.name} loads: {reason}") from error
        name = _plugin().get_ep_name()
        if name not in (found := session.get_providers()):  # type: ignore[attr-defined]
            raise TrimfitError(f"got {path} run by {', '.join(found)}, expected {name}: use {OnnxRuntimeCpu.name}")
        return session

    def prepare(
        self,
        fp32_model: Path,
        precision: str,
        target: Path,
        calibration: Feeds | None = None,
        keep_fp32: Collection[str] = (),
    ) -> Path:
        """Make the model of a precision: the file itself for "fp32" and "bf16"; "int8" is onnxruntime's static int8.

        Raises TrimfitError for another precision, or int8 without rows.
        """
        if precision not in self.precisions:
            raise TrimfitError(f"got precision {precision!r}, expected one of {', '.join(self.precisions)}")
        if precision != "int8":
            return Path(fp32_model)
        return OnnxRuntimeCpu().prepare(fp32_model, "int8-static", target, calibration, keep_fp32)

    def _config(self, threads: str) -> str:
        return json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": self.hint, "INFERENCE_NUM_THREADS": threads}})


def _plugin() -> Any:
    try:
        return import_module(PACKAGE)
    except ImportError as error:
        raise TrimfitError(
            f"got no {DISTRIBUTION} in this environment, expected it for openvino-ep: pip install {DISTRIBUTION}"
        ) from error


@lru_cache(maxsize=1)
def _register(name: str, library: str) -> None:
    """Once a process: a second time is an error."""
    try:
        onnxruntime.register_execution_provider_library(name, library)
    # onnxruntime raises its own classes, which it does not export; older ones have no such function
    except Exception as error:
        raise TrimfitError(
            f"got {type(error).__name__} from onnxruntime {onnxruntime.__version__} for {name}, expected it to take"
            f" the plug-in ({str(error).splitlines()[0] if str(error) else 'no words'}): pip install -U onnxruntime"
            f" {DISTRIBUTION}"
        ) from error


def _device() -> Any:
    """The plug-in's CPU device. Raises TrimfitError saying what is missing."""
    if not (place := current_place()).is_here:
        raise TrimfitError(f"got {place.name} for {OpenVinoEp.name}, expected local: the plug-in is not sent elsewhere")
    plugin = _plugin()
    name = plugin.get_ep_name()
    _register(name, plugin.get_library_path())
    offered = [entry for entry in onnxruntime.get_ep_devices() if entry.ep_name == name]
    for entry in offered:
        if entry.device.type.name == "CPU":
            return entry
    kinds = ", ".join(entry.device.type.name for entry in offered) or "no device"
    raise TrimfitError(
        f"got {kinds} from {DISTRIBUTION} {version(DISTRIBUTION)} on {read_environment().cpu}, expected its CPU device,"
        f" which it offers on Intel's CPUs alone (microsoft/onnxruntime#31981): use {OnnxRuntimeCpu.name}"
    )
