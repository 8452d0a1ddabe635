"""The sparse operators compute what numpy computes, whatever the shape, the zeros and the instruction set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_operator import (
    FLOATS,
    INTEGERS,
    Operator,
    activated,
    expected_int8,
    expected_linear,
    linear,
    linear_int8,
    row_scales,
    sparse_weights,
    tiled,
    untiled,
)

ISAS = ("avx2", "avx512", "avx512vnni", "neon", "neondot")  # of which a CPU passes over what it lacks
ACTIVATIONS = ("none", "gelu", "relu")

sizes = st.one_of(st.integers(1, 20), st.integers(1, 300), st.sampled_from([16, 64, 127, 128, 129, 384]))
token_counts = st.one_of(st.integers(1, 20), st.integers(1, 200), st.sampled_from([1, 16, 64, 65, 128]))
few = settings(max_examples=60, deadline=None)


@dataclass(frozen=True)
class Case:
    """Weights with whole rows and columns of zeros among them, and what is done with them."""

    rng: np.random.Generator
    weights: np.ndarray
    bias: np.ndarray
    activation: str
    attributes: dict[str, Any]
    threads: int
    isa: str

    def tokens(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal((*shape, self.weights.shape[1])).astype(np.float32)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, columns = draw(sizes), draw(sizes)
    weights = sparse_weights(rng, rows, columns, draw(st.one_of(st.sampled_from([0.0, 0.9, 1.0]), st.floats(0, 1))))
    weights[rng.random(rows) < draw(st.sampled_from([0, 0.5]))] = 0
    weights[:, rng.random(columns) < draw(st.sampled_from([0, 0.5]))] = 0
    pieces = st.one_of(st.just(0), st.integers(1, 400))
    return Case(
        rng,
        weights,
        rng.standard_normal(rows).astype(np.float32),
        draw(st.sampled_from(ACTIVATIONS)),
        {"block": draw(pieces), "chunk": draw(pieces)},
        draw(st.integers(1, 3)),
        draw(st.sampled_from(ISAS)),
    )


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """Cap it for the sessions created within: each asks the environment anew."""
    before = os.environ.get("TRIMFIT_ISA")
    os.environ["TRIMFIT_ISA"] = name
    try:
        yield
    finally:
        del os.environ["TRIMFIT_ISA"]
        if before is not None:
            os.environ["TRIMFIT_ISA"] = before


def computed(operator: Operator, case: Case, **feed: np.ndarray) -> np.ndarray:
    with instruction_set(case.isa):
        session = operator.session(case.threads)
    return session.run(None, feed)[0]


def assert_linear(y: np.ndarray, x: np.ndarray, weights: np.ndarray, bias: np.ndarray, activation: str) -> None:
    """Equal but for float32's rounding of each product and sum; NaN and infinity are the same."""
    expected = expected_linear(x, weights, bias, activation)
    assert y.shape == expected.shape
    assert y.dtype == np.float32
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(y[~finite], expected[~finite].astype(np.float32))
    largest = np.abs(np.nan_to_num(x, posinf=0, neginf=0)) @ np.abs(weights).T + np.abs(bias)
    assert np.all(np.abs(y[finite] - expected[finite]) <= 2e-6 * largest[finite] + 1e-6)


@few
@given(case=cases(), tokens=token_counts)
def test_sparse_linear_is_act_of_x_w_plus_b(case: Case, tokens: int) -> None:
    x = case.tokens(tokens)
    y = computed(linear(case.weights, case.bias, case.activation, **case.attributes), case, X=x)
    assert_linear(y, x, case.weights, case.bias, case.activation)


@few
@given(case=cases(), shape=st.lists(st.integers(0, 5), min_size=0, max_size=4))
def test_every_leading_dimension_is_kept_and_may_be_empty(case: Case, shape: list[int]) -> None:
    x = case.tokens(*shape)
    y = computed(linear(case.weights, case.bias, case.activation, **case.attributes), case, X=x)
    assert_linear(y, x, case.weights, case.bias, case.activation)


