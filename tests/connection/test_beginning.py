"""
Where counting begins.
"""

from __future__ import annotations

from typing import Any

import pytest

from twisted_tcpdemo import Stream, TCPDemoProtocol
from twisted_tcpdemo.connection.beginning import begins, beginsFirst, isBeginning


class Beginner:
    """
    Stands for a protocol whose connection may be refused.
    """

    def __init__(self, admitted: bool = True) -> None:
        self.happened: list[object] = []
        self._admitted = admitted

    def _beginRecord(self, transport: object) -> bool:
        self.happened.append("begun")
        return self._admitted

    def _abortRecord(self) -> None:
        self.happened.append("aborted")


@pytest.mark.parametrize("admitted", [True, False])
def test_beginsFirst(admitted: bool) -> None:
    """
    Counting begins before the protocol's own makeConnection, which is not called without a
    slot.
    """
    beginner, transport = Beginner(admitted), object()
    make = beginsFirst(lambda self, given: self.happened.append(given))
    make(beginner, transport)
    assert beginner.happened == (["begun", transport] if admitted else ["begun"])


def test_raises() -> None:
    """
    One that raises aborts its connection.
    """
    beginner, transport = Beginner(), object()
    with pytest.raises(ZeroDivisionError):
        beginsFirst(lambda self, given: 1 / 0)(beginner, transport)
    assert beginner.happened == ["begun", "aborted"]


def test_mark() -> None:
    """
    Every class of protocol has a makeConnection by which counting begins, and one that has
    it already keeps it.
    """

    class Own(TCPDemoProtocol):
        def makeConnection(self, transport: Any) -> None: ...

    class Below(Own): ...

    assert all(isBeginning(kind.makeConnection) for kind in (TCPDemoProtocol, Stream, Own, Below))
    assert Below.makeConnection is Own.makeConnection
    assert not isBeginning(lambda self, transport: None)
    assert isBeginning(begins(lambda self, transport: None))
