"""The command line: `trimfit optimize | advise | profile | profiles | device | benchmark | report | mobile | demo`."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from benchmarks.errors import TrimfitError, TrimfitWarning
from benchmarks.workload import Workload
from optimizer.device_cli import device_app
from optimizer.profiles_cli import profiles_app

if TYPE_CHECKING:
    from hardware_profiles import LatencyProfile
    from optimizer.manifest import Manifest, MobileModel

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Measures your device, prunes and distils your transformer for it, and proves the speed-up there.",
)
app.add_typer(profiles_app, name="profiles")
app.add_typer(device_app, name="device")

DONE, TARGET_MISSED, BAD_INPUT, BUG = 0, 1, 2, 70
PAGE = 100  # columns of prose with tables
_show_warning = warnings.showwarning

DeviceOption = Annotated[
    str,
    typer.Option(
        help="Where the model will run: local (this machine), cuda or cuda:1 (its GPU), ssh://user@host, adb://serial;"
        " local:avx2 (sparse operators limited to it)."
    ),
]
BatchOption = Annotated[int, typer.Option(min=1, help="Rows an inference.")]
SeqLenOption = Annotated[
    str | None,
    typer.Option(
        "--seq-len",
        metavar="N|data",
        help="Tokens a row; data: as many as the data's rows have, each as often. (default: the data's median)",
    ),
]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of an inference. (default: all cores)")]
FastOption = Annotated[bool, typer.Option("--fast", help="Bound all training to about a quarter of an hour.")]
ThoroughOption = Annotated[bool, typer.Option("--thorough", help="Take hours, for the best model.")]
SeedOption = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of everything that is drawn.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts on standard output.")]


@app.command()
def optimize(
    model: Annotated[
        Path,
        typer.Option(help="Hugging Face folder: a sequence classifier, or an encoder to fine-tune first."),
    ],
    data: Annotated[
        Path,
        typer.Option(help="csv, tsv, jsonl (also .gz) or parquet: one file, or a folder with train/dev/test."),
    ],
    out: Annotated[
        Path, typer.Option(help="Deployment folder to write; the same command goes on where it was stopped.")
    ],
    text: Annotated[str, typer.Option(help="Column with the texts.")] = "text",
    label: Annotated[str, typer.Option(help="Column with the classes.")] = "label",
    group: Annotated[str | None, typer.Option(help="Column to score by value: language, domain.")] = None,
    device: DeviceOption = "local",
    speedup: Annotated[float | None, typer.Option(help="Target: times faster than the fp32 model.")] = None,
    latency: Annotated[float | None, typer.Option(help="Target: milliseconds an inference.")] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Target: as fast as possible, losing at most this % of the score. (default: 1)"),
    ] = None,
    batch: BatchOption = 1,
    seq_len: SeqLenOption = None,
    threads: ThreadsOption = None,
    metric: Annotated[str, typer.Option(help="accuracy, macro_f1 or weighted_f1.")] = "accuracy",
    precision: Annotated[str | None, typer.Option(help="fp32, int8 or int8-static: the only one allowed.")] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="dense, width, uniform, depth, hidden, unstructured, block, given or e.g. 2:4: the only one allowed."
        ),
    ] = None,
    vocabulary: Annotated[
        str | None,
        typer.Option(
            metavar="keep|trim",
            help="trim: remove tokens that the training texts never use. (default: where that saves a third of all"
            " parameters and dev does not suffer)",
        ),
    ] = None,
    keep_vocabulary: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="Text or data file whose tokens stay. Repeatable.")
    ] = None,
    also_test: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH", help="Another set of the same columns and labels to score on, e.g. a domain. Repeatable."
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="URL|FILE",
            help="A teacher that is only asked: an OpenAI-compatible or JSON API, or a file of its answers. Its key:"
            " $TRIMFIT_TEACHER_KEY.",
        ),
    ] = None,
    teacher_model: Annotated[str | None, typer.Option(metavar="NAME", help="The model of a chat API.")] = None,
    teacher_price: Annotated[
        str | None, typer.Option(metavar="IN,OUT", help="Price per million tokens asked and answered.")
    ] = None,
    teacher_budget: Annotated[float | None, typer.Option(min=0, help="Refuse to ask for more than this.")] = None,
    teacher_per_minute: Annotated[float | None, typer.Option(help="Calls a minute. (default: unlimited)")] = None,
    teacher_rows: Annotated[int | None, typer.Option(min=1, help="Training texts to ask about. (default: all)")] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="The classes, where the data names none: a,b; or for the teacher: 0=bad,1=good."
        ),
    ] = None,
    distill: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What the student imitates: soft-targets, distilbert, tinybert, minilm, minilmv2 or cofi; or labels,"
            " which needs no teacher.",
        ),
    ] = "soft-targets",
    importance: Annotated[
        str | None,
        typer.Option(help="Heads and neurons go by: second-order (default), fisher, taylor or magnitude."),
    ] = None,
    zeros_by: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Weights become zero by: second-order-even (default), second-order (in each layer as many as its"
            " milliseconds and error say: takes minutes to measure), magnitude, magnitude-global or movement.",
        ),
    ] = None,
    schedule: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Cuts: gradual, one-shot, lottery (after each cut back to the first weights) or lottery-early.",
        ),
    ] = "gradual",
    student: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A smaller checkpoint that races along, distilled as it is."),
    ] = None,
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Text or data file that the teacher labels for the student. Repeatable."),
    ] = None,
    augment: Annotated[
        int, typer.Option(min=0, help="Copies of each training text with words replaced, labelled by the teacher.")
    ] = 0,
    rows: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Training rows to distil on: all, distinct, uncertain, disagree, curriculum or weighted.",
        ),
    ] = "all",
    fast: FastOption = False,
    thorough: ThoroughOption = False,
    mobile: Annotated[
        bool, typer.Option("--mobile", help="Also write the student for phones: ORT format, operator lists.")
    ] = False,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Make a smaller model that meets a target on the device, and prove it there."""
    from optimizer.api import optimize as optimize_model
    from optimizer.effort import choose_effort
    from optimizer.pruning.importance import DEFAULT_IMPORTANCE
    from optimizer.pruning.patterns import DEFAULT_ZEROS_BY
    from optimizer.target import choose_target

    if fast and thorough:
        raise TrimfitError("got --fast and --thorough, expected one of them")
    asked = _teacher(
        teacher,
        model=teacher_model,
        price=teacher_price,
        budget=teacher_budget,
        per_minute=teacher_per_minute,
        rows=teacher_rows,
    )
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
        seq_len=_seq_len(seq_len),
        threads=threads,
        metric=metric,
        precision=precision,
        pattern=pattern,
        vocabulary=vocabulary,
        keep_vocabulary=keep_vocabulary or (),
        also_test=also_test or (),
        teacher=asked,
        labels=labels.split(",") if labels else (),
        distill=distill,
        importance=importance or DEFAULT_IMPORTANCE,  # type: ignore[arg-type]  # checked as the job is prepared
        zeros_by=zeros_by or DEFAULT_ZEROS_BY,  # type: ignore[arg-type]  # likewise
        schedule=schedule,  # type: ignore[arg-type]  # likewise
        student=student,
        unlabelled=unlabelled or (),
        augment=augment,
        rows=rows,
        effort=choose_effort(fast, thorough),
        seed=seed,
        mobile=mobile,
    )
    _finish(deployment.folder, as_json=json)


