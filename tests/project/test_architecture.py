"""
The picture of the package: the modules, their imports, their public names.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from twisted.python.reflect import namedAny

import twisted_tcpdemo
from tests.support.places import PACKAGE, PROJECT, TESTS
from tests.support.processes import running
from twisted_tcpdemo.transports.layers import PRIVATE_NAMES

FLOORS = (
    {"values"},
    {"errors", "interfaces", "shapes"},
    {"clock", "nextturn", "tls"},
    {"admission", "fast", "transports"},
    {"connection"},
    {"client", "server"},
    {"workers"},
    {"cli", "monitoring", "service"},
    {"web"},
    {"control", "status"},
    {"twistd"},
)
"""Packages, and the modules beside them.  Each imports from the floors before its
own, and from itself."""

INSIDE = {
    "cli": (
        {"outcome", "showing"},
        {"parsing", "places", "session"},
        {"load", "operating", "piping"},
        {"command"},
    ),
}
"""The same for a package that has packages of its own."""

DOORS = {"__init__", "__main__", "logbudget"}
"""Modules that only lead to another place."""

MOST_FLOORS = 4
"""The highest number of floors inside a package, where a package in it is one room."""

LONG = 400
"""Lines of a module above which its docstring has to say why it is so long."""

ON_DEMAND = ("cli", "control", "monitoring.metrics", "status", "tls.openssl", "web")
"""Packages and modules that are imported only on request."""

UNWANTED = {"prometheus_client", *(f"twisted_tcpdemo.{name}" for name in ON_DEMAND)}

ELSEWHERE = {
    # Contracts without code are tested with the classes that keep them.
    "interfaces": "server/test_observers.py",
    "shapes": "project/test_typing.py",
    "transports.counts": "transports/test_meter.py",
    # Values and errors are tested with the modules that make them.
    "errors": "connection/test_writes.py",
    "values.report": "connection/test_facts.py",
    "monitoring.snapshot": "status/test_snapshot.py",
    "monitoring.ends": "status/test_query.py",
    # These show only through others: an endpoint, wrappers, a transport that reads, a
    # command line.
    "clock": "transports/test_clock.py",
    "nextturn": "transports/test_nextturn.py",
    "fast.encrypting": "fast/test_transport_tls.py",
    "fast.accepting": "fast/test_endpoint.py",
    "fast.connecting": "fast/test_connector.py",
    "fast.port": "fast/test_endpoint.py",
    "transports.halfclose": "contract/test_halfclose.py",
    "connection.pause": "contract/test_contract.py",
    "monitoring.processlog": "system/test_operators.py",
    "service.startup": "twistd/test_tap.py",
    # Both sides of a process show only with real ones.
    "workers.departure": "system/test_workers.py",
    "workers.process": "system/test_workers.py",
    "workers.remote": "system/test_workers.py",
    "workers.start": "system/test_workers.py",
    "workers.workers": "system/test_workers.py",
    "control.start": "control/test_routes.py",
    "status.metrics": "status/test_site.py",
    "status.tables": "status/test_site.py",
    "web.answer": "web/test_visit.py",
    # These show only in a whole command line, and in a whole load.
    "cli.parsing.serverarguments": "cli/parsing/test_arguments.py",
    "cli.parsing.socketarguments": "cli/parsing/test_arguments.py",
    "cli.load.alarm": "cli/load/test_traffic.py",
    "cli.load.asker": "cli/load/test_traffic.py",
}
"""Modules without a file of tests of the same name, and the file that has their
tests."""

TOP_LEVEL = {
    *("setup.cfg", "setup.py", "README.md", "twisted_tcpdemo", "tests", "docs"),
    *("twisted", "LICENSE"),
}

FAST_LANE = {
    *(f"fast.{name}" for name in ("accepting", "connecting", "connector", "encrypting")),
    *(f"fast.{name}" for name in ("poller", "port", "reactor", "transport", "unix")),
    "tls.context",
    "monitoring.logfiles",
}
"""Modules that subclass Twisted's own transport, or take its layers or its log apart, and
may use its private names."""

DOCUMENTED = {"service.hardstop": {"_current_frames", "_exit"}}
"""Names of Python's that its documentation has, in spite of their underscore, by the module
that may use them."""


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
    A module of the package, such as C{"server.factory"}.
    """
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def roomOf(name: str, package: str = "") -> str:
    """
    The room of a package in which a module is: a package inside it, or the module itself
    where that is beside them.
    """
    return name.removeprefix(f"{package}.").partition(".")[0]


