"""
Requests to a server over HTTP, on TCP or a UNIX socket.

Each request waits for its answer.  A reactor would only make the start slower.  A thread
asks, for nothing else ends in its time: a name may be looked up for minutes, and a server
may send an answer byte by byte.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from urllib.parse import urlsplit

from twisted_tcpdemo.cli.outcome import CommandError, Outcome
from twisted_tcpdemo.values.text import printable

MAX_ANSWER = 64 * 2**20
"""Bytes of an answer; 300,000 connections have room in them."""


class _LocalConnection(http.client.HTTPConnection):
    """
    HTTP on a UNIX socket.
    """

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """
        Connect to the path.
        """
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except BaseException:
            self.sock.close()
            raise


class Answer:
    """
    The answer of a server.

    @ivar status: the HTTP status.
    @ivar value: the value of its JSON; L{None} if the body is no JSON.
    """

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.value: object = None
        with suppress(ValueError, RecursionError):
            self.value = json.loads(body)

    @property
    def error(self) -> str:
        """
        The server's message of an error, or else the HTTP status in words.
        """
        said = self.value.get("error") if isinstance(self.value, dict) else None
        known = http.client.responses.get(self.status, "an unknown status")
        return printable(said, 500) if isinstance(said, str) else f"{self.status} {known}"


class Client:
    """
    A client of one server.
    """

    def __init__(self, server: str, timeout: float, tokenFile: str | None) -> None:
        """
        @param server: C{http://host:port} or C{https://host:port}, with the path
            before the routes, if any; C{unix:/path}; or the path of a UNIX socket.
        @param timeout: seconds for a request and its answer.
        @param tokenFile: the path of a file with the token, or L{None}.
        @raise CommandError: if the server or the token is wrong.
        """
        self._name = printable(server)
        self._timeout = timeout
        self._base = ""
        self._path: str | None = None
        self._scheme = self._netloc = ""
        if server.startswith(("http:", "https:")):
            self._parse(server)
        elif server.startswith("unix:"):
            self._path = server.removeprefix("unix:")
        elif "/" in server and "://" not in server:
            self._path = server
        else:
            raise CommandError(
                Outcome.BAD_INPUT,
                f"SERVER must be http://HOST:PORT or the path of a UNIX socket, not {self._name!r}",
            )
        self._headers = {"Connection": "close", "User-Agent": "tcpdemo"}
        if tokenFile is not None:
            self._headers["Authorization"] = f"Bearer {_token(tokenFile)}"

    def _parse(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            usable = bool(parts.hostname) and parts.port != 0 and parts.username is None
        except ValueError:
            usable = False
        if not usable or not url.isascii() or not url.isprintable() or " " in url:
            raise CommandError(Outcome.BAD_INPUT, f"{self._name!r} is no http://HOST:PORT")
        self._scheme, self._netloc = parts.scheme, parts.netloc
        self._base = parts.path.removesuffix("/status.json").rstrip("/")

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """
        Send one request.

        @param body: the value to send as JSON; L{None} for no body.
        @raise CommandError: if no answer comes in time, or one without an end.
        """
        data = None if body is None else json.dumps(body).encode()
        connection = self._connection()
        found: SimpleQueue[Answer | BaseException] = SimpleQueue()

        def ask() -> None:
            try:
                connection.request(method, self._base + path, data, self._headers)
                with connection.getresponse() as response:
                    found.put(self._read(response))
            except BaseException as error:
                found.put(error)

        Thread(target=ask, daemon=True).start()
        try:
            result = found.get(timeout=self._timeout)
            if isinstance(result, Answer):
                return result
            raise result
        except Empty:
            raise CommandError(Outcome.TIMED_OUT, f"{self._name}: timed out") from None
        except http.client.HTTPException as error:
            why = f"no answer in HTTP ({type(error).__name__})"
            broken = isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead)
            outcome = Outcome.RESET if broken else Outcome.FAILED
            raise CommandError(outcome, f"{self._name}: {why}") from None
        except OSError as error:
            raise CommandError(_outcomeOf(error), f"{self._name}: {_why(error)}") from None
        finally:
            _hangUp(connection)

    def _read(self, response: http.client.HTTPResponse) -> Answer:
        content = response.read(MAX_ANSWER + 1)
        if len(content) > MAX_ANSWER:
            raise CommandError(Outcome.FAILED, f"{self._name}: the answer has no end")
        if response.length:  # read() is silent about a body that was cut short
            raise http.client.IncompleteRead(content, response.length)
        return Answer(response.status, content)

    def _connection(self) -> http.client.HTTPConnection:
        if self._path is not None:
            return _LocalConnection(self._path, self._timeout)
        if self._scheme == "https":
            return http.client.HTTPSConnection(self._netloc, timeout=self._timeout)
        return http.client.HTTPConnection(self._netloc, timeout=self._timeout)


def _hangUp(connection: http.client.HTTPConnection) -> None:
    """
    Close a connection, in which a thread may be waiting.
    """
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()


def _outcomeOf(error: OSError) -> Outcome:
    kinds: list[tuple[type[OSError] | tuple[type[OSError], ...], Outcome]] = [
        ((ConnectionRefusedError, FileNotFoundError), Outcome.REFUSED),
        (TimeoutError, Outcome.TIMED_OUT),
        ((ConnectionResetError, BrokenPipeError), Outcome.RESET),
        (socket.gaierror, Outcome.NO_SUCH_NAME),
        (ssl.SSLError, Outcome.TLS_FAILED),
    ]
    return next((outcome for kind, outcome in kinds if isinstance(error, kind)), Outcome.FAILED)


def _why(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return printable(error.strerror or str(error), 200)


def _token(path: str) -> str:
    try:
        with open(path, "rb") as file:
            token = file.read(4097).strip().decode("ascii")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no ASCII"
        raise CommandError(Outcome.BAD_INPUT, f"--token-file {path!r}: {why}") from None
    if not token or not token.isprintable() or " " in token:
        raise CommandError(Outcome.BAD_INPUT, f"--token-file {path!r}: it must be one word")
    return token
