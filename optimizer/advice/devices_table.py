"""Advice on several devices as one table, devices as columns, within 100 columns of text."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from optimizer.advice.across import KINDS, pick
from optimizer.advice.record import Advice, AdviceAcross, Elsewhere, Forecast, Kind, TargetAdvice
from optimizer.advice.table import SPAN, UNKNOWN_LOSS, ratio_in_words, shape_in_words, span_in_words
from optimizer.report.wording import milliseconds, provenance

__all__ = ["devices_table"]

WORDS: dict[Kind, str] = {"dense": "no zeros", "zeros": "with zeros"}
NONE = "no way reaches it"
UNVERIFIED = "not predicted,\nonly named"

ELSEWHERE = (
    "A model that is slower elsewhere than the way that is best there misses the target there, or nearly; one that is"
    " faster gave away weights that it could have kept. All of this is predicted."
)


def devices_table(found: AdviceAcross) -> RenderableType:
    """Where numbers come from, what is best on each device, and what a model tuned for one costs on another."""
    first = found.advice[0]
    parts: list[RenderableType] = [Text(f"{first.model}: {shape_in_words(first)}")]
    parts += [Text(sentence) for sentence in first.assumptions]
    parts += [Text(_device(advice)) for advice in found.advice]
    parts += [Text(caution, style="yellow") for caution in found.cautions]
    if not all(advice.measured for advice in found.advice):
        parts.append(Text(SPAN))
    parts += [Text(f"{advice.asked}: {note}", style="yellow") for advice in found.advice for note in advice.notes]
    parts.append(_best(found))
    parts += [Text(f"{advice.asked}: {zeros}") for advice in found.advice for zeros in advice.unverified]
    parts += _elsewhere(found)
    parts.append(Text(f"\n{UNKNOWN_LOSS}"))
    doubts = (f"unstable: {advice.asked}: {doubt}" for advice in found.advice for doubt in advice.doubts)
    parts += [Text(doubt, style="yellow") for doubt in doubts]
    names = " or ".join(f"`--device {advice.asked}`" for advice in found.advice)
    parts.append(Text(f"All ways, and why others cannot pay: {names} alone, or --json."))
    return Group(*parts)


def _device(advice: Advice) -> str:
    """E.g. "local: AMD EPYC, batch 1, 128 tokens, 2 threads; profiled and measured here (measured_device)"."""
    word = advice.device.provenance
    source = f"predicted from {advice.origin}; nothing of it is measured now" if advice.origin else provenance(word)
    return f"- {advice.asked}: {advice.device.name}, {advice.workload}; {source} ({word})"


def _best(found: AdviceAcross) -> Table:
    known = "95 %" if all(advice.measured for advice in found.advice) else "their intervals"
    title = f"what is best on each device (speed-ups with {known})"
    table = _table(title, "target", *(advice.asked for advice in found.advice))
    table.add_row("provenance", *(advice.device.provenance for advice in found.advice))
    table.add_row("the teacher, fp32", *(_predicted(advice, advice.teacher) for advice in found.advice))
    for number, target in enumerate(found.advice[0].targets):
        for kind in KINDS:
            table.add_section()
            cells = (_pick(advice, advice.targets[number], kind) for advice in found.advice)
            table.add_row(f"{target.speedup:g}x faster,\n{WORDS[kind]}", *cells)
    return table


def _predicted(advice: Advice, forecast: Forecast) -> str:
    return f"{milliseconds(forecast.ms) if advice.measured else span_in_words(forecast)} predicted"


def _pick(advice: Advice, target: TargetAdvice, kind: Kind) -> str:
    """E.g. "int8 alone", "3.12 ms predicted", "2.79x (2.60 to 2.99)", "100% of weights, first to try" in lines."""
    best = pick(target, kind)
    if best is None:
        return _none(advice, kind)
    first = best is target.ways[0]
    lines = [best.way.name, _predicted(advice, best), ratio_in_words(best.speedup)]
    lines.append(f"{best.weights_left:.0%} of weights{', first to try' if first else ''}")
    if target.measured and first:
        lines.append(f"measured: {milliseconds(target.measured.ms)}\n{ratio_in_words(target.measured.speedup)}")
    return "\n".join(lines)


def _none(advice: Advice, kind: Kind) -> str:
    """Why nothing of a kind is predicted to reach a target: it cannot, or nobody can tell."""
    return UNVERIFIED if kind == "zeros" and advice.unverified else NONE


def _elsewhere(found: AdviceAcross) -> Iterator[RenderableType]:
    """One row for each pick on each other device, beside that one's own."""
    if len(found.advice) < 2:
        return
    if not found.elsewhere:
        yield Text("\nThe same way is best on all of them for every target.")
        return
    title = "what a model tuned for one device costs on another"
    table = _table(title, "tuned for", "runs on", "way", "there", "best there")
    advice = {known.asked: known for known in found.advice}
    speedup = found.elsewhere[0].speedup
    for item in found.elsewhere:
        if item.speedup != speedup:
            table.add_section()
        speedup = item.speedup
        home = f"{item.tuned_for}, {item.speedup:g}x,\n{WORDS[item.kind]}"
        table.add_row(home, item.on, item.way.name, _there(item, advice[item.on]), _own(item, advice[item.on]))
    yield table
    yield Text(ELSEWHERE)


def _there(item: Elsewhere, there: Advice) -> str:
    return _cost(there, item.forecast) if item.forecast else f"not known: {item.reason}"


def _own(item: Elsewhere, there: Advice) -> str:
    best = pick(next(target for target in there.targets if target.speedup == item.speedup), item.kind)
    return f"{best.way.name}\n{_cost(there, best)}" if best else _none(there, item.kind)


def _cost(advice: Advice, forecast: Forecast) -> str:
    """With its doubt: away from home a way may lie where little was measured; and where the numbers come from."""
    ms, source = milliseconds(forecast.ms), ""
    if not advice.measured:
        ms, source = span_in_words(forecast), f", {advice.device.provenance}"
    return f"{ms}{source}\n{ratio_in_words(forecast.speedup)}\n{forecast.weights_left:.0%} of weights"


def _table(title: str, *headings: str) -> Table:
    """One whose cells may be broken: they are words and numbers in several lines."""
    table = Table(title=f"\n{title}", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
