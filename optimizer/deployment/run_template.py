"""Classify texts with this folder's model: python run.py "a text" "another".

Needs: pip install numpy onnxruntime tokenizers (for a model that was made for a GPU: 'onnxruntime-gpu[cuda,cudnn]')
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
GPU_RUNTIMES = ("onnxruntime-cuda", "onnxruntime-tensorrt", "torch-cuda")
RUNTIME = json.loads((HERE / "runtime.json").read_text(encoding="utf-8"))


def load() -> tuple:
    """Return the tokenizer, the session and the names of the labels."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = RUNTIME["threads"]
    for key, value in RUNTIME["options"].get("config", {}).items():
        options.add_session_config_entry(key, value)
    if library := RUNTIME["options"].get("custom_op_library"):  # sparse operators; the file lies beside the model
        try:
            options.register_custom_ops_library(str(HERE / library))
        except Exception as error:  # noqa: BLE001  (onnxruntime raises classes that it does not export)
            raise SystemExit(
                f"{library} is for {RUNTIME['machine']} and does not load here ({error}): run trimfit optimize here"
            ) from None
    plugin = RUNTIME["options"].get("ep")
    if plugin:
        add_plugin(options, plugin)
    session = onnxruntime.InferenceSession(
        str(HERE / "model.onnx"),
        options,
        **({} if plugin else {"providers": providers()}),
        disabled_optimizers=RUNTIME["options"].get("disabled_optimizers", []),
    )
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(RUNTIME["longest"])
    return tokenizer, session, RUNTIME["labels"]


def providers() -> list:
    """What executes the model: the GPU where it was measured on one, there with buffers that stay on it."""
    if RUNTIME["runtime"] not in GPU_RUNTIMES:
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise SystemExit("pip install 'onnxruntime-gpu[cuda,cudnn]': this model was measured on a GPU")
    onnxruntime.preload_dlls()
    return [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]


def add_plugin(options: onnxruntime.SessionOptions, plugin: dict) -> None:
    """Give the model to an execution provider that is a package of its own."""
    try:
        package = importlib.import_module(plugin["package"])
    except ImportError:
        raise SystemExit(
            f"pip install {plugin['package'].replace('_', '-')}: this model was measured with it"
        ) from None
    onnxruntime.register_execution_provider_library(plugin["name"], package.get_library_path())
    offered = (entry for entry in onnxruntime.get_ep_devices() if entry.ep_name == plugin["name"])
    devices = [entry for entry in offered if entry.device.type.name == plugin["device"]]
    if not devices:
        raise SystemExit(f"{plugin['name']} offers no {plugin['device']} device here: run trimfit optimize here")
    told = {key: value.replace("{threads}", str(RUNTIME["threads"])) for key, value in plugin["options"].items()}
    options.add_provider_for_devices(devices[:1], told)


def classify(text: str, tokenizer: Tokenizer, session: onnxruntime.InferenceSession, labels: list) -> tuple:
    """Return the label of one text and its probability."""
    ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    logits = session.run(["logits"], {entry.name: feed[entry.name] for entry in session.get_inputs()})[0][0]
    odds = np.exp(logits - logits.max())
    return labels[int(logits.argmax())], float(odds.max() / odds.sum())


if __name__ == "__main__":
    parts = load()
    for argument in sys.argv[1:] or ["trimfit made this model smaller"]:
        label, probability = classify(argument, *parts)
        print(f"{label}\t{probability:.3f}\t{argument}")
