"""Places: where a model might run, as asked: a device to be measured, profiles of one, or published figures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles.catalog import CATALOG, catalog_published, core_family, is_published, unverified_zeros
from hardware_profiles.device import Device, resolve
from hardware_profiles.latency_model import LatencyModel
from hardware_profiles.places import reach
from hardware_profiles.profile import LatencyProfile
from hardware_profiles.published_model import PublishedModel
from hardware_profiles.runtimes import get
from hardware_profiles.runtimes.elsewhere import RuntimeElsewhere
from hardware_profiles.stored_device import StoredDevice, is_stored
from optimizer.advice.own_zeros import own_zeros
from optimizer.advice.published_engine import PublishedEngine
from optimizer.advice.site import Site
from optimizer.effort import FAST
from optimizer.engine import Engine
from optimizer.model_shape import ModelShape
from optimizer.preparation import RUNTIME, SPARSE_RUNTIME, profile_of, sparse_profile_of, sparse_runtime
from optimizer.progress import Progress

_REFERENCE = (
    "2:4 zeros are timed with PyTorch's kernels, a reference: a deployed ONNX model gains by them with TensorRT alone"
)

__all__ = ["Measurable", "Place", "Published", "Stored", "place_of", "places_of"]


@dataclass(frozen=True)
class Measurable:
    """A device that can be reached."""

    asked: str
    device: Device
    runtime: str = RUNTIME
    origin = ""
    """Where its numbers come from, if not from a measurement now."""

    def in_force(self) -> AbstractContextManager[object]:
        """Within it, what is measured is measured there."""
        return reach(self.asked)

    def workload(self, shape: ModelShape, batch: int, tokens: int, threads: int | None) -> Workload:
        """What is asked; with as many threads as the device has cores unless it is said."""
        return Workload(batch=batch, seq_len=tokens, threads=threads or self.device.default_threads)

    def site(self, shape: ModelShape, workload: Workload, progress: Progress) -> Site:
        """Its engines from cached profiles, or from ones that are made as the main job makes them."""
        sizes = shape.architecture, workload, FAST, progress, shape.activation
        if self.runtime != RUNTIME:
            return _alone(Engine.of(profile_of(self.device, *sizes, runtime=get(self.runtime))), shape, workload)
        stock = profile_of(self.device, *sizes)
        engine, reason = Engine.of(stock), _why_no_zeros(self.device)
        zeros = None if reason else sparse_profile_of(stock, *sizes)
        if zeros is None:
            return Site(shape.architecture, workload, (engine,), reason or "they could not be profiled")
        notes = (_REFERENCE,) if self.device.gpu else ()
        with_zeros = Engine.of(zeros.over(stock), skips_zeros=True)
        return Site(shape.architecture, workload, (engine, with_zeros), notes=notes)


@dataclass(frozen=True)
class Stored:
    """Profiles: what they hold is predicted from, and nothing is ever measured."""

    asked: str
    stored: StoredDevice
    runtime: str = RUNTIME

    @property
    def device(self) -> Device:
        """What was measured."""
        return self.stored.device

    @property
    def origin(self) -> str:
        """See `StoredDevice.origin`."""
        return self.stored.origin

    def in_force(self) -> AbstractContextManager[object]:
        """Nothing is to be arranged."""
        return nullcontext()

    def workload(self, shape: ModelShape, batch: int, tokens: int, threads: int | None) -> Workload:
        """What is asked, if it was measured; with the most threads of those that were unless it is said.

        Raises TrimfitError naming what was.
        """
        known = self.stored.workloads()
        able = [w for w in known if (w.batch, w.seq_len) == (batch, tokens) and threads in (None, w.threads)]
        if not able:
            whole = Workload(batch=batch, seq_len=tokens, threads=threads or 1)
            asked = str(whole) if threads else f"batch {batch}, {tokens} tokens"
            raise TrimfitError(
                f"got {asked} for {self.asked}, expected what it was measured at:"
                f" {'; '.join(map(str, known)) or 'nothing'}"
            )
        return max(able, key=lambda workload: workload.threads)

    def site(self, shape: ModelShape, workload: Workload, progress: Progress) -> Site:
        """Its engines, fitted to what the profiles hold for models of this one's sizes.

        Raises TrimfitError where they hold nothing about such models.
        """
        sparse = sparse_runtime(self.device)
        asked = self._stock if self.runtime == RUNTIME else self.runtime
        stock = self._part(asked, shape, workload)
        if asked == self.runtime != RUNTIME:
            return _alone(self._engine(stock), shape, workload)
        engines, reason = (self._engine(stock),), f"{self.asked} holds no profile of {sparse}"
        if sparse not in self.stored.profiles:
            return Site(shape.architecture, workload, engines, reason)
        zeros = self._part(sparse, shape, workload).over(stock)
        return Site(shape.architecture, workload, (*engines, self._engine(zeros, skips_zeros=True)))

    @property
    def _stock(self) -> str:
        """The runtime that runs everything without zeros; of several on a GPU the first, onnxruntime before PyTorch."""
        if not self.device.gpu:
            return RUNTIME
        return next((name for name in self.stored.profiles if name != sparse_runtime(self.device)), RUNTIME)

    def _part(self, runtime: str, shape: ModelShape, workload: Workload) -> LatencyProfile:
        sizes = shape.architecture.hidden_size, shape.architecture.head_size
        part = self.stored.profile(runtime).only(*sizes, workload, shape.activation)
        widths = {kind: _most(part, kind) for kind in ("attention", "ffn")}
        layers = shape.architecture.layers
        if widths["attention"] < max(x.heads for x in layers) or widths["ffn"] < max(x.ffn for x in layers):
            raise TrimfitError(
                f"got a model of hidden size {sizes[0]}, heads of {sizes[1]}, {shape.activation}, expected one that"
                f" {self.asked} was measured for with {runtime}: profile that device for it, `trimfit profile --model`"
            )
        return part

    @staticmethod
    def _engine(profile: LatencyProfile, *, skips_zeros: bool = False) -> Engine:
        record, precisions = profile.runtime_record, tuple(dict.fromkeys(entry.precision for entry in profile.entries))
        runtime = RuntimeElsewhere(record.name, record.version, precisions)
        return Engine(runtime, profile, LatencyModel().fit(profile), skips_zeros)


@dataclass(frozen=True)
class Published:
    """Figures that others measured: intervals are predicted from them, and nothing is ever measured."""

    asked: str
    model: PublishedModel

    @property
    def device(self) -> Device:
        """What others measured."""
        return self.model.device

    @property
    def origin(self) -> str:
        """See `PublishedModel.origin`."""
        return self.model.origin

    def in_force(self) -> AbstractContextManager[None]:
        """Nothing is to be arranged."""
        return nullcontext()

    def workload(self, shape: ModelShape, batch: int, tokens: int, threads: int | None) -> Workload:
        """What is asked, if it lies within what was published; with the most threads unless it is said.

        Raises TrimfitError naming what was.
        """
        asked = Workload(batch=batch, seq_len=tokens, threads=threads or max(self.model.calibration.ms))
        self.model.check(asked)
        return asked

    def site(self, shape: ModelShape, workload: Workload, progress: Progress) -> Site:
        """One engine like those published; zeros are named with what they would need, and never predicted."""
        zeros = unverified_zeros(core_family(self.model.core))
        return Site(
            shape.architecture,
            workload,
            (PublishedEngine(self.model),),
            f"nobody published what zeros bring on {self.asked}",
            unverified=zeros,
            notes=self.model.cautions(shape.architecture),
        )


Place = Measurable | Stored | Published


def place_of(asked: str, runtime: str = RUNTIME) -> Place:
    """The place of a name: "local", "local:avx2", "cuda", "ssh://user@host", "adb://serial", "catalog:NAME", or a path.

    The path is of a profile or of a folder of them. With another `runtime` than the stock one nothing else runs there.
    Raises TrimfitError for what is none of these, and for a runtime that needs the stock one beside it.
    """
    if runtime == SPARSE_RUNTIME:
        raise TrimfitError(f"got --runtime {runtime}, expected another: it is tried beside {RUNTIME}, the default")
    if is_published(asked):
        if runtime != RUNTIME:
            raise TrimfitError(f"got --runtime {runtime} for {asked}, expected none: its figures are of other engines")
        return Published(asked, catalog_published(asked.removeprefix(CATALOG)))
    if is_stored(asked):
        return Stored(asked, StoredDevice.open(asked), runtime)
    return Measurable(asked, resolve(asked), runtime)


def places_of(names: Sequence[str], runtime: str = RUNTIME) -> tuple[Place, ...]:
    """The places of several names. Raises TrimfitError where two of them are the same."""
    places = tuple(place_of(name, runtime) for name in names)
    known: dict[tuple[str, str], str] = {}
    for place in places:
        key = place.device.fingerprint, place.origin
        if key in known:
            raise TrimfitError(f"got --device {known[key]} and {place.asked}, which are the same: give one of them")
        known[key] = place.asked
    return places


def _alone(engine: Engine, shape: ModelShape, workload: Workload) -> Site:
    """A site with one runtime that is not onnxruntime's CPU, and what it makes of zeros by itself."""
    zeros = own_zeros(engine, shape.architecture, workload)
    reason = None if zeros else f"they are onnxruntime's, and {engine.name} was asked for"
    return Site(shape.architecture, workload, (engine, zeros) if zeros else (engine,), reason)


def _most(profile: LatencyProfile, kind: str) -> int:
    return max((entry.unit.width for entry in profile.entries if entry.unit.kind == kind), default=-1)


def _why_no_zeros(device: Device) -> str | None:
    try:
        get(sparse_runtime(device))
    except TrimfitError as error:
        return str(error)
    return None
