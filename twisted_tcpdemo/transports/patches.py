"""
Patches on single objects: standing between two of them without replacing either.

An instance attribute hides the method of the same name from every caller that
goes through the instance, the object's own code included.  That is how this
package sees the calls between a foreign transport and a protocol whose author
has overridden everything.  Identity, C{isinstance} and interfaces stay as they
were; a proxy would have to imitate them one by one.  Twisted patches its own
objects so in C{startTLS} and in its buffering TLS transport.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

from zope.interface import alsoProvides
from zope.interface.interface import InterfaceClass

_ABSENT: Final = object()


def methodOf(target: object, name: str) -> Callable[..., Any]:
    """
    The method C{target.name} of now, to be called with the target first.

    The function of a class serves all its instances.  A bound method would be one
    more object for each of them to make, keep, and let the garbage collector visit.
    """
    if name not in vars(target):
        function = getattr(type(target), name, None)
        if isinstance(function, FunctionType):
            return function
    bound = getattr(target, name)
    return lambda _, *arguments: bound(*arguments)


class Patches:
    """
    Instance attributes placed over methods, interfaces declared where such a
    method makes them true, and the way back.
    """

    __slots__ = ("_placed",)

    def __init__(self) -> None:
        # In fours: an object that holds others costs the garbage collector time.
        self._placed: list[Any] = []

    def place(self, target: object, name: str, patch: Callable[..., object]) -> None:
        """
        Let C{target.name} be C{patch} until L{remove}.
        """
        attributes = vars(target)
        self._placed += (attributes.get(name, _ABSENT), patch, name, attributes)
        attributes[name] = patch

    def declare(self, target: object, interface: InterfaceClass) -> None:
        """
        Let C{target} provide an interface until L{remove}, if it does not
        already.
        """
        if interface.providedBy(target):
            return
        # What an instance declares is one of its attributes, too.
        attributes = vars(target)
        before = attributes.get("__provides__", _ABSENT)
        alsoProvides(target, interface)
        self._placed += (before, attributes["__provides__"], "__provides__", attributes)

    def remove(self) -> None:
        """
        Put everything back, except what somebody else has replaced meanwhile.
        """
        take = self._placed.pop
        while self._placed:
            attributes, name, patch, before = take(), take(), take(), take()
            if attributes.get(name) is not patch:
                continue
            if before is _ABSENT:
                del attributes[name]
            else:
                attributes[name] = before