def _teacher(teacher: str | None, *, price: str | None, **fields: object) -> Any:
    """The black box that is asked, of the options that describe it; None where there is none."""
    from optimizer.distillation.black_box import teacher_named

    prices = price and tuple(part.strip() for part in price.split(","))
    if teacher is not None:
        return teacher_named(teacher, price=prices, **fields)
    named = [name for name, value in {"price": price, **fields}.items() if value is not None]
    if named:
        raise TrimfitError(f"got --teacher-{named[0].replace('_', '-')} without --teacher, expected both")
    return None


def _seq_len(text: str | None) -> int | Literal["data"] | None:
    """Tokens a row, or "data"."""
    if text is None or text == "data":
        return text  # type: ignore[return-value]
    if not text.isdigit() or int(text) < 1:
        raise TrimfitError(f"got --seq-len {text}, expected a whole number of tokens above 0, or data")
    return int(text)


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
def advise(
    model: Annotated[Path, typer.Option(help="Hugging Face folder: a sequence classifier, or an encoder.")],
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="local; local:avx2; cuda; ssh://user@host; adb://serial; catalog:NAME or the path of a profile, to"
            " predict for. Several are compared; local unless given."
        ),
    ] = None,
    batch: BatchOption = 1,
    seq_len: Annotated[
        int | None,
        typer.Option("--seq-len", min=1, help="Tokens a row; 128, or the most the model takes, unless given."),
    ] = None,
    threads: ThreadsOption = None,
    runtime: Annotated[
        str, typer.Option(help="onnxruntime-cpu, with sparse operators beside it; openvino-ep or mnn-cpu alone.")
    ] = "onnxruntime-cpu",
    json: Annotated[Path | None, typer.Option(help="Also write the advice to this JSON file.")] = None,
) -> None:
    """Say what each way to a smaller model would bring on a device: no data, no training, two minutes."""
    from optimizer.advice import advice_table, advise_across, devices_table

    found = advise_across(model, device or ["local"], runtime=runtime, batch=batch, seq_len=seq_len, threads=threads)
    alone = found.advice[0] if len(found.advice) == 1 else None
    if json is not None:
        (alone or found).write(json)
    page = advice_table(alone) if alone else devices_table(found)
    Console(width=None if sys.stdout.isatty() else PAGE, highlight=False).print(page, width=PAGE)


