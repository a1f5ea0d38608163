"""
Configuration files: what they may hold, and what is said of one that is wrong.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.commandline import parsed, refused
from twisted_tcpdemo.twistd import configfile
from twisted_tcpdemo.twistd.configfile import ConfigurationError, assigned, held, read
from twisted_tcpdemo.twistd.options import Options


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """
    The path of a file.
    """
    return tmp_path / "server.toml"


def test_values(file: Path) -> None:
    """
    Each kind of option has its kind of value.
    """
    file.write_text(
        'port = 0\nmax-lifetime = 1e3\npeer-rate = 0.5\nidle-timeout = "7"\n'
        'overflow = "wait"\nrefusal-message = "völlig"\nworkers = "auto"\n'
        'allow = ["192.0.2.1", "::/0"]\ndeny = "192.0.2.2"\nkeep-alive = true\nnagle = false\n'
    )
    options = parsed("--config", str(file))
    found = {name: options[name] for name in ("port", "max-lifetime", "peer-rate", "overflow")}
    assert found == {"port": 0, "max-lifetime": 1000, "peer-rate": 0.5, "overflow": "wait"}
    assert (options["idle-timeout"], options["refusal-message"]) == (7, "völlig".encode())
    assert (options["allow"], options["deny"]) == (["192.0.2.1/32", "::/0"], ["192.0.2.2/32"])
    assert (options["keep-alive"], options["nagle"]) == (True, False)
    assert options["workers"] == len(os.sched_getaffinity(0))


def test_commandLineWins(file: Path) -> None:
    """
    An option of the command line holds instead of that of the file; others are the file's.
    """
    file.write_text('idle-timeout = 5\ndrain = 6\nallow = ["::1"]\n')
    options = parsed("--idle-timeout", "7", "--config", str(file), "--allow", "127.0.0.1")
    assert (options["idle-timeout"], options["drain"]) == (7, 6)
    assert options["allow"] == ["127.0.0.1/32"]


def test_relations(file: Path) -> None:
    """
    An option of the file needs others, and does without others, as on the command line.
    """
    file.write_text('listen = ["tcp:1"]\n')
    assert parsed("--config", str(file))["port"] is None
    file.write_text("keep-alive = true\n")
    assert parsed("--config", str(file), "--keep-alive-count", "3")["keep-alive-count"] == 3


WRONG = [
    ("idle-timout = 3", "unknown key 'idle-timout'; the nearest is idle-timeout"),
    ("max_connections = 3", "unknown key 'max_connections'; the nearest is max-connections"),
    ("maxConnections = 3", "unknown key 'maxConnections'; the nearest is max-connections"),
    ("zzz = 3", "unknown key 'zzz'; the keys are the names of the options"),
    ("[limits]\nport = 1", "unknown key 'limits'; the keys are the names of the options"),
    ("config = 'x'", "unknown key 'config'; the keys are the names of the options"),
    ("show-config = true", "unknown key 'show-config'; the keys are the names of the options"),
    ("port = 'x'", "port must be a whole number, 0 to 65535, not 'x'"),
    ("port = 1.5", "port must be a whole number, 0 to 65535, not '1.5'"),
    ("port = true", "port must be text or a number, not true"),
    ("port = [1]", "port must be text or a number, not a list"),
    ("port = {a = 1}", "port must be text or a number, not a table"),
    ("port = 1970-01-01", "port must be text or a number, not 1970-01-01"),
    ("drain = nan", "drain must be a number, 0 to 1000000000, not 'nan'"),
    ("drain = inf", "drain must be a number, 0 to 1000000000, not 'inf'"),
    ("dry-run = 'yes'", "dry-run must be true or false, not 'yes'"),
    ("dry-run = 1", "dry-run must be true or false, not 1"),
    ("refusal-message = 5", "refusal-message must be text, not 5"),
    ("allow = [true]", "allow must be text or a number, not true"),
    ("keep-alive-count = 3", "keep-alive-count goes with --keep-alive"),
    ("proxy-protocol = true\nlisten = []", "proxy-protocol goes with --proxy-from"),
    ("workers = 1\ntransport = 'twisted'", "workers goes with --transport fast"),
    ("listen = ['nonsense:1']", "listen 'nonsense:1' is no endpoint: "),
    ("control = 'tcp:1'", "control 'tcp:1' is no UNIX socket, and so needs --control-token"),
    ("status = 'nonsense:1'", "status 'nonsense:1': it is no endpoint: "),
    (
        "control = '/x'\ncontrol-token-file = '/nowhere'",
        "control-token-file '/nowhere': it cannot be read: ",
    ),
    ("port = ", "it is no TOML: Invalid value (at "),
    ("port = 1\nport = 2", "it is no TOML: Cannot overwrite a value (at "),
    ("port = " + "9" * 5000, "it is no TOML: "),
    ("listen = " + "[" * 5000, "it is no TOML: "),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong(text: str, message: str, file: Path) -> None:
    """
    What is wrong is said in one line, which names the file and the key.
    """
    file.write_text(text)
    assert refused("--config", str(file)).startswith(f"{file}: {message}")


def test_wrongThoughUnused(file: Path) -> None:
    """
    What is wrong in the file is said also where the command line wins.
    """
    file.write_text("port = 'x'")
    assert "port must be" in refused("--config", str(file), "--port", "0")


def test_unreadable(tmp_path: Path) -> None:
    """
    What is no file of text, or none at all, is said in one line, at once.
    """
    assert refused("--config", "/nowhere") == (
        "/nowhere: it cannot be read: No such file or directory"
    )
    assert refused("--config", str(tmp_path)) == f"{tmp_path}: it is no regular file"
    os.mkfifo(tmp_path / "fifo")
    assert refused("--config", str(tmp_path / "fifo")).endswith("it is no regular file")
    (tmp_path / "bytes").write_bytes(b'listen = "\xff"')
    assert refused("--config", str(tmp_path / "bytes")).endswith("it is not UTF-8, at byte 10")
    (tmp_path / "large").write_bytes(b"#" * (configfile.LARGEST + 1))
    assert refused("--config", str(tmp_path / "large")).endswith("it has more than 1048576 bytes")
    assert refused("--config", "a\0b").endswith("it cannot be read: embedded null byte")


def test_oldPython(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A Python without TOML says what it needs.
    """
    file.write_text("port = 1")
    monkeypatch.setattr(sys, "version_info", (3, 10))
    monkeypatch.setitem(sys.modules, "tomli", None)
    with pytest.raises(ConfigurationError, match="pip install 'twisted-tcpdemo"):
        read(str(file))


