"""Progress: what is being done and how long it will still take, on a terminal or in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

__all__ = ["Advance", "ConsoleProgress", "Progress", "Silent"]

Advance = Callable[[float], None]


class Progress(Protocol):
    """How the stages tell what they do."""

    def step(self, title: str) -> AbstractContextManager[Advance]:
        """A context for one long step; it gives a function to call with the share done."""
        ...

    def say(self, sentence: str) -> None:
        """One line worth reading."""
        ...


class ConsoleProgress:
    """Bars with the time left on a terminal; elsewhere one line when a step is done."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Advance]:
        """Show a bar while the step runs, then a line with its seconds."""
        start, title = time.monotonic(), escape(title)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TimeElapsedColumn(),
        )
        if self.console.is_terminal:
            with Bars(*columns, console=self.console, transient=True) as bars:
                task = bars.add_task(title, total=1.0)
                yield lambda share: bars.update(task, completed=share)
        else:
            yield lambda share: None
        self.console.print(f"[green]done[/] {title} [dim]({time.monotonic() - start:.0f} s)[/]", highlight=False)

    def say(self, sentence: str) -> None:
        """Print one line."""
        self.console.print(f"     {sentence}", highlight=False, markup=False, soft_wrap=True)


class Silent:
    """Says nothing; for scripts and tests."""

    @contextmanager
    def step(self, title: str) -> Iterator[Advance]:
        """Run the step."""
        yield lambda share: None

    def say(self, sentence: str) -> None:
        """Drop the line."""
