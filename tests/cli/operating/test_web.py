"""
Unhelpful servers, and what the client says of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import HOSTILE, answering, rawServer, response
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
