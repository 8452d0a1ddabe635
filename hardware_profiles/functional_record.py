"""FunctionalRecord: what a model computes on an emulated processor, and how far that is from another machine's answer.

It has no field for a time and takes no field that it does not know: how long an emulator takes says nothing about a
device, not even which of two models is the faster one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["FunctionalRecord", "QuantumAgreement"]

Distance = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class QuantumAgreement(BaseModel):
    """How far quantised activations are apart, in quanta.

    A quantum is one step of the scale with which a QuantizeLinear rounds an activation to an integer. Floats that
    differ in their last bits may lie on two sides of a rounding boundary: then the integers are one quantum apart, and
    what is computed from them differs too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensors: int = Field(ge=1)
    values: int = Field(ge=1)
    differing: int = Field(ge=0)
    """Values that are not equal."""
    first: int = Field(ge=0)
    """Largest difference in the first tensor computed that differs: what follows from it may be further apart."""
    most: int = Field(ge=0)
    """Largest difference in any."""


class FunctionalRecord(BaseModel):
    """One model file on one emulated processor, its logits beside those of the reference machine.

    `max_relative_difference` is the largest absolute difference over the largest absolute logit of the reference.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    provenance: Literal["emulated_functional"] = "emulated_functional"
    processor: str
    emulator: str
    runtime: str
    reference: str
    """Machine and runtime whose answers were expected."""
    model: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    precision: str
    rows: int = Field(ge=1)
    max_abs_difference: Distance
    max_relative_difference: Distance
    max_quantisation_difference: Distance | None = None
    """Largest difference of the reference's own logits from those it gives in fp32; None in fp32."""
    quanta: QuantumAgreement | None = None
    """Of a model whose activations are quantised with fixed scales."""