@app.command()
def profile(
    model: Annotated[
        Path | None, typer.Option(help="Profile for this model's sizes. (default: 384 wide, 6 layers)")
    ] = None,
    device: DeviceOption = "local",
    runtime: Annotated[
        str | None,
        typer.Option(
            help="onnxruntime-cpu, onnxruntime-cpu+sparse for what zeros bring, openvino-ep, mnn-cpu; on a GPU"
            " onnxruntime-cuda, onnxruntime-tensorrt, torch-cuda, torch-cuda+2:4. (default: onnxruntime's own)"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the profile to this JSON file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also draw the profile on this HTML page.")] = None,
    batch: BatchOption = 1,
    seq_len: Annotated[int, typer.Option("--seq-len", min=1, help="Tokens a row.")] = 128,
    threads: ThreadsOption = None,
    fast: Annotated[bool, typer.Option("--fast", help="Fewer widths and calls, no look between them.")] = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="More widths, three times the calls.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is known from before.")] = False,
    json: JsonOption = False,
) -> None:
    """Measure what the pieces of a transformer cost on a device; of a profile, print what it says."""
    from hardware_profiles import StoredDevice, get, is_stored, reach
    from hardware_profiles.page import write_page
    from hardware_profiles.runtimes import STOCK, stock_name
    from optimizer.architecture import Architecture, LayerShape
    from optimizer.effort import choose_effort
    from optimizer.model_shape import ModelShape
    from optimizer.preparation import profile_of, sparse_profile_of
    from optimizer.progress import ConsoleProgress

    if is_stored(device):
        stored = StoredDevice.open(device).profile(runtime or STOCK)
        if html is not None:
            write_page(html, [stored])
        _show(stored, out, as_json=json)
        return
    if model is None:
        layers = (LayerShape(heads=12, ffn=1536),) * 6  # MiniLM's, the size that small devices run
        shape, activation = Architecture(hidden_size=384, head_size=32, vocab_size=30522, layers=layers), "gelu"
    else:
        found_shape = ModelShape.read(model)
        shape, activation = found_shape.architecture, found_shape.activation
    effort = choose_effort(fast, thorough)
    with reach(device) as where:
        chosen = get(runtime or stock_name())  # refuses a name that there is not, or a runtime that the device has not
        workload = Workload(batch=batch, seq_len=seq_len, threads=threads or where.default_threads)
        dense = None if chosen.skips_zeros else chosen
        sizes = shape, workload, effort, ConsoleProgress(), activation
        found = profile_of(where, *sizes, machine=html is not None, runtime=dense, fresh=fresh)
        profiles = [found]
        if chosen.skips_zeros:
            zeros = sparse_profile_of(found, *sizes, fresh=fresh)
            profiles += [zeros] if zeros else []
            found = zeros.over(found) if zeros else found
    if html is not None:
        write_page(html, profiles)
    _show(found, out, as_json=json)