def packages() -> list[str]:
    """
    The packages inside the package, those inside another one included.
    """
    return [nameOf(face) for face in sorted(PACKAGE.rglob("*/__init__.py"))]


def roomsOf(package: str) -> dict[str, set[str]]:
    """
    The rooms of a package, and for each the others that it needs.  A face, which only shows
    public names, is none.
    """
    rooms: dict[str, set[str]] = {}
    for path in modules():
        name = nameOf(path)
        if name.startswith(f"{package}.") and path.name != "__init__.py":
            inside = {other for other in needs(path) if other.startswith(f"{package}.")}
            here = roomOf(name, package)
            rooms.setdefault(here, set()).update(roomOf(other, package) for other in inside)
    return {here: others - {here} for here, others in rooms.items()}


def importsIn(nodes: Iterable[ast.AST], path: Path) -> set[str]:
    """
    The full names of everything that some statements import.
    """
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide where a name comes from"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def atImport(node: ast.AST) -> Iterator[ast.AST]:
    """
    The nodes that run when a module is imported: no functions, and nothing under
    C{TYPE_CHECKING}.
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
    The full names of everything that a file imports when it is imported itself.
    """
    return importsIn(atImport(tree(path)), path)


@cache
def needs(path: Path) -> frozenset[str]:
    """
    The modules of the package that a module imports anywhere: for the type checker
    and inside functions, too.
    """
    known = {nameOf(other) for other in modules()} - {""}
    found = set()
    for name in importsIn(ast.walk(tree(path)), path):
        parts = name.split(".")
        if parts[0] == "twisted_tcpdemo":
            candidates = (".".join(parts[1:end]) for end in range(len(parts), 1, -1))
            found.add(next((name for name in candidates if name in known), "__init__"))
    return frozenset(found)


def floorsOf(graph: Mapping[str, AbstractSet[str]]) -> dict[str, int]:
    """
    The height of each node: one above the highest node that it needs.
    """
    floors: dict[str, int] = {}
    while len(floors) < len(graph):
        free = {
            name
            for name, others in graph.items()
            if name not in floors and all(other in floors for other in others & graph.keys())
        }
        assert free, f"these need one another: {sorted(graph.keys() - floors.keys())}"
        for name in free:
            below = [floors[other] for other in graph[name] & graph.keys()]
            floors[name] = 1 + max(below, default=0)
    return floors


@pytest.mark.parametrize("path", modules(), ids=nameOf)
def test_floors(path: Path) -> None:
    """
    A package imports from lower floors only, and from its own.
    """
    room = roomOf(nameOf(path) or "__init__")
    if room in DOORS:
        return
    places = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    assert room in places, f"{room} has no place in the picture: name it in FLOORS"
    for other in needs(path):
        there = roomOf(other)
        assert there == room or places.get(there, 99) < places[room], f"must not know {other}"


def test_noCircle() -> None:
    """
    No module needs itself, not even through others.
    """
    floorsOf({nameOf(path): needs(path) for path in modules() if path.name != "__init__.py"})


@pytest.mark.parametrize("package", packages())
def test_floorsInside(package: str) -> None:
    """
    A package has at most four floors, and no circle of the packages and modules in it.
    """
    floors = floorsOf(roomsOf(package))
    assert max(floors.values()) <= MOST_FLOORS, floors


def test_pictures() -> None:
    """
    Each package that has packages of its own has its picture.
    """
    assert INSIDE.keys() == {name.rpartition(".")[0] for name in packages() if "." in name}


