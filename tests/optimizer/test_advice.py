"""Advice before any data: what each way brings, the gentlest that reach a target, and what cannot pay."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import made_setting as made
import pytest
from rich.console import Console

import optimizer
from hardware_profiles import BreakEven, LatencyModel, PrecisionTrial
from optimizer.advice.cuts import narrower, shallower
from optimizer.advice.directions import directions, narrow, shallow
from optimizer.advice.layers import layers_break_even
from optimizer.advice.menu import cannot_pay, menu
from optimizer.advice.recommendation import recommend
from optimizer.advice.record import Advice, Measured, Ratio
from optimizer.advice.site import Site
from optimizer.advice.table import advice_table
from optimizer.architecture import Architecture, LayerShape
from optimizer.cli import main
from optimizer.judgement import SAFETY
from optimizer.manifest import DeviceFacts

LAYER = LayerShape(heads=made.HEADS, ffn=made.FFN)
WHOLE = Architecture(hidden_size=made.HIDDEN, head_size=made.HEAD, vocab_size=24, layers=(LAYER,) * made.LAYERS)
QUARTERS = (0.25, 0.5, 0.75)


def with_widths(engine: object) -> object:
    """A quarter of the heads or neurons takes a quarter of the time."""
    entries = [
        made.timing(kind, "dense", share, 0.0, precision, share * ms / (2 * made.LAYERS))
        for kind in ("attention", "ffn")
        for share in QUARTERS
        for precision, ms in made.DENSE_MS.items()
    ]
    profile = engine.profile.with_entries(entries)
    return replace(engine, profile=profile, latency=LatencyModel().fit(profile))


def site(fp32_pays: bool = True, int8_pays: bool = False) -> Site:
    """fp32 takes 6 ms, int8 half of it; where zeros pay, a share s of them leaves 2 (1 - s) of a block's time."""
    runtime = type("Runtime", (), {"name": made.SPARSE, "precisions": ("fp32", "int8")})()
    engines = made.engines({"fp32": fp32_pays, "int8": int8_pays}, runtime)
    return Site(WHOLE, made.WORKLOAD, tuple(with_widths(engine) for engine in engines))


# cuts


def test_the_layers_that_stay_are_spread_evenly() -> None:
    layers = tuple(LayerShape(heads=i, ffn=1) for i in range(6))
    assert [layer.heads for layer in shallower(layers, 3)] == [0, 2, 4]
    assert [len(set(shallower(layers, depth))) for depth in range(1, 7)] == [1, 2, 3, 4, 5, 6]


def test_narrower_layers_keep_one_head_and_one_neuron_and_removed_blocks_stay_removed() -> None:
    layers = (LayerShape(heads=12, ffn=1536), LayerShape(heads=0, ffn=8))
    assert narrower(layers, 0.01) == (LayerShape(heads=1, ffn=16), LayerShape(heads=0, ffn=1))
    assert narrower(layers, 0.5) == (LayerShape(heads=6, ffn=768), LayerShape(heads=0, ffn=4))


def test_ffn_widths_are_multiples_of_what_kernels_work_on() -> None:
    widths = {narrower((LayerShape(heads=12, ffn=1536),), percent / 100)[0].ffn % 16 for percent in range(1, 100)}
    assert widths == {0}


# forecasts


def test_a_forecast_is_over_the_fp32_teacher_and_says_which_weights_stay() -> None:
    here = site()
    assert here.teacher.ms == pytest.approx(6)
    int8 = here.forecast(here.dense("int8"))
    assert (int8.way.name, int8.weights_left) == ("int8 alone", 1)
    assert int8.speedup.value == pytest.approx(2)
    zeros = here.forecast(here.with_zeros(shallow(here, "fp32", 1), 0.9))
    assert zeros.way.name == "1/3 layers, 90% zeros, fp32"
    assert zeros.way.runtime == made.SPARSE
    assert zeros.speedup.value == pytest.approx(15)
    assert zeros.weights_left == pytest.approx(0.1 / 3)
    half = narrow(here, here.dense("int8"), 0.5)
    assert half.name == "2/4 heads, FFN 6, int8"
    assert here.forecast(half).speedup.value == pytest.approx(4)


