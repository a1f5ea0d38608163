"""
The documentation: every example runs, every option is explained.
"""

from __future__ import annotations

import re
from pathlib import Path
from socket import SHUT_WR

import pytest

from tests.support.certificates import pemFile
from tests.support.examples import portOf, running
from tests.support.peers import connectTo
from tests.support.places import DOCS, EXAMPLES, PROJECT, TESTS
from twisted_tcpdemo.twistd.options import Options

PAGES = sorted([PROJECT / "README.md", *DOCS.glob("*.md")])


def test_server() -> None:
    """
    The README's server answers with its counts.
    """
    with running("server.py") as process, connectTo(portOf(process)) as client:
        client.sendall(b"12345")
        assert client.makefile("rb").readline() == b"127.0.0.1, that makes 5 bytes\n"


def test_limits() -> None:
    """
    The example of limits serves one client, refuses one, reports both, and drains.
    """
    with running("limits.py") as process:
        port = portOf(process)
        with connectTo(port) as first:
            first.sendall(b"hello")
            assert first.recv(100) == b"hello"
            with connectTo(port) as second:
                assert second.makefile("rb").read() == b"full, try again later\n"
        output, errors = process.communicate(timeout=10)
    assert "close 1 peer closed 5" in output
    assert re.search(r"refused 127\.0\.0\.1:\d+ by maxConnections", output)
    assert "drained: 0 finished, 0 aborted" in output
    assert (process.returncode, errors) == (0, "")


def test_backpressure() -> None:
    """
    The example of back-pressure sends all of its bytes.
    """
    with running("backpressure.py") as process, connectTo(portOf(process)) as client:
        received = client.makefile("rb").read()
    assert len(received) == 100_000_000 + 13
    assert received.endswith(b"that was all\n")


def test_lines() -> None:
    """
    The example with LineOnlyReceiver counts the bytes of its lines.
    """
    with running("lines.py") as process, connectTo(portOf(process)) as client:
        client.sendall(b"one\ntwo\n")
        lines = client.makefile("rb")
        assert lines.readline() == b"ONE (8 bytes so far)\n"
        assert lines.readline() == b"TWO (8 bytes so far)\n"


def test_stream() -> None:
    """
    The first example of streams answers its own client.
    """
    with running("stream.py") as process:
        out, err = process.communicate(timeout=10)
    assert (out, err, process.returncode) == ("b'HELLO' 127.0.0.1 6\n", "", 0)


def test_chat() -> None:
    """
    A guest of the chat reads what the others say, and that they leave.
    """
    with running("stream_chat.py") as process:
        port = portOf(process)
        with connectTo(port) as first:
            said = first.makefile("rb")
            first.sendall(b"ann\n")
            assert said.readline() == b"your name?\n"
            with connectTo(port) as second:
                second.sendall(b"bob\nhello\n")
                assert [said.readline() for _ in range(2)] == [b"bob is here\n", b"bob: hello\n"]
            assert said.readline() == b"bob has left\n"


def test_forward() -> None:
    """
    The forwarder carries bytes and ends both ways.
    """
    with running("lines.py") as server:
        where = f"tcp:127.0.0.1:{portOf(server)}"
        with running("stream_forward.py", where) as process, connectTo(portOf(process)) as client:
            client.sendall(b"one\n")
            lines = client.makefile("rb")
            assert lines.readline() == b"ONE (4 bytes so far)\n"
            client.shutdown(SHUT_WR)
            assert lines.read() == b""


def test_sums() -> None:
    """
    The example with a time for each line adds up, and says what is no number.
    """
    with running("stream_timeout.py") as process, connectTo(portOf(process)) as client:
        client.sendall(b"1\n2\nx\n")
        answers = client.makefile("rb").read().splitlines()
        assert answers[:2] == [b"1", b"3"] and b"invalid literal" in answers[2]


def test_startTLS() -> None:
    """
    The example of STARTTLS tells its secret under TLS.
    """
    with running("stream_starttls.py", str(pemFile())) as process:
        out, err = process.communicate(timeout=10)
    assert (out, err, process.returncode) == ("b'go'\nb'received a secret'\n", "", 0)