@few
@given(case=cases(), tokens=token_counts, strange=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_nan_and_infinity_reach_what_is_computed_from_them_and_nothing_else(
    case: Case, tokens: int, strange: float
) -> None:
    x = case.tokens(tokens)
    x[case.rng.random(x.shape) < 2 / x.size] = strange
    y = computed(linear(case.weights, case.bias, case.activation, **case.attributes), case, X=x)
    assert_linear(y, x, case.weights, case.bias, case.activation)


@few
@given(case=cases(), strange=st.sampled_from([np.nan, np.inf, 1e30, 1e-42, -0.0]))
def test_strange_weights_are_weights(case: Case, strange: float) -> None:
    weights = case.weights.copy()
    weights[case.rng.random(weights.shape) < 3 / weights.size] = strange
    x = case.tokens(7)
    y = computed(linear(weights, case.bias, "relu", **case.attributes), case, X=x)
    with np.errstate(over="ignore"):
        expected = expected_linear(x, weights, case.bias, "relu").astype(np.float32)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4 * (1 + np.abs(x).max()))


@few
@given(case=cases(), batch=st.integers(1, 3), tokens=token_counts)
def test_every_instruction_set_computes_the_same_bits(case: Case, batch: int, tokens: int) -> None:
    x = case.tokens(batch, tokens)
    operator = linear(case.weights, case.bias, case.activation, **case.attributes)
    answers = []
    for isa in ISAS:
        with instruction_set(isa):
            answers.append(operator(X=x))
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_gelu_is_exact_everywhere() -> None:
    x = np.concatenate([np.linspace(-20, 20, 100_000), [-1e30, -1e4, 1e-30, 1e30, -np.inf, np.inf, np.nan]])
    x = x.astype(np.float32)[:, None]
    y = linear(np.ones((1, 1), np.float32), np.zeros(1, np.float32), "gelu")(X=x)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(y, activated(x.astype(np.float64), "gelu"), rtol=1e-6, atol=1e-6)


def int8_weights(case: Case) -> np.ndarray:
    random = case.rng.integers(-127, 128, case.weights.shape)
    return np.where(case.weights != 0, random, 0).astype(np.int8)


def assert_int8(y: np.ndarray, x: np.ndarray, weights: np.ndarray, bias: np.ndarray, activation: str) -> None:
    """Equal but for float32's rounding, and one step of each activation that lies between two integers."""
    expected = expected_int8(x, weights, bias, activation)
    assert y.shape == expected.shape
    scale = np.abs(x).max(axis=-1, keepdims=True) / 127
    halves = np.abs(x / np.where(scale == 0, 1, scale) % 1 - 0.5) < 1e-4
    step = scale * row_scales(weights) * (halves @ np.abs(weights.astype(float)).T)
    largest = scale * 127 * row_scales(weights) * np.abs(weights.astype(float)).sum(axis=1) + np.abs(bias)
    assert np.all(np.abs(y - expected) <= 1.2 * step + 2e-6 * largest + 1e-6)


