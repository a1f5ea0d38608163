"""
The status page in a real browser, as a person sees it.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import StringTransport

from tests.support.browser import Browser, browsing, missing
from tests.support.peers import serving
from tests.support.staff import staffed
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.status import StatusService
from twisted_tcpdemo.twistd.programs import Discard, Echo

pytestmark = [
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
    pytest.mark.deadline(60),
]

TEXT = "document.getElementById(arguments[0]).textContent"
ROWS = "document.querySelectorAll('#rows tr')"


@pytest.fixture(scope="module")
def chromium() -> Generator[Browser]:
    """
    One browser for all of these tests.
    """
    with browsing() as browser:
        yield browser


@asynccontextmanager
async def watching(
    factory: TCPDemoFactory, browser: Browser, query: str = ""
) -> AsyncGenerator[StatusService]:
    """
    Watch the page of a factory as long as the block lasts; the browser must not
    complain of it.
    """
    from twisted.internet import reactor

    endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
    service = StatusService(factory, "page", endpoint, reactor)
    service.startService()
    try:
        await browser.look(1280, 900)
        await browser.open(f"http://127.0.0.1:{service.address.port}/{query}")  # type: ignore[union-attr]
        await browser.wait("document.getElementById('live').textContent === 'live'")
        await browser.wait("Number(document.getElementById('pid').textContent)")
        yield service
        assert await browser.complaints() == []
    finally:
        try:
            await browser.open("about:blank")
        finally:
            await service.stopService()


async def cells(browser: Browser, column: str) -> list[str]:
    """
    The texts of one column.
    """
    script = "return [...document.querySelectorAll(`#rows td.${arguments[0]}`)]"
    texts: list[str] = await browser.run(f"{script}.map((cell) => cell.textContent)", column)
    return texts


def inMemory(factory: TCPDemoFactory, count: int) -> list[Any]:
    """
    Connections without sockets.
    """
    for _ in range(count):
        factory.buildProtocol(None).makeConnection(StringTransport())
    return factory.connections


async def test_descriptorsAreTheLimit(chromium: Browser) -> None:
    """
    Without a limit given, the page shows the free descriptors as the limit.
    """
    factory = TCPDemoFactory(Echo)
    async with serving(factory) as server:
        factory.descriptorLimit = 50
        async with watching(factory, chromium):
            await server.connect()
            await chromium.wait(f"{TEXT} === '49 free'", "use")


async def test_followsConnections(chromium: Browser) -> None:
    """
    The table and the counts follow connects, bytes and closes by themselves.
    """
    factory = TCPDemoFactory(Echo, maxConnections=4)
    async with serving(factory) as server, watching(factory, chromium):
        assert await chromium.run(f"return {TEXT}", "none") == "Nobody is connected."
        peers = [await server.connect(), await server.connect()]
        await chromium.wait(f"{ROWS}.length === 2")
        names = {f"127.0.0.1:{peer.transport.getHost().port}" for peer in peers}
        assert set(await cells(chromium, "peer")) == names
        peers[0].transport.write(b"x" * 1234)
        await chromium.wait("document.getElementById('rows').textContent.includes('1.23 kB')")
        assert await chromium.run(f"return {TEXT}", "count") == "2"
        assert await chromium.run(f"return {TEXT}", "use") == "2 free"
        assert await chromium.run("return document.getElementById('fill').style.width") == "50%"
        peers[0].transport.loseConnection()
        await chromium.wait(f"{ROWS}.length === 1")
        await chromium.wait("document.getElementById('closedBy').textContent === 'peer closed1'")
        assert await chromium.run("return document.title") == "1 · tcpdemo"


async def test_rowsAreKept(chromium: Browser) -> None:
    """
    A connection keeps its row and its cells while others come and go, so nothing
    flickers and a selection stays.
    """
    factory = TCPDemoFactory(Echo)
    protocols = inMemory(factory, 3)
    async with watching(factory, chromium):
        await chromium.wait(f"{ROWS}.length === 3")
        await chromium.run(f"window.kept = [...{ROWS}]; getSelection().selectAllChildren(kept[1])")
        selected = await chromium.run("return getSelection().toString()")
        inMemory(factory, 2)
        protocols[0].transport.loseConnection()
        protocols[0].connectionLost()
        await chromium.wait(f"{ROWS}.length === 4")
        same = "kept.slice(0, 2).every((row, index) => rows[index + 2] === row)"
        assert await chromium.run(f"const rows = {ROWS}; return {same}")
        words = (await chromium.run("return getSelection().toString()")).split()
        assert words[:3] == selected.split()[:3]


async def test_plotsDraw(chromium: Browser) -> None:
    """
    Both plots draw a curve from the first seconds on, and show the value under the
    pointer.
    """
    factory = TCPDemoFactory(Echo)
    async with serving(factory) as server, watching(factory, chromium):
        peer = await server.connect()
        peer.transport.write(b"x" * 50000)
        for plot, lines in (("countPlot", 1), ("bytesPlot", 2)):
            await chromium.wait(
                f"[...document.querySelectorAll('#{plot} .line')]"
                f".filter((line) => line.getTotalLength() > 5).length === {lines}"
            )
        await chromium.wait("document.querySelector('#countReadout b').textContent === '1'")
        await chromium.run(
            "const svg = document.getElementById('bytesPlot'), box = svg.getBoundingClientRect();"
            "svg.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + 90}));"
        )
        readout = await chromium.run(f"return {TEXT}", "bytesReadout")
        assert "s ago" in readout and "in" in readout and "out" in readout


async def test_hostileText(chromium: Browser, tmp_path: Path) -> None:
    """
    Markup in a peer's address, or in a link, is shown as text and runs nothing.
    """
    path = str(tmp_path / "s")
    factory = TCPDemoFactory(Echo)
    attack = "<img src=x onerror='document.title=666'><script>document.title=666</script>"
    async with serving(factory, f"unix:{path}", f"unix:{path}"):
        with socket.socket(socket.AF_UNIX) as hostile:
            hostile.bind(b"\0" + attack.encode())
            hostile.connect(path)
            await until(lambda: factory.connectionCount)
            query = "?filter=%3Cimg+src%3Dx+onerror&sort=%3Cscript%3E"
            async with watching(factory, chromium, query):
                await chromium.wait(f"{ROWS}.length === 1")
                assert await cells(chromium, "peer") == [f"unix:\\x00{attack}"]
                elements = "return document.querySelectorAll('#rows *:not(tr):not(td)').length"
                assert await chromium.run(elements) == 0
                assert await chromium.run("return document.title") == "1 · tcpdemo"
                log = await chromium.complaints()
                assert all("400" in line for line in log)  # the order that the link asks for


async def test_policy(chromium: Browser) -> None:
    """
    Markup on the page could run no script and load nothing.
    """
    async with watching(TCPDemoFactory(Echo), chromium):
        await chromium.run(
            """
            window.stopped = [];
            document.addEventListener("securitypolicyviolation", (event) => {
                stopped.push(event.effectiveDirective);
            });
            const script = document.createElement("script");
            try { script.textContent = "document.title = 666"; } catch (error) {}
            document.body.append(script);
            try { document.body.innerHTML = "<img src=x onerror=document.title=666>"; }
            catch (error) {}
            const image = new Image();
            image.src = "http://127.0.0.2/x";
            document.body.setAttribute("style", "color: red");
            """
        )
        await chromium.wait("stopped.length >= 4")
        assert set(await chromium.run("return stopped")) == {
            "require-trusted-types-for",
            "img-src",
            "style-src-attr",
        }
        assert await chromium.run("return document.title") != "666"
        assert await chromium.complaints() != []


async def test_sortAndFilter(chromium: Browser) -> None:
    """
    A click on a head sorts, a second one reverses; the filter hides other rows;
    both survive a reload.
    """
    factory = TCPDemoFactory(Discard)
    for place, size in enumerate((500, 2000, 1000)):
        peer = IPv4Address("TCP", f"192.0.2.{place}", 4000)
        protocol = factory.buildProtocol(peer)
        protocol.makeConnection(StringTransport(peerAddress=peer))
        protocol.dataReceived(b"x" * size)
    async with watching(factory, chromium):
        click = "document.querySelector('th[data-column=bytesRead] button').click()"
        first = "document.querySelector('#rows td.bytesRead')?.textContent === arguments[0]"
        await chromium.run(click)
        await chromium.wait(first, "2.00 kB")
        assert await cells(chromium, "bytesRead") == ["2.00 kB", "1.00 kB", "500 B"]
        await chromium.run(click)
        await chromium.wait(first, "500 B")
        sortedBy = "return document.querySelector('th[aria-sort]').dataset.column"
        assert await chromium.run(sortedBy) == "bytesRead"
        await chromium.run(
            "const input = document.getElementById('filter'); input.value = arguments[0];"
            "input.dispatchEvent(new Event('input'))",
            "0.2.2:",
        )
        await chromium.wait(f"{ROWS}.length === 1")
        assert await cells(chromium, "peer") == ["192.0.2.2:4000"]
        await chromium.wait(f"{TEXT} === '1 that match, of 3'", "shown")
        await chromium.run("location.reload()")
        await chromium.wait(f"{ROWS}.length === 1 && document.querySelector('th[aria-sort]')")
        assert await chromium.run(sortedBy) == "bytesRead"


async def test_tenThousand(chromium: Browser) -> None:
    """
    With ten thousand connections the page shows a part of them, says so, and stays
    quick.
    """
    factory = TCPDemoFactory(Discard)
    inMemory(factory, 10_000)
    async with watching(factory, chromium):
        await chromium.wait(f"{TEXT} === '10,000'", "count")
        assert await chromium.run(f"return {ROWS}.length") == 200
        assert await chromium.run(f"return {TEXT}", "shown") == "200 of 10,000"
        # The longest time that the page held its window up, over two refreshes.
        slowest = await chromium.ask(
            "POST",
            "/execute/async",
            {
                "args": [],
                "script": """
                    const done = arguments[0];
                    const began = performance.now();
                    let last = began, slowest = 0;
                    const look = () => {
                        const now = performance.now();
                        slowest = Math.max(slowest, now - last);
                        last = now;
                        if (now - began > 2500) done(slowest); else setTimeout(look, 0);
                    };
                    look();
                """,
            },
        )
        assert slowest < 500


async def test_fullAndSuspended(chromium: Browser) -> None:
    """
    The page says in words that the server is full, refuses, is suspended or drains.
    """
    factory = TCPDemoFactory(Echo, maxConnections=1)
    async with serving(factory) as server, watching(factory, chromium):
        await server.connect()
        refused = await server.connect()
        await refused.whenEnded()
        await chromium.wait(f"{TEXT} === 'full: more clients are refused'", "use")
        await chromium.wait(f"{TEXT} === 'maxConnections1'", "refusedBy")
        factory.suspend()
        await chromium.wait(f"{TEXT} === 'suspended'", "state")
        factory.resume()
        await chromium.wait(f"{TEXT} === 'accepting'", "state")
        drained = factory.drain()
        await chromium.wait(f"{TEXT} === 'draining'", "state")
        server.peers[0].transport.loseConnection()
        await drained
        await chromium.wait(f"{TEXT} === 'stopped'", "state")


async def test_serverGone(chromium: Browser) -> None:
    """
    When the server stops answering, the page says so and since when; it goes on
    when the server is back.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(Echo)
    async with watching(factory, chromium) as service:
        port = service.address.port  # type: ignore[union-attr]
        await service.stopService()
        await chromium.wait("!document.getElementById('notice').hidden")
        assert "does not answer" in await chromium.run(f"return {TEXT}", "notice")
        endpoint = serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")
        again = StatusService(factory, "page", endpoint, reactor)
        again.startService()
        await chromium.wait("document.getElementById('notice').hidden")
        assert await chromium.run(f"return {TEXT}", "live") == "live"
        log = await chromium.complaints()
        assert all("ERR_CONNECTION" in line or "ERR_EMPTY" in line for line in log)
        await chromium.open("about:blank")
        await again.stopService()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 800, 1000, 1280, 2200])
