"""
Unhelpful servers, and what the client says of them.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from tests.support.cli import HOSTILE, answering, client, ended, rawServer, response, unanswered
from twisted_tcpdemo.cli import main
from twisted_tcpdemo.cli.outcome import Outcome


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff", b"a\x1bb"])
def test_badToken(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A malformed token is refused before a server is asked.
    """
    (tmp_path / "token").write_bytes(content)
    command = ["status", "http://127.0.0.1:1", "--token-file", str(tmp_path / "token")]
    assert main(command) == Outcome.BAD_INPUT
    assert "--token-file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "outcome", "why"),
    [
        (b"", Outcome.RESET, "no answer in HTTP"),
        (b"SSH-2.0\r\n", Outcome.FAILED, "no answer in HTTP"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 50\r\n\r\n{}", Outcome.RESET, "IncompleteRead"),
        (response({}, "500 " + HOSTILE.strip()), Outcome.FAILED, "500 Internal Server Error"),
        (response({"error": HOSTILE}, "401 x"), Outcome.FAILED, r"\x1b]0;owned"),
        (response({"error": 3}, "999 x"), Outcome.FAILED, "999 an unknown status"),
        (response([]), Outcome.FAILED, "with no status"),
        (response(b"[" * 100_000), Outcome.FAILED, "with no status"),
        (response(b"\xff"), Outcome.FAILED, "with no status"),
    ],
)
def test_noStatus(
    answer: bytes, outcome: Outcome, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A server without a status gets one line.
    """
    with answering(answer) as url:
        assert main(["status", url]) == outcome
    err = capsys.readouterr().err
    assert why in err
    assert err[:-1].isprintable()


def test_endlessAnswer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    An endless answer is not read to its end.
    """
    monkeypatch.setattr("twisted_tcpdemo.cli.operating.web.MAX_ANSWER", 1000)
    with answering(response(bytes(2000))) as url:
        assert main(["status", url]) == Outcome.FAILED
    assert "the answer has no end" in capsys.readouterr().err


def test_nobodyThere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A server that is not there has the status of a refused connection.
    """
    assert main(["status", str(tmp_path / "none")]) == Outcome.REFUSED
    assert "No such file or directory" in capsys.readouterr().err
    with rawServer() as (_, port):
        pass
    assert main(["status", f"http://127.0.0.1:{port}"]) == Outcome.REFUSED
    assert main(["status", "http://name.invalid"]) == Outcome.NO_SUCH_NAME


def test_silentServer(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A server that does not answer in time has the status of a timeout.
    """
    with rawServer() as (_, port):
        url = f"http://127.0.0.1:{port}"
        assert main(["status", url, "--timeout", "0.1"]) == Outcome.TIMED_OUT
        assert capsys.readouterr().err == f"tcpdemo: {url}: timed out\n"
        secure = url.replace("http", "https")
        assert main(["status", secure, "--timeout", "0.1"]) == Outcome.TIMED_OUT


def test_slowServer(capsys: pytest.CaptureFixture[str]) -> None:
    """
    An answer that comes byte by byte is not waited for longer than one that never comes.
    """

    def drip() -> None:
        client, _ = server.accept()
        with client, suppress(OSError):
            client.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            while not over.wait(0.02):
                client.sendall(b" ")

    over = threading.Event()
    with rawServer() as (server, port):
        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            began = monotonic()
            status = main(["status", f"http://127.0.0.1:{port}", "--timeout", "0.3"])
            assert status == Outcome.TIMED_OUT and monotonic() - began < 5
        finally:
            over.set()
            dripping.join()
    assert "timed out" in capsys.readouterr().err


@pytest.mark.deadline(30)
async def test_slowResolver(tmp_path: Path) -> None:
    """
    A command ends in its time though the system does not answer a look-up.
    """
    asking = "status", "http://slow.test", "--timeout", "0.3"
    async with client(*asking, via=unanswered(tmp_path)) as child:
        status, _, err = await ended(child)
    assert (status, err) == (Outcome.TIMED_OUT, "tcpdemo: http://slow.test: timed out\n")
