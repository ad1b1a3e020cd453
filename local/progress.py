"""Progress messages while a local run starts: a spinner on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import Progress as Spinner
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn


class Progress:
    """Shows each step and how many seconds it took."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show `title` while the `with` block runs, and its duration afterwards."""
        started = time.monotonic()
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        spinner = Spinner(*columns, console=self._console, transient=True)
        spinner.add_task(title, total=None)
        if not self._console.is_terminal:
            self._console.print(f"  {title} …")
        with spinner if self._console.is_terminal else nullcontext():
            yield
        self._console.print(f"[green]✓[/] {title}: {time.monotonic() - started:.1f} s")

    def note(self, text: str) -> None:
        self._console.print(text)

    def warn(self, text: str) -> None:
        self._console.print(text, style="yellow", soft_wrap=True)
