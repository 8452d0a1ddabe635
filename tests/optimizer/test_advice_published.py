"""Advice for a device that others measured: int8 and structured cuts first, zeros only named, and intervals."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import made_setting as made
import pytest
from rich.console import Console, RenderableType
from test_advice import WHOLE, advice_of, site

from benchmarks.errors import TrimfitError
from hardware_profiles import Device, EncoderShape
from hardware_profiles.catalog import catalog
from hardware_profiles.interval import Interval
from hardware_profiles.published_model import Calibration, Costs, PublishedModel, Source
from optimizer.advice import advisor
from optimizer.advice.across import Survey, across, pick
from optimizer.advice.devices_table import devices_table
from optimizer.advice.menu import cannot_pay
from optimizer.advice.places import Published, place_of
from optimizer.advice.recommendation import recommend
from optimizer.advice.record import Advice, AdviceAcross
from optimizer.advice.site import Site
from optimizer.advice.table import advice_table
from optimizer.cli import main
from optimizer.model_shape import ModelShape
from optimizer.progress import Silent

NAME = "catalog:abacus"
SHAPE = ModelShape(WHOLE, "gelu", 40)
LEVEL = 60.0  # milliseconds of the teacher's own shape at the workload
MODEL = PublishedModel(
    device=Device(name="abacus", cores=4, machine="aarch64", system="Linux", provenance="published"),
    core="Cortex-A72",
    sources=(Source(name="a book", reference="p. 12", licence="none", used_for="everything"),),
    costs=Costs(
        ffn_ms_per_gflop=100, attention_ms_per_gflop=100, head_ms=0, constant_ms=0, layers=3, rows=8, hidden_size=16
    ),
    calibration=Calibration(
        shape=EncoderShape.of(WHOLE), rows=made.WORKLOAD.seq_len, extra_gflop=0, ms={1: LEVEL}, engine_factor=2.0
    ),
    int8=Interval(low=1.0, high=1.44),
    residual=0.1,
    rows=(4, 16),
    hidden_sizes=(16, 32),
    encoders=7,
    transfers_badly=("the weather",),
)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog of one published device, and an empty cache."""
    monkeypatch.setenv("TRIMFIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(catalog, "FOLDER", tmp_path / "catalog")
    (tmp_path / "catalog" / "abacus").mkdir(parents=True)
    MODEL.save(tmp_path / "catalog" / "abacus" / catalog.PUBLISHED)
    return tmp_path / "catalog"


def there() -> Site:
    return Published(NAME, MODEL).site(SHAPE, made.WORKLOAD, Silent())


def survey(name: str, here: Site, **changes: object) -> Survey:
    return Survey(here, advice_of(here).model_copy(update={"asked": name, **changes}))


def advice() -> Advice:
    here, model = there(), MODEL
    facts = advice_of(site()).device.model_copy(update={"name": model.device.name, "provenance": "published"})
    found = {"device": facts, "origin": model.origin, "notes": here.notes, "unverified": here.unverified}
    targets = recommend(here, 4), recommend(here, 1000)
    return advice_of(here).model_copy(update={"asked": NAME, "targets": targets, **found})


def pair() -> AdviceAcross:
    """Beside a device where zeros pay in fp32 and int8 is twice as fast."""
    return across([survey("local", site()), Survey(there(), advice())])


def page(of: RenderableType) -> str:
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(of)
    return console.export_text()


# what is advised


def test_int8_with_structured_cuts_comes_first_even_where_fp32_would_leave_more() -> None:
    """int8 brings 1.2x in the middle: 1.15x by it alone, 1.5x with a cut, and all of fp32 after that."""
    alone, cut = (recommend(there(), speedup).ways for speedup in (1.15, 1.5))
    assert alone[0].way.name == "int8 alone"
    assert cut[0].way.precision == "int8"
    assert cut[0].way.layers != WHOLE.layers
    for ways in (alone, cut):
        order = [forecast.way.precision for forecast in ways]
        assert order == sorted(order, reverse=True)
        assert not [forecast for forecast in ways if forecast.way.sparsity]


def test_on_a_measured_device_the_weights_that_are_left_decide() -> None:
    found = [forecast.weights_left for forecast in recommend(site(), 2.5).ways]
    assert found == sorted(found, reverse=True)


def test_what_cannot_reach_a_target_is_refused_by_its_ratio() -> None:
    refused = recommend(there(), 4).refused
    assert "int8 alone: 1.20x (0.88 to 1.64) predicted at most, 4x wanted" in refused
    assert not [sentence for sentence in refused if " ms" in sentence]


def test_zeros_are_named_with_what_they_would_need_and_never_predicted() -> None:
    here = there()
    assert not [forecast for forecast in recommend(here, 4).ways if forecast.way.sparsity]
    assert f"zeros are not tried with sparse operators: nobody published what zeros bring on {NAME}" in cannot_pay(
        here, ()
    )
    assert {zeros.engine for zeros in here.unverified} == {"MNN", "XNNPACK", made.SPARSE}
    assert all(zeros.above >= max(zeros.threshold, zeros.modelled.high) for zeros in here.unverified)


def test_a_forecast_is_an_interval_and_its_speedup_is_known_better() -> None:
    here = there()
    half = here.forecast(here.dense("fp32", WHOLE.layers[:1], "1/3 layers"))
    assert half.high_ms / half.low_ms == pytest.approx(4 * 1.1**2)
    assert half.speedup.value == pytest.approx(3)
    assert half.speedup.high / half.speedup.value < 1.2


# where it is asked


def test_a_published_device_of_the_catalog_is_a_place_that_is_never_measured(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advisor, "try_out", lambda *_args, **_kwargs: pytest.fail("a publication was measured"))
    monkeypatch.setattr(advisor.ModelShape, "read", lambda _folder: SHAPE)
    found = advisor.advise("model", device=NAME, seq_len=8, progress=Silent())
    assert (found.device.provenance, found.origin) == ("published", "published figures of a book")
    assert found.workload.threads == 1
    assert found.teacher.ms == pytest.approx(LEVEL)
    assert all(target.measured is None for target in found.targets)
    assert found.notes == ("not published: the weather",)
    assert Advice.model_validate_json(found.model_dump_json()) == found


def test_what_was_not_published_is_refused_before_anything_is_measured(shelf: Path) -> None:
    with pytest.raises(TrimfitError, match="got 3 threads for abacus, expected 1 as published"):
        place_of(NAME).workload(SHAPE, 1, 8, 3)
    with pytest.raises(TrimfitError, match="expected 4 to 16 tokens in all as published"):
        place_of(NAME).workload(SHAPE, 1, 32, None)


def test_nothing_runs_on_a_published_device(tmp_path: Path) -> None:
    with pytest.raises(TrimfitError, match="it cannot run a model"):
        there().stock.runtime.session(tmp_path, 1)


# the pages


def test_the_page_prints_the_provenance_of_each_column_and_no_point() -> None:
    text = page(devices_table(pair()))
    lines = [line.split() for line in text.splitlines()]
    assert ["target", "local", NAME] in lines
    assert ["provenance", "measured_device", "published"] in lines
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    words = " ".join(text.split())
    assert "different provenance (local is measured_device, catalog:abacus is published)" in words
    assert "27.3 to 132 ms predicted" in words, "of 60 ms, twice as fast or as slow, and a tenth"
    assert f"{NAME}: MNN, single zeros in fp32: above 66 % only" in words
    assert words.count("only named") == 3, "two targets, and beside what the other device would take"
    assert f"{NAME}: not published: the weather" in words


def test_the_two_devices_get_two_recommendations() -> None:
    first = [advice.targets[0].ways[0].way.name for advice in pair().advice]
    assert len(set(first)) == 2
    assert pick(pair().advice[1].targets[0], "zeros") is None


def test_the_page_of_one_device_says_that_its_intervals_are_spans() -> None:
    text = page(advice_table(advice()))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    words = " ".join(text.split())
    assert "The teacher in fp32 on onnxruntime-cpu is predicted to take 27.3 to 132 ms." in words
    assert "60.0 ms" not in words
    assert "faster (published, span)" in words
    assert "95 %)" not in words
    assert "Predicted from published figures of a book. Nothing of this is measured now." in words
    assert "Zeros, unverified on the device:" in words
    assert "zeros in blocks of four in fp32: above 30 % only" in words


def test_a_measured_device_has_a_page_as_before() -> None:
    text = page(advice_table(advice_of(site())))
    assert "faster (95 %)" in text
    assert "span" not in text


# the commands


def trimfit(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["trimfit", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_list_says_who_published_it(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert trimfit(monkeypatch, "profiles") == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        NAME,
        "abacus (Cortex-A72)",
        "7 encoders of hidden size 16, 32; `trimfit advise` predicts from them",
        "published: published figures of a book",
    ]


def test_there_is_no_profile_to_print(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert trimfit(monkeypatch, "profile", "--device", NAME) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert f"got {NAME}, which is published figures, expected a profile" in line


def test_a_site_without_a_modelled_core_names_no_zeros() -> None:
    unknown = Published(NAME, MODEL.model_copy(update={"core": "Cortex-M4"}))
    assert unknown.site(SHAPE, made.WORKLOAD, Silent()).unverified == ()
