"""
The files of a log: one of a bounded size, and opening all of them again.

Whoever moves a log away (logrotate) tells the process, which opens the path again.
Twisted's L{LogFile} closes its file first: where it may not open another, because
C{twistd --uid} has taken the privileges away that opened the first, there is no log any
more.  And where it cannot rotate it grows on, and says nothing.  So what a file
cannot do is said when the process has its last privileges, and no file is
closed before another is open.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from typing import Any, Final

from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    Logger,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.python.logfile import BaseLogFile, LogFile
from twisted.python.threadable import synchronize

_log = Logger(namespace="tcpdemo")

PRIVATE_NAMES: Final = {
    "twisted.logger.LogPublisher": ("_observers",),
    "twisted.logger.FileLogObserver": ("_outFile",),
}


def boundedLog() -> ILogObserver:
    """
    A log of a bounded size, for C{twistd
    --logger=twisted_tcpdemo.monitoring.boundedLog}.  C{twistd --logfile} keeps every
    rotated file for ever.

    The environment variable C{TCPDEMO_LOG} names its file; without it the name is
    C{tcpdemo.log}.
    """
    file: Any = boundedFile(os.environ.get("TCPDEMO_LOG", "tcpdemo.log"))
    observer: ILogObserver = textFileLogObserver(file)
    return observer


def boundedFile(path: str, size: int = 10_000_000, older: int = 10) -> LogFile:
    """
    A file of at most C{size} bytes and one line, which keeps C{older} former ones
    as C{path.1}, C{path.2} and so on.
    """
    folder, name = os.path.split(os.path.abspath(path))
    return BoundedFile(name, folder, rotateLength=size, maxRotatedFiles=older)


class BoundedFile(LogFile):
    """
    A file that rotates wherever its folder allows it, and says so where it cannot.

    Twisted's own has to be allowed to write to the former file, too, which belongs to
    root after C{twistd --uid}.
    """

    synchronized = ["reopen", "rotate"]  # noqa: RUF012  # as its base class has it

    _due = 0

    def shouldRotate(self) -> bool:
        """
        Whether the size is reached; after a rotation that has failed, as many bytes
        later.
        """
        return bool(self.rotateLength) and self.size >= max(self._due, self.rotateLength)

    def rotate(self) -> None:
        """
        Begin a new file.  If that cannot be, the file goes on.
        """
        try:
            self._shift()
        except OSError as error:
            self._due = self.size + self.rotateLength
            _log.warn("the log {path} cannot be rotated: {error}", path=self.path, error=error)

    def _shift(self) -> None:
        if os.path.exists(self.path):
            for number in reversed(self.listLogs()):
                if self.maxRotatedFiles is not None and number >= self.maxRotatedFiles:
                    os.remove(f"{self.path}.{number}")
                else:
                    os.rename(f"{self.path}.{number}", f"{self.path}.{number + 1}")
            os.rename(self.path, f"{self.path}.1")
        self.reopen()

    def reopen(self) -> None:
        """
        Open the path again.

        @raise OSError: if it cannot be opened; the file that is open stays so.
        """
        former = self._file
        self._openFile()
        former.close()
        self._due = 0


synchronize(BoundedFile)


def openFiles() -> Iterator[BaseLogFile]:
    """
    The files of the log that this process writes.  Others that it may have, such as
    standard output, have no path to open again.
    """
    observers: list[object] = list(globalLogPublisher._observers)
    for observer in observers:
        if isinstance(observer, FileLogObserver):
            file: object = observer._outFile
            if isinstance(file, BaseLogFile) and not file.closed:
                yield file


def reopenFiles(signalName: str) -> None:
    """
    Open the files of the log again: they may have been moved.

    @param signalName: the signal that asks for it.
    """
    files = list(openFiles())
    if not files:
        _log.info("{signalName}: the log has no file to reopen", signalName=signalName)
    for file in files:
        try:
            _tryToOpen(file.path)
            file.reopen()
        except OSError as error:
            _log.error(
                "{signalName}: the log {path} cannot be reopened: {error}",
                signalName=signalName,
                path=file.path,
                error=error,
            )
        else:
            _log.info("{signalName}: the log {path} is open", signalName=signalName, path=file.path)


def _tryToOpen(path: str) -> None:
    """
    Open and close a path as L{BaseLogFile.reopen} opens it, which closes its file first.

    @raise OSError: if it cannot be opened.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))


def checkFiles() -> None:
    """
    Say which files of the log cannot be rotated, in the log and on standard error.
    """
    for file in openFiles():
        if not isinstance(file, LogFile) or not file.rotateLength:
            continue
        obstacle = obstacleOf(file)
        if obstacle is not None:
            text = f"the log {file.path} cannot be rotated, and grows without a bound: {obstacle}"
            print(f"tcpdemo: {text}", file=sys.__stderr__)
            _log.warn("{text}", text=text)


def obstacleOf(file: LogFile) -> str | None:
    """
    What keeps a file from being rotated by the present user; L{None} if nothing does.
    """
    user = f"user {os.geteuid()}"
    if not _mayWrite(file.directory):
        return f"{user} may not write to the folder {file.directory}"
    if not os.path.exists(file.path):
        return None
    if isinstance(file, BoundedFile):
        folder, owner = os.stat(file.directory), os.stat(file.path).st_uid
        isSticky = folder.st_mode & stat.S_ISVTX
        if isSticky and os.geteuid() not in {0, owner, folder.st_uid}:
            return f"{user} may not rename files of user {owner} in {file.directory}"
    elif not _mayWrite(file.path):
        return f"{user} may not write to the file, which belongs to {os.stat(file.path).st_uid}"
    return None


def _mayWrite(path: str) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
