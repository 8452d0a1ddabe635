"""`trimfit profiles`: list what is known of devices, and merge what was measured of one in two files."""

from __future__ import annotations

import json as jsons
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from hardware_profiles.profile_list import Listed

__all__ = ["profiles_app"]

profiles_app = typer.Typer(help="List the profiles in the catalog and in the cache; merge two files of one device.")


@profiles_app.callback(invoke_without_command=True)
def profiles(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts on standard output.")] = False,
) -> None:
    """List the profiles in the catalog and in the cache, and say which are this machine's; or merge two files."""
    from hardware_profiles.profile_list import list_profiles

    if context.invoked_subcommand is not None:
        return
    found = list_profiles()
    if json:
        typer.echo(jsons.dumps([item.model_dump(mode="json") for item in found], indent=1))
        return
    console = Console(highlight=False, soft_wrap=True)
    for item in found:
        console.print("\n".join(_lines(item)), markup=False)
    if not found:
        console.print("no profiles yet: `trimfit profile` measures this machine", markup=False)


@profiles_app.command()
def merge(
    first: Annotated[Path, typer.Argument(help="A profile, as `trimfit profile --out` writes it.")],
    second: Annotated[Path, typer.Argument(help="Another of the same device and runtime; it wins where both know.")],
    out: Annotated[Path, typer.Option(help="JSON file to write; may be one of the two.")],
) -> None:
    """Write one profile with the measurements of two; others are refused with what differs."""
    from hardware_profiles.profile import LatencyProfile

    merged = LatencyProfile.load(first).merge(LatencyProfile.load(second)).shared()
    merged.save(out)
    Console(highlight=False, soft_wrap=True).print(
        f"{out}: {merged.device.name}, {merged.runtime_record.name}, {len(merged.entries)} units", markup=False
    )


def _lines(item: Listed) -> list[str]:
    """E.g. the name; the device; what was measured how; whether it is this machine's."""
    if item.problem:
        return [item.name, f"    unusable: {item.problem}"]
    sizes = ", ".join(map(str, item.hidden_sizes))
    if item.source:
        return [
            item.name,
            f"    {item.device} ({item.microarchitecture})",
            f"    {item.measurements} encoders of hidden size {sizes}; `trimfit advise` predicts from them",
            f"    {item.provenance}: {item.source}",
        ]
    days = ", ".join(map(str, item.conditions)) or "nobody knows when"
    return [
        item.name,
        f"    {item.device} ({item.microarchitecture}), {item.runtime} {item.version}",
        f"    {item.measurements} measurements of hidden size {sizes}; {'; '.join(map(str, item.workloads))}",
        f"    {item.provenance}, {days}",
        f"    not this machine: {item.differs}" if item.differs else "    this machine",
    ]