def _show(found: LatencyProfile, out: Path | None, *, as_json: bool) -> None:
    from hardware_profiles import profile_table

    if out is not None:
        found.shared().save(out)
    if as_json:
        typer.echo(found.model_dump_json(indent=1, by_alias=True))
    else:
        Console().print(profile_table(found))


@app.command()
def benchmark(
    models: Annotated[list[Path], typer.Argument(help="ONNX files; the first is the baseline.")],
    device: DeviceOption = "local",
    batch: BatchOption = 1,
    seq_len: Annotated[int, typer.Option("--seq-len", min=1, help="Tokens a row.")] = 128,
    threads: ThreadsOption = None,
    dim: Annotated[list[str] | None, typer.Option(help="NAME=SIZE of another symbolic dimension.")] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:PRECISION]",
            help="What runs them: onnxruntime-cpu unless given; with a precision, made of fp32 files: mnn-cpu:int8."
            " Repeatable, all in turns.",
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a plot of the distributions to this HTML file.")] = None,
    throughput: Annotated[
        bool, typer.Option("--throughput", help="Also rows a second at several batches and threads.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Time ONNX files against each other on a device, in turns, and say how sure the difference is."""
    from benchmarks.benchmark import benchmark_files
    from benchmarks.form import Form
    from benchmarks.plot import write_plot
    from benchmarks.table import render
    from hardware_profiles import reach
    from hardware_profiles.runtimes import form_of, stock_name
    from hardware_profiles.runtimes.sparse.dispatcher import environment
    from optimizer.progress import ConsoleProgress

    with reach(device) as where:
        workload = Workload(batch=batch, seq_len=seq_len, threads=threads or where.default_threads)
        named = runtime or ([stock_name()] if where.gpu else [])
        title = f"Timing {len(models)} model{'s' if len(models) > 1 else ''} on {where.name}"
        with ConsoleProgress().step(title) as advance:
            result = benchmark_files(
                models,
                workload,
                dims=_sizes(dim or []),
                forms=[form_of(name) for name in named] if named else [Form()],
                **(_on_gpu() if where.gpu else _operators_for(models)),
                env=environment(),
                throughput=throughput,
                progress=advance,
            )
    if plot is not None:
        write_plot(result, plot)
    if json:
        typer.echo(result.model_dump_json(indent=1))
    else:
        Console().print(render(result))


def _on_gpu() -> dict[str, Any]:
    """How the peak of the GPU in force is measured."""
    from benchmarks.gpu.place import gpu_in_force
    from hardware_profiles.gpu_machine import gpu_peak
    from hardware_profiles.runtimes import get, stock_name

    runtime, place = get(stock_name()), gpu_in_force()
    assert place is not None
    return {"peak": lambda threads, precision: gpu_peak(runtime, precision, place)}


def _operators_for(models: list[Path]) -> dict[str, Any]:
    """Options that bring the sparse operators where a model has some, there and here.

    They are for all models, so that only the models differ.
    """
    from benchmarks.onnx_file import load_graph
    from hardware_profiles.runtimes.sparse.library import library_here, library_path
    from hardware_profiles.runtimes.sparse.sparse_node import DOMAIN

    needed = any(node.domain == DOMAIN for model in models for node in load_graph(model).node)
    if not needed:
        return {}
    there, here = ({"custom_op_library": str(path())} for path in (library_path, library_here))
    return {"options": there, "options_here": here}


def _sizes(dims: list[str]) -> dict[str, int]:
    """Parse NAME=SIZE."""
    sizes = {}
    for entry in dims:
        name, _, size = entry.partition("=")
        if not size.isdigit() or int(size) < 1:
            raise TrimfitError(
                f"got --dim {entry}, expected NAME=SIZE with a whole size above 0, e.g. --dim channels=3"
            )
        sizes[name] = int(size)
    return sizes


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A deployment folder.")]) -> None:
    """Write a deployment's report.html anew, from its JSON files, and say its headline."""
    from optimizer.report import write_report

    write_report(folder)
    _say(folder)


@app.command()
def mobile(
    folder: Annotated[Path, typer.Argument(help="A deployment folder.")],
    json: JsonOption = False,
) -> None:
    """Write a deployment's student for phones: ORT format, operator lists, and what their packages lack."""
    from optimizer.mobile import add_mobile

    manifest = add_mobile(folder).manifest
    if json:
        typer.echo(manifest.model_dump_json(indent=2))
    else:
        _say_mobile(manifest)


def _say_mobile(manifest: Manifest) -> None:
    from optimizer.report.wording import megabytes

    console = Console(highlight=False, soft_wrap=True)
    for model in manifest.mobile.models if manifest.mobile else ():
        unknown = "" if model.deployed else ", not scored"
        console.print(f"{model.file}: {megabytes(model.ort_bytes)}{unknown}; {_needs(model)}", markup=False)


def _needs(model: MobileModel) -> str:
    if not model.lacking:
        return "onnxruntime's packages for Android and iOS have all its operators"
    return f"no package has {', '.join(model.lacking)}: on Android register the library beside it, on iOS take another"


def _finish(folder: Path, *, as_json: bool) -> None:
    from optimizer.manifest import Manifest

    manifest = Manifest.read(folder)
    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
    else:
        _say(folder)
    if not manifest.target_met:
        Console(stderr=True).print(f"target not met ({manifest.target}); this is the best found", highlight=False)
        raise typer.Exit(TARGET_MISSED)


def _say(folder: Path) -> None:
    from optimizer.manifest import Manifest
    from optimizer.report import headline
    from optimizer.report.wording import asked_teacher

    manifest = Manifest.read(folder)
    console = Console(highlight=False, soft_wrap=True)
    console.print(headline(manifest), markup=False)
    asked = asked_teacher(manifest)
    if asked:
        console.print(f"{asked}.", markup=False)
    strongest = manifest.speedup_versus_strongest_dense
    console.print(
        f"Against the strongest dense contestant ({strongest.versus}): {strongest.median:.2f}x "
        f"({strongest.low:.2f} to {strongest.high:.2f}).",
        markup=False,
    )
    _say_mobile(manifest)
    console.print(f'{folder / "report.html"}   python {folder / "run.py"} "a text"', markup=False)


def _warn(message: Warning | str, category: type[Warning], *where: Any, **others: Any) -> None:
    """Say a warning of our own as one line, without the line of code that it comes from."""
    if issubclass(category, TrimfitWarning):
        Console(stderr=True, soft_wrap=True).print(f"trimfit: {message}", highlight=False, markup=False)
    else:
        _show_warning(message, category, *where, **others)


def main() -> None:
    """Entry point: one line and exit code 2 for everything the person can mend."""
    warnings.showwarning = _warn
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=os.environ.get("TRIMFIT_LOG", "ERROR"))
    try:
        app()
    except TrimfitError as error:
        Console(stderr=True, soft_wrap=True).print(f"trimfit: {error}", style="red", highlight=False, markup=False)
        sys.exit(BAD_INPUT)
    except OSError as error:
        Console(stderr=True, soft_wrap=True).print(f"trimfit: {error}", style="red", highlight=False, markup=False)
        sys.exit(BAD_INPUT)
    except Exception:  # noqa: BLE001 - Python's own exit code for it, 1, would read as "target not met"
        traceback.print_exc()
        sys.exit(BUG)
