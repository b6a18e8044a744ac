"""How the tour prints: calls with the time they took, frames, and lines of text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

__all__ = ["Show"]


class Show:
    """A console."""

    def __init__(self) -> None:
        self._console = Console()

    def title(self, text: str) -> None:
        """Print a heading."""
        self._console.print(f"[bold]{text}[/bold]")

    @contextmanager
    def step(self, call: str) -> Iterator[None]:
        """Print a call and the time that it took."""
        begin = time.perf_counter()
        yield
        spent = time.perf_counter() - begin
        self._console.print(
            f"[cyan]>>>[/cyan] {call}  [dim]{spent * 1000:,.1f} ms[/dim]",
            highlight=False,
            soft_wrap=True,
        )

    def line(self, text: str = "", *, end: bool = False) -> None:
        """Print one indented line, however long; ``end`` leaves an empty one after it."""
        text = f"  {text}" if text else text
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        if end:
            self._console.print()

    def text(self, text: str) -> None:
        """Print lines as they are."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def frame(self, frame: pd.DataFrame, rows: int = 5) -> None:
        """Print the first rows of bars, and what their note says."""
        self.table(frame.head(rows).reset_index())
        note = frame.attrs["stockdb"]
        self.line(
            f"{len(frame)} rows; adjustment {note['adjustment']}, {note['freshness']}, "
            f"simulated {note['simulated']}",
            end=True,
        )

    def table(self, frame: pd.DataFrame) -> None:
        """Print all rows of a frame, without its index."""
        table = Table(show_header=True, box=None, padding=(0, 1))
        for name in frame.columns:
            table.add_column(str(name), justify="right", no_wrap=True)
        for values in frame.itertuples(index=False):
            table.add_row(*(_cell(value) for value in values))
        self._console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, (bool, str)):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100_000 else f"{value:,.5g}"
