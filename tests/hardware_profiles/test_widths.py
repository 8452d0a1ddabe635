"""Which widths and models are measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hardware_profiles import ProfileRequest
from hardware_profiles.widths import anchor_shapes, ffn_widths, head_widths, ladder, more_anchor_shapes


@pytest.mark.parametrize("most", [32, 64, 1000, 1536, 3072, 4096])
def test_ffn_widths_go_from_removed_to_whole_at_multiples_of_32(most):
    widths = ffn_widths(most)
    assert widths[0] == 0
    assert widths[-1] == most
    assert all(width % 32 == 0 for width in widths[:-1])
    assert list(widths) == sorted(set(widths))
    assert len(widths) <= 16


def test_every_head_count_of_usual_models_is_measured():
    assert head_widths(12) == tuple(range(13))
    assert head_widths(40)[0] == 0
    assert head_widths(40)[-1] == 40
    assert len(head_widths(40)) == 17


def test_a_ladder_climbs_to_the_models_bytes():
    copies = ladder(unit_bytes=1e6, model_bytes=40e6)
    assert copies[0] == 1
    assert copies[-1] == 40
    assert len(copies) > 6


def test_a_model_that_any_cache_holds_needs_no_ladder():
    assert ladder(unit_bytes=1e5, model_bytes=2e6) == ()


def test_anchors_use_measured_widths_only():
    heads, ffn = head_widths(12), ffn_widths(1536)
    first, second = (shapes(384, 32, heads, ffn, depth=6) for shapes in (anchor_shapes, more_anchor_shapes))
    assert not set(first.values()) & set(second.values())
    for shape in (*first.values(), *second.values()):
        assert all(layer.heads in heads and layer.ffn in ffn for layer in shape.layers)
        assert 1 <= len(shape.layers) <= 6


def test_a_thorough_profile_asks_for_more_zeros_and_more_whole_models():
    usual = ProfileRequest(hidden_size=384, head_size=32, max_heads=12, max_ffn=1536, depth=6)
    for sparse in (False, True):
        request = replace(usual, sparse=sparse)
        thorough = replace(request, budget="thorough")
        assert set(thorough.units("ffn")) > set(request.units("ffn"))
        assert thorough.anchors().items() > request.anchors().items()
    assert replace(usual, budget="thorough", sparsities=()).all_sparsities == ()