@pytest.mark.parametrize("package", INSIDE)
def test_packagesInside(package: str) -> None:
    """
    A package inside another one imports from lower floors only, and from its own.
    """
    rooms = roomsOf(package)
    places = {name: number for number, floor in enumerate(INSIDE[package]) for name in floor}
    assert places.keys() == rooms.keys(), "name each room in INSIDE"
    for room, others in rooms.items():
        high = {other for other in others if places[other] >= places[room]}
        assert not high, f"{room} must not know {sorted(high)}"


def test_faces() -> None:
    """
    Modules import from modules, not from the C{__init__} of a package, which is for
    users.
    """
    for path in modules():
        if nameOf(path) not in {"", *DOORS}:
            assert not needs(path) & {*packages()}, path


def test_factoryAndTransport() -> None:
    """
    The factory and the fast transport do not know each other.
    """
    for path in modules():
        if roomOf(nameOf(path)) in {"connection", "server"}:
            assert "fast" not in {roomOf(name) for name in needs(path)}


@pytest.mark.parametrize("module", ["interfaces.py", "shapes.py"])
def test_interfacesAreContracts(module: str) -> None:
    """
    The interfaces have no code: each method is a signature and a docstring.
    """
    for node in ast.walk(tree(PACKAGE / module)):
        if isinstance(node, ast.FunctionDef):
            assert len(node.body) == 1 and ast.get_docstring(node), node.name


def waits(path: Path) -> Iterator[str]:
    """
    The statements of a module that ask a reactor for the time, or to wait.
    """
    for node in ast.walk(tree(path)):
        asked = ast.unparse(node.value) if isinstance(node, ast.Attribute) else ""
        if asked.rpartition(".")[2].lstrip("_") == "reactor" and node.attr == "seconds":
            yield ast.unparse(node)
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        asked = ast.unparse(node.func.value).rpartition(".")[2].lstrip("_")
        if asked == "reactor" and node.func.attr == "callLater":
            yield ast.unparse(node)


@pytest.mark.parametrize("path", modules(), ids=nameOf)
def test_timeIsSteady(path: Path) -> None:
    """
    Nothing waits for a while, or for the next turn, or measures time, by the clock of the
    system.
    """
    if nameOf(path) not in {"clock", "nextturn", "fast.poller"}:  # they look whether it was set
        assert [*waits(path)] == []


# Effects of an import.


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
    The names of all modules that may always be imported.
    """
    found = []
    for path in modules():
        name = nameOf(path)
        if name not in {*ON_DEMAND, "__main__"} and roomOf(name) not in ON_DEMAND:
            found.append(f"twisted_tcpdemo.{name}".removesuffix("."))
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
    Importing the package installs no reactor, needs none of the extras, and loads
    no module that is for requests only.
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
    No file imports the reactor at module level.
    """
    assert "twisted.internet.reactor" not in imported(path)


# Public names.


@pytest.mark.parametrize("face", sorted(PACKAGE.rglob("__init__.py")), ids=nameOf)
def test_all(face: Path) -> None:
    """
    __all__ has exactly the names that a package imports to show them, and each has
    a docstring.
    """
    package = import_module(f"twisted_tcpdemo.{nameOf(face)}".removesuffix("."))
    shown = getattr(package, "__all__", [])
    own = (name for name in importsIn(ast.walk(tree(face)), face) if "tcpdemo" in name)
    assert list(shown) == sorted(set(shown))
    assert set(shown) == {name.rpartition(".")[2] for name in own}
    for name in shown:
        assert inspect.getdoc(getattr(package, name)), name


def test_public() -> None:
    """
    The names that applications rely on can be imported from the package itself.
    """
    assert set(twisted_tcpdemo.__all__) >= {
        *("TCPDemoProtocol", "TCPDemoFactory", "ServerEndpoint", "ClientEndpoint"),
        *("ConnectionReport", "CloseReason", "Budgets", "Retry", "Watermarks"),
        *("ConnectionObserver", "Admission", "AllowedNetworks", "DeniedNetworks"),
        *("PeerRate", "PerPeerLimit", "Rule", "Stream"),
    }


