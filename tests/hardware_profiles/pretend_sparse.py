"""A runtime that takes the options of the one with sparse operators and runs everything dense."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from hardware_profiles import OnnxRuntimeCpu

NAME = "onnxruntime-cpu+sparse"


@dataclass(frozen=True)
class PretendSparse:
    dense: OnnxRuntimeCpu = field(default_factory=OnnxRuntimeCpu)
    break_even: dict = field(default_factory=dict)
    custom_op_library: str = "/nowhere/libtrimfit.so"

    name = NAME
    precisions = ("fp32", "int8")
    contested: ClassVar[dict[str, str]] = {}
    skips_zeros = True

    def at(self, precision):
        return self

    def loader(self):
        return None

    version = "1.0"

    def options(self):
        extra = {"break_even": self.break_even} if self.break_even else {}
        return {**self.dense.options(), "custom_op_library": self.custom_op_library, **extra}

    def with_options(self, options):
        mine = {key: options[key] for key in ("break_even", "custom_op_library") if key in options}
        rest = {key: value for key, value in options.items() if key not in mine}
        return PretendSparse(self.dense.with_options(rest), **mine)

    def alternatives(self, threads):
        return {"stock": self}

    def session(self, path, threads):
        return self.dense.session(path, threads)

    def prepare(self, fp32_model, precision, target, calibration=None, keep_fp32=()):
        return self.dense.prepare(fp32_model, precision, target, calibration, keep_fp32)
