"""
The picture of the package: which module may know which, and what it shows.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from twisted.python.reflect import namedAny

import twisted_tcpdemo
from tests.support.processes import running
from twisted_tcpdemo.stack import PRIVATE_NAMES

PACKAGE = Path(twisted_tcpdemo.__file__).parent
PROJECT = Path(__file__).parent.parent

LAYERS = (
    {"text"},
    {"addresses", "networks"},
    {"report"},
    {"counts", "errors", "interfaces"},
    {"checks", "logbudget", "reclaim", "shadows", "signals", "stack", "sweep"},
    {"observers", "waiters", "writebuffer"},
    {"_rules", "attempt", "budgets", "halfclose", "limits", "listeners", "meter"},
    {"poller", "refusal", "sockets", "targets", "tcpinfo"},
    {"_rate", "connection", "descriptions", "retry", "transport"},
    {"admission", "gate", "ledger", "port", "protocol"},
    {"client", "connecting", "drain", "factory", "programs", "server"},
    {"companions", "control", "log", "metrics", "plain", "service", "status"},
    {"options"},
    {"__main__", "cli", "tap"},
)
"""Each module imports only from layers before its own, or its neighbours in
it."""

ON_DEMAND = ("cli", "control", "metrics", "status")
"""What is imported by those who have asked for it, and by nobody else."""

UNWANTED = {"prometheus_client", *(f"twisted_tcpdemo.{name}" for name in ON_DEMAND)}

TOP_LEVEL = {
    *("setup.cfg", "setup.py", "README.md", "twisted_tcpdemo", "tests", "docs"),
    *("twisted", "LICENSE"),
}

FAST_LANE = {"poller", "port", "transport"}
"""These subclass Twisted's own transport, and may know it from inside."""


@cache
def tree(path: Path) -> ast.Module:
    """
    The syntax of a file.
    """
    return ast.parse(path.read_text(), str(path))


def modules() -> list[Path]:
    """
    Every file of the package.
    """
    return sorted(PACKAGE.rglob("*.py"))


def nameOf(path: Path) -> str:
    """
    The name of a module of the package; a folder counts as one.
    """
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def atImport(node: ast.AST) -> Iterator[ast.AST]:
    """
    What runs when a module is imported: no functions, and nothing that is for
    the type checker only.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from atImport(child)


def imported(path: Path) -> set[str]:
    """
    The full names of all that a file imports when it is imported.
    """
    found = set()
    for node in atImport(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide where a name comes from"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def neighbours(path: Path) -> set[str]:
    """
    The modules of the package that a module needs.
    """
    own = {name for name in imported(path) if name.startswith("twisted_tcpdemo.")}
    return {name.split(".")[1] for name in own} - {nameOf(path)}


@pytest.mark.parametrize("path", modules(), ids=nameOf)
def test_layers(path: Path) -> None:
    """
    Imports point one way only.
    """
    name = nameOf(path)
    if name == "__init__":
        return
    places = {module: number for number, layer in enumerate(LAYERS) for module in layer}
    assert name in places, f"{name} has no place in the picture: name it in LAYERS"
    for other in neighbours(path):
        assert places[other] <= places[name], f"{name} must not know {other}"


def test_noCycle() -> None:
    """
    No module needs itself, through however many others.
    """
    needs = {nameOf(path): neighbours(path) for path in modules() if path.name != "__init__.py"}
    while needs:
        free = {name for name, others in needs.items() if not others & needs.keys()}
        assert free, f"these need one another: {sorted(needs)}"
        needs = {name: others for name, others in needs.items() if name not in free}


def test_factoryAndTransport() -> None:
    """
    The factory and the fast transport do not know each other.
    """
    for path in modules():
        if nameOf(path) in {"factory", "connection", "protocol", "drain"}:
            assert not neighbours(path) & {*FAST_LANE, "server"}
        if nameOf(path) in FAST_LANE:
            assert not neighbours(path) & {"factory", "connection", "protocol"}


def test_interfacesAreContracts() -> None:
    """
    The interfaces have no code: each method is a signature and a docstring.
    """
    for node in ast.walk(tree(PACKAGE / "interfaces.py")):
        if isinstance(node, ast.FunctionDef):
            assert len(node.body) == 1 and ast.get_docstring(node), node.name


# What importing does.


CHECK = """
import importlib, sys
{before}
for name in {names}:
    importlib.import_module(name)
