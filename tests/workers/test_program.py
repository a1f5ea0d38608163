"""
Programs: what workers can import, and why not.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
from twisted.internet.protocol import Factory

from tests.support.staff import Foreign, Telling, obey
from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol, hosted
from twisted_tcpdemo.connection.stream import HandledStream, handled
from twisted_tcpdemo.twistd.programs import reportWithin, showsWithin
from twisted_tcpdemo.workers.program import Program, ProgramError, programFor, programOf


class Outer:
    """
    A place for a class.
    """

    class Inner(TCPDemoProtocol):
        """
        A protocol inside a class.
        """


class Renamed(TCPDemoProtocol):
    """
    A protocol whose name leads to another one.
    """


Before = Renamed
Renamed = Telling  # type: ignore[misc,assignment]


@pytest.mark.parametrize("protocol", [Telling, Outer.Inner, Foreign])
def test_class(protocol: type) -> None:
    """
    A class in a module is found by its name.
    """
    assert programOf(protocol).load() is protocol


def test_hosted() -> None:
    """
    A hosted class is sent by its own name: the factory of the worker hosts it.
    """
    assert programOf(hosted(Foreign)).load() is Foreign


def test_partial() -> None:
    """
    The keywords of a partial call go with the name.
    """
    program = programOf(partial(reportWithin, rate=5, preview=7))
    assert program == Program(
        "twisted_tcpdemo.twistd.programs:reportWithin", {"rate": 5, "preview": 7}
    )
    assert isinstance(program.load()(), TCPDemoProtocol)


def test_handler() -> None:
    """
    A coroutine function that handles streams is found by its name, with the budget of its
    log; the plain values of it all are enough.
    """
    for shows in (None, partial(showsWithin, rate=5)):
        program = programOf(handled(obey) if shows is None else handled(obey, shows))
        loaded = Program.told(json.loads(json.dumps(asdict(program)))).load()
        assert isinstance(loaded, partial)
        assert loaded.func is HandledStream and loaded.args[0] is obey
        assert isinstance(loaded(), HandledStream)
        assert loaded.args[1]("failed handlers") is True


def local() -> object:
    """
    A class that has no name outside.
    """

    class Local(TCPDemoProtocol):
        """
        Inside.
        """

    return Local


class Script(TCPDemoProtocol):
    """
    As in a script.
    """


Script.__module__ = "__main__"


@pytest.mark.parametrize(
    ("protocol", "why"),
    [
        (local(), "is made inside a function"),
        (lambda: Telling, "is made inside a function"),
        (handled(lambda stream: None), "is made inside a function"),
        (Script, "is in the script, not in a module"),
        (Before, "leads to something else"),
        (hosted(Factory()), "has no name in a module"),
        (partial(reportWithin, 5), "must be keywords with plain values"),
        (partial(reportWithin, rate=object()), "must be keywords with plain values"),
    ],
    ids=["local", "lambda", "handler", "script", "renamed", "factory", "argument", "object"],
)
def test_refused(protocol: object, why: str) -> None:
    """
    Anything else is refused in a line that says why.
    """
    with pytest.raises(ProgramError, match=why) as caught:
        programOf(protocol)
    assert "\n" not in str(caught.value)


def test_factory() -> None:
    """
    A factory of one's own is refused: it would not be in the workers.
    """

    class Own(TCPDemoFactory):
        """
        One's own.
        """

    assert programFor(TCPDemoFactory(Telling)).load() is Telling
    with pytest.raises(ProgramError, match="Own must be a plain TCPDemoFactory"):
        programFor(Own(Telling))


@pytest.mark.parametrize("text", ["1 / 0", "raise SystemExit(2)", "import no_such_module"])
def test_cannotBeImported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """
    A module that raises is told in one line.
    """
    (tmp_path / "bad_program.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ProgramError, match=r"bad_program:It cannot be imported: \w+") as caught:
        Program("bad_program:It").load()
    assert "\n" not in str(caught.value)