def test_held(file: Path, tmp_path: Path) -> None:
    """
    What holds is shown with where it is from, in lines that are a file with the same
    meaning.
    """
    text = 'port = 0\nrefusal-message = "a \\"b\\"\\n\\u0007"\nallow = ["127.0.0.0/8"]\n'
    file.write_text(text + 'dry-run = true\nworkers = "auto"\nmax-lifetime = 0.5\n')
    options = parsed("--config", str(file), "--drain", "4")
    lines = dict(line.rsplit(" # ", 1) for line in held(options))
    told = {line.rstrip(): source for line, source in lines.items()}
    assert told["drain = 4"] == "command line"
    assert told['allow = ["127.0.0.0/8"]'] == str(file)
    assert told['# overflow = "refuse"'] == "default"
    assert told["# max-connections"] == "default: as descriptors allow"
    assert told["# hard-stop = 9"] == "default: --drain and 5 s"
    again = tmp_path / "again.toml"
    again.write_text("\n".join(held(options)))
    other = parsed("--config", str(again))
    names = {option.name for option in Options.table if option.isInFile}
    assert {n: options[n] for n in names} == {n: other[n] for n in names}


@pytest.mark.parametrize(
    "value", ["", "a\tb", 'q"\\', "\x7f", "ä", "\U0001f600", True, 5, 0.25, 1e12, ["a", "b"], []]
)
def test_assigned(value: object, file: Path) -> None:
    """
    A line that is written is read again as the same value.
    """
    file.write_text(assigned("key", value), "utf-8")
    assert read(str(file)) == {"key": value}
