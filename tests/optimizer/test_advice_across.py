"""Advice on several devices: what is best on each, and what a model tuned for one costs on another."""

from __future__ import annotations

import datetime
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import made_setting as made
import pytest
from rich.console import Console
from test_advice import WHOLE, advice_of, site

from benchmarks import Contestant
from benchmarks.errors import TrimfitError
from hardware_profiles import Conditions, Device, LatencyProfile, OnnxRuntimeCpu
from hardware_profiles.runtimes.sparse import dispatcher
from hardware_profiles.runtimes.sparse.dispatcher import LIMIT
from optimizer.advice import advisor, places
from optimizer.advice.across import Survey, across, pick
from optimizer.advice.devices_table import devices_table
from optimizer.advice.places import place_of, places_of
from optimizer.advice.record import AdviceAcross, Measured, Ratio
from optimizer.advice.site import Site
from optimizer.cli import main
from optimizer.measuring import measure_models
from optimizer.model_shape import ModelShape
from optimizer.progress import Silent

SHAPE = ModelShape(WHOLE, "gelu", 40)
DAY = Conditions(date=datetime.date(2026, 11, 22), trimfit="0.1.0")


def survey(name: str, here: Site, **changes: object) -> Survey:
    return Survey(here, advice_of(here).model_copy(update={"asked": name, **changes}))


def pair(**changes: object) -> AdviceAcross:
    """On each zeros pay in the precision it is named by; the targets are 4x, and 1000x that nothing reaches."""
    return across([survey("fp32", site()), survey("int8", site(fp32_pays=False, int8_pays=True), **changes)])


def page(found: AdviceAcross) -> str:
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(devices_table(found))
    return console.export_text()


# what a model tuned for one costs on another


def test_what_is_best_on_one_is_predicted_on_the_other_and_beside_that_ones_own() -> None:
    found = pair()
    fp32, int8 = (pick(advice.targets[0], "zeros") for advice in found.advice)
    assert (fp32.way.name, int8.way.name) == ("88% zeros, fp32", "76% zero blocks, int8")
    there, back = found.elsewhere
    assert (there.speedup, there.kind, there.tuned_for, there.on, there.way) == (4, "zeros", "fp32", "int8", fp32.way)
    assert there.forecast.ms == pytest.approx(6), "zeros in fp32 bring nothing there"
    assert (back.tuned_for, back.on, back.way) == ("int8", "fp32", int8.way)
    assert back.forecast.ms == pytest.approx(3), "nor do blocks here"


def test_ways_without_zeros_and_with_them_are_not_ranked_by_their_weights() -> None:
    """Both devices would first try the same narrow model in int8: what they differ in are zeros."""
    found = pair()
    assert {advice.targets[0].ways[0].way.name for advice in found.advice} == {"2/4 heads, FFN 5, int8"}
    assert {item.kind for item in found.elsewhere} == {"zeros"}
    assert pick(found.advice[0].targets[0], "dense").way == found.advice[0].targets[0].ways[0].way
    assert pick(found.advice[0].targets[1], "zeros") is None


def test_where_the_same_way_is_best_there_is_nothing_to_compare() -> None:
    found = across([survey("one", site()), survey("another", site())])
    assert found.elsewhere == ()
    assert "The same way is best on all of them for every target." in " ".join(page(found).split())


def test_a_runtime_that_is_not_there_is_said() -> None:
    here = site()
    bare = replace(here, engines=here.engines[:1], no_zeros="got Plan9 on mips")
    found = across([survey("whole", here), survey("bare", bare)])
    zeros = next(item for item in found.elsewhere if item.on == "bare" and item.way.sparsity)
    assert zeros.forecast is None
    assert zeros.reason == f"no {made.SPARSE} there: got Plan9 on mips"


