"""`trimfit device`: what a device behind a connection has and lacks, and a Python for one that has none."""

from __future__ import annotations

import json as jsons
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from benchmarks.errors import TrimfitError

if TYPE_CHECKING:
    from hardware_profiles.places import Inspection

__all__ = ["device_app"]

READY, LACKING = 0, 2

device_app = typer.Typer(no_args_is_help=True, help="Look at a device that models are to be timed on.")


@device_app.callback()
def device() -> None:
    """Look at a device that models are to be timed on."""


@device_app.command()
def check(
    name: Annotated[str, typer.Argument(help="ssh://user@host[:port], adb://serial or local.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts on standard output.")] = False,
) -> None:
    """Say what is there and what is missing, with the command that installs it; exit code 0 ready, 2 not."""
    from hardware_profiles.connections import connect
    from hardware_profiles.places import inspect

    with connect(name) as connection:
        found = inspect(connection)
        lines, problems = _facts(found), [str(missing) for missing in found.missing]
        if not problems:
            more, doubt = _trial(connection)
            lines |= more
            problems += [doubt] if doubt else []
    if json:
        typer.echo(jsons.dumps({**lines, "missing": problems, "ready": not problems}, indent=1))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for title, text in lines.items():
            console.print(f"{title}: {text}", markup=False)
        for problem in problems:
            console.print(f"missing: {problem}", markup=False, style="red")
        if not problems:
            console.print(f"ready: trimfit profile --device {name}", markup=False)
    raise typer.Exit(LACKING if problems else READY)


@device_app.command()
def bundle(
    out: Annotated[Path, typer.Option(help=".tgz to write, about 50 MB.")],
) -> None:
    """Make a Python with numpy and onnxruntime for an aarch64 device that has none (on Android: an experiment)."""
    from hardware_profiles.places.bundle import NAME, build_bundle
    from optimizer.progress import ConsoleProgress

    with ConsoleProgress().step("Fetching Debian's Python and the wheels for aarch64"):
        build_bundle(out)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{out}: unpack it in the home folder there, where {NAME}/bin/python3 is found:", markup=False)
    console.print(f"  ssh user@host tar xzf - < {out}", markup=False)
    console.print(
        f"  adb push {out} /data/local/tmp && adb shell 'cd /data/local/tmp && tar xzf {out.name}'   (experimental)",
        markup=False,
    )


def _facts(found: Inspection) -> dict[str, str]:
    version = ".".join(map(str, found.python_version))
    return {
        "device": f"{found.name}, {found.system} on {found.machine}",
        "python": f"{found.python} {version}" if found.python else "none",
        "numpy": found.numpy or "none",
        "onnxruntime": found.onnxruntime or "none",
        **{tool: path or "none" for tool, path in found.tools.items()},
        "free disk": f"{found.free_bytes / 1e9:.1f} GB",
        "sparse operators": found.operators,
    }


def _trial(connection: Any) -> tuple[dict[str, str], str | None]:
    """What it is by its own worker; and why it cannot be measured, if so."""
    from hardware_profiles.places import open_place

    try:
        with open_place(connection) as place:
            device, told = place.device, place.told
            return {
                "name": device.name,
                "cores": f"{device.cores} ({device.microarchitecture})",
                "memory": f"{device.memory_bytes / 1e9:.1f} GB in pages of {device.page_bytes} bytes",
                "instruction sets": " ".join(device.isa),
                "providers": " ".join(told["providers"]),
                "numpy's products": f"{told['gflops']:.3g} GFLOP/s",
                "copies": f"{told['gigabytes_per_second']:.3g} GB/s",
                "runtimes": ", ".join(device.runtimes),
                "provenance": device.provenance,
            }, None
    except TrimfitError as error:
        return {}, str(error)
