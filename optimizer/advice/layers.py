"""Layers: the break-even sparsity of each linear layer's shape."""

from __future__ import annotations

from optimizer.advice.record import LayerBreakEven
from optimizer.advice.site import Site

__all__ = ["layers_break_even"]


def layers_break_even(site: Site) -> tuple[LayerBreakEven, ...]:
    """What was measured of every shape of layer at every precision; nothing without a runtime that skips zeros."""
    if site.sparse is None:
        return ()
    roles = _roles(site)
    return tuple(
        LayerBreakEven(
            layer=roles[item.out_features, item.in_features],
            out_features=item.out_features,
            in_features=item.in_features,
            precision=item.precision,
            pattern=site.skipped(item.precision),
            sparsity=item.sparsity if item.sparsity < 1 else None,
        )
        for item in site.sparse.profile.break_even
        if item.workload == site.workload and (item.out_features, item.in_features) in roles
    )


def _roles(site: Site) -> dict[tuple[int, int], str]:
    """What layers of a shape (outputs, inputs) do in the widest block of the model."""
    hidden = site.architecture.hidden_size
    width = site.architecture.head_size * max(layer.heads for layer in site.architecture.layers)
    ffn = max(layer.ffn for layer in site.architecture.layers)
    named = [
        ((width, hidden), "query, key, value"),
        ((hidden, width), "attention output"),
        ((ffn, hidden), "FFN up"),
        ((hidden, ffn), "FFN down"),
    ]
    roles: dict[tuple[int, int], str] = {}
    for shape, role in named:
        roles[shape] = f"{roles[shape]}, {role}" if shape in roles else role
    return roles