def test_numbers_of_different_provenance_or_conditions_are_not_compared_silently() -> None:
    assert pair().cautions == ()
    facts = pair().advice[0].device.model_copy(update={"provenance": "measured_proxy"})
    (caution,) = pair(device=facts).cautions
    assert "different provenance (fp32 is measured_device, int8 is measured_proxy)" in caution
    (caution,) = pair(workload=made.WORKLOAD.model_copy(update={"threads": 2})).cautions
    assert "not asked for the same (fp32 has batch 1, 8 tokens, 1 thread; int8 has" in caution


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = pair()
    assert AdviceAcross.read(found.write(tmp_path / "across.json")) == found


# the page


def test_the_page_has_devices_as_columns_and_fits() -> None:
    text = page(pair())
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    heading = next(line for line in text.splitlines() if line.strip().startswith("target"))
    assert heading.split() == ["target", "fp32", "int8"]
    assert text.count("first to try") == 2
    assert "no way reaches it" in text
    assert "fp32, 4x," in text


def test_the_page_says_what_was_measured_and_what_only_predicted() -> None:
    origin = "profiles of onnxruntime-cpu 1: measured_device, 2026-11-22 by trimfit 0.1.0"
    untried = pair().advice[1].targets[0].model_copy(update={"measured": None})
    text = " ".join(page(pair(origin=origin, targets=(untried, untried))).split())
    assert "- fp32: slide rule, batch 1, 8 tokens, 1 thread; measured on the device (measured_device)" in text
    assert f"predicted from {origin}; nothing of it is measured now (measured_device)" in text
    assert text.count("measured: ") == 1


# devices that are only profiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Profiles of both runtimes on a machine where zeros pay in fp32."""
    for engine in site().engines:
        path = tmp_path / "zen" / f"{engine.name}.json"
        engine.profile.with_conditions(DAY).save(path)
    return tmp_path / "zen"


def stored_site(folder: Path, shape: ModelShape = SHAPE) -> Site:
    place = place_of(str(folder))
    return place.site(shape, place.workload(shape, 1, 8, None), Silent())


def test_profiles_predict_as_the_device_that_they_are_of(folder: Path) -> None:
    there, here = stored_site(folder), site()
    assert there.workload == made.WORKLOAD
    assert there.precisions == ("fp32", "int8")
    assert there.teacher.ms == pytest.approx(here.teacher.ms)
    for base in (here.dense("fp32"), here.dense("int8")):
        way = here.with_zeros(base, 0.9)
        assert there.forecast(way).ms == pytest.approx(here.forecast(way).ms)


def test_a_profile_without_sparse_operators_advises_no_zeros_and_says_why(folder: Path) -> None:
    (folder / f"{made.SPARSE}.json").unlink()
    there = stored_site(folder)
    assert there.sparse is None
    assert "holds no profile of onnxruntime-cpu+sparse" in str(there.no_zeros)


def test_what_was_not_profiled_there_is_refused_with_what_was(folder: Path) -> None:
    place = place_of(str(folder))
    with pytest.raises(TrimfitError, match=r"got batch 1, 9 tokens, 2 threads for .*: batch 1, 8 tokens, 1 thread"):
        place.workload(SHAPE, 1, 9, 2)
    for change in ({"hidden_size": 99}, {"layers": (WHOLE.layers[0].model_copy(update={"ffn": 2 * made.FFN}),)}):
        with pytest.raises(TrimfitError, match=r"expected one that .* was measured for with onnxruntime-cpu: profile"):
            stored_site(folder, replace(SHAPE, architecture=WHOLE.model_copy(update=change)))


def test_a_profile_is_never_measured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advisor, "try_out", lambda *_args, **_kwargs: pytest.fail("a profile was measured"))
    monkeypatch.setattr(advisor.ModelShape, "read", lambda _folder: SHAPE)
    found = advisor.advise("model", device=str(folder), seq_len=8, progress=Silent())
    assert found.origin.endswith("measured_device, 2026-11-22 by trimfit 0.1.0")
    assert all(target.ways and target.measured is None for target in found.targets)
    assert found.targets[0].speedup == 2