def test_a_speedup_is_less_sure_than_each_of_its_latencies() -> None:
    here = site()
    found = here.forecast(here.dense("int8"))
    assert found.speedup.low < found.speedup.value < found.speedup.high
    assert found.speedup.high / found.speedup.value > 1 + (found.high_ms - found.low_ms) / 2 / found.ms


def test_the_menu_has_every_kind_alone_and_together() -> None:
    names = [way.name for way in menu(site())]
    assert len(set(names)) == len(names)
    assert {
        "1/3 layers, fp32",
        "2/4 heads, FFN 6, fp32",
        "80% zeros, fp32",
        "1/3 layers, 90% zeros, fp32",
        "int8 alone",
        "1/3 layers, 2/4 heads, FFN 6, int8",
        "95% zero blocks, int8",
    } <= set(names)


# recommendations


@pytest.mark.parametrize("speedup", [1.9, 2.5, 4, 8])
def test_the_gentlest_way_reaches_the_target_and_one_gentler_does_not(speedup: float) -> None:
    here = site(int8_pays=True)
    found = recommend(here, speedup)
    most = found.wanted_ms * SAFETY
    assert found.aimed_ms == most
    names = {forecast.way.name for forecast in found.ways}
    for direction in directions(here):
        chosen = [i for i, way in enumerate(direction.ways) if way.name in names]
        for i in chosen:
            assert here.forecast(direction.ways[i]).ms <= most
            assert i == 0 or here.forecast(direction.ways[i - 1]).ms > most
    assert all(forecast.ms <= most for forecast in found.ways)


def test_what_removes_nothing_comes_first_and_nothing_is_cut_from_what_is_fast_enough() -> None:
    found = recommend(site(), 1.9)
    assert found.ways[0].way.name == "int8 alone"
    assert [f.way.name for f in found.ways if f.way.precision == "int8"] == ["int8 alone"]
    left = [forecast.weights_left for forecast in found.ways]
    assert left == sorted(left, reverse=True)


def test_cuts_are_combined_only_where_that_leaves_more_weights_than_one_alone() -> None:
    """To 1.5 ms in fp32 no width and no depth alone suffices, and zeros alone leave as many weights as with others."""
    ways = [forecast.way.name for forecast in recommend(site(), 4).ways if forecast.way.precision == "fp32"]
    assert ways == ["1/3 layers, 3/4 heads, FFN 8, fp32", "88% zeros, fp32"]


def test_as_few_zeros_as_the_target_needs() -> None:
    """6 ms * 2 (1 - s) <= 1.5 ms less 3 % for safety: s >= 0.879."""
    assert "88% zeros, fp32" in [forecast.way.name for forecast in recommend(site(), 4).ways]


def test_layers_without_a_measured_break_even_point_get_no_fewer_zeros_than_the_runtime_makes_use_of() -> None:
    """Alone 61 % would do for 2.5x in int8, but layers of an unknown shape stay dense below 70 %."""
    here = site(int8_pays=True)
    width = made.HEADS * made.HEAD
    shapes = {(width, made.HIDDEN), (made.HIDDEN, width), (made.FFN, made.HIDDEN), (made.HIDDEN, made.FFN)}
    points = [
        BreakEven(out_features=out, in_features=into, workload=made.WORKLOAD, precision="int8", sparsity=0.5)
        for out, into in shapes
    ]
    known = replace(here.engines[1], profile=here.engines[1].profile.with_break_even(points))
    informed = replace(here, engines=(here.stock, known))
    assert least_blocks(informed, "int8 alone") < 0.7
    assert least_blocks(informed, "1/3 layers, int8") < 0.7, "the layers that are left have the shapes that are known"
    assert least_blocks(informed, "2/4 heads, FFN 6, int8") == 0.71
    assert least_blocks(here, "int8 alone") == 0.71


def least_blocks(here: Site, base: str) -> float:
    found = [d.ways[0].sparsity for d in directions(here) if d.base.name == base and d.ways and d.ways[0].sparsity]
    return found[0]


