"""Rules of what is told of the teacher's parts: which live on, and what each was worth."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from optimizer.architecture import Architecture, LayerShape
from optimizer.decision_record import KeptLayer
from optimizer.report.survivors import strength, survivors
from optimizer.surgery import LayerOrigin, SurgeryReport
from optimizer.survivors import Worth, kept_layers

SHAPE = Architecture(hidden_size=8, head_size=4, vocab_size=9, layers=(LayerShape(heads=2, ffn=4),) * 2)
WORTH = Worth(
    heads=(np.array([0.25, 0.5]), np.array([1.0, 0.123456])), ffn=(np.array([1.0, 0.0, 2.0, 1.0]), np.zeros(4))
)


def origin() -> SurgeryReport:
    """Layer 0 keeps head 1 and neurons 0 and 2; layer 1 is gone."""
    after = SHAPE.model_copy(update={"layers": (LayerShape(heads=1, ffn=2),)})
    return SurgeryReport(before=SHAPE, after=after, layers=(LayerOrigin(layer=0, heads=(1,), ffn=(0, 2)),))


def test_every_layer_is_told_with_what_is_left_and_what_it_was_worth() -> None:
    first, second = kept_layers(origin(), WORTH)
    assert (first.heads, first.heads_total, first.ffn, first.ffn_total) == ((1,), 2, 2, 4)
    assert first.head_importance == (0.25, 0.5)
    assert (first.ffn_importance, first.ffn_importance_kept) == (4.0, 0.75)
    assert (second.heads, second.ffn) == ((), 0)
    assert second.head_importance == (1.0, 0.1235), "four digits are enough"
    assert (second.ffn_importance, second.ffn_importance_kept) == (0.0, None)


def test_without_a_measurement_nothing_is_said_of_worth() -> None:
    first, _ = kept_layers(origin(), Worth())
    assert (first.head_importance, first.ffn_importance) == ((), None)


def test_worth_is_known_after_an_interruption(tmp_path: Path) -> None:
    assert Worth.read(tmp_path) == Worth()
    WORTH.write(tmp_path)
    again = Worth.read(tmp_path)
    assert [each.tolist() for each in (*again.heads, *again.ffn)] == [
        each.tolist() for each in (*WORTH.heads, *WORTH.ffn)
    ]


# the figure


def layers(depth: int, heads: int, ffn: int) -> tuple[KeptLayer, ...]:
    return tuple(
        KeptLayer(
            layer=i, heads=tuple(range(0, heads, 2)), heads_total=heads, ffn=ffn // 2, ffn_total=ffn,
            head_importance=tuple((h + 1) / heads for h in range(heads)), ffn_importance=1.0, ffn_importance_kept=0.9,
        )
        for i in range(depth)
    )  # fmt: skip


@pytest.mark.parametrize("width", [1016, 340])
@pytest.mark.parametrize(("depth", "heads"), [(6, 12), (12, 16), (2, 2)])
def test_every_head_is_a_square_inside_the_figure(width: int, depth: int, heads: int) -> None:
    drawn = str(survivors(layers(depth, heads, 1536), width=width))
    assert drawn.count(", head ") == depth * heads
    assert len(re.findall(r"head \d+: removed", drawn)) == depth * (heads // 2)
    squares = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', drawn)
    height = float(re.search(r'viewBox="0 0 \d+ (\d+)"', drawn).group(1))  # type: ignore[union-attr]
    assert all(float(x) + float(w) <= width and float(y) + float(h) <= height for x, y, w, h in squares)


def test_the_more_important_is_darker() -> None:
    assert strength(0, 2) < strength(0.5, 2) < strength(1, 2) < strength(2, 2) == 1
    assert strength(0, 0) == 1
    drawn = str(survivors(layers(1, 3, 8)))
    dark = [float(each) for each in re.findall(r'class="unit" fill-opacity="([\d.]+)"', drawn)[:2]]
    assert dark[0] < dark[1] == 1, "heads 0 and 2 live on"


def test_a_bar_is_as_full_as_neurons_live_on() -> None:
    drawn = str(survivors(layers(1, 2, 8)))
    assert "4 / 8, 90.0 % of importance" in drawn
    track, filled = (
        float(re.search(rf'width="([\d.]+)"[^>]*class="{name}"', drawn.split("layer 0: ")[1]).group(1))  # type: ignore[union-attr]
        for name in ("unit gone track-only", "unit")
    )
    assert filled == pytest.approx(track / 2, abs=0.01)


def test_a_figure_without_importance_has_no_scale() -> None:
    bare = tuple(KeptLayer(layer=0, heads=(0,), heads_total=2, ffn=0, ffn_total=4) for _ in range(2))
    drawn = str(survivors(bare))
    assert "less" not in drawn
    assert "nats" not in drawn
    assert survivors(()) == ""
