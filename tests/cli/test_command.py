"""
A command as a process: its files, its signals, and no traceback.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Greeter, client, ended
from tests.support.control import controlled
from tests.support.peers import serving
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.cli.outcome import Outcome
from twisted_tcpdemo.twistd.programs import Echo


@pytest.mark.deadline(30)
async def test_closedOutput() -> None:
    """
    When the reader of standard output leaves, the status is 141, without a
    traceback.
    """

    class Endless(TCPDemoProtocol):
        def connectionMade(self) -> None:
            self.more()

        def more(self) -> None:
            self.transport.write(bytes(65536))
            self.whenWritable().addCallbacks(lambda _: later(self.more), lambda _: None)

    def later(function: Any) -> None:
        from twisted.internet import reactor

        reactor.callLater(0, function)  # type: ignore[attr-defined]

    async with serving(TCPDemoFactory(Endless, allowHalfOpen=True)) as server:
        via = '{ "$@" < /dev/null; echo $? >&2; } | head -c 10 | wc -c'
        async with client("connect", "127.0.0.1", server.port, "-q", via=via) as child:
            status, out, err = await ended(child)
    assert (status, out.strip(), err) == (0, "10", "141\n")


@pytest.mark.deadline(30)
@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGINT, Outcome.INTERRUPTED), (signal.SIGTERM, Outcome.TERMINATED)],
)
async def test_signals(number: int, expected: Outcome) -> None:
    """
    Ctrl-C and SIGTERM end the client with its last line, and without a traceback.
    """
    async with (
        serving(TCPDemoFactory(Echo)) as server,
        client("connect", "127.0.0.1", server.port) as child,
    ):
        child.transport.write(b"x")
        await child.whenPrinted("x")
        child.signal(number)
        status, _, err = await ended(child)
    assert status == expected
    assert err.endswith(", aborted\n")


@pytest.mark.deadline(30)
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_closedFiles(closed: str) -> None:
    """
    When one of the three standard files is closed, no socket takes its place.
    """
    async with serving(TCPDemoFactory(Greeter)) as server:
        command = ("connect", "127.0.0.1", server.port)
        async with client(*command, via=f'"$@" {closed}') as child:
            status, out, _ = await ended(child)
    assert (status, out) == (Outcome.DONE, "" if ">&-" in closed.replace("2>", "") else "hello\n")


@pytest.mark.deadline(30)
async def test_fullDisk() -> None:
    """
    When standard output takes no more, the client says so, with status 1.
    """
    async with serving(TCPDemoFactory(Greeter)) as server:
        command = ("connect", "127.0.0.1", server.port, "-q")
        async with client(*command, via='"$@" > /dev/full') as child:
            status, _, err = await ended(child)
    assert (status, err) == (1, "tcpdemo: standard output: No space left on device\n")


@pytest.mark.deadline(30)
@pytest.mark.parametrize("options", [(), ("--json",), ("--watch",)])
async def test_fullDiskForFigures(options: tuple[str, ...], tmp_path: Path) -> None:
    """
    The same holds for the tables and the JSON of the other commands, in one line.
    """
    async with (
        controlled(tmp_path),
        client("status", tmp_path / "control", *options, via='"$@" > /dev/full') as child,
    ):
        status, _, err = await ended(child)
    assert (status, err) == (1, "tcpdemo: No space left on device\n")


@pytest.mark.deadline(30)
@pytest.mark.parametrize("options", [(), ("--json",), ("--verbose",)])
async def test_fullDiskForErrors(options: tuple[str, ...]) -> None:
    """
    When standard error takes no more, the transfer and its status are the same.
    """
    async with serving(TCPDemoFactory(Greeter)) as server:
        command = ("connect", "127.0.0.1", server.port, *options)
        async with client(*command, via='"$@" 2> /dev/full') as child:
            status, out, _ = await ended(child)
        async with client("connect", "/no/such/socket", via='"$@" 2> /dev/full') as child:
            refused, _, _ = await ended(child)
    assert (status, out, refused) == (Outcome.DONE, "hello\n", Outcome.REFUSED)


@pytest.mark.deadline(30)
async def test_inputThatCannotBeRead() -> None:
    """
    When standard input cannot be read, the client says so, with status 1.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        command = ("connect", "127.0.0.1", server.port, "-q")
        async with client(*command, via='"$@" 0> /dev/null') as child:
            status, _, err = await ended(child)
    assert (status, err) == (1, "tcpdemo: standard input: Bad file descriptor\n")


@pytest.mark.deadline(30)
async def test_headOfHelp() -> None:
    """
    When the reader of --help leaves early, there is no traceback.
    """
    async with client("connect", "--help", via='"$@" | head -n 1') as child:
        status, out, err = await ended(child)
    assert (status, err) == (0, "")
    assert out.startswith("usage: tcpdemo connect")
