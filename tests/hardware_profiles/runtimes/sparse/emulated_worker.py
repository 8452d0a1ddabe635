"""Runs in the emulated machine, with numpy and onnxruntime alone: FOLDER/*.onnx on FOLDER/*.npz -> FOLDER/out/*.

Where a model is refused, its message is what is written. No time is taken: here it would mean nothing.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException


def main() -> None:
    library, folder, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    assert platform.machine() == "aarch64"
    for path in sorted(folder.glob("*.onnx")):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.log_severity_level = 4
        options.register_custom_ops_library(library)
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except RuntimeException as error:
            (out / f"{path.stem}.txt").write_text(str(error))
            continue
        with np.load(path.with_suffix(".npz")) as feed:
            (answer,) = session.run(None, dict(feed))
        np.save(out / f"{path.stem}.npy", answer)


if __name__ == "__main__":
    main()