def test_kinds_that_cannot_reach_the_target_are_refused_with_what_they_reach() -> None:
    refused = recommend(site(), 4).refused
    assert "depth fp32: even its smallest shape takes 2.00 ms, 1.46 ms wanted" in refused
    assert "int8 alone: 2.00x predicted (3.00 ms), 1.46 ms wanted: lower precision alone is not enough" in refused
    far = recommend(site(), 1000)
    assert far.ways == ()
    assert (
        "95% zeros, fp32: 10.00x measured on onnxruntime-cpu+sparse, 0.60 ms predicted, 0.01 ms wanted" in far.refused
    )


# what cannot pay


def refusals(here: Site) -> tuple[str, ...]:
    return cannot_pay(here, [here.forecast(way) for way in menu(here)])


def test_zeros_that_nothing_skips_are_refused_as_measured() -> None:
    found = refusals(site())
    assert "unstructured 90 % fp32: 1.00x measured on onnxruntime-cpu: this runtime does not skip zeros" in found
    assert (
        "block 95 % int8 with sparse operators: 1.00x measured on onnxruntime-cpu+sparse: "
        "on this device zeros do not pay in int8"
    ) in found
    assert not [sentence for sentence in refusals(site(int8_pays=True)) if "do not pay" in sentence]


def test_a_precision_that_lost_its_contest_is_not_advised_and_its_measurement_said() -> None:
    trial = PrecisionTrial(
        precision="int8-static",
        rival="int8",
        hidden_size=made.HIDDEN,
        workload=made.WORKLOAD,
        seconds=2e-3,
        rival_seconds=1e-3,
    )
    stock, sparse = site().engines
    here = replace(site(), engines=(replace(stock, profile=stock.profile.with_contest(trial)), sparse))
    assert here.precisions == ("fp32", "int8")
    assert "int8-static: 0.50x of int8 measured on this device: not profiled" in cannot_pay(here, ())


def test_zeros_are_advised_only_at_precisions_that_the_sparse_runtime_has() -> None:
    stock, sparse = site().engines
    entries = [e.model_copy(update={"precision": "int8-static"}) for e in stock.profile.entries if not e.unit.sparsity]
    profile = stock.profile.with_entries(e for e in entries if e.workload == made.WORKLOAD)
    stock = replace(stock, profile=profile, latency=LatencyModel().fit(profile))
    here = replace(site(), engines=(stock, sparse))
    assert here.precisions == ("fp32", "int8", "int8-static")
    ways = menu(here)
    assert {way.precision for way in ways} == set(here.precisions)
    assert {way.precision for way in ways if way.sparsity} == {"fp32", "int8"}


def test_a_cut_that_is_slower_than_lower_precision_alone_is_named() -> None:
    (sentence,) = [sentence for sentence in refusals(site()) if "removes nothing" in sentence]
    assert sentence.startswith("int8 alone brings 2.00x and removes nothing, more than")
    assert "95% zero blocks, int8 (2.00x)" in sentence
    assert "80% zeros, fp32" not in sentence, "it brings 2.5x"


def test_without_sparse_operators_the_reason_is_said_and_no_zeros_are_advised() -> None:
    here = replace(site(), engines=site().engines[:1], no_zeros="got Plan9 on mips")
    assert "zeros are not tried with sparse operators: got Plan9 on mips" in refusals(here)
    assert not [way for way in menu(here) if way.sparsity]
    assert not [forecast for forecast in recommend(here, 4).ways if forecast.way.sparsity]


# break-even


def test_each_layer_has_its_break_even_point_or_never() -> None:
    here = site()
    items = [
        BreakEven(out_features=12, in_features=16, workload=made.WORKLOAD, precision="fp32", sparsity=0.6),
        BreakEven(out_features=16, in_features=12, workload=made.WORKLOAD, precision="int8", sparsity=2.0),
        BreakEven(out_features=16, in_features=16, workload=made.WORKLOAD, precision="fp32", sparsity=0.3),
        BreakEven(out_features=99, in_features=16, workload=made.WORKLOAD, precision="fp32", sparsity=0.3),
    ]
    sparse = replace(here.engines[1], profile=here.engines[1].profile.with_break_even(items))
    found = layers_break_even(replace(here, engines=(here.stock, sparse)))
    assert [(item.layer, item.pattern, item.sparsity) for item in found] == [
        ("FFN up", "unstructured", 0.6),
        ("FFN down", "block", None),
        ("query, key, value, attention output", "unstructured", 0.3),
    ]


