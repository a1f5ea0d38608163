"""
L{twisted_tcpdemo.transports.watchers}: several watchers of one transport.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from twisted_tcpdemo.interfaces import ITransportWatcher
from twisted_tcpdemo.transports.watchers import Both, innermost, joined, without


class Hearing:
    """
    A watcher that notes what it hears.
    """

    def __init__(self, name: str, heard: list[str], ends: bool = False) -> None:
        self._name = name
        self._heard = heard
        self._ends = ends

    def __getattr__(self, call: str) -> Callable[..., bool]:
        def hear(*given: Any) -> bool:
            self._heard.append(f"{self._name} {call}")
            if given and callable(given[0]):
                given[0]()
            return self._ends

        return hear


def two(heard: list[str], **options: bool) -> tuple[Any, Any, Any]:
    """
    Two watchers, and both in one.
    """
    outer, inner = Hearing("outer", heard), Hearing("inner", heard, **options)
    return outer, inner, joined(outer, inner)  # type: ignore[arg-type]


def test_interface() -> None:
    """
    Two watchers are one.
    """
    assert verifyObject(ITransportWatcher, two([])[2])


@pytest.mark.parametrize(
    "call",
    [
        *("transportFlushed", "transportWaiting", "transportClosing", "transportAborting"),
        *("transportEncrypting", "deliveryFailed"),
    ],
)
def test_both(call: str) -> None:
    """
    Both hear of each event.
    """
    heard: list[str] = []
    getattr(two(heard)[2], call)()
    assert heard == [f"inner {call}", f"outer {call}"]


@pytest.mark.parametrize("call", ["transportReadEnded", "transportWriteEnded"])
def test_halves(call: str) -> None:
    """
    The protocol is told of the end of a half once, when both have heard of it.
    """
    heard: list[str] = []
    getattr(two(heard)[2], call)(lambda: heard.append("told"))
    assert heard == [f"outer {call}", f"inner {call}", "told"]


@pytest.mark.parametrize("ends", [True, False])
def test_endWithPeer(ends: bool) -> None:
    """
    A connection ends with the peer's half if either of them says so.
    """
    assert two([], ends=ends)[2].transportReadEnded(lambda: None) is ends


def test_lost() -> None:
    """
    The outer one hears of the loss whatever the inner one raises.
    """
    heard: list[str] = []
    _, inner, both = two(heard)
    inner.transportLost = lambda reason: 1 / 0
    with pytest.raises(ZeroDivisionError):
        both.transportLost(Failure(ConnectionDone()))
    assert heard == ["outer transportLost"]


def test_without() -> None:
    """
    Each can go, and the others remain.
    """
    outer, inner, both = two([])
    third: Any = Hearing("third", [])
    three = joined(both, third)
    assert innermost(three) is third
    assert without(None, outer) is None
    assert joined(None, third) is third and without(third, third) is None
    assert without(both, outer) is inner and without(both, inner) is outer
    left: Any = without(three, inner)
    assert isinstance(left, Both) and (left.outer, left.inner) == (outer, third)
    assert without(left, inner).__class__ is Both
