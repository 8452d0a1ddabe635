"""Classify texts with this folder's model: python run.py "a text" "another".

Needs: pip install numpy MNN tokenizers
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

ANSWERS = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # what MNN prints while it is imported is no answer
import MNN.expr as expr  # noqa: E402
import MNN.nn as nn  # noqa: E402

HERE = Path(__file__).resolve().parent
RUNTIME = json.loads((HERE / "runtime.json").read_text(encoding="utf-8"))
PRECISION_HIGH, MEMORY = 1, {"normal": 0, "low": 2}  # low: int8 weights stay int8


def load() -> tuple:
    """Return the tokenizer, the model, the names of its inputs, what keeps it alive, and the names of the labels."""
    memory = MEMORY[RUNTIME["options"].get("memory", "normal")]
    settings = {"backend": "CPU", "precision": PRECISION_HIGH, "memory": memory, "numThread": RUNTIME["threads"]}
    manager = nn.create_runtime_manager((settings,))
    model = nn.load_module_from_file(
        str(HERE / RUNTIME["model"]), [], [], runtime_manager=manager, dynamic=False, shape_mutable=True
    )
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(RUNTIME["longest"])
    return tokenizer, model, model.get_info()["inputNames"], manager, RUNTIME["labels"]


def variable(values: np.ndarray) -> object:
    """Return token ids or a mask as MNN takes them, in 32 bits."""
    made = expr.placeholder(list(values.shape), expr.NCHW, expr.int)
    made.write(values.astype(np.int32))
    return made


def classify(text: str, tokenizer: Tokenizer, model: Any, inputs: list, manager: object, labels: list) -> tuple:
    """Return the label of one text and its probability."""
    ids = np.array([tokenizer.encode(text).ids])
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    logits = np.array(model.forward([variable(feed[name]) for name in inputs])[0].read())[0]
    odds = np.exp(logits - logits.max())
    return labels[int(logits.argmax())], float(odds.max() / odds.sum())


if __name__ == "__main__":
    parts = load()
    for argument in sys.argv[1:] or ["trimfit made this model smaller"]:
        label, probability = classify(argument, *parts)
        print(f"{label}\t{probability:.3f}\t{argument}", file=ANSWERS)
