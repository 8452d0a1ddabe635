"""The profile page draws what was measured, says what was not, and loads nothing."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import made_profile as made
import pytest

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles import Anchor, BreakEven, RuntimeRecord
from hardware_profiles.page import profile_page, write_page
from hardware_profiles.page.peak_figure import block_operations, peak_lines
from hardware_profiles.page.runtime_figure import runtime_bars
from hardware_profiles.page.subject import Subject
from hardware_profiles.page.thread_figure import thread_lines
from hardware_profiles.page.width_figure import width_curves, width_figure
from hardware_profiles.page.zeros_figure import break_even_points, zeros_figure, zeros_lines

SHAPE = made.shape((4, 128), (4, 128))
STAIRS = {0: 10e-6, 32: 50e-6, 64: 50e-6, 128: 90e-6}
"""Seconds of FFNs: a step between 64 and 128 neurons, none between 32 and 64."""
HOSTILE = "</script><img src=https://evil.example onerror=alert(1)>"


def stairs():
    ffn = [made.timing(made.unit("ffn", width), seconds) for width, seconds in STAIRS.items()]
    return made.profile().with_entries(ffn)


def threads(*seconds):
    models = [
        Anchor.of(f"{n}", SHAPE, made.WORKLOAD.model_copy(update={"threads": n}), "fp32", value)
        for n, value in enumerate(seconds, start=1)
    ]
    return tuple(models)


def stock():
    return (
        stairs()
        .with_anchor(made.anchor(SHAPE))
        .with_peaks(made.PEAK)
        .with_bandwidths(made.BANDWIDTH)
        .with_thread_scaling(*threads(4e-3, 2.5e-3))
    )


def sparse():
    """Zeros halve a block at 50 % and leave a tenth at 90 %; layers of 128 x 384 break even at 40 %."""
    blocks = [
        made.timing(unit, made.cost(unit) * (1 - unit.sparsity))
        for kind, width in (("attention", 4), ("ffn", 128))
        for unit in (made.unit(kind, width, sparsity) for sparsity in (0.0, 0.5, 0.9))
    ]
    points = [
        BreakEven(out_features=out, in_features=384, workload=made.WORKLOAD, precision="fp32", sparsity=at)
        for out, at in ((128, 0.4), (384, 2.0))
    ]
    whole = made.anchor(SHAPE, 0.3).model_copy(update={"pattern": "unstructured", "sparsity": 0.9})
    record = RuntimeRecord(name="onnxruntime-cpu+sparse", version="1.0")
    empty = made.profile().model_copy(update={"runtime_record": record, "entries": ()})
    return empty.with_entries(blocks).with_break_even(points).with_anchor(whole)


def figures(page):
    return [ET.fromstring(text) for text in re.findall(r"(?s)<svg.*?</svg>", page)]


def sections(page):
    return re.findall(r'<section id="([a-z]+)">', page)


def test_all_that_was_measured_is_drawn():
    page = profile_page([stock(), sparse()])
    assert sections(page) == ["widths", "zeros", "runtimes", "threads", "peaks"]
    assert len(figures(page)) == 2 * (2 + 1 + 1 + 1 + 2)
    assert "slide rule" in page
    assert "200 GFLOP/s" in page
    assert "20 GB/s" in page


def test_what_was_not_measured_is_not_drawn_and_the_command_is_named():
    page = profile_page([stairs()])
    assert sections(page) == ["widths", "zeros", "missing"]
    command = "trimfit profile --batch 1 --seq-len 64 --threads 1 --html profile.html"
    assert f"<code>{command}</code>" in page
    assert f"<code>{command} --runtime onnxruntime-cpu+sparse</code>" in page
    assert "What threads bring" not in page  # the slide rule has one core


def test_a_machine_of_several_cores_is_asked_what_threads_bring():
    device = made.DEVICE.model_copy(update={"cores": 2})
    assert "What threads bring" in profile_page([stairs().model_copy(update={"device": device})])


def test_the_page_requests_nothing():
    page = profile_page([stock(), sparse()])
    assert not re.search(r"<(script|link|img|iframe|object|base|form)\b", page)
    assert not re.search(r"(href|src)=|url\(|@import", page)
    assert "default-src 'none'" in page
    assert len(page) < 300_000


def test_hostile_names_are_text():
    device = made.DEVICE.model_copy(update={"name": HOSTILE, "system": HOSTILE})
    assert "<img" not in profile_page([stock().model_copy(update={"device": device})])


def test_the_same_profiles_give_the_same_bytes(tmp_path):
    first = write_page(tmp_path / "new" / "page.html", [stock()]).read_bytes()
    assert write_page(tmp_path / "page.html", [stock()]).read_bytes() == first


def test_profiles_of_several_workloads_are_refused():
    longer = made.timing(made.unit("ffn", 64), workload=Workload(seq_len=9))
    with pytest.raises(TrimfitError, match="got profiles of 2 model sizes and workloads, expected one"):
        profile_page([stock().with_entries([longer])])


def test_profiles_of_several_devices_are_refused():
    other = sparse().model_copy(update={"device": made.DEVICE.model_copy(update={"cores": 8})})
    with pytest.raises(TrimfitError, match="got profiles with cores 1 against 8, expected one device"):
        profile_page([stock(), other])


# latency against width


def test_points_are_the_measured_blocks_with_their_spread():
    (curve,) = width_curves(Subject.of([stairs()]), "ffn")
    assert [(block.width, block.ms) for block in curve.blocks] == [
        (width, pytest.approx(1e3 * seconds)) for width, seconds in STAIRS.items()
    ]
    assert curve.blocks[0].iqr_ms == pytest.approx(1e3 * 1e-6 / made.REPEAT)


def test_the_curve_is_the_monotone_one_of_the_model():
    dip = stairs().with_entries([made.timing(made.unit("ffn", 64), 40e-6)])
    (curve,) = width_curves(Subject.of([dip]), "ffn")
    assert [ms for _, ms in curve.model] == pytest.approx([0.01, 0.045, 0.045, 0.09])
    assert [block.ms for block in curve.blocks] == pytest.approx([0.01, 0.05, 0.04, 0.09])


def test_the_step_is_thick():
    curves = width_curves(Subject.of([stairs()]), "ffn")
    assert [(step.low, step.high) for step in curves[0].steps] == [(64, 128)]
    drawn = ET.fromstring(width_figure(curves))
    lines = [line for line in drawn.iter("{http://www.w3.org/2000/svg}polyline") if "riser" in line.get("class")]
    assert len(lines) == 1


# speed-up against sparsity


def test_speedups_are_of_each_kind_pattern_and_runtime():
    lines = zeros_lines(Subject.of([stock(), sparse()]), "fp32")
    found = {(line.runtime, line.kind): [gain for _, gain in line.points] for line in lines}
    assert found["onnxruntime-cpu+sparse", "ffn"] == pytest.approx([2.0, 10.0])
    assert found["onnxruntime-cpu+sparse", "attention"] == pytest.approx([2.0, 10.0])
    assert found["onnxruntime-cpu", "attention"] == pytest.approx([1.0, 1.0])


def test_every_layer_shape_has_its_break_even_point():
    subject = Subject.of([stock(), sparse()])
    points = break_even_points(subject, "fp32")
    assert [(p.out_features, p.sparsity) for p in points] == [(128, 0.4), (384, 2.0)]
    page = profile_page([stock(), sparse()])
    assert re.findall(r"<td>(\d+ x \d+)</td><td class=\"number\">(.*?)</td>", page) == [
        ("128 x 384", "40.0 %"), ("384 x 384", "never"),
    ]  # fmt: skip
    drawn = zeros_figure(zeros_lines(subject, "fp32"), points)
    assert "128x384 breaks even at 40%" in drawn
    assert "384x384" not in drawn  # nowhere on the axis


# precision by runtime


def test_bars_compare_the_same_shape():
    (group,) = runtime_bars(Subject.of([stock(), sparse()]))
    assert group.shape == "2 layers of 4 heads and 128 neurons"
    dense, zeros = group.bars
    assert (dense.runtime, dense.name) == ("onnxruntime-cpu", "fp32")
    assert (zeros.runtime, zeros.name) == ("onnxruntime-cpu+sparse", "fp32, 90% zeros")
    assert zeros.ms == pytest.approx(0.3 * dense.ms)


# thread scaling


def test_threads_are_held_against_one():
    (line,) = thread_lines(Subject.of([stock()]))
    assert line.speedups == ((1, 1.0), (2, pytest.approx(1.6)))
    assert '<tr><td>2</td><td class="number">2.50 ms</td></tr>' in profile_page([stock()])
    assert thread_lines(Subject.of([stairs().with_thread_scaling(*threads(4e-3))])) == []


# share of machine peak


def test_operations_are_two_for_each_weight_and_token_and_attentions_own():
    workload = Workload(batch=2, seq_len=8)
    assert block_operations("ffn", 32, 16, 4, workload) == 2 * 2 * 8 * (2 * 16 * 32)
    assert block_operations("attention", 3, 16, 4, workload) == 2 * 2 * 8 * (4 * 16 * 12) + 4 * 2 * 8 * 8 * 12


def test_the_share_is_of_the_peak_of_the_same_arithmetic():
    subject = Subject.of([stock()])
    (line,) = peak_lines(subject, width_curves(subject, "ffn"))
    width, share = line.points[-1]
    assert width == 128
    assert share == pytest.approx(2 * 64 * 2 * 384 * 128 / 90e-6 / 200e9)
    assert peak_lines(Subject.of([stairs()]), width_curves(subject, "ffn")) == []


def test_more_than_the_peak_is_a_reason_to_doubt_it():
    assert "to doubt these numbers" not in profile_page([stock()])
    slow = made.PEAK.model_copy(update={"gflops": 10.0})
    assert "of the machine&#39;s peak, so the peak was measured in a busier moment" in profile_page(
        [stock().with_peaks(slow)]
    )
