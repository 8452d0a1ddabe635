"""Runs in the emulated machine, with numpy and onnxruntime alone: every model of FOLDER on its inputs -> OUT/NAME.npz.

    python worker.py FOLDER OUT [LIBRARY]

A model is NAME.onnx or NAME.ort, its inputs are NAME.npz; OUT/NAME.npz holds its outputs by name. Where a model is
refused, OUT/NAME.txt holds the message. LIBRARY brings operators. No time is taken: here it would mean nothing.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def main() -> None:
    """Run all models in two threads."""
    folder, out, libraries = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    if platform.machine() != "aarch64":
        raise SystemExit(f"got {platform.machine()}, expected aarch64: this is run in the emulator")
    for path in sorted([*folder.glob("*.onnx"), *folder.glob("*.ort")]):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting is emulated too
        options.log_severity_level = 4
        for library in libraries:
            options.register_custom_ops_library(library)
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  (onnxruntime raises classes that it does not export)
            (out / f"{path.stem}.txt").write_text(str(error))
            continue
        names = [output.name for output in session.get_outputs()]
        with np.load(path.with_suffix(".npz")) as feed:
            answers = session.run(names, dict(feed))
        np.savez(out / f"{path.stem}.npz", **dict(zip(names, answers, strict=True)))


if __name__ == "__main__":
    main()