def test_one_device_under_two_names_is_refused(folder: Path) -> None:
    with pytest.raises(TrimfitError, match="which are the same: give one of them"):
        places_of([str(folder), f"{folder}/"])


# the same CPU with instruction sets hidden


def test_what_is_measured_of_a_limited_device_is_measured_under_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ("fma", "avx2", "avx512f", "avx512bw", "avx512vl")
    monkeypatch.setattr(dispatcher, "instruction_sets", lambda: flags)
    monkeypatch.delenv(LIMIT, raising=False)
    monkeypatch.setattr(advisor.ModelShape, "read", lambda _folder: SHAPE)
    seen: list[tuple[str, str | None]] = []

    def profiled(device: Device, *_args: object) -> LatencyProfile:
        seen.append((f"profile of {device.operators_isa}", os.environ.get(LIMIT)))
        return site().stock.profile.model_copy(update={"device": device})

    def tried(here: Site, *_args: object, **_kwargs: object) -> tuple[dict[str, Measured], tuple[str, ...]]:
        seen.append((f"trial of {here.stock.profile.device.operators_isa}", os.environ.get(LIMIT)))
        return {}, ()

    monkeypatch.setattr(places, "profile_of", profiled)
    monkeypatch.setattr(places, "sparse_profile_of", lambda *_args: None)
    monkeypatch.setattr(advisor, "try_out", tried)
    monkeypatch.setattr(places.Measurable, "workload", lambda *_args: made.WORKLOAD)
    found = advisor.advise_across("model", ["local", "local:avx2"], seq_len=8, progress=Silent())
    assert seen == [
        ("profile of None", None), ("trial of None", None), ("profile of avx2", "avx2"), ("trial of avx2", "avx2"),
    ]  # fmt: skip
    label = "sparse operators limited to AVX2 (stock onnxruntime still sees all instructions)"
    assert label in " ".join(page(found).split())
    assert LIMIT not in os.environ


def test_processes_that_time_models_are_told_the_limit_and_their_measurements_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "instruction_sets", lambda: ("fma", "avx2", "avx512f", "avx512bw", "avx512vl"))
    asked: list[Contestant] = []
    monkeypatch.setattr("optimizer.measuring.measure", lambda contestants, **_: asked.extend(contestants) or ())
    model = tmp_path / "model.bin"
    model.write_bytes(b"a model")
    for limit in ("avx2", None):
        with dispatcher.limited_to(limit):
            measure_models(
                {"model": (model, OnnxRuntimeCpu())}, made.WORKLOAD, model, seed=0, advance=lambda _share: None
            )
    assert [contestant.env for contestant in asked] == [{LIMIT: "avx2"}, {}]
    assert asked[0].subject.options == {"env": {LIMIT: "avx2"}}


# the command


def test_several_devices_are_compared_on_the_command_line(
    folder: Path,
    encoder_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr("optimizer.advice.advisor.ModelShape.read", lambda _folder: SHAPE)
    stock, out = folder / f"{made.STOCK}.json", tmp_path / "across.json"
    command = ["trimfit", "advise", "--model", encoder_folder, "--device", stock, "--device", folder, "--seq-len", 8]
    monkeypatch.setattr(sys, "argv", [*map(str, command), "--json", str(out)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert "what is best on each device" in capsys.readouterr().out
    found = json.loads(out.read_text())
    assert [advice["asked"] for advice in found["advice"]] == [str(stock), str(folder)]
    assert {item["on"] for item in found["elsewhere"]} <= {str(stock), str(folder)}


def test_a_measured_ratio_stands_beside_the_predicted_one() -> None:
    measured = Measured(ms=1.4, teacher_ms=6.0, speedup=Ratio(value=4.29, low=4.2, high=4.4))
    assert pair().advice[0].targets[0].measured == measured
    assert "measured: 1.40 ms" in page(pair())
    assert "4.29x (4.20 to 4.40)" in page(pair())
