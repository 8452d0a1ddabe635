"""Tokenizer file: what tokenizer.json says of a vocabulary, and the same with fewer tokens. Pure functions on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from benchmarks.errors import TrimfitError
from optimizer.vocabulary.pieces import unigram_kept, wordpiece_kept

__all__ = ["SUPPORTED", "check_kind", "ids_by_token", "kept_with", "with_fewer"]

Spec = Mapping[str, Any]

SUPPORTED = ("WordPiece", "Unigram")


def check_kind(kind: str) -> None:
    """Raise TrimfitError for a tokenizer's model whose tokens cannot be removed yet."""
    if kind not in SUPPORTED:
        raise TrimfitError(
            f"got a {kind} tokenizer, expected {' or '.join(SUPPORTED)} to trim the vocabulary of: "
            "use --vocabulary keep"
        )


def ids_by_token(spec: Spec) -> dict[str, int]:
    """Id of every token of the model; added ones beyond it are not among them."""
    vocabulary = spec["model"]["vocab"]
    if spec["model"]["type"] == "Unigram":
        return {piece: i for i, (piece, _) in enumerate(vocabulary)}
    return dict(vocabulary)


def kept_with(spec: Spec, used: Collection[int]) -> set[int]:
    """Ids that stay where `used` are needed: these, what unseen words are spelled with, and all added tokens."""
    model, added = spec["model"], {token["id"] for token in spec["added_tokens"]}
    if model["type"] == "Unigram":
        pieces = [(piece, score) for piece, score in model["vocab"]]
        unknown = set() if model.get("unk_id") is None else {model["unk_id"]}
        return added | unigram_kept(pieces, {i for i in used if i < len(pieces)} | unknown)
    unknown = {i for token, i in model["vocab"].items() if token == model["unk_token"]}
    needed = {*used, *unknown} & set(model["vocab"].values())
    return added | wordpiece_kept(model["vocab"], needed, model["continuing_subword_prefix"])


def with_fewer(spec: Spec, keep: Collection[int]) -> tuple[dict[str, Any], list[int]]:
    """The file with the tokens `keep` alone, and the old id of each new one.

    The order stays; tokens that were added beyond the model's come last, where the tokenizers library puts them.
    `keep` holds at least what `kept_with` says. Truncation, which is set by every call, is left out.
    """
    inside = sorted(set(keep) & set(ids_by_token(spec).values()))
    beyond = sorted({token["id"] for token in spec["added_tokens"]} - set(inside))
    order = [*inside, *beyond]
    new = {old: i for i, old in enumerate(order)}
    fewer = dict(spec)
    fewer["model"] = _model(spec["model"], new)
    fewer["added_tokens"] = sorted(
        ({**token, "id": new[token["id"]]} for token in spec["added_tokens"]), key=lambda token: token["id"]
    )
    fewer["post_processor"] = _processor(spec.get("post_processor"), new)
    padding = spec.get("padding")
    fewer["padding"] = {**padding, "pad_id": new[padding["pad_id"]]} if padding else None
    fewer["truncation"] = None
    return fewer, order


def _model(model: Spec, new: Mapping[int, int]) -> dict[str, Any]:
    vocabulary = model["vocab"]
    if model["type"] == "Unigram":
        kept = [entry for i, entry in enumerate(vocabulary) if i in new]
        unknown = model.get("unk_id")
        return {**model, "vocab": kept, "unk_id": None if unknown is None else new[unknown]}
    return {**model, "vocab": {token: new[i] for token, i in vocabulary.items() if i in new}}


def _processor(processor: Spec | None, new: Mapping[int, int]) -> dict[str, Any] | None:
    """The step that puts [CLS], [SEP] and their like around a text."""
    if processor is None:
        return None
    kind, renumbered = processor["type"], dict(processor)
    if kind == "Sequence":
        renumbered["processors"] = [_processor(each, new) for each in processor["processors"]]
    elif kind == "TemplateProcessing":
        renumbered["special_tokens"] = {
            name: {**token, "ids": [new[i] for i in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
    elif kind in ("BertProcessing", "RobertaProcessing"):
        for name in ("sep", "cls"):
            token, i = processor[name]
            renumbered[name] = [token, new[i]]
    return renumbered
