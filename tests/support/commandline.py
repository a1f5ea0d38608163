"""
The command line of C{twistd tcpdemo}, parsed and built in this process.
"""

from __future__ import annotations

import sys
from io import StringIO
from typing import Any

import pytest

from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.service.startup import StartError
from twisted_tcpdemo.twistd.options import Options
from twisted_tcpdemo.twistd.tap import makeService


def parsed(*arguments: str) -> Options:
    """
    Parse a command line.
    """
    options = Options()
    options.parseOptions(arguments)
    return options


def serviceOf(*arguments: str) -> Any:
    """
    The service of a command line.
    """
    return makeService(parsed(*arguments))


def factoryOf(*arguments: str) -> TCPDemoFactory:
    """
    The factory of a command line.
    """
    factory: TCPDemoFactory = serviceOf(*arguments)._factory
    return factory


def refused(*arguments: str) -> str:
    """
    The one line with which the command line is refused.
    """
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StartError):
        patch.setattr(sys, "__stderr__", error := StringIO())
        serviceOf(*arguments)
    [line] = error.getvalue().splitlines()
    assert line.startswith("tcpdemo: ")
    return line.removeprefix("tcpdemo: ")
