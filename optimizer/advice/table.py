"""Advice as tables and sentences on a terminal, within 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from optimizer.advice.record import Advice, Forecast, LayerBreakEven, Measured, Ratio, TargetAdvice
from optimizer.report.wording import milliseconds

__all__ = ["UNKNOWN_LOSS", "advice_table", "ratio_in_words", "shape_in_words"]

UNKNOWN_LOSS = (
    "Each way is the gentlest of its kind that is predicted to reach the target; those that leave most weights come"
    " first. What a way costs in accuracy is not known without data (at an equal share of weights, single zeros usually"
    " lose less than whole neurons or layers): `trimfit optimize` finds out with yours."
)
LEAST_KNOWN = 0.3  # break-even points below it are not told apart
OPERATORS = "onnxruntime-"


def advice_table(advice: Advice) -> RenderableType:
    """Conditions, what each way brings, what cannot pay, break-even points, and what to try for each target."""
    parts: list[RenderableType] = [Text(_conditions(advice))]
    if advice.origin:
        parts.append(Text(f"Predicted from {advice.origin}. Nothing of this is measured now."))
    parts += [Text(sentence) for sentence in advice.assumptions]
    parts += [Text(_teacher(advice)), _forecasts(advice.ways, "what each way would bring", by_precision=True)]
    if advice.refused:
        parts += [Text("What cannot pay here:"), *_bullets(advice.refused)]
    if advice.break_even:
        parts.append(_break_even(advice.break_even))
    for target in advice.targets:
        parts += _target(target)
    parts.append(Text(f"\n{UNKNOWN_LOSS}"))
    parts += [Text(f"unstable: {doubt}", style="yellow") for doubt in advice.doubts]
    return Group(*parts)


def _conditions(advice: Advice) -> str:
    """E.g. "AMD EPYC, batch 1, 128 tokens, 2 threads: 6 layers, hidden size 384, 12 heads, FFN 1536"."""
    return f"{advice.device.name}, {advice.workload}: {shape_in_words(advice)}"


def shape_in_words(advice: Advice) -> str:
    """E.g. "6 layers, hidden size 384, 12 heads, FFN 1536"."""
    shape = advice.architecture
    heads, ffn = (sorted({getattr(layer, name) for layer in shape.layers}) for name in ("heads", "ffn"))
    return f"{shape.depth} layers, hidden size {shape.hidden_size}, {_span(heads)} heads, FFN {_span(ffn)}"


def _span(widths: Sequence[int]) -> str:
    return f"{widths[0]}" if len(widths) == 1 else f"{widths[0]} to {widths[-1]}"


def _teacher(advice: Advice) -> str:
    teacher = advice.teacher
    interval = f"{teacher.low_ms:.2f} to {teacher.high_ms:.2f}, 95 %"
    return (
        f"The teacher in {teacher.way.precision} on {teacher.way.runtime} is predicted to take"
        f" {milliseconds(teacher.ms)} ({interval}). Speed-ups are over it; weights are"
        " what stays of those in its linear layers."
    )


def _forecasts(forecasts: Sequence[Forecast], title: str, *, by_precision: bool = False) -> Table:
    table = _table(title, "way", "runtime", "predicted", "faster (95 %)", "weights")
    for before, forecast in zip((None, *forecasts), forecasts, strict=False):
        if by_precision and before and before.way.precision != forecast.way.precision:
            table.add_section()
        table.add_row(*_row(forecast))
    return table


def _row(forecast: Forecast) -> tuple[str, ...]:
    way = forecast.way
    runtime, faster = way.runtime.removeprefix(OPERATORS), ratio_in_words(forecast.speedup)
    return way.name, runtime, milliseconds(forecast.ms), faster, f"{forecast.weights_left:.0%}"


def ratio_in_words(ratio: Ratio) -> str:
    """E.g. "2.66x (2.51 to 2.81)"."""
    return f"{ratio.value:.2f}x ({ratio.low:.2f} to {ratio.high:.2f})"


def _break_even(items: Sequence[LayerBreakEven]) -> Table:
    precisions = list(dict.fromkeys((item.precision, item.pattern) for item in items))
    headings = (f"{precision}, {'1x4 blocks' if pattern == 'block' else pattern}" for precision, pattern in precisions)
    table = _table("from which share of zeros a layer is faster sparse", "layer", "outputs x inputs", *headings)
    for layer, size in dict.fromkeys((item.layer, f"{item.out_features} x {item.in_features}") for item in items):
        known = {(item.precision, item.pattern): _share(item) for item in items if item.layer == layer}
        table.add_row(layer, size, *(known.get(key, "not measured") for key in precisions))
    return table


def _share(item: LayerBreakEven) -> str:
    if item.sparsity is None:
        return "never"
    return f"{item.sparsity:.0%}{' or less' if item.sparsity <= LEAST_KNOWN else ''}"


def _target(target: TargetAdvice) -> Iterator[RenderableType]:
    title = f"{target.speedup:g}x faster: {milliseconds(target.wanted_ms)}, {milliseconds(target.aimed_ms)} to be sure"
    if target.ways:
        yield _forecasts(target.ways, title)
    else:
        yield Text(f"\n{title}: no way is predicted to reach it here; ask for less")
    if target.measured:
        yield Text(_measured(target, target.measured))
    yield from _bullets(target.refused)


def _measured(target: TargetAdvice, found: Measured) -> str:
    """Predicted against measured, e.g. "Measured: int8 alone 2.79x (2.75 to 2.84), 2.75x was predicted ..."."""
    first = target.ways[0]
    error = found.speedup.value / first.speedup.value - 1
    return (
        f"Measured with random weights: {first.way.name} is {ratio_in_words(found.speedup)} faster, predicted"
        f" {ratio_in_words(first.speedup)}: {error:+.1%}; {milliseconds(found.ms)} against the teacher's"
        f" {milliseconds(found.teacher_ms)}. {_verdict(target.speedup, found.speedup)}"
    )


def _verdict(wanted: float, found: Ratio) -> str:
    if found.low >= wanted:
        return f"The target of {wanted:g}x is reached."
    if found.high < wanted:
        return f"The target of {wanted:g}x is missed: cut a little more."
    return f"Whether {wanted:g}x is reached is within the measurement's doubt: cut a little more."


def _bullets(sentences: Sequence[str]) -> Iterator[RenderableType]:
    return (Padding(Text(f"- {sentence}", style="dim"), (0, 0, 0, 2)) for sentence in sentences)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index < 2 else "right", no_wrap=index > 1)
    return table
