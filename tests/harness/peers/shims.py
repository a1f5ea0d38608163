"""
What is put into a server's process before it starts: a wall clock that can be set, and
a system that fails now and then.

Both are patches of Python's own modules, so they work on what is written in Python.
"""

from __future__ import annotations

import errno
import random
import select
import selectors
import socket
import time
from collections import Counter
from typing import Any, Final

FAULTS: Final = {
    "send": (errno.ENOMEM, errno.ENOBUFS),
    "recv": (errno.ENOMEM,),
    "accept": (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ECONNABORTED),
    "epoll_ctl": (errno.ENOMEM, errno.ENOSPC),
}
"""How each call may fail, by the manual pages of Linux."""


class WallClock:
    """
    C{time.time}, shifted.

    @ivar shift: seconds by which it is wrong.
    """

    def __init__(self) -> None:
        self.shift = 0.0
        self._true = time.time

    def install(self) -> None:
        """
        Take the place of C{time.time}, before anybody has imported it.
        """
        time.time = self.now

    def now(self) -> float:
        """
        The time that the process sees.
        """
        return self._true() + self.shift


class Faults:
    """
    System calls that fail at random.

    @ivar share: the share of calls that fail; C{0} until the attack begins.
    @ivar calls: which calls fail.
    @ivar injected: how often each has failed.
    """

    def __init__(self, seed: int = 14) -> None:
        self.share = 0.0
        self.calls = set(FAULTS)
        self.injected: Counter[str] = Counter()
        self._random = random.Random(seed)

    def strike(self, call: str) -> None:
        """
        Fail in place of a system call, or do not.
        """
        if self.share and call in self.calls and self._random.random() < self.share:
            self.injected[call] += 1
            code = self._random.choice(FAULTS[call])
            raise OSError(code, f"injected into {call}")

    def strikeAt(self, descriptor: int) -> None:
        """
        Fail in place of epoll_ctl(2) for a connection of the program, or do not.
        """
        if not self.share or "epoll_ctl" not in self.calls:
            return
        try:
            same = socket.socket(fileno=descriptor)
        except OSError:
            return  # no socket, but a timer or another epoll object
        family = same.family
        same.detach()
        if family == socket.AF_INET:
            self.strike("epoll_ctl")

    def install(self) -> None:
        """
        Stand before the system calls of the process.
        """
        kind: Any = socket.socket
        for name, call in (
            ("send", "send"),
            ("sendmsg", "send"),
            ("recv", "recv"),
            ("recv_into", "recv"),
            ("_accept", "accept"),
        ):
            setattr(kind, name, self._before(call, getattr(kind, name)))
        real: Any = select.epoll
        faults = self

        class Epoll:
            """
            An epoll object whose epoll_ctl(2) may fail.
            """

            def __init__(self, *arguments: Any) -> None:
                self._real = real(*arguments)
                self.poll = self._real.poll
                self.fileno = self._real.fileno
                self.close = self._real.close
                self.unregister = self._real.unregister

            def register(self, *arguments: Any) -> None:
                """
                EPOLL_CTL_ADD.
                """
                faults.strikeAt(arguments[0])
                self._real.register(*arguments)

            def modify(self, *arguments: Any) -> None:
                """
                EPOLL_CTL_MOD.
                """
                faults.strikeAt(arguments[0])
                self._real.modify(*arguments)

        patched: Any = select
        patched.epoll = Epoll
        # asyncio's selector has looked it up already.
        selector: Any = selectors.EpollSelector
        selector._selector_cls = Epoll

    def _before(self, call: str, real: Any) -> Any:
        def guarded(*arguments: Any, **keywords: Any) -> Any:
            # Only connections of the program: what talks to the attacker is spared.
            if self.share and arguments[0].family == socket.AF_INET:
                self.strike(call)
            return real(*arguments, **keywords)

        return guarded
