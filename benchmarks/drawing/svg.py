"""SVG elements as text: escaped, rounded, and nothing else. Figures are pure functions made of these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

__all__ = ["Child", "circle", "dots", "drawing", "element", "group", "line", "polyline", "rect", "text"]

Child = str | Markup | None


def element(name: str, *children: Child, **attributes: object) -> Markup:
    """One element. Plain strings are escaped, Markup is not; `class_` becomes `class`, `x_y` becomes `x-y`.

    None children and None attributes are left out.
    """
    inner = Markup("").join(escape(child) for child in children if child is not None)
    head = Markup("").join(
        Markup(' {}="{}"').format(Markup(key.strip("_").replace("_", "-")), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), head, inner)


def drawing(width: float, height: float, label: str, *children: Child, class_: str = "figure") -> Markup:
    """The outer <svg>, at most `width` pixels wide, with `label` for those who cannot see it."""
    return element(
        "svg", *children, class_=class_, viewBox=f"0 0 {width:g} {height:g}", width=width, height=height,
        role="img", aria_label=label, xmlns="http://www.w3.org/2000/svg",
    )  # fmt: skip


def group(children: Iterable[Child], class_: str | None = None, title: str | None = None) -> Markup:
    """A <g>; `title` is what a pointer that rests on it is shown."""
    tip = element("title", title) if title else None
    return element("g", tip, *children, class_=class_)


def text(x: float, y: float, words: str, class_: str | None = None, anchor: str | None = None) -> Markup:
    """Words at a baseline; `anchor` is start, middle or end."""
    return element("text", words, x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str, radius: float = 0) -> Markup:
    """A rectangle; a negative width or height is drawn as nothing."""
    return element("rect", x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), rx=radius or None, class_=class_)


def circle(x: float, y: float, radius: float, class_: str, title: str | None = None) -> Markup:
    """A circle, with what a pointer that rests on it is shown."""
    return element("circle", element("title", title) if title else None, cx=x, cy=y, r=radius, class_=class_)


def polyline(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """Straight lines from point to point."""
    return element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=class_)


def dots(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """Many round dots as one path, about 12 bytes each; the stroke's width is their diameter."""
    return element("path", d="".join(f"M{x:.1f} {y:.1f}h0" for x, y in points), class_=class_)


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