@few
@given(case=cases(), shape=st.tuples(st.integers(1, 3), token_counts))
def test_sparse_linear_int8_multiplies_integers(case: Case, shape: tuple[int, int]) -> None:
    x, weights = case.tokens(*shape), int8_weights(case)
    y = computed(linear_int8(weights, case.bias, case.activation, **case.attributes), case, X=x)
    assert_int8(y, x, weights, case.bias, case.activation)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_int8_sums_do_not_overflow(isa: str, sign: int) -> None:
    weights = np.full((3, 65536), sign * 127, np.int8)
    x = np.where(np.arange(2)[:, None] == 0, 1, -1).astype(np.float32) * np.ones((2, 65536), np.float32)
    bias = np.zeros(3, np.float32)
    with instruction_set(isa):
        y = linear_int8(weights, bias)(X=x)
    np.testing.assert_allclose(y, expected_int8(x, weights, bias), rtol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_a_token_that_int8_cannot_hold_stays_not_finite_and_alone(isa: str, strange: float) -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 127, (5, 9)).astype(np.int8)
    bias = np.zeros(5, np.float32)
    x = rng.standard_normal((20, 9)).astype(np.float32)
    whole = x.copy()
    x[3, 4] = strange
    with instruction_set(isa):
        y = linear_int8(weights, bias)(X=x)
    assert not np.isfinite(y[3]).any()
    assert_int8(np.delete(y, 3, 0), np.delete(whole, 3, 0), weights, bias, "none")


def test_a_token_of_zeros_gives_the_bias() -> None:
    weights, bias = np.full((3, 8), 5, np.int8), np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(linear_int8(weights, bias)(X=np.zeros((2, 8), np.float32)), [bias, bias])


# -- tiles ------------------------------------------------------------------------------------------------------

untile = Operator("Untile", {}, inputs=(("X", FLOATS), ("attention_mask", INTEGERS)))


def mask_of(batch: int, tokens: int) -> np.ndarray:
    return np.ones((batch, tokens), np.int64)


@few
@given(batch=st.integers(1, 3), tokens=token_counts, features=sizes, isa=st.sampled_from(ISAS))
def test_tiles_hold_a_token_in_each_lane(batch: int, tokens: int, features: int, isa: str) -> None:
    rows = np.random.default_rng(0).standard_normal((batch, tokens, features)).astype(np.float32)
    with instruction_set(isa):
        tiles = Operator("Tile", {})(X=rows)
        back = untile(X=tiled(rows, padding=np.nan), attention_mask=mask_of(batch, tokens))
    assert tiles.shape == tiled(rows).shape
    np.testing.assert_array_equal(untiled(tiles, tokens), rows)
    np.testing.assert_array_equal(back, rows)


@few
@given(case=cases(), batch=st.integers(1, 3), tokens=token_counts, int8=st.booleans(), tiled_in=st.booleans())
def test_a_sparse_layer_computes_the_same_in_tiles(
    case: Case, batch: int, tokens: int, int8: bool, tiled_in: bool
) -> None:
    x = case.tokens(batch, tokens)
    weights = int8_weights(case) if int8 else case.weights
    make, check = (linear_int8, assert_int8) if int8 else (linear, assert_linear)
    layouts = {"input_layout": "tiles" if tiled_in else "rows", "output_layout": "tiles"}
    operator = make(weights, case.bias, case.activation, **case.attributes, **layouts)
    y = computed(operator, case, X=tiled(x, padding=np.nan) if tiled_in else x)
    assert y.shape[:2] == tiled(x).shape[:2]
    check(untiled(y, tokens), x, weights, case.bias, case.activation)


@few
@given(batch=st.integers(1, 2), tokens=token_counts, features=sizes, isa=st.sampled_from(ISAS))
def test_tiled_add_layer_normalisation_is_that_of_the_sum(batch: int, tokens: int, features: int, isa: str) -> None:
    rng = np.random.default_rng(0)
    x, residual = rng.standard_normal((2, batch, tokens, features)).astype(np.float32)
    gamma, beta = rng.standard_normal((2, features)).astype(np.float32)
    inputs = tuple((name, FLOATS) for name in ("X", "residual", "gamma", "beta"))
    operator = Operator("TiledAddLayerNormalization", {}, {"epsilon": 1e-5}, inputs)
    with instruction_set(isa):
        y = operator(X=tiled(x, np.inf), residual=tiled(residual, np.nan), gamma=gamma, beta=beta)
    total = (x + residual).astype(np.float64)
    centred = total - total.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gamma + beta
    np.testing.assert_allclose(untiled(y, tokens), expected, atol=3e-4 if features < 4 else 1e-5, rtol=1e-5)


