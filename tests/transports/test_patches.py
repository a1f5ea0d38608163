"""
Patches: standing between two objects without replacing either.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from zope.interface import Interface, alsoProvides, implementer

from twisted_tcpdemo.transports.patches import Patches


class Target:
    """
    An object with a method.
    """

    def speak(self) -> str:
        """
        The method of the class.
        """
        return "own"


def test_place() -> None:
    """
    A caller of the method gets the shadow, and later the method again.
    """
    target, patches = Target(), Patches()
    patches.place(target, "speak", lambda: "shadow")
    assert target.speak() == "shadow"
    assert Target().speak() == "own"
    patches.remove()
    assert target.speak() == "own"
    assert vars(target) == {}


def test_instanceAttribute() -> None:
    """
    An attribute of the instance comes back.
    """
    target: Any = Target()
    target.speak = before = lambda: "instance"
    patches = Patches()
    patches.place(target, "speak", lambda: "shadow")
    patches.remove()
    assert target.speak is before


def test_replacedMeanwhile() -> None:
    """
    An attribute that others have put there meanwhile stays.
    """
    target: Any = Target()
    patches = Patches()
    patches.place(target, "speak", lambda: "shadow")
    target.speak = lambda: "other"
    patches.remove()
    assert target.speak() == "other"


def test_deletedMeanwhile() -> None:
    """
    An attribute that others have deleted meanwhile is not restored.
    """
    target: Any = Target()
    patches = Patches()
    patches.place(target, "speak", lambda: "shadow")
    del target.speak
    patches.remove()
    assert target.speak() == "own"


class ISpeaker(Interface):
    """
    An interface.
    """


class IListener(Interface):
    """
    Another interface.
    """


def test_declare() -> None:
    """
    An instance provides an interface until it is taken back, and keeps its former
    ones; others of its class do not provide it.
    """
    target, patches = Target(), Patches()
    alsoProvides(target, IListener)
    patches.declare(target, ISpeaker)
    assert ISpeaker.providedBy(target) and IListener.providedBy(target)
    assert not ISpeaker.providedBy(Target())
    patches.remove()
    assert not ISpeaker.providedBy(target)
    assert IListener.providedBy(target)


def test_nothingStaysDeclared() -> None:
    """
    An instance that had declared nothing has nothing left of the patch.
    """
    target, patches = Target(), Patches()
    patches.declare(target, ISpeaker)
    patches.remove()
    assert vars(target) == {}


def test_declaredAlready() -> None:
    """
    An interface that the instance provided before stays provided.
    """
    target, patches = implementer(ISpeaker)(type("T", (Target,), {}))(), Patches()
    patches.declare(target, ISpeaker)
    assert vars(target) == {}
    patches.remove()
    assert ISpeaker.providedBy(target)


def test_removeTwice() -> None:
    """
    A second removal does nothing, even if there is a shadow of others.
    """
    target: Any = Target()
    patches = Patches()
    patches.remove()
    patches.place(target, "speak", lambda: "shadow")
    patches.remove()
    target.speak = lambda: "other"
    patches.remove()
    assert target.speak() == "other"


@given(some.integers(1, 8))
def test_nested(depth: int) -> None:
    """
    Several patches over one another, of one or several owners, come off in reverse
    order and leave nothing.
    """
    target = Target()
    owners = [Patches() for _ in range(depth)]
    for number, owner in enumerate(owners):
        owner.place(target, "speak", lambda number=number: f"{number}a")  # type: ignore[misc]
        owner.place(target, "speak", lambda number=number: f"{number}b")  # type: ignore[misc]
    for number, owner in reversed(list(enumerate(owners))):
        assert target.speak() == f"{number}b"
        owner.remove()
    assert target.speak() == "own"
    assert vars(target) == {}
