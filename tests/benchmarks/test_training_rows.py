"""The ablation of training rows goes on where it stopped, under the conditions it started with."""

import json
from pathlib import Path

import pytest

from benchmarks import TrimfitError
from benchmarks.suites import training_rows


def test_an_interrupted_ablation_runs_only_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done: list[tuple[str, int]] = []

    class Study:
        def __init__(self, options: object, seed: int) -> None:
            self.seed = seed

        def run(self, method: str) -> dict:
            done.append((method, self.seed))
            return {"method": method, "seed": self.seed, "test": 0.9, "agreement": 0.8}

    monkeypatch.setattr(training_rows, "_Study", Study)
    path = tmp_path / "rows.json"
    asked = ["--model", "m", "--data", "sst2", "--json", str(path), "--methods", "all", "augment 4"]
    training_rows.main([*asked, "--seeds", "1"])
    training_rows.main([*asked, "--seeds", "2"])
    assert done == [("all", 0), ("augment 4", 0), ("all", 1), ("augment 4", 1)]
    assert len(json.loads(path.read_text())["runs"]) == 4
    with pytest.raises(TrimfitError, match="measured with rows 2000, expected 500"):
        training_rows.main([*asked, "--rows", "500"])
