"""
The arguments of the command line client.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.support.cli import client, ended
from tests.support.places import DOCS
from tests.support.processes import running
from twisted_tcpdemo.cli import main
from twisted_tcpdemo.cli.outcome import MEANINGS, Outcome
from twisted_tcpdemo.cli.parsing.arguments import SHELLS, parser

COMMANDS = ("connect", "listen", "load", "status", "control")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "connect",
        "connect localhost",
        "connect localhost 0",
        "connect localhost 65536",
        "connect localhost http",
        "connect localhost 80 90",
        "connect nonsense:1:2",
        "connect tcp:",
        "connect tcp:a..b:80",
        f"connect tcp:{'a' * 64}.test:80",
        "connect ssl:host=a..b:port=443",
        "connect tls:a..b:443",
        "connect tcp:localhost:0",
        "connect tcp:localhost:99999",
        "connect tcp:localhost:http",
        "connect a@b 80",
        "connect localhost 80 --timeout -1",
        "connect localhost 80 --timeout nan",
        "connect localhost 80 --linger x",
        "connect localhost 80 --quie",
        "status",
        "status localhost",
        "status http://",
        "status ftp://x/",
        "status http://[",
        "status http://x:99999",
        "status http://user@x",
        "status http://x/\u20ac",
        "listen",
        "listen x",
        "listen 80 90 100",
        "load",
        "load localhost 80 --connections 0",
        "load localhost 80 --rate -5",
        "load localhost 80 --answer maybe",
        "status /x --sort nothing",
        "control /x limit --sort id",
        "--print-completion emacs",
        "status /x --interval 0",
        "status /x --token-file /nowhere/at/all",
        "control /x",
        "control /x nonsense",
        "control /x limit -1",
        "control /x limit many",
        "control /x close",
        "control /x close x",
        "control /x overflow maybe",
        "control /x drain soon",
        "control /x drain --spread 3",
    ],
)
def test_badInput(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A malformed argument ends the client with one line and status 2.
    """
    assert main(line.split()) == Outcome.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tcpdemo: ")
    assert err.count("\n") == 1
    assert "Errno" not in err


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        ("localhost:80", "COMMAND HOST PORT, not HOST:PORT"),
        ("127.0.0.1:80", "COMMAND HOST PORT, not HOST:PORT"),
        ("[::1]:80", "COMMAND HOST PORT, not HOST:PORT"),
        ("::1", "goes a port: COMMAND HOST PORT"),
        ("[::1]", "goes a port: COMMAND HOST PORT"),
        ("localhost", "goes a port: COMMAND HOST PORT"),
        ("tcp:80", "tcp:HOST:PORT"),
        ("nonsense:1:2", "Unknown endpoint type"),
    ],
)
@pytest.mark.parametrize("command", ["connect", "load"])
def test_whereTo(command: str, where: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A host and a port in another notation are refused, with a hint at the right one.
    """
    assert main([command, where]) == Outcome.BAD_INPUT
    assert hint.replace("COMMAND", command) in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """
    --help tells every exit status, and has examples.
    """
    with pytest.raises(SystemExit) as exiting:
        main([*command, "--help"])
    assert exiting.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"{status.value:>3}  {meaning}" in shown for status, meaning in MEANINGS.items())
    assert not command or f"tcpdemo {command[0]} " in shown.partition("examples:")[2]


def test_pageOfTheManual(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The manual page that is shipped is the one that the program prints.
    """
    with pytest.raises(SystemExit) as exiting:
        main(["--print-manual"])
    assert exiting.value.code == 0
    assert capsys.readouterr().out == (DOCS / "tcpdemo.1").read_text()


def test_pageOfTheDocumentation() -> None:
    """
    The page on the client explains every command and every option.
    """
    page = (DOCS / "client-cli.md").read_text()
    for name, command in parser().commands().items():
        assert f"\n## {name}\n" in page
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        parsers = [command, *command.commands().values()]
        options = {o for p in parsers for a in p.arguments for o in a.option_strings}
        common = {"-h", "--help", "-q", "-v", "-c", "-r", "-s", "-m", "-d", "-n", "-w", "-a", "-k"}
        for option in options - common:
            assert f"`{option}" in section, f"{name} {option}"


@pytest.mark.parametrize("name", COMMANDS)
def test_examples(name: str) -> None:
    """
    The examples of a command can be parsed.
    """
    command = parser().commands()[name]
    examples = (command.epilog or "").partition("exit status:")[0].splitlines()[1:]
    assert len(examples) >= 3
    for line in filter(None, examples):
        words = shlex.split(line.rpartition("tcpdemo ")[2].partition(" <")[0].partition(" >")[0])
        assert parser().parse_args(words).command == name


@pytest.mark.deadline(30)
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["tcpdemo", "lo"], "load"),
        (["tcpdemo", "connect", "--proxy-p"], "--proxy-protocol"),
        (["tcpdemo", "status", "--sort", "wr"], "written"),
        (["tcpdemo", "control", "x.sock", "overflow", "res"], "reset"),
    ],
)
async def test_completion(typed: list[str], completed: str, tmp_path: Path) -> None:
    """
    A bash with the completion completes commands, options and their values.
    """
    async with client("--print-completion", "bash") as child:
        status, script, _ = await ended(child)
    assert status == Outcome.DONE
    (tmp_path / "script").write_text(script)
    asked = " ".join(map(shlex.quote, typed))
    code = (
        f"source {tmp_path / 'script'}; COMP_WORDS=({asked}); COMP_CWORD={len(typed) - 1};"
        "_shtab_tcpdemo; echo ${COMPREPLY[@]}"
    )
    async with running(["bash", "-c", code]) as child:
        await child.whenEnded()
        assert (child.out, child.err) == (f"{completed}\n", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_shells(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    There is a completion for each shell, which knows that certificates are files.
    """
    with pytest.raises(SystemExit):
        main(["--print-completion", shell])
    assert "cafile" in capsys.readouterr().out


def test_noCompletion(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Without shtab the user is told what to install.
    """
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "bash"]) == Outcome.FAILED
    assert "pip install 'twisted-tcpdemo[cli]'" in capsys.readouterr().err
