"""
The options of the command line: their values, their company, their help.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commandline import parsed, refused
from twisted_tcpdemo import TCPDemoProtocol
from twisted_tcpdemo.twistd.declarations import Option
from twisted_tcpdemo.twistd.options import Options


async def needy(stream: object, other: object) -> None:
    """
    A coroutine function that cannot be called with a stream alone.
    """


class Needy(TCPDemoProtocol):
    """
    A protocol that cannot be built without an argument.
    """

    def __init__(self, name: str) -> None:
        self.name = name


NUMBERS = {
    "port": (["0", "65535"], ["-1", "65536", "x", "", "1.5"]),
    "backlog": (["1", "2147483647"], ["0", "-1", "2147483648", "x"]),
    "max-connections": (["0", "1000000"], ["-1", "x", "1.5"]),
    "idle-timeout": (["0", "0.5", "1e9"], ["-1", "x", "nan", "inf", "1e10"]),
    "pause-on-connect": (["0", "0.5"], ["-0.1", "nan", "inf"]),
    "keep-alive-delay": (["0", "60", "32767"], ["-1", "x", "0.5", "32768"]),
    "keep-alive-interval": (["0", "60", "32767"], ["-1", "x", "0.5", "32768"]),
    "keep-alive-count": (["0", "5", "127"], ["-1", "x", "0.5", "128"]),
    "preview": (["0", "100000"], ["-1", "x", "1.5"]),
    "drain": (["0", "0.5"], ["-1", "x", "inf"]),
}


@pytest.mark.parametrize(
    ("option", "value"), [(o, v) for o, (good, _) in NUMBERS.items() for v in good]
)
def test_number(option: str, value: str) -> None:
    """
    A number in range is taken.
    """
    assert parsed("--keep-alive", f"--{option}", value)[option] == float(value)


@pytest.mark.parametrize(
    ("option", "value"), [(o, v) for o, (_, bad) in NUMBERS.items() for v in bad]
)
def test_badNumber(option: str, value: str) -> None:
    """
    Any other number is refused in one line, which names the option.
    """
    line = refused(f"--{option}={value}")
    assert line.startswith(f"--{option} must be a")
    assert line.endswith(f", not {value!r}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nonsense"], "option --nonsense not recognized"),
        (["--port"], "option --port requires argument"),
        (["one", "two"], "unexpected argument 'one'"),
    ],
)
def test_usage(arguments: list[str], message: str) -> None:
    """
    An unknown option or argument is refused in one line, without the whole help.
    """
    assert refused(*arguments) == message


def test_badRefusalMessage() -> None:
    """
    A refusal message that is not UTF-8 is refused in one line.
    """
    message = os.fsdecode(b"\xff")
    line = f"--refusal-message must be UTF-8, not {message!r}"
    assert refused("--refusal-message", message) == line


RULES = "--allow or --deny or --max-per-peer or --peer-rate"


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--listen", "tcp:1", "--interface", "127.0.0.1"], "--port"),
        (["--listen", "tcp:1", "--backlog", "511"], "--port"),
        (["--listen", "tcp:1", "--ipv6-only"], "--port"),
        (["--ipv6-only", "--transport", "twisted"], "--transport fast"),
        (["--proxy-protocol"], "--proxy-from"),
        (["--proxy-from", "127.0.0.1"], "--proxy-protocol or --listen"),
        (["--keep-alive-delay", "60"], "--keep-alive"),
        (["--keep-alive-interval", "60"], "--keep-alive"),
        (["--keep-alive-count", "6"], "--keep-alive"),
        (["--peer-burst", "10"], "--peer-rate"),
        (["--exempt", "127.0.0.1"], RULES),
        (["--dry-run"], RULES),
        (["--control-token-file", "/x"], "--control or --status"),
    ],
)
def test_alone(arguments: list[str], needed: str) -> None:
    """
    An option without effect unless another is given is refused alone, even with its
    default value.
    """
    others = ("--listen", "--transport")
    [option] = [a for a in arguments if a.startswith("--") and a not in others]
    assert refused(*arguments) == f"{option} goes with {needed}"


HAPROXY = ("--listen", "haproxy:tcp:1")
PROXIES = ("--proxy-from", "10.0.0.0/8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (HAPROXY, "--listen haproxy: goes with --proxy-from"),
        (
            ("--listen", "tcp:1", *PROXIES),
            "--proxy-from goes with --proxy-protocol or --listen haproxy:",
        ),
        (("--proxy-protocol", *HAPROXY, *PROXIES), "--proxy-protocol goes with --port"),
        (
            ("--transport", "twisted", "--proxy-protocol", *PROXIES),
            "--proxy-from goes with --transport fast",
        ),
        (
            ("--transport", "twisted", *HAPROXY, *PROXIES),
            "--proxy-from goes with --transport fast",
        ),
    ],
)
def test_proxies(arguments: tuple[str, ...], message: str) -> None:
    """
    A server that would believe every PROXY header, or none, does not start.
    """
    assert refused(*arguments) == message


@pytest.mark.parametrize("option", ["--allow", "--deny", "--exempt", "--proxy-from"])
def test_badNetwork(option: str) -> None:
    """
    A malformed network is refused in one line that names the option.
    """
    assert refused(option, "192.0.2.1/24").startswith(f"{option} 192.0.2.1/24 has host bits")
    assert refused(option, "nonsense").startswith(f"{option} 'nonsense' does not appear")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "must be one of report, echo, discard, or the dotted name of a protocol"),
        ("", "must be one of report, echo, discard"),
        ("no.such.thing", "'no.such.thing' cannot be imported: "),
        ("os.nothing", "'os.nothing' cannot be imported: module 'os' has no attribute 'nothing'"),
        (".x", "'.x' cannot be imported: "),
        ("os.path", "'os.path' is no protocol class"),
        ("collections.OrderedDict", "'collections.OrderedDict' is no protocol class"),
        (f"{__name__}.needy", f"'{__name__}.needy' cannot be called with a stream alone"),
        (f"{__name__}.Needy", f"'{__name__}.Needy' cannot be built without arguments"),
    ],
)
def test_badProtocol(name: str, message: str) -> None:
    """
    A name that is no protocol class is refused in one line, at once.
    """
    assert refused("--protocol", name).startswith(f"--protocol {message}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """
    A folder from which modules can be imported.
    """
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise RuntimeError('first\\nsecond')", "first second"),
        ("raise SystemExit(3)", "SystemExit(3)"),
        ("import nothing_of_the_kind", "No module named 'nothing_of_the_kind'"),
        ("def", "invalid syntax"),
    ],
)
def test_badModule(folder: Path, text: str, message: str) -> None:
    """
    A user's module that cannot be imported is named, with the reason.
    """
    (folder / "badmodule.py").write_text(text)
    line = refused("--protocol", "badmodule.P")
    assert line.startswith(f"--protocol 'badmodule.P' cannot be imported: {message}")


# Version and help.


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """
    --version shows the version.
    """
    with pytest.raises(SystemExit) as ended:
        parsed("--version")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("twisted-tcpdemo 0.")


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    """
    The help of each option, by its name.
    """
    text = str(Options()).partition("Options:\n")[2].partition("\n\n")[0]
    entries = re.split(r"^ +(?:-\w, )?--(?=[\w-]+=? )", text, flags=re.MULTILINE)[1:]
    pairs = [" ".join(entry.split()).split(" ", 1) for entry in entries]
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


def test_help(shown: dict[str, str]) -> None:
    """
    --help has exactly the options of the table, each once, and an example.
    """
    names = [option.name if option.takes is None else f"{option.name}=" for option in Options.table]
    assert sorted([*names, "help", "version"]) == sorted(shown)
    assert "Example: twistd -n tcpdemo" in " ".join(str(Options()).split())


@pytest.mark.parametrize("option", Options.table, ids=lambda option: option.name)
def test_helpOfOption(option: Option, shown: dict[str, str]) -> None:
    """
    --help explains each option in a sentence, with its default.
    """
    about = shown[option.name if option.takes is None else f"{option.name}="]
    assert re.fullmatch(r"[A-Z].{20,}\. \[default: [^\[\]]+\]", about)
    if option.default and not option.shown:
        assert f"[default: {option.default}" in about


# Declarations.


@pytest.mark.parametrize("option", Options.table, ids=lambda option: option.name)
def test_target(option: Option) -> None:
    """
    Each option that sets a target names one of its keywords.
    """
    assert (option.target is None) == (option.sets == "")
    if option.target is not None:
        assert option.sets in inspect.signature(vars(option.target)["__init__"]).parameters


def test_names() -> None:
    """
    No two options share a name, a letter or a keyword, and every option that
    another names exists.
    """
    names = {option.name for option in Options.table}
    letters = [option.short for option in Options.table if option.short]
    keywords = [(option.target, option.sets) for option in Options.table if option.sets]
    for found in (letters, keywords):
        assert len(set(found)) == len(found)
    assert len(names) == len(Options.table)
    for option in Options.table:
        assert {*option.needs, *filter(None, [option.unless])} <= names - {option.name}