def test_site() -> None:
    """
    The example of a hosted site answers clients within its limit, over and over,
    and refuses the next one.
    """
    with running("site.py") as process:
        port = portOf(process)
        with connectTo(port) as first, connectTo(port) as second:
            answers = {client: client.makefile("rb") for client in (first, second)}
            for client, said in ((first, b"of 2"), (second, b"2 of 2"), (first, b"2 of 2")):
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                while (line := answers[client].readline()) != b"\r\n":
                    assert line
                assert answers[client].readline().endswith(said + b"\n")
            with connectTo(port) as third:
                assert third.recv(100) == b""


def test_fastReactor() -> None:
    """
    Plain Twisted runs on the fast lane, server and client.
    """
    with running("fast_reactor.py") as process:
        out, err = process.communicate(timeout=10)
    assert (out, err, process.returncode) == ("received hello\n", "", 0)


def test_behindProxy() -> None:
    """
    The example behind a proxy greets the client, not the proxy.
    """
    with running("behind_proxy.py") as process, connectTo(portOf(process)) as client:
        client.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n")
        assert client.makefile("rb").readline() == b"192.0.2.7, by way of 127.0.0.1\n"


def test_boundedLog() -> None:
    """
    The example of a bounded log has one traceback, however often its protocol raises.
    """
    with running("bounded_log.py") as process:
        assert process.stdout is not None
        while not (found := re.search(r"listening on \S*:(\d+)", process.stdout.readline())):
            assert process.poll() is None
        port = int(found[1])
        for _ in range(5):
            with connectTo(port) as client:
                client.sendall(b"1 2 \x1b[2J")
                client.recv(100)
        process.terminate()
        output, errors = process.communicate(timeout=10)
    assert output.count("Traceback") == 1
    assert output.count("as before)") == 4
    assert "\x1b" not in output and errors == ""


def test_unitTest() -> None:
    """
    The example of a unit test passes.
    """
    with running("unit_test.py") as process:
        output, errors = process.communicate(timeout=10)
    assert (output, errors) == ("passed\n", "")


def test_admission() -> None:
    """
    The rules of the page on limits can be set one after another.
    """
    with running("admission.py") as process:
        output, errors = process.communicate(timeout=10)
    assert (output, errors) == ("{}\nall set\n", "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examplesAreFiles(page: Path) -> None:
    """
    Every block of Python on a page is, word for word, part of an example that these
    tests run.
    """
    sources = [path.read_text() for path in EXAMPLES.glob("*.py")]
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        assert any(block in source for source in sources), f"no example has:\n{block}"


def test_everyExampleIsTested() -> None:
    """
    Every example has a test that runs it.
    """
    tests = "".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.name}"' in tests, path.name


def test_architecture() -> None:
    """
    The files and classes that the page on the architecture names exist.
    """
    text = (DOCS / "architecture.md").read_text()
    there = [str(path) for path in [*PROJECT.glob("twisted*/**/*.py"), *TESTS.rglob("*.py")]]
    for name in set(re.findall(r"[\w/]+\.py\b", text)):
        assert any(path.endswith(f"/{name}") for path in there), name
    for name, place in re.findall(r"`(\w+)`(?:\s+\(|,\s+)`(\w+/\w+\.py)`", text):
        source = (PROJECT / "twisted_tcpdemo" / place).read_text()
        assert re.search(rf"^(class|def) {name}\b", source, re.MULTILINE), f"{name} in {place}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    """
    Links between pages lead to existing places.
    """
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


def test_everyOption() -> None:
    """
    The page on the server explains every option of the command line.
    """
    text = (PROJECT / "docs" / "server.md").read_text()
    assert [o.name for o in Options.table if f"`--{o.name}" not in text] == []


def test_defaults() -> None:
    """
    The table of options shows the defaults of the options, and is on one page alone.
    """
    [text] = [page.read_text() for page in PAGES if "| `--port" in page.read_text()]
    rows = re.findall(r"^\| (`--.*?) \| (.*?) ?\|", text, re.MULTILINE)
    names = {name: column for row, column in rows for name in re.findall(r"`--([\w-]+)", row)}
    assert len(names) >= 15
    for option in Options.table:
        if option.name in names and option.default:
            assert re.search(rf"\b{option.default}\b", names[option.name]), option.name
