"""ModelFolder: a Hugging Face folder on disk: what it holds, why it is refused, how it is loaded and written.

Only local files are read, no code from the folder is run, and weights come from safetensors or from a pickle
that `torch.load(weights_only=True)` accepts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_utils import no_init_weights

from benchmarks.errors import TrimfitError
from optimizer.architecture import Architecture
from optimizer.encoders import FAMILIES, SUPPORTED, family_of
from optimizer.quiet import quiet
from optimizer.surgery import reshape

__all__ = ["ModelFolder", "inspect_folder", "load", "load_classifier", "save"]

# sdpa trains no faster on a CPU (rows are short) and exports more nodes, which onnxruntime does not fold away
ATTENTION = "eager"
NOT_ONE_LABEL = ("regression", "multi_label_classification")
WEIGHTS: tuple[tuple[str, Literal["safetensors", "pickle"]], ...] = (
    ("model.safetensors", "safetensors"),
    ("model.safetensors.index.json", "safetensors"),
    ("pytorch_model.bin", "pickle"),
    ("pytorch_model.bin.index.json", "pickle"),
)


class ModelFolder(BaseModel):
    """What a folder holds. `labels` names the logits of its classifier; None for an encoder without one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    model_type: str
    has_classifier: bool
    labels: dict[int, str] | None
    weights: Literal["safetensors", "pickle"]
    files: tuple[Path, ...]
    architecture: Architecture | None  # of a model that trimfit cut; None for one as transformers wrote it


def inspect_folder(folder: Path) -> ModelFolder:
    """Look into a folder without loading the model.

    Raises TrimfitError when there is no config.json, the type is unsupported, the weights are missing,
    truncated or pickled with code, or the classifier is not one for single labels.
    """
    config = _read_config(folder)
    family = family_of(config)
    weights, files = _weight_files(folder)
    shapes = {name: shape for file in files for name, shape in _shapes(file, weights).items()}
    outputs = shapes.get(f"{family.class_layer}.weight")
    named = config.architectures or ["ForSequenceClassification"]
    has_classifier = outputs is not None and named[0].endswith("ForSequenceClassification")
    return ModelFolder(
        path=folder,
        model_type=config.model_type,
        has_classifier=has_classifier,
        labels=_labels(folder, config, outputs[0]) if outputs and has_classifier else None,
        weights=weights,
        files=files,
        architecture=Architecture.from_config(config),
    )


def load_classifier(folder: Path, num_labels: int, id2label: Mapping[int, str], *, seed: int = 0) -> PreTrainedModel:
    """Load a sequence classifier as it is, or an encoder with a fresh head drawn with `seed`.

    Args:
        folder: a Hugging Face folder or a deployment; see `inspect_folder` for what is refused.
        num_labels: number of logits. Must be that of the folder's classifier if it has one.
        id2label: name of each logit, 0 to num_labels - 1; written into the config.
        seed: of the random weights of a fresh head (and pooler). torch's global generator is left as it was.

    Returns:
        The model in float32 (a model that trimfit cut: in the type it was saved in), in evaluation mode.
    """
    found = inspect_folder(folder)
    if found.labels is not None and len(found.labels) != num_labels:
        names = ", ".join(found.labels.values())
        raise TrimfitError(
            f"{folder} classifies into {len(found.labels)} labels ({names}), got {num_labels}: "
            "use data with those labels, or an encoder without a classifier"
        )
    config = _read_config(folder)
    config.id2label = {index: id2label[index] for index in range(num_labels)}
    config.label2id = {name: index for index, name in config.id2label.items()}
    with quiet(), _one_line(folder):
        model = _load_cut(found, config) if found.architecture else _load_whole(found, config, seed)
    return model.eval()


def load(folder: Path | str) -> PreTrainedModel:
    """Load a deployment's or any other folder's sequence classifier, bit for bit as it was saved.

    Raises TrimfitError as `inspect_folder` does, and for an encoder without a classifier.
    """
    found = inspect_folder(Path(folder))
    if found.labels is None:
        raise TrimfitError(f"{folder} holds an encoder without a classifier: train one with `trimfit optimize`")
    return load_classifier(found.path, len(found.labels), found.labels)


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, folder: Path) -> None:
    """Write config.json (with the shape of every layer), model.safetensors and the tokenizer's files."""
    with quiet():
        model.save_pretrained(folder, safe_serialization=True)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)


