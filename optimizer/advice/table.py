"""Advice as tables and sentences on a terminal, within 100 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from optimizer.advice.record import Advice, Forecast, LayerBreakEven, Measured, Ratio, TargetAdvice
from optimizer.report.wording import milliseconds

__all__ = ["SPAN", "UNKNOWN_LOSS", "advice_table", "ratio_in_words", "shape_in_words", "span_in_words"]

UNKNOWN_LOSS = (
    "Each way is the gentlest of its kind that is predicted to reach the target; those that leave most weights come"
    " first. What a way costs in accuracy is not known without data (at an equal share of weights, single zeros usually"
    " lose less than whole neurons or layers): `trimfit optimize` finds out with yours."
)
SPAN = (
    "Intervals of published figures are no 95 % ones: they span what such engines may do, and a target counts as"
    " reached by their middle. Speed-ups are known better than milliseconds: the level of an engine cancels in them."
    " int8, alone or with structured cuts, comes first there whatever weights it leaves."
)
LEAST_KNOWN = 0.3  # break-even points below it are not told apart
OPERATORS = "onnxruntime-"


def advice_table(advice: Advice) -> RenderableType:
    """Conditions, what each way brings, what cannot pay, break-even points, and what to try for each target."""
    parts: list[RenderableType] = [Text(_conditions(advice))]
    if advice.origin:
        parts.append(Text(f"Predicted from {advice.origin}. Nothing of this is measured now."))
    parts += [Text(sentence) for sentence in advice.assumptions]
    if not advice.measured:
        parts.append(Text(SPAN))
    parts += [Text(note, style="yellow") for note in advice.notes]
    parts.append(Text(_teacher(advice)))
    parts.append(_forecasts(advice, advice.ways, "what each way would bring", by_precision=True))
    if advice.refused:
        parts += [Text("What cannot pay here:"), *_bullets(advice.refused)]
    if advice.unverified:
        parts += [Text("Zeros, unverified on the device:"), *_bullets(map(str, advice.unverified))]
    if advice.break_even:
        parts.append(_break_even(advice.break_even))
    for target in advice.targets:
        parts += _target(advice, target)
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
    taken = f"{milliseconds(teacher.ms)} ({teacher.low_ms:.2f} to {teacher.high_ms:.2f}, 95 %)"
    return (
        f"The teacher in {teacher.way.precision} on {teacher.way.runtime} is predicted to take"
        f" {taken if advice.measured else span_in_words(teacher)}. Speed-ups are over it; weights are"
        " what stays of those in its linear layers."
    )


def _forecasts(advice: Advice, forecasts: Sequence[Forecast], title: str, *, by_precision: bool = False) -> Table:
    kind = "95 %" if advice.measured else f"{advice.device.provenance}, span"
    table = _table(title, "way", "runtime", "predicted", f"faster ({kind})", "weights")
    for before, forecast in zip((None, *forecasts), forecasts, strict=False):
        if by_precision and before and before.way.precision != forecast.way.precision:
            table.add_section()
        table.add_row(*_row(advice, forecast))
    return table


def _row(advice: Advice, forecast: Forecast) -> tuple[str, ...]:
    way = forecast.way
    runtime, faster = way.runtime.removeprefix(OPERATORS), ratio_in_words(forecast.speedup)
    predicted = milliseconds(forecast.ms) if advice.measured else span_in_words(forecast)
    return way.name, runtime, predicted, faster, f"{forecast.weights_left:.0%}"


def span_in_words(forecast: Forecast) -> str:
    """E.g. "80 to 510 ms": where nothing was measured the middle says little."""
    low, high = milliseconds(forecast.low_ms), milliseconds(forecast.high_ms)
    return f"{low.removesuffix(' ms')} to {high}"


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


def _target(advice: Advice, target: TargetAdvice) -> Iterator[RenderableType]:
    title = f"{target.speedup:g}x faster, by the middle of what is predicted"
    if advice.measured:
        wanted, aimed = milliseconds(target.wanted_ms), milliseconds(target.aimed_ms)
        title = f"{target.speedup:g}x faster: {wanted}, {aimed} to be sure"
    if target.ways:
        yield _forecasts(advice, target.ways, title)
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


def _bullets(sentences: Iterable[str]) -> Iterator[RenderableType]:
    return (Padding(Text(f"- {sentence}", style="dim"), (0, 0, 0, 2)) for sentence in sentences)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index < 2 else "right", no_wrap=index > 1)
    return table
