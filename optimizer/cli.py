"""The command line: `trimfit optimize | profile | benchmark | report | demo`."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from benchmarks.errors import TrimfitError

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Measures your device, prunes and distils your transformer for it, and proves the speed-up there.",
)

DONE, TARGET_MISSED, BAD_INPUT = 0, 1, 2

# Optional[...] and not `X | None`: typer evaluates the annotations, also on Python 3.10
DeviceOption = Annotated[str, typer.Option(help="Where the model will run: local (this machine).")]
BatchOption = Annotated[int, typer.Option(min=1, help="Rows an inference.")]
SeqLenOption = Annotated[
    Optional[int], typer.Option("--seq-len", min=1, help="Tokens a row. [default: the data's median]")
]  # noqa: UP045
ThreadsOption = Annotated[
    Optional[int], typer.Option(min=1, help="Threads of an inference. [default: all cores]")
]  # noqa: UP045
FastOption = Annotated[bool, typer.Option("--fast", help="Bound the whole run to about 20 minutes.")]
ThoroughOption = Annotated[bool, typer.Option("--thorough", help="Take hours, for the best model.")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything that is drawn.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts on standard output.")]


@app.command()
def optimize(
    model: Annotated[
        Path,
        typer.Option(help="Hugging Face folder: a sequence classifier, or an encoder to fine-tune first."),
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="csv, tsv, jsonl (also .gz) or parquet: one file, or a folder with train/dev/test."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Deployment folder to write; the same command goes on where it was stopped.")
    ],
    text: Annotated[str, typer.Option(help="Column with the texts.")] = "text",
    label: Annotated[str, typer.Option(help="Column with the classes.")] = "label",
    group: Annotated[Optional[str], typer.Option(help="Column to score by value: language, domain.")] = None,  # noqa: UP045
    device: DeviceOption = "local",
    speedup: Annotated[
        Optional[float], typer.Option(help="Target: times faster than the fp32 model.")
    ] = None,  # noqa: UP045
    latency: Annotated[Optional[float], typer.Option(help="Target: milliseconds an inference.")] = None,  # noqa: UP045
    max_drop: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Target: as fast as possible, losing at most this % of the score. [default: 1]"),
    ] = None,
    batch: BatchOption = 1,
    seq_len: SeqLenOption = None,
    threads: ThreadsOption = None,
    metric: Annotated[str, typer.Option(help="accuracy, macro_f1 or weighted_f1.")] = "accuracy",
    fast: FastOption = False,
    thorough: ThoroughOption = False,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Make a smaller model that meets a target on the device, and prove it there."""
    from optimizer.api import optimize as optimize_model
    from optimizer.effort import choose_effort
    from optimizer.target import choose_target

    if fast and thorough:
        raise TrimfitError("got --fast and --thorough, expected one of them")
    deployment = optimize_model(
        model,
        data,
        out,
        device=device,
        target=choose_target(speedup, latency, max_drop),
        text=text,
        label=label,
        group=group,
        batch=batch,
        seq_len=seq_len,
        threads=threads,
        metric=metric,
        effort=choose_effort(fast, thorough),
        seed=seed,
    )
    _finish(deployment.folder, as_json=json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Deployment folder to write.")] = Path("trimfit-demo"),
    speedup: Annotated[float, typer.Option(help="Target: times faster than the fp32 model.")] = 4.0,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Run the main job on an embedded default: a guard that must answer before a language model does."""
    from optimizer.demo import run_demo

    _finish(run_demo(out, speedup=speedup, seed=seed).folder, as_json=json)


@app.command()
def profile(
    model: Annotated[
        Optional[Path], typer.Option(help="Profile for this model's sizes. [default: 384 wide, 6 layers]")
    ] = None,  # noqa: UP045
    device: DeviceOption = "local",
    out: Annotated[Optional[Path], typer.Option(help="Also write the profile to this JSON file.")] = None,  # noqa: UP045
    batch: BatchOption = 1,
    seq_len: Annotated[int, typer.Option("--seq-len", min=1, help="Tokens a row.")] = 128,
    threads: ThreadsOption = None,
    fast: FastOption = False,
    thorough: ThoroughOption = False,
    json: JsonOption = False,
) -> None:
    """Measure what the pieces of a transformer cost on a device."""
    from optimizer.profile_command import profile_device

    found = profile_device(model, device, batch, seq_len, threads, fast, thorough)
    if out is not None:
        found.save(out)
    if json:
        typer.echo(found.model_dump_json(indent=1, by_alias=True))
    else:
        from hardware_profiles import profile_table

        Console().print(profile_table(found))


@app.command()
def benchmark(
    models: Annotated[list[Path], typer.Argument(help="ONNX files; the first is the baseline.")],
    device: DeviceOption = "local",
    batch: BatchOption = 1,
    seq_len: Annotated[int, typer.Option("--seq-len", min=1, help="Tokens a row.")] = 128,
    threads: ThreadsOption = None,
    dim: Annotated[Optional[list[str]], typer.Option(help="NAME=SIZE of another symbolic dimension.")] = None,  # noqa: UP045
    plot: Annotated[
        Optional[Path], typer.Option(help="Write a plot of the distributions to this HTML file.")
    ] = None,  # noqa: UP045
    json: JsonOption = False,
) -> None:
    """Time ONNX files against each other on a device, in turns, and say how sure the difference is."""
    from optimizer.benchmark_command import benchmark_models

    benchmark_models(models, device, batch, seq_len, threads, dim or [], plot, as_json=json)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A deployment folder.")]) -> None:
    """Write a deployment's report.html anew, from its JSON files, and say its headline."""
    from optimizer.report import write_report

    write_report(folder)
    _say(folder)


def _finish(folder: Path, *, as_json: bool) -> None:
    from optimizer.manifest import Manifest

    manifest = Manifest.read(folder)
    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
    else:
        _say(folder)
    if not manifest.target_met:
        Console(stderr=True).print(
            f"target not met ({manifest.target}); this is the best found", highlight=False
        )
        raise typer.Exit(TARGET_MISSED)


def _say(folder: Path) -> None:
    from optimizer.manifest import Manifest
    from optimizer.report import headline

    manifest = Manifest.read(folder)
    console = Console(highlight=False, soft_wrap=True)
    console.print(headline(manifest), markup=False)
    strongest = manifest.speedup_versus_strongest_dense
    console.print(
        f"Against the strongest dense contestant ({strongest.versus}): {strongest.median:.2f}x "
        f"({strongest.low:.2f} to {strongest.high:.2f}).",
        markup=False,
    )
    console.print(f'{folder / "report.html"}   python {folder / "run.py"} "a text"', markup=False)


def main() -> None:
    """Entry point: one line and exit code 2 for everything the person can mend."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=os.environ.get("TRIMFIT_LOG", "ERROR"))
    try:
        app()
    except TrimfitError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"trimfit: {error}", style="red", highlight=False, markup=False
        )
        sys.exit(BAD_INPUT)
    except OSError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"trimfit: {error}", style="red", highlight=False, markup=False
        )
        sys.exit(BAD_INPUT)