def _read_config(folder: Path) -> Any:
    path = folder / "config.json"
    if not path.is_file():
        what = "holds no config.json" if folder.is_dir() else "is not a folder"
        raise TrimfitError(f"{folder} {what}: expected a local Hugging Face model folder")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrimfitError(f"{path} is not JSON ({error}): copy the model again") from error
    model_type = fields.get("model_type") if isinstance(fields, dict) else None
    if model_type not in FAMILIES:
        raise TrimfitError(
            f"{folder} is of type {model_type!r}, which is not supported: use one of {', '.join(SUPPORTED)}"
        )
    with quiet(), _one_line(path):
        return AutoConfig.from_pretrained(folder, local_files_only=True)


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Turn what transformers and torch raise about a folder into one line."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next(
            (line for line in lines if "mismatch" in line or "issing" in line),
            lines[0] if lines else repr(error),
        )
        raise TrimfitError(f"{path} cannot be loaded ({reason[:200]}): check that the folder is complete") from error


def _weight_files(folder: Path) -> tuple[Literal["safetensors", "pickle"], tuple[Path, ...]]:
    for name, kind in WEIGHTS:
        path = folder / name
        if path.is_file():
            return kind, tuple(_parts(path)) if name.endswith(".index.json") else (path,)
    raise TrimfitError(f"{folder} holds no weights: expected model.safetensors beside config.json")


def _parts(index: Path) -> list[Path]:
    with _one_line(index):
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    parts = [index.parent / Path(name).name for name in names]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise TrimfitError(f"{index.parent} lacks {missing[0]}, which {index.name} names: copy the model again")
    return parts


def _shapes(path: Path, weights: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in a file."""
    if weights == "pickle":
        return {name: tuple(tensor.shape) for name, tensor in _unpickled(path).items()}
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise TrimfitError(f"{path} is broken or truncated ({error}): copy the model again") from error


def _unpickled(path: Path) -> dict[str, torch.Tensor]:
    try:
        with quiet():
            state = torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:  # untrusted bytes raise anything
        raise TrimfitError(
            f"{path} is a pickle that holds more than weights or is broken: save the model as safetensors "
            "(model.save_pretrained)"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise TrimfitError(f"{path} holds no weights by name: save the model as safetensors (model.save_pretrained)")
    return state


def _labels(folder: Path, config: Any, outputs: int) -> dict[int, str]:
    if config.problem_type in NOT_ONE_LABEL:
        raise TrimfitError(
            f"{folder} is a {config.problem_type} model, expected a classifier that gives each text one label"
        )
    labels = {int(index): str(name) for index, name in config.id2label.items()}
    if sorted(labels) != list(range(outputs)):
        raise TrimfitError(f"{folder} gives {outputs} logits but config.json names {len(labels)} labels: correct it")
    return labels


def _load_whole(found: ModelFolder, config: Any, seed: int) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            found.path,
            config=config,
            local_files_only=True,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
            output_loading_info=True,
        )
    encoder = f"{model.base_model_prefix}."
    fresh = [name for name in info["missing_keys"] if not name.startswith(encoder) or "pooler." in name]
    lacking = [name for name in info["missing_keys"] if found.has_classifier or name not in fresh]
    if lacking:
        raise TrimfitError(f"{found.path} lacks {len(lacking)} of its weights, e.g. {lacking[0]}: copy the model again")
    return model


def _load_cut(found: ModelFolder, config: Any) -> PreTrainedModel:
    assert found.architecture is not None
    with no_init_weights():
        model = AutoModelForSequenceClassification.from_config(
            config, dtype=config.dtype or torch.float32, attn_implementation=ATTENTION
        )
    reshape(model, found.architecture)
    state = {name: tensor for file in found.files for name, tensor in load_file(file).items()}
    model.load_state_dict(state, strict=True)
    return model
