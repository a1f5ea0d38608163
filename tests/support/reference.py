"""
How pydoctor builds the API reference: C{setup.cfg} names this module's L{System}.

Pydoctor itself resolves links to our own names.  For those to Python's and
Twisted's it would need their inventories from the network.  Here the installed
Twisted is asked instead, so a link to a name that Twisted does not have is a
warning, too.
"""

from __future__ import annotations

import builtins
from functools import cache
from types import ModuleType
from typing import Any

from pydoctor import model
from pydoctor.extensions.zopeinterface import ZopeInterfaceClass
from pydoctor.options import Options
from pydoctor.sphinx import SphinxInventory
from twisted.python.reflect import namedAny
from zope.interface.interface import InterfaceClass

PYTHON = "https://docs.python.org/3/library"
TWISTED = "https://docs.twisted.org/en/stable/api"


@cache
def foreign(name: str) -> Any | None:
    """
    The object that a full name of Twisted's stands for, or L{None}.
    """
    if not name.startswith("twisted."):
        return None
    try:
        return namedAny(name)
    except (AttributeError, ImportError, ValueError):
        return None


class Inventory(SphinxInventory):
    """
    The places of documentation of foreign names.
    """

    def getLink(self, name: str) -> str | None:
        """
        The address of a name's documentation, or L{None} for an unknown name.
        """
        if name == "None":
            return f"{PYTHON}/constants.html#None"
        builtin = getattr(builtins, name, None)
        if isinstance(builtin, type) and issubclass(builtin, BaseException):
            return f"{PYTHON}/exceptions.html#{name}"
        found = foreign(name)
        if found is None:
            return None
        if isinstance(found, ModuleType | type | InterfaceClass):
            return f"{TWISTED}/{name}.html"
        page, _, anchor = name.rpartition(".")
        return f"{TWISTED}/{page}.html#{anchor}"


class System(model.System):
    """
    The documented modules.
    """

    def __init__(self, options: Options | None = None) -> None:
        super().__init__(options)
        self.intersphinx = Inventory(logger=self.msg)

    def postProcess(self) -> None:
        """
        Take a class for an interface also if its base is an interface of Twisted's.
        """
        for shown in self.objectsOfType(ZopeInterfaceClass):
            if any(isinstance(foreign(base), InterfaceClass) for base in shown.bases):
                shown.isinterface = True
                shown.kind = model.DocumentableKind.INTERFACE
                shown.implementedby_directly = []
        super().postProcess()
