"""
The files of a log: bounded, moved away by others, and in folders of root's.
"""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import (
    FileLogObserver,
    LogEvent,
    Logger,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.python.logfile import LogFile
from twisted.python.reflect import namedAny

from tests.support.logs import texts
from twisted_tcpdemo.monitoring import logfiles
from twisted_tcpdemo.monitoring.logfiles import (
    PRIVATE_NAMES,
    boundedFile,
    boundedLog,
    checkFiles,
    obstacleOf,
    reopenFiles,
)


def test_boundedLog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The log for twistd keeps a number of files of one size.
    """
    path = tmp_path / "server.log"
    opened: list[LogFile] = []

    def small(path: str) -> LogFile:
        opened.append(boundedFile(path, 1000, 3))
        return opened[0]

    monkeypatch.setenv("TCPDEMO_LOG", str(path))
    monkeypatch.setattr(logfiles, "boundedFile", small)
    logger = Logger("tcpdemo", observer=boundedLog())
    for number in range(1000):
        logger.info("line {number} is written", number=number)
    opened[0].close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["server.log", *(f"server.log.{n}" for n in (1, 2, 3))]
    assert sum(file.stat().st_size for file in files) < 5000
    logged = "".join(file.read_text() for file in files)
    assert "line 999 is written" in logged


def test_formerPlace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Unit files that name the former place of the log go on working, with a warning
    that names the new one.
    """
    opened: list[LogFile] = []

    def remembered(path: str) -> LogFile:
        opened.append(boundedFile(path))
        return opened[0]

    monkeypatch.setenv("TCPDEMO_LOG", str(tmp_path / "server.log"))
    monkeypatch.setattr(logfiles, "boundedFile", remembered)
    with pytest.warns(FutureWarning, match=r"say --logger=twisted_tcpdemo\.monitoring\.boundedLog"):
        observer = namedAny("twisted_tcpdemo.logbudget.boundedLog")()
    Logger("tcpdemo", observer=observer).info("it is written")
    opened[0].close()
    assert "it is written" in (tmp_path / "server.log").read_text()


@pytest.fixture
def observed() -> Generator[Callable[[LogFile], LogFile]]:
    """
    Makes a file one of the process's log, as long as the test lasts.
    """
    observers: list[tuple[FileLogObserver, LogFile]] = []

    def observe(file: LogFile) -> LogFile:
        observer = textFileLogObserver(file)  # type: ignore[arg-type]
        globalLogPublisher.addObserver(observer)
        observers.append((observer, file))
        return file

    yield observe
    for observer, file in observers:
        globalLogPublisher.removeObserver(observer)
        if not file.closed:
            file.close()


@pytest.mark.parametrize("owner", PRIVATE_NAMES)
def test_privateNames(owner: str) -> None:
    """
    The installed Twisted has the private attributes that are read.
    """
    source = inspect.getsource(namedAny(owner))
    assert [name for name in PRIVATE_NAMES[owner] if f"self.{name} = " not in source] == []


@pytest.mark.parametrize("make", [boundedFile, LogFile.fromFullPath])
def test_reopen(
    tmp_path: Path, observed: Any, lines: list[LogEvent], make: Callable[[str], LogFile]
) -> None:
    """
    A log that was moved away is opened again, and no line is lost.
    """
    path = tmp_path / "server.log"
    observed(make(str(path)))
    Logger("mine").info("before")
    path.rename(tmp_path / "moved")
    reopenFiles("SIGHUP")
    Logger("mine").info("after")
    assert "before" in (tmp_path / "moved").read_text()
    assert "after" in path.read_text() and "before" not in path.read_text()
    assert f"SIGHUP: the log {path} is open" in texts(lines)


@pytest.mark.parametrize("make", [boundedFile, LogFile.fromFullPath])
def test_cannotReopen(
    tmp_path: Path, observed: Any, lines: list[LogEvent], make: Callable[[str], LogFile]
) -> None:
    """
    A log that cannot be opened again stays open as it is.
    """
    path = tmp_path / "folder" / "server.log"
    path.parent.mkdir()
    observed(make(str(path)))
    path.parent.rename(tmp_path / "moved")
    reopenFiles("SIGHUP")
    assert texts(lines)[0].startswith(f"SIGHUP: the log {path} cannot be reopened: [Errno 2]")
    Logger("mine").info("after")
    assert "after" in (tmp_path / "moved" / "server.log").read_text()


def test_nothingToReopen(lines: list[LogEvent]) -> None:
    """
    A process whose log is no file says so.
    """
    reopenFiles("SIGHUP")
    assert texts(lines) == ["SIGHUP: the log has no file to reopen"]


def test_cannotRotate(tmp_path: Path, observed: Any, lines: list[LogEvent]) -> None:
    """
    A log that cannot be rotated goes on, and says so each time it should have been.
    """
    path = tmp_path / "folder" / "server.log"
    path.parent.mkdir()
    observed(boundedFile(str(path), 1000, 1))
    path.with_name("server.log.1").mkdir()
    for number in range(100):
        Logger("mine").info("line {number:020}", number=number)
    told = [text for text in texts(lines) if "cannot be rotated: [Errno" in text]
    assert 2 <= len(told) <= 10
    assert f"line {99:020}" in path.read_text()


@pytest.mark.parametrize(
    ("make", "folder", "mode", "owner", "obstacle"),
    [
        (boundedFile, 0o755, 0o644, 65534, None),
        (boundedFile, 0o755, 0o644, 0, "may not write to the folder"),
        (LogFile.fromFullPath, 0o755, 0o644, 65534, "may not write to the file"),
        (LogFile.fromFullPath, 0o755, 0o666, 65534, None),
        (boundedFile, 0o1777, 0o644, 0, "may not rename files of user 0"),
        (boundedFile, 0o777, 0o644, 0, None),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_obstacles(
    make: Callable[[str], LogFile],
    folder: int,
    mode: int,
    owner: int,
    obstacle: str | None,
) -> None:
    """
    It is known what the server's user may do with a file that root has opened.
    """
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        file = make(str(place / "server.log"))
        os.chmod(file.path, mode)
        os.chown(place, owner, owner)
        place.chmod(folder)
        os.seteuid(65534)
        found = obstacleOf(file)
    finally:
        os.seteuid(0)
        file.close()
        shutil.rmtree(place)
    assert found is None if obstacle is None else obstacle in (found or "")


def test_noObstacle(
    tmp_path: Path, observed: Any, lines: list[LogEvent], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Nothing is said of a log that can be rotated, nor of one that shall not be.
    """
    observed(boundedFile(str(tmp_path / "one")))
    observed(LogFile("two", str(tmp_path), rotateLength=None))  # type: ignore[arg-type]
    checkFiles()
    assert texts(lines) == []


def test_obstacleIsTold(
    tmp_path: Path, observed: Any, lines: list[LogEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A log that cannot be rotated is told in the log and on standard error.
    """
    output = StringIO()
    monkeypatch.setattr("sys.__stderr__", output)
    monkeypatch.setattr(logfiles, "obstacleOf", lambda file: "it is so")
    observed(boundedFile(str(tmp_path / "one")))
    checkFiles()
    text = f"the log {tmp_path}/one cannot be rotated, and grows without a bound: it is so"
    assert texts(lines) == [text]
    assert output.getvalue() == f"tcpdemo: {text}\n"
