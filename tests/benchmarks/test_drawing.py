"""Figures: equal ratios are equal distances, ticks are round, labels cover nothing, text is text."""

from __future__ import annotations

import pytest

from benchmarks.drawing.labels import place
from benchmarks.drawing.responsive import NARROW, WIDE, both
from benchmarks.drawing.scale import linear, logarithmic
from benchmarks.drawing.svg import drawing, element
from benchmarks.drawing.templates import environment


def test_equal_speedups_are_equal_distances():
    scale = logarithmic([1, 8], 0, 300)
    assert scale(2) - scale(1) == pytest.approx(scale(8) - scale(4))
    assert scale.ticks(6) == (1, 2, 5)


def test_a_scale_holds_a_single_value():
    assert 0 < linear([0.9], 0, 100, least=0.02)(0.9) < 100
    assert 0 < logarithmic([3.0], 0, 100)(3.0) < 100
    assert len(logarithmic([3.0], 0, 100).ticks(6)) >= 2


def test_ticks_are_round_numbers():
    assert linear([0.84, 0.903], 0, 100, margin=0).ticks(6) == (0.84, 0.85, 0.86, 0.87, 0.88, 0.89, 0.9)


def test_labels_cover_nothing():
    spots = [(100.0, 50.0), (103.0, 51.0), (160.0, 52.0)]
    labels = [label for label in place(spots, ["student", "teacher", None], 400, 200) if label]
    assert len(labels) == 2
    (left, top, right, bottom), other = labels[0].box, labels[1].box
    assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
    assert place([(5.0, 5.0)], ["no room at all for this"], 60, 12) == [None]


def test_svg_text_is_escaped():
    assert element("text", "<b>", None, x=1.0, class_='a"', y=None) == '<text x="1" class="a&#34;">&lt;b&gt;</text>'


def test_every_figure_comes_wide_and_narrow():
    found = both(lambda width: drawing(width, 10, "figure"))
    wide, _, narrow = found.partition('<div class="narrow">')
    assert f'width="{WIDE}"' in wide
    assert f'width="{NARROW}"' in narrow


def test_a_package_has_the_shared_style_beside_its_own_templates():
    names = environment("optimizer.report").list_templates(extensions=["jinja"])
    assert {"figure.css.jinja", "base.css.jinja", "page.html.jinja"} <= set(names)
