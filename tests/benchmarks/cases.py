"""
The cases: what is measured, and who takes part.
"""

from __future__ import annotations

from typing import Final, NamedTuple

ENTRANTS: Final = {
    "fast": "fast lane, counted, with a limit",
    "fast-bare": "fast lane, plain protocol",
    "fast-ssl": "fast lane, counted, with an ssl.SSLContext",
    "fast-lines": "fast lane, counted, LineOnlyReceiver",
    "fast-stream": "fast lane, counted, a coroutine with a Stream",
    "fast-stream-asyncio": "the same on the asyncio reactor",
    "fast-adopted": "fast lane, counted, socket of systemd",
    "fast-proxied": "fast lane, counted, behind PROXY v2",
    "over-twisted": "Twisted's transport, counted, with a limit",
    "twisted": "plain Twisted",
    "twisted-lines": "plain Twisted, LineOnlyReceiver",
    "twisted-proxied": "plain Twisted, behind PROXY v2",
    "asyncio": "asyncio",
    "asyncio-streams": "asyncio, a coroutine with its streams",
    "asyncio-streams-uvloop": "the same on uvloop",
    "aiofastnet": "aiofastnet on asyncio",
    "uvloop": "uvloop",
    "aiofastnet-uvloop": "aiofastnet on uvloop",
    "node": "Node",
    "c": "C, epoll",
}
"""The names of all entrants, and their titles."""

DOORS: Final = {"fast-adopted": "adopted", "fast-proxied": "proxy", "twisted-proxied": "proxy"}
"""Entrants with a door of their own, whatever the case says."""

_PEERS = ("twisted", "asyncio", "aiofastnet", "uvloop", "aiofastnet-uvloop", "node")
_TCP = ("fast", "fast-bare", "over-twisted", *_PEERS, "c")
_TLS = ("fast", "fast-ssl", *_PEERS)
_LINES = (
    *("fast-lines", "fast-stream", "fast-stream-asyncio", "twisted-lines"),
    *("asyncio-streams", "asyncio-streams-uvloop"),
)
_PROXY = ("fast", "fast-proxied", "twisted", "twisted-proxied")


class Case(NamedTuple):
    """
    A case to measure.

    @ivar kind: what is measured: C{"server"} or C{"client"} for CPU time,
        C{"latency"}, C{"memory"}.
    @ivar load: what the load generator does, see C{load.c}.
    @ivar entrants: who takes part.
    @ivar door: how clients come in: C{"tcp"}, C{"unix"}, C{"tls"}.
    """

    title: str
    kind: str
    load: str
    connections: int
    size: int
    entrants: tuple[str, ...]
    door: str = "tcp"


CASES: Final = {
    "small": Case("64 bytes, 50 connections (us)", "server", "echo", 50, 64, _TCP),
    "line": Case(
        "line of 64 bytes, 50 connections (us)",
        *("server", "echo", 50, 64, ("fast", *_LINES)),
    ),
    "many": Case("64 bytes, 1000 connections (us)", "server", "echo", 1000, 64, _TCP),
    "medium": Case("64 KiB, 10 connections (us)", "server", "echo", 10, 65536, _TCP),
    "large": Case("1 MiB, 10 connections (us)", "server", "echo", 10, 1 << 20, _TCP),
    "connect": Case("connect, one message, close (us)", "server", "connect", 50, 64, _TCP),
    "reset": Case("connect, one message, reset (us)", "server", "reset", 50, 64, _TCP),
    "client": Case(
        "client, 64 bytes, 50 connections (us)",
        *("client", "echo", 50, 64, ("fast", "fast-bare", *_PEERS, "c")),
    ),
    "unix": Case(
        "UNIX socket, 64 bytes, 50 connections (us)",
        *("server", "echo", 50, 64, ("fast", "fast-bare", *_PEERS, "c"), "unix"),
    ),
    "tls-small": Case("TLS, 64 bytes, 50 connections (us)", "server", "echo", 50, 64, _TLS, "tls"),
    "tls-medium": Case(
        "TLS, 64 KiB, 10 connections (us)", "server", "echo", 10, 65536, _TLS, "tls"
    ),
    "tls-connect": Case(
        "TLS: connect, one message, close (us)", "server", "connect", 10, 64, _TLS, "tls"
    ),
    "adopted": Case(
        "adopted socket, 64 bytes, 50 connections (us)",
        *("server", "echo", 50, 64, ("fast", "fast-adopted")),
    ),
    "proxy": Case(
        "behind PROXY v2, 64 bytes, 50 connections (us)", "server", "echo", 50, 64, _PROXY
    ),
    "proxy-connect": Case(
        "behind PROXY v2: connect, one message, close (us)", "server", "connect", 50, 64, _PROXY
    ),
    "latency": Case("latency, 64 bytes, 50 connections (us)", "latency", "rate", 50, 64, _TCP),
    "idle": Case("memory of an idle connection (bytes)", "memory", "idle", 10_000, 64, _TCP),
}
