"""Busy neighbours: processes that keep CPUs busy while something else is timed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import TracebackType

__all__ = ["Neighbours"]

WORK = "import numpy as np\nx = np.random.rand(1200, 1200).astype('f')\nwhile True:\n    x @ x\n"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
START_SECONDS = 1.0


class Neighbours:
    """So many processes multiplying matrices, one thread each and free to move, while the block runs."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Neighbours:
        environment = os.environ | ONE_THREAD
        for _ in range(self.count):
            self.processes.append(subprocess.Popen([sys.executable, "-c", WORK], env=environment))
        if self.count:
            time.sleep(START_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
