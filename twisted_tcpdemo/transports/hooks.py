"""
Fronts before the hooks of one protocol, whatever its code puts in their place.

Many protocols replace a hook of their own while they are connected, as by
C{self.dataReceived = self.body}.  An instance attribute in front of the hook would
be gone with that.  A data descriptor is not: it is asked before the attributes of
the instance, and may keep them.  It has to be in the class.  So a protocol with
fronts is given a class of its own, derived from the one that it has, until the
fronts are taken away.

The protocol cannot tell: C{__class__}, C{isinstance}, interfaces, C{repr} and its
own attributes are what they were.  Only C{type()} knows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

HOOKS: Final = ("dataReceived", "readConnectionLost", "writeConnectionLost", "connectionLost")
"""The hooks that a transport calls."""

Fronts: TypeAlias = dict[str, Callable[..., object]]
"""By the name of a hook: what is called in its place, with the hook itself and its
arguments."""

_FRONTS: Final = "fronts of twisted_tcpdemo"
"""Where a protocol keeps them.  No attribute of its own has a name with spaces."""

_DERIVED: Final = "class with fronts of twisted_tcpdemo"
_ORIGINAL: Final = "class without fronts of twisted_tcpdemo"

_setClass: Final[Callable[[object, type], None]] = vars(object)["__class__"].__set__


def front(protocol: object, fronts: Fronts) -> None:
    """
    Put fronts before the hooks of a protocol, in place of those that it may have.
    """
    vars(protocol)[_FRONTS] = fronts
    kind = type(protocol)
    if _ORIGINAL not in vars(kind):
        _setClass(protocol, _derived(kind))


def unfront(protocol: object, fronts: Fronts) -> None:
    """
    Take fronts away.  Nothing happens if a protocol has others by now.
    """
    if vars(protocol).get(_FRONTS) is fronts:
        del vars(protocol)[_FRONTS]
        _setClass(protocol, vars(type(protocol))[_ORIGINAL])


class _Hook:
    """
    One hook of a protocol with fronts.

    The hook is taken when it is read, not when it is called: a protocol may keep
    the one before, and call that from the next.
    """

    def __init__(self, kind: type, name: str) -> None:
        self._kind = kind
        self._name = name

    def __get__(self, protocol: object | None, derived: type) -> Any:
        name = self._name
        if protocol is None:
            return getattr(self._kind, name)
        attributes = vars(protocol)
        own = name in attributes
        hook = attributes[name] if own else getattr(super(derived, protocol), name)
        fronts: Fronts | None = attributes.get(_FRONTS)
        # A protocol may also have replaced all of its attributes.
        return hook if fronts is None else partial(fronts[name], hook)

    def __set__(self, protocol: object, hook: object) -> None:
        vars(protocol)[self._name] = hook

    def __delete__(self, protocol: object) -> None:
        if self._name not in vars(protocol):
            raise AttributeError(self._name)
        del vars(protocol)[self._name]


def _derived(kind: type) -> type:
    """
    The class of a protocol with fronts, made once for each class.
    """
    derived: type | None = vars(kind).get(_DERIVED)
    if derived is None:
        body: dict[str, object] = {name: _Hook(kind, name) for name in HOOKS}
        body |= {"__slots__": (), "__module__": kind.__module__, "__doc__": kind.__doc__}
        body["__qualname__"] = kind.__qualname__
        body["__class__"] = property(lambda _: kind, _changeClass)
        body[_ORIGINAL] = kind
        derived = _subclass(kind, body)
        type.__setattr__(kind, _DERIVED, derived)
    return derived


def _subclass(kind: type, body: dict[str, object]) -> type:
    """
    Derive a class.  Neither the class nor its metaclass hears of it: they may keep
    lists of subclasses, or demand options of each.
    """
    name = "__init_subclass__"
    own = vars(kind).get(name)
    type.__setattr__(kind, name, lambda **_: None)
    try:
        return type.__new__(type(kind), kind.__name__, (kind,), body)
    finally:
        if own is None:
            type.__delattr__(kind, name)
        else:
            type.__setattr__(kind, name, own)


def _changeClass(protocol: object, kind: type) -> None:
    """
    Let a protocol with fronts have another class, and keep its fronts.
    """
    _setClass(protocol, _derived(kind))