# the record and its page


def advice_of(here: Site) -> Advice:
    forecasts = tuple(here.forecast(way) for way in menu(here))
    first = recommend(here, 4)
    measured = Measured(ms=1.4, teacher_ms=6.0, speedup=Ratio(value=4.29, low=4.2, high=4.4))
    return Advice(
        model="path/to/model",
        architecture=WHOLE,
        activation="gelu",
        device=DeviceFacts(name="slide rule", fingerprint="0" * 16),
        workload=made.WORKLOAD,
        assumptions=("8 tokens a row are assumed, since no data says otherwise: give --seq-len",),
        teacher=here.forecast(here.dense("fp32")),
        ways=forecasts,
        refused=cannot_pay(here, forecasts),
        break_even=(),
        targets=(first.model_copy(update={"measured": measured}), recommend(here, 1000)),
        doubts=("teacher: other programs ran",),
    )


def page(advice: Advice) -> str:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(advice_table(advice))
    return console.export_text()


def test_advice_is_read_as_it_was_written(tmp_path: Path) -> None:
    advice = advice_of(site())
    assert Advice.read(advice.write(tmp_path / "advice.json")) == advice
    assert json.loads((tmp_path / "advice.json").read_text())["ways"][0]["way"]["name"] == advice.ways[0].way.name


def test_the_page_fits_100_columns_and_cuts_no_word() -> None:
    text = page(advice_of(site(int8_pays=True)))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    assert "\N{HORIZONTAL ELLIPSIS}" not in text


def test_the_page_says_what_is_measured_what_is_predicted_and_what_nobody_knows() -> None:
    text = " ".join(page(advice_of(site())).split())
    assert "Measured with random weights: " in text
    assert "4.29x (4.20 to 4.40) faster, predicted" in text
    assert "The target of 4x is reached." in text
    assert "no way is predicted to reach it here" in text
    assert "is not known without data" in text
    assert "8 tokens a row are assumed" in text
    assert "unstable: teacher: other programs ran" in text


# the command


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["trimfit", "advise", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"model_type": "gpt2"}, (), "of type 'gpt2', which is not supported: use one of bert"),
        ({"hidden_act": "silu"}, (), "the model's activation is silu, expected gelu or relu"),
        ({}, ("--seq-len", "100"), "--seq-len 100 is more than the 40 tokens the model takes: give at most 40"),
        ({}, ("--device", "serial:pi"), "expected local"),
        ({}, ("--device", "catalog:abacus"), "got catalog:abacus, expected "),
        ({}, ("--device", "local", "--device", "local"), "local and local, which are the same: give one of them"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    classifier_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    change: dict,
    options: tuple[str, ...],
    message: str,
) -> None:
    config = classifier_folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    assert run(monkeypatch, "--model", classifier_folder, *options) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert message in line


def test_a_missing_folder_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert run(monkeypatch, "--model", tmp_path / "nowhere") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert "nowhere is not a folder: expected a local Hugging Face model folder" in line


def test_advice_comes_from_a_model_folder_alone(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("TRIMFIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("optimizer.advice.trial.SECONDS_EACH", 0.5)
    out = tmp_path / "advice.json"
    assert run(monkeypatch, "--model", encoder_folder, "--threads", 1, "--json", out) == 0
    text = " ".join(capsys.readouterr().out.split())
    advice = Advice.read(out)
    assert advice.workload.seq_len == 40
    assert "40 tokens a row are assumed, since no data says otherwise" in text
    assert "what each way would bring" in text
    assert [target.speedup for target in advice.targets] == [2, 4, 8]
    assert all((target.measured is None) == (not target.ways) for target in advice.targets)
    assert list((tmp_path / "cache" / "profiles").glob("*.json"))


def test_the_api_is_where_one_looks_for_it() -> None:
    assert optimizer.advise.__module__ == "optimizer.advice.advisor"