assert "twisted.internet.reactor" not in sys.modules, "it has installed a reactor"
{after}
"""


def importable() -> list[str]:
    """
    The names of all modules that may be imported anywhere.
    """
    found = []
    for path in modules():
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] not in {*ON_DEMAND, "__main__"}:
            found.append(".".join(("twisted_tcpdemo", *parts)).removesuffix(".__init__"))
    return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("sys.modules.update(OpenSSL=None, service_identity=None, prometheus_client=None)", ""),
        ("", f"assert not {UNWANTED!r} & sys.modules.keys()"),
    ],
    ids=["reactor", "extras", "on demand"],
)
async def test_import(before: str, after: str) -> None:
    """
    Importing the package installs no reactor, needs none of the extras, and
    loads nothing that has to be asked for.
    """
    code = CHECK.format(before=before, after=after, names=importable())
    async with running([sys.executable, "-W", "error", "-c", code]) as child:
        assert await child.whenEnded() == 0, child.err


def python() -> list[Path]:
    """
    Every Python file of the project.
    """
    folders = [PACKAGE, PROJECT / "tests", PROJECT / "docs", PROJECT / "twisted"]
    return [path for folder in folders for path in sorted(folder.rglob("*.py"))]


@pytest.mark.parametrize("path", python(), ids=lambda path: str(path.relative_to(path.parents[1])))
def test_reactorIsAnArgument(path: Path) -> None:
    """
    Nobody imports the reactor at module level.
    """
    assert "twisted.internet.reactor" not in imported(path)


# What it shows.


def test_all() -> None:
    """
    __all__ is what the package imports to show it: nothing is missing, nothing
    is left over, and each has a docstring.
    """
    shown = twisted_tcpdemo.__all__
    names = {name.rpartition(".")[2] for name in imported(PACKAGE / "__init__.py")}
    assert list(shown) == sorted(set(shown))
    assert set(shown) == names
    assert {"TCPDemoProtocol", "TCPDemoFactory", "ConnectionReport", "CloseReason"} <= names
    for name in shown:
        assert inspect.getdoc(getattr(twisted_tcpdemo, name)), name


@pytest.mark.parametrize("path", modules(), ids=nameOf)
def test_docstrings(path: Path) -> None:
    """
    Every module says what it is, and the map of the package names those that an
    application meets.
    """
    assert ast.get_docstring(tree(path))


def test_map() -> None:
    """
    What the map of the package links to is there.
    """
    for name in re.findall(r"<(twisted_tcpdemo[\w.]*)>", twisted_tcpdemo.__doc__ or ""):
        namedAny(name)


@pytest.mark.parametrize("path", modules(), ids=nameOf)
def test_links(path: Path) -> None:
    """
    Links to other modules in docstrings lead somewhere.
    """
    for name in re.findall(r"L\{(?:[^{}<]*<)?(twisted[\w.]+)>?\}", path.read_text()):
        namedAny(name)


# What it knows of Twisted from inside.


@pytest.mark.parametrize("owner", PRIVATE_NAMES)
def test_privateNames(owner: str) -> None:
    """
    The installed Twisted has the private attributes that stack.py reads.
    """
    found = namedAny(owner)
    source = inspect.getsource(found)
    for name in PRIVATE_NAMES[owner]:
        assert hasattr(found, name) or re.search(rf"\bself\.{name}\b.* = ", source), name


def private(path: Path) -> set[str]:
    """
    The private names that a file reads from anything but self.
    """
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and not (
            isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
        ):
            found.add(node.attr)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "hasattr"}:
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    found -= {"_asdict", "_replace"}  # which named tuples show to everybody
    return {n for n in found if isinstance(n, str) and re.match(r"_[^_]", n)}


def defined(path: Path) -> set[str]:
    """
    The names that a file defines itself.
    """
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


def test_privateNamesAreListed() -> None:
    """
    stack.py lists each private name of Twisted's that it reads, and no other.
    """
    listed = {name for names in PRIVATE_NAMES.values() for name in names}
    assert private(PACKAGE / "stack.py") == listed


@pytest.mark.parametrize("path", modules(), ids=nameOf)
def test_privateNamesStayInside(path: Path) -> None:
    """
    Whoever needs something private of Twisted's asks stack.py.
    """
    if nameOf(path) not in {"stack", *FAST_LANE}:
        assert private(path) <= defined(path)


# What lies where.


def tracked() -> list[Path]:
    """
    Every file of the project's history.
    """
    try:
        done = subprocess.run(
            ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this is no checkout: {error}")
    return [Path(line) for line in done.stdout.splitlines()]


def test_topLevel() -> None:
    """
    The top level holds what the project's card names, what Twisted demands, and
    hidden files.
    """
    top = {path.parts[0] for path in tracked()}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL


def test_plugin() -> None:
    """
    The folder that is Twisted's holds one file, which imports nothing of ours:
    every twistd command reads it.
    """
    files = [path for path in tracked() if path.parts[0] == "twisted"]
    assert files == [Path("twisted/plugins/tcpdemo_plugin.py")]
    needed = {name.partition(".")[0] for name in imported(PROJECT / files[0])}
    assert needed <= {"__future__", "typing", "twisted", "zope"}
