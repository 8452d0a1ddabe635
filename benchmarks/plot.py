"""The distributions behind a BenchmarkResult, as one HTML file that opens offline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from benchmarks.benchmark_result import BenchmarkResult
from benchmarks.measurement import Measurement

__all__ = ["distributions", "write_plot"]


def distributions(result: BenchmarkResult) -> go.Figure:
    """A half violin per contestant, every counted call a dot coloured by its launch."""
    figure = go.Figure([trace for m in result.measurements for trace in _traces(m)])
    figure.update_layout(
        title={"text": "Milliseconds a call", "subtitle": {"text": result.conditions}},
        xaxis_title="ms a call",
        showlegend=False,
        template="plotly_white",
        violinmode="overlay",
    )
    return figure


def write_plot(result: BenchmarkResult, path: str | Path) -> Path:
    """Write the figure with everything it needs (5 MB) to `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    distributions(result).write_html(path, include_plotlyjs=True, full_html=True)
    return path


def _traces(m: Measurement) -> tuple[go.Violin, go.Scatter]:
    counted = np.flatnonzero(m.counted())
    launches = np.array(m.samples.launch)[counted]
    milliseconds, name = m.seconds * 1e3, m.subject.name
    violin = go.Violin(
        x=milliseconds, name=name, orientation="h", side="positive", points=False, meanline_visible=False
    )
    dots = go.Scatter(
        x=milliseconds,
        y=[name] * milliseconds.size,
        mode="markers",
        marker={"size": 4, "opacity": 0.5, "color": launches, "colorscale": "Viridis"},
        text=[f"launch {launch + 1}" for launch in launches],
        hovertemplate="%{x:.4g} ms, %{text}",
    )
    return violin, dots