@pytest.mark.parametrize("path", modules(), ids=nameOf)
def test_docstrings(path: Path) -> None:
    """
    Every module has a docstring.
    """
    assert ast.get_docstring(tree(path))


def test_longModules() -> None:
    """
    A module of more than 400 lines says in its opening docstring why it is so long.
    """
    for path in modules():
        if len(path.read_text().splitlines()) > LONG:
            said = " ".join((ast.get_docstring(tree(path)) or "").split())
            assert "one file" in said or "long because" in said, path


def test_map() -> None:
    """
    The map of the package names each package and module on a floor once, the lowest first,
    and each of its links leads to an existing name.
    """
    said = twisted_tcpdemo.__doc__ or ""
    places = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    named = re.findall(r"[<{]twisted_tcpdemo\.(\w+)[>}]", said)
    assert sorted(named) == sorted(places)
    assert named == sorted(named, key=places.__getitem__)
    for name in re.findall(r"<(twisted_tcpdemo[\w.]*)>", said):
        namedAny(name)


@pytest.mark.parametrize("path", modules(), ids=nameOf)
def test_links(path: Path) -> None:
    """
    Links to other modules in docstrings lead somewhere.
    """
    for name in re.findall(r"L\{(?:[^{}<]*<)?(twisted[\w.]+)>?\}", path.read_text()):
        namedAny(name)


# Private names of Twisted's.


@pytest.mark.parametrize("owner", PRIVATE_NAMES)
def test_privateNames(owner: str) -> None:
    """
    The installed Twisted has the private attributes that layers.py reads.
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
    found -= {"_asdict", "_replace"}  # public methods of named tuples
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
    layers.py lists each private name of Twisted's that it reads, and no other.
    """
    listed = {name for names in PRIVATE_NAMES.values() for name in names}
    assert private(PACKAGE / "transports" / "layers.py") == listed


@pytest.mark.parametrize("path", modules(), ids=nameOf)
def test_privateNamesStayInside(path: Path) -> None:
    """
    Private names of Twisted's are read in layers.py, by the next turn and in the fast lane
    only, and those of Python's where a process is ended.
    """
    name = nameOf(path)
    if name not in {"transports.layers", "nextturn", *FAST_LANE}:
        assert private(path) <= defined(path) | DOCUMENTED.get(name, set())


# Files.


def mirrorOf(name: str) -> Path:
    """
    The file with the tests of a module.
    """
    *folder, module = name.split(".")
    return TESTS.joinpath(*folder, f"test_{module}.py")


@pytest.mark.parametrize("path", modules(), ids=nameOf)
def test_tests(path: Path) -> None:
    """
    Every module has a file of tests that mirrors it, or is listed with the file
    that tests it.
    """
    name = nameOf(path)
    if path.name == "__init__.py" or name in DOORS:
        return
    assert mirrorOf(name).exists() or (TESTS / ELSEWHERE.get(name, "nowhere")).is_file()


def test_testsElsewhere() -> None:
    """
    The modules listed as tested elsewhere exist, and have no file of tests of their
    own.
    """
    assert {nameOf(path) for path in modules()} >= ELSEWHERE.keys()
    assert [name for name in ELSEWHERE if mirrorOf(name).exists()] == []


def tracked() -> list[Path]:
    """
    Every file under version control.
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
    The top level holds the files that the project's card names, those that Twisted
    demands, and hidden files.
    """
    top = {path.parts[0] for path in tracked()}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL


def test_plugin() -> None:
    """
    Twisted's folder holds one file, which imports no module of ours: every twistd
    command reads it.
    """
    files = [path for path in tracked() if path.parts[0] == "twisted"]
    assert files == [Path("twisted/plugins/tcpdemo_plugin.py")]
    needed = {name.partition(".")[0] for name in imported(PROJECT / files[0])}
    assert needed <= {"__future__", "typing", "twisted", "zope"}
