"""CoreFamily: from which share of zeros on sparse kernels are modelled to be faster than dense ones on a core.

Intervals over static models of the same kernels (XNNPACK's shape: one row by 16 or 32 columns; four rows by 16 for
blocks) with weights and activations in the first cache: llvm-mca of LLVM 19.1.7 and 22.1.8, OSACA 0.7.1, code generated
with and without paired loads. They leave out caches, index decoding, tails and threads: the true point lies higher, and
so the upper end is what counts. Where one model speaks alone, or all say nothing, the interval is that of the nearest
core several speak about: Cortex-A55 for cores that issue in order, Neoverse N1 for others.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from hardware_profiles.interval import Interval

__all__ = ["CORE_FAMILIES", "CoreFamily", "core_family"]


class CoreFamily(BaseModel):
    """Shares of zeros, provenance `modelled`: an interval, never a point, and no milliseconds.

    `against_int8`: zeros with which a sparse product in fp32 is as fast as the dense one in int8; None for cores
    without instructions for int8 dot products.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    modelled_as: str
    unstructured: Interval
    block4: Interval
    against_int8: Interval | None = None

    def interval(self, pattern: str) -> Interval:
        """Of "unstructured" zeros, or of "block": four rows together."""
        return self.block4 if pattern == "block" else self.unstructured


def _of(low: float, high: float) -> Interval:
    return Interval(low=low, high=high)


_IN_ORDER, _IN_ORDER_BLOCK = _of(0.49, 0.76), _of(0.05, 0.41)
_OUT_OF_ORDER, _OUT_OF_ORDER_BLOCK = _of(0.0, 0.66), _of(0.0, 0.15)
_INT8 = _of(0.75, 0.90)  # of every core with dot products: the models say 76 to 89 %

CORE_FAMILIES: tuple[CoreFamily, ...] = (
    CoreFamily(
        name="Cortex-A53",
        modelled_as="Cortex-A53, which upstream found unrealistic (61 to 70 %, blocks 29 %): widened to Cortex-A55's",
        unstructured=_IN_ORDER,
        block4=_IN_ORDER_BLOCK,
    ),
    CoreFamily(
        name="Cortex-A55",
        modelled_as="Cortex-A55",
        unstructured=_IN_ORDER,
        block4=_IN_ORDER_BLOCK,
        against_int8=_INT8,
    ),
    CoreFamily(
        name="Cortex-A510",
        modelled_as="Cortex-A510",
        unstructured=_of(0.45, 0.64),
        block4=_of(0.08, 0.22),
        against_int8=_INT8,
    ),
    CoreFamily(
        name="Cortex-A72",
        modelled_as="Cortex-A57, the only model there is (20 to 34 %, blocks 0 %): widened to Neoverse N1's",
        unstructured=_OUT_OF_ORDER,
        block4=_OUT_OF_ORDER_BLOCK,
    ),
    CoreFamily(
        name="Cortex-A76",
        modelled_as="Neoverse N1",
        unstructured=_OUT_OF_ORDER,
        block4=_OUT_OF_ORDER_BLOCK,
        against_int8=_INT8,
    ),
    CoreFamily(
        name="Neoverse N1",
        modelled_as="Neoverse N1",
        unstructured=_OUT_OF_ORDER,
        block4=_OUT_OF_ORDER_BLOCK,
        against_int8=_INT8,
    ),
    CoreFamily(
        name="Cortex-A78",
        modelled_as="Neoverse N2",
        unstructured=_of(0.0, 0.50),
        block4=_OUT_OF_ORDER_BLOCK,
        against_int8=_INT8,
    ),
    CoreFamily(
        name="Neoverse N2",
        modelled_as="Neoverse N2",
        unstructured=_of(0.0, 0.50),
        block4=_OUT_OF_ORDER_BLOCK,
        against_int8=_INT8,
    ),
    CoreFamily(
        name="Cortex-X1",
        modelled_as="Neoverse V1",
        unstructured=_of(0.33, 0.55),
        block4=_OUT_OF_ORDER_BLOCK,
        against_int8=_INT8,
    ),
    CoreFamily(
        name="Cortex-X3",
        modelled_as="Neoverse V2",
        unstructured=_of(0.50, 0.75),
        block4=_OUT_OF_ORDER_BLOCK,
        against_int8=_INT8,
    ),
    CoreFamily(
        name="Cortex-X4",
        modelled_as="Neoverse V3",
        unstructured=_of(0.37, 0.50),
        block4=_OUT_OF_ORDER_BLOCK,
        against_int8=_INT8,
    ),
)


def core_family(name: str) -> CoreFamily | None:
    """The family of a core by its name, "Cortex-A72" or "cortex-a72"; None for one that nobody modelled."""
    wanted = name.lower().replace(" ", "-")
    return next((core for core in CORE_FAMILIES if core.name.lower().replace(" ", "-") == wanted), None)
