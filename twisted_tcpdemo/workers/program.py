"""
The program of the workers: what builds their protocols, by a name that can be imported.

A worker is a process of its own and shares no memory with the parent, so it gets a name
and plain values, and imports the rest.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any, Final

from twisted_tcpdemo.connection.hosting import HostedProtocol
from twisted_tcpdemo.errors import TCPDemoError
from twisted_tcpdemo.server.factory import TCPDemoFactory

MOST_WORKERS: Final = 1024
"""Workers of one server."""


class ProgramError(TCPDemoError, ValueError):
    """
    Workers cannot have a program; the text is one line that says why.
    """


@dataclass(frozen=True, slots=True)
class Program:
    """
    What builds protocols.

    @ivar name: its dotted name, with a colon after the module.
    @ivar arguments: the keywords to call it with; values of JSON.
    @ivar parts: the programs of what to call it with before them, such as a coroutine
        function that handles streams.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    parts: list[Program] = field(default_factory=list)

    @classmethod
    def told(cls, values: dict[str, Any]) -> Program:
        """
        The program that C{dataclasses.asdict} has made into plain values.
        """
        parts = [cls.told(part) for part in values["parts"]]
        return cls(values["name"], values["arguments"], parts)

    def load(self) -> Callable[..., Any]:
        """
        Import it.

        @raise ProgramError: if it cannot be imported.
        """
        try:
            built = _named(self.name)
        except (Exception, SystemExit) as error:  # a script that exits when it is imported
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise ProgramError(f"{self.name} cannot be imported: {why}") from error
        if not self.arguments and not self.parts:
            return built  # type: ignore[no-any-return]
        return partial(built, *[part.load() for part in self.parts], **self.arguments)


def programFor(factory: TCPDemoFactory) -> Program:
    """
    The program of a factory.

    @raise ProgramError: if workers cannot have it.
    """
    if type(factory) is not TCPDemoFactory or "buildProtocol" in vars(factory):
        raise ProgramError(
            f"workers build protocols with a factory of their own: {type(factory).__name__} must "
            "be a plain TCPDemoFactory"
        )
    return programOf(factory.protocol)


def programOf(protocol: object) -> Program:
    """
    The program that builds the same protocols in another process.

    @param protocol: a class or a function in a module, or a C{functools.partial} of one
        with keywords that JSON can hold, and before them such programs; hosted or not.
    @raise ProgramError: for anything else.
    """
    if isinstance(protocol, HostedProtocol):
        return programOf(protocol.hosted)
    if isinstance(protocol, partial):
        plain = _plain(protocol)
        parts = [programOf(part) for part in protocol.args]
        return Program(programOf(protocol.func).name, plain, parts)
    module, path = getattr(protocol, "__module__", None), getattr(protocol, "__qualname__", None)
    if module is None or path is None:
        raise ProgramError(f"workers cannot import {protocol!r}: it has no name in a module")
    name = f"{module}:{path}"
    if module == "__main__":
        raise ProgramError(f"workers cannot import {path}: it is in the script, not in a module")
    if "<" in path:
        raise ProgramError(f"workers cannot import {name}: it is made inside a function")
    try:
        isSame = module in sys.modules and _named(name) is protocol
    except AttributeError:
        isSame = False
    if not isSame:
        raise ProgramError(f"workers cannot import {name}: the name leads to something else")
    return Program(name)


def _named(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _plain(protocol: partial[Any]) -> dict[str, Any]:
    """
    The keywords of a partial call, if JSON can hold them.
    """
    keywords: dict[str, Any] = dict(protocol.keywords)
    try:
        isPlain = json.loads(json.dumps(keywords)) == keywords
    except (TypeError, ValueError):
        isPlain = False
    if not isPlain or not all(map(callable, protocol.args)):
        raise ProgramError(
            f"workers cannot have {protocol!r}: its arguments must be keywords with plain values"
        )
    return keywords