async def test_anyWindow(chromium: Browser, width: int, dark: bool) -> None:
    """
    Nothing sticks out of a window of any width, in light and in dark, and text is
    readable (WCAG 2.2, 1.4.3: a contrast of 4.5).
    """
    factory = TCPDemoFactory(Discard, maxConnections=12)
    inMemory(factory, 10)
    async with watching(factory, chromium):
        await chromium.look(width, 900, dark)
        await chromium.wait(f"{ROWS}.length === 10 && innerWidth === arguments[0]", width)
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await chromium.run(wide) == 0
        assert await chromium.run(CONTRASTS) == []
        assert (await chromium.screenshot()).startswith(b"\x89PNG")


CONTRASTS = """
    const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    };
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const found = parts(getComputedStyle(node).backgroundColor);
            if (found[3] !== 0) return found;
        }
        return [255, 255, 255];
    };
    const weak = [];
    for (const node of document.querySelectorAll("body *:not(script)")) {
        const hasText = [...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        if (!hasText || !node.checkVisibility()) continue;
        const style = getComputedStyle(node);
        const one = light(parts(node.namespaceURI.endsWith("svg") ? style.fill : style.color));
        const two = light(ground(node));
        const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        if (contrast < 4.5) weak.push(`${node.tagName}.${node.id || node.className}: ${contrast}`);
    }
    return weak;
"""


async def test_workers(chromium: Browser) -> None:
    """
    The page shows the workers beside each other, and only where there are any.
    """
    hidden = "return document.getElementById('workers').hidden"
    async with watching(TCPDemoFactory(Echo), chromium):
        assert await chromium.run(hidden) is True
    async with staffed() as server:
        processes = [str(worker.pid) for worker in await server.whenServing()]
        peer = await server.connect()
        await server.ask(peer, b"hello\n")
        async with watching(server.factory, chromium):
            rows = "[...document.querySelectorAll('#workerRows tr')]"
            await chromium.wait(f"{rows}.length === 2")
            await chromium.wait(f"{rows}.some((row) => row.cells[3].textContent === '1')")
            texts = await chromium.run(
                f"return {rows}.map((row) => [...row.cells].map((cell) => cell.textContent))"
            )
            assert [row[0] for row in texts] == ["1", "2"]
            assert [row[1] for row in texts] == processes
            assert sorted(row[3:5] for row in texts) == [["0", "0 %"], ["1", "100 %"]]