def expected_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray, heads: int, scale: float) -> Any:
    q, k, v = (part.astype(np.float64).reshape(*part.shape[:2], heads, -1).swapaxes(1, 2) for part in (q, k, v))
    scores = q @ k.swapaxes(2, 3) * scale
    scores = np.where(mask[:, None, None] != 0, scores, float(np.finfo(np.float32).min))
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    context = weights / weights.sum(-1, keepdims=True) @ v
    return context.swapaxes(1, 2).reshape(*mask.shape, -1)


@few
@given(
    batch=st.integers(1, 2),
    tokens=token_counts,
    heads=st.integers(1, 4),
    width=st.integers(1, 70),
    hidden=st.sampled_from([0, 0.3, 1]),
    isa=st.sampled_from(ISAS),
)
def test_tiled_attention_is_attention(batch: int, tokens: int, heads: int, width: int, hidden: float, isa: str) -> None:
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, batch, tokens, heads * width)).astype(np.float32)
    mask = (rng.random((batch, tokens)) >= hidden).astype(np.int64)
    inputs = (("Q", FLOATS), ("K", FLOATS), ("V", FLOATS), ("attention_mask", INTEGERS))
    operator = Operator("TiledAttention", {}, {"heads": heads, "scale": 0.25}, inputs)
    with instruction_set(isa):
        y = operator(Q=tiled(q, np.nan), K=tiled(k, np.nan), V=tiled(v, np.nan), attention_mask=mask)
    expected = expected_attention(q, k, v, mask, heads, 0.25)
    np.testing.assert_allclose(untiled(y, tokens), expected, atol=2e-5, rtol=1e-4)


def test_self_attention_reads_what_attention_reads_from_three_tensors() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 70, 3 * 24)).astype(np.float32)
    mask = (rng.random((2, 70)) >= 0.3).astype(np.int64)
    settings = {"heads": 4, "scale": 0.4}
    joined = Operator("TiledSelfAttention", {}, settings, (("QKV", FLOATS), ("attention_mask", INTEGERS)))
    y = joined(QKV=tiled(x, np.nan), attention_mask=mask)
    inputs = (("Q", FLOATS), ("K", FLOATS), ("V", FLOATS), ("attention_mask", INTEGERS))
    q, k, v = (tiled(part, np.nan) for part in np.split(x, 3, axis=-1))
    apart = Operator("TiledAttention", {}, settings, inputs)(Q=q, K=k, V=v, attention_mask=mask)
    np.testing.assert_array_equal(untiled(y, 70), untiled(apart, 70))


# -- together ---------------------------------------------------------------------------------------------------


def test_sessions_and_threads_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(0)
    layers = []
    for rows, columns, threads in ((96, 130, 1), (33, 64, 2), (256, 31, 3)):
        weights, bias = sparse_weights(rng, rows, columns, 0.8), rng.standard_normal(rows).astype(np.float32)
        x = rng.standard_normal((70, columns)).astype(np.float32)
        session = linear(weights, bias, "gelu").session(threads)
        layers.append((session, x, session.run(None, {"X": x})[0]))

    def check(turn: int) -> None:
        session, x, alone = layers[turn % len(layers)]
        np.testing.assert_array_equal(session.run(None, {"X": x})[0], alone)

    with ThreadPoolExecutor(max_workers=6) as pool:
        list(pool.map(check, range(300)))


def test_sessions_come_and_go_while_others_run() -> None:
    rng = np.random.default_rng(0)
    weights, x = sparse_weights(rng, 40, 50, 0.5), rng.standard_normal((9, 50)).astype(np.float32)
    operator = linear(weights, np.zeros(40, np.float32))
    expected = operator(X=x)

    def once(_: int) -> None:
        np.testing.assert_array_equal(operator(X=x), expected)

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(once, range(100)))
