"""Which operators a model needs, and which of them onnxruntime's packages for phones lack.

The small prebuilt packages with a list of operators (onnxruntime-mobile) were deprecated in 1.18 and are no longer made
(microsoft/onnxruntime#20941). Those published today, onnxruntime-android, onnxruntime-c and onnxruntime-objc, are full
builds: no option of theirs leaves out an operator of onnx's own domains or of com.microsoft
(tools/ci_build/github/android/default_full_aar_build_settings.json). They lack other domains: operators that come in a
library of their own, and com.microsoft.nchwc, a layout that suits the CPU on which a file was optimised
(microsoft/onnxruntime#20247). A build of one's own has what its list of operators names.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx

from optimizer.mobile.silence import silent

__all__ = ["lacking", "operators_listed", "operators_of"]

PACKAGED = ("ai.onnx", "ai.onnx.ml", "com.microsoft")
_SAME = {"": "ai.onnx"}  # two names of one domain


def operators_of(graph: onnx.GraphProto) -> frozenset[str]:
    """Operators of an ONNX graph and of the graphs within it, as DOMAIN:NAME."""
    found = set()
    for node in graph.node:
        found.add(f"{_SAME.get(node.domain, node.domain)}:{node.op_type}")
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                found |= operators_of(inner)
    return frozenset(found)


def operators_listed(config: Path) -> frozenset[str]:
    """Operators in a list for builds of onnxruntime, as DOMAIN:NAME."""
    with silent():
        from onnxruntime.tools.reduced_build_config_parser import parse_config

        required, _ = parse_config(str(config))
    return frozenset(
        f"{domain}:{name}" for domain, by_version in required.items() for names in by_version.values() for name in names
    )


def lacking(operators: Iterable[str]) -> tuple[str, ...]:
    """Those that no package for phones has, sorted."""
    return tuple(sorted(name for name in operators if name.rpartition(":")[0] not in PACKAGED))
