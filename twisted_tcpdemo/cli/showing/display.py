"""
What a command shows: lines and tables, once or in the place of those before.

On a terminal, rich (the extra C{cli}) does the colours, the widths and the live lines;
it obeys NO_COLOR.  Everything else gets plain text, as does a terminal without rich:
there, what would replace a line follows it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live


class Styled(str):
    """
    Text with a style of rich's, such as C{"green"}; without rich, text.
    """

    __slots__ = ("style",)

    style: str


def styled(text: str, style: str) -> Styled:
    """
    Give a text a style.
    """
    made = Styled(text)
    made.style = style
    return made


@dataclass(frozen=True, slots=True)
class Table:
    """
    Cells in columns.

    @ivar rows: the cells.
    @ivar heads: the headings of the columns; empty for none.
    @ivar left: the numbers of the columns that are aligned to the left; the others
        have numbers.
    @ivar gap: spaces between two columns.
    """

    rows: Sequence[Sequence[str]]
    heads: Sequence[str] = ()
    left: frozenset[int] = frozenset({0, 1})
    gap: int = 2

    def lines(self) -> list[str]:
        """
        The table as plain text.
        """
        rows = [self.heads, *self.rows] if self.heads else list(self.rows)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            (" " * self.gap)
            .join(
                f"{cell:<{width}}" if number in self.left else f"{cell:>{width}}"
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            .rstrip()
            for row in rows
        ]


Part = str | Table


class Display(Protocol):
    """
    Where a command shows something.

    @ivar replaces: whether C{update} replaces what it has shown before.
    """

    replaces: bool

    def size(self) -> tuple[int, int] | None:
        """
        Columns and lines of the terminal; L{None} for anything else.
        """

    def show(self, parts: Sequence[Part]) -> None:
        """
        Show lines and tables.
        """

    def update(self, parts: Sequence[Part]) -> None:
        """
        Show them in the place of those of the last update, if that can be.
        """

    def close(self, keep: bool = True) -> None:
        """
        Leave the last update on the screen, or clear it.
        """


def displayOn(file: TextIO) -> Display:
    """
    The display for a file.
    """
    if file.isatty():
        try:
            return RichDisplay(file)
        except ImportError:
            pass
    return PlainDisplay(file)


class PlainDisplay:
    """
    A display of plain text.
    """

    replaces = False

    def __init__(self, file: TextIO) -> None:
        """
        @param file: what to print to.
        """
        self._file = file

    def size(self) -> tuple[int, int] | None:
        """
        See L{Display}.  A terminal without a known size reports zero, and Python
        before 3.11 believes it.
        """
        if not self._file.isatty():
            return None
        size = shutil.get_terminal_size()
        return size.columns or 80, size.lines or 24

    def show(self, parts: Sequence[Part]) -> None:
        """
        See L{Display}.
        """
        for part in parts:
            for line in part.lines() if isinstance(part, Table) else [part]:
                self._file.write(f"{line}\n")
        self._file.flush()

    update = show

    def close(self, keep: bool = True) -> None:
        """
        See L{Display}.
        """


class RichDisplay:
    """
    A display on a terminal.
    """

    replaces = True

    def __init__(self, file: TextIO) -> None:
        """
        @param file: the terminal.
        @raise ImportError: if rich is not installed.
        """
        from rich.console import Console

        # Text of a server is no markup, and no figure in it is to be coloured.
        self._console = Console(file=file, markup=False, highlight=False, emoji=False)
        self._live: Live | None = None

    def size(self) -> tuple[int, int] | None:
        """
        See L{Display}.
        """
        return self._console.width, self._console.height

    def show(self, parts: Sequence[Part]) -> None:
        """
        See L{Display}.
        """
        self._console.print(_rendered(parts, wrap=True))

    def update(self, parts: Sequence[Part]) -> None:
        """
        See L{Display}.
        """
        if self._live is None:
            from rich.live import Live

            self._live = Live(
                console=self._console,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
                vertical_overflow="crop",
            )
            self._live.start()
            self._console.show_cursor(True)  # a signal may end all, and leave it hidden
        self._live.update(_rendered(parts, wrap=False), refresh=True)

    def close(self, keep: bool = True) -> None:
        """
        See L{Display}.
        """
        live, self._live = self._live, None
        if live is not None:
            live.transient = not keep
            live.stop()


def _rendered(parts: Sequence[Part], wrap: bool) -> RenderableType:
    from rich.console import Group

    return Group(
        *(_table(p) if isinstance(p, Table) else _text(p, wrap) for p in parts),
    )


def _text(text: str, wrap: bool = False) -> RenderableType:
    from rich.text import Text

    style = text.style if isinstance(text, Styled) else ""
    return Text(text, style, no_wrap=not wrap, overflow="fold" if wrap else "ellipsis")


def _table(table: Table) -> RenderableType:
    from rich.table import Table as RichTable

    made = RichTable(
        box=None, pad_edge=False, padding=(0, table.gap, 0, 0), show_header=bool(table.heads),
        header_style="bold",
    )  # fmt: skip
    for number in range(len(table.rows[0]) if table.rows else len(table.heads)):
        head = table.heads[number] if table.heads else ""
        made.add_column(head, justify="left" if number in table.left else "right", no_wrap=True)
    for row in table.rows:
        made.add_row(*map(_text, row))
    return made
