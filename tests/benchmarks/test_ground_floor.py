"""benchmarks is the ground floor: it knows no transformer and is quick to import."""

import subprocess
import sys
from pathlib import Path

import benchmarks

HEAVY = {"torch", "transformers", "optimum", "hardware_profiles", "optimizer", "plotly", "scipy", "sklearn"}


def test_importing_benchmarks_imports_nothing_from_above():
    script = f"import benchmarks, sys; print(sorted({HEAVY!r} & set(sys.modules)))"
    root = Path(benchmarks.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


def test_everything_promised_is_there():
    assert all(hasattr(benchmarks, name) for name in benchmarks.__all__)
