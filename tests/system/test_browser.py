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
from twisted.internet.task import LoopingCall
from twisted.internet.testing import StringTransport

from tests.support.browser import Browser, browsing, missing
from tests.support.peers import Server, rawConnection, serving
from tests.support.staff import staffed
from tests.support.waiting import turn, until
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.control.routes import ControlSite
from twisted_tcpdemo.monitoring.snapshot import packageVersion
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
    factory: TCPDemoFactory, browser: Browser, query: str = "", **options: Any
) -> AsyncGenerator[StatusService]:
    """
    Watch the page of a factory as long as the block lasts; the browser must not
    complain of it.
    """
    from twisted.internet import reactor

    endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
    service = StatusService(factory, "page", endpoint, reactor, **options)
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


def title(count: int) -> str:
    """
    The title of the page, by which its tab is known.
    """
    return f"{count} · {socket.gethostname()} · tcpdemo {packageVersion()}"


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
        assert await chromium.run("return document.title") == title(1)


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


PIXELS = """
    const [place, name] = arguments;
    const probe = document.createElement("i");
    probe.className = "key";
    probe.dataset.colour = name;
    document.body.append(probe);
    const wanted = getComputedStyle(probe).backgroundColor.match(/\\d+/g).map(Number);
    probe.remove();
    const canvas = document.querySelector(`#${place} canvas`);
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const drawing = copy.getContext("2d", { willReadFrequently: true });
    drawing.drawImage(canvas, 0, 0);
    const { data } = drawing.getImageData(0, 0, canvas.width, canvas.height);
    let found = 0;
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] === 255 && wanted.every((part, i) => Math.abs(part - data[at + i]) < 8)) {
            found += 1;
        }
    }
    return found;
"""
"""How many points of a plot have the colour of a series."""


async def test_plotsDraw(chromium: Browser) -> None:
    """
    The plots draw a curve from the first seconds on, in light and in dark, and show the value
    under the pointer.
    """
    factory = TCPDemoFactory(Echo, maxConnections=2)
    async with serving(factory) as server, watching(factory, chromium):
        peer = await server.connect()
        peer.transport.write(b"x" * 50000)
        await chromium.wait("document.querySelector('.empty').hidden")
        for dark in (False, True):
            await chromium.look(1280, 900, dark)
            for place, colours in (
                ("countPlot", ("in", "bad")),
                ("bytesPlot", ("in", "out")),
                ("clientsPlot", ("good", "bad")),
            ):
                for colour in colours:
                    while await chromium.run(PIXELS, place, colour) < 20:
                        await turn()
        shown = "[...document.querySelectorAll('#countReadout b')].map((b) => b.textContent).join()"
        await chromium.wait(f"{shown} === '1,1,2'")
        await chromium.run(
            "const over = document.querySelector('#bytesPlot .u-over');"
            "const { left, top } = over.getBoundingClientRect();"
            "const at = { clientX: left + 250, clientY: top + 50, bubbles: true };"
            "over.dispatchEvent(new MouseEvent('mouseenter', at));"
            "over.dispatchEvent(new MouseEvent('mousemove', at));"
        )
        await chromium.wait(
            "document.querySelector('#bytesPlot .when').textContent.includes('ago')"
        )


async def test_oneRate(chromium: Browser) -> None:
    """
    The card, the legend and the plot have the same rate: that of the last second.
    """
    factory = TCPDemoFactory(Echo)
    same = """(() => {
        const card = inRate.textContent + " " + inUnit.textContent;
        const legend = document.querySelector("#bytesReadout b").textContent;
        return /^[1-9]/.test(card) && card === legend;
    })()"""
    async with serving(factory) as server, watching(factory, chromium):
        peer = await server.connect()
        sending = LoopingCall(peer.transport.write, b"x" * 999)
        sending.start(0.05)
        for seconds in ("300", "3600", "86400"):
            await chromium.run(
                "document.querySelector(`input[value='${arguments[0]}']`).click()", seconds
            )
            await chromium.wait(same)
        assert "range=86400" in await chromium.run("return location.search")
        sending.stop()


def connectFrom(factory: TCPDemoFactory, number: int) -> None:
    """
    Connect from an address with a number.
    """
    peer = IPv4Address("TCP", f"192.0.2.{number}", 4000)
    factory.buildProtocol(peer).makeConnection(StringTransport(peerAddress=peer))


async def test_peersFilter(chromium: Browser) -> None:
    """
    A click on a peer shows its connections alone, and another one shows all again.
    """
    factory = TCPDemoFactory(Discard)
    for number in (1, 1, 2):
        connectFrom(factory, number)
    async with watching(factory, chromium):
        await chromium.wait("document.querySelectorAll('#peers button').length === 2")
        await chromium.run("document.querySelector('#peers button').click()")
        await chromium.wait(f"{ROWS}.length === 2")
        assert await chromium.run("return filter.value") == "peer:192.0.2.1"
        await chromium.run("document.querySelector('#peers button').click()")
        await chromium.wait(f"{ROWS}.length === 3")


async def test_peersKeepFocus(chromium: Browser) -> None:
    """
    The button of a peer keeps the focus as the figures change.
    """
    factory = TCPDemoFactory(Discard)
    connectFrom(factory, 1)
    async with watching(factory, chromium):
        await chromium.wait("document.querySelector('#peers button') !== null")
        await chromium.run("document.querySelector('#peers button').focus()")
        connectFrom(factory, 1)
        await chromium.wait("peers.rows[0].cells[1].textContent === '2'")
        focused = "return document.activeElement === document.querySelector('#peers button')"
        assert await chromium.run(focused)


async def test_listeners(chromium: Browser) -> None:
    """
    Each listener has a row, with its queue and its backlog.
    """
    factory = TCPDemoFactory(Discard)
    endpoint = "tcp:0:backlog=9:interface=127.0.0.1"
    row = "[...listeners.rows[0].cells].map((cell) => cell.textContent).join(' ')"
    async with serving(factory, endpoint) as server, watching(factory, chromium):
        where = f"127.0.0.1:{server.port}"
        await chromium.wait(f"{row} === arguments[0]", f"{where} plain 0 9")
        factory.suspend()
        with rawConnection(server.port):
            await chromium.wait(f"{row} === arguments[0]", f"{where} plain 1 9")
            factory.resume()
            await until(lambda: factory.connectionCount)
    await factory.whenEmpty()


async def test_foldedOnAPhone(chromium: Browser) -> None:
    """
    On a phone ten connections are shown, and the others when they are asked for.
    """
    factory = TCPDemoFactory(Discard)
    inMemory(factory, 25)
    visible = f"[...{ROWS}].filter((row) => row.checkVisibility()).length"
    async with watching(factory, chromium):
        await chromium.wait(f"{visible} === 25")
        await chromium.look(390, 900)
        await chromium.wait(f"{visible} === 10")
        assert await chromium.run(f"return {TEXT}", "unfold") == "Show all 25"
        await chromium.run("unfold.click()")
        await chromium.wait(f"{visible} === 25")
        await chromium.wait(f"{TEXT} === 'Show the first 10'", "unfold")


PRESS = "document.getElementById(arguments[0]).click()"
FILL = "document.getElementById(arguments[0]).value = arguments[1]"


@asynccontextmanager
async def steering(browser: Browser, factory: TCPDemoFactory) -> AsyncGenerator[Server]:
    """
    Watch a page whose actions have been unlocked, first with a wrong token.
    """
    from twisted.internet import reactor

    control = ControlSite(factory, reactor, b"secret")  # type: ignore[arg-type]
    async with serving(factory) as server, watching(factory, browser, control=control):
        for _ in range(2):
            await server.connect()
        await browser.wait(f"{ROWS}.length === 2")
        assert await browser.run("return actions.hidden && !unlock.hidden")
        button = "document.querySelector('#rows .end')"
        assert not await browser.run(f"return {button}.checkVisibility()")
        await browser.run(PRESS, "unlock")
        await browser.run(FILL, "token", "wrong")
        await browser.run(PRESS, "enter")
        await browser.wait(f"{TEXT} === 'the token of control is needed'", "wrong")
        assert all("401" in line for line in await browser.complaints())
        await browser.run(FILL, "token", "secret")
        await browser.run(PRESS, "enter")
        await browser.wait("!actions.hidden && unlock.hidden && !asking.open")
        assert await browser.run("return token.value") == ""
        yield server


async def test_enterTwice(chromium: Browser) -> None:
    """
    Who presses Unlock twice can act: the second, empty token takes nothing away.
    """
    factory = TCPDemoFactory(Echo)
    async with steering(chromium, factory):
        await chromium.run(PRESS, "lock")
        await chromium.wait("actions.hidden && !unlock.hidden")
        await chromium.run(PRESS, "unlock")
        await chromium.run(FILL, "token", "secret")
        await chromium.run("enter.click(); enter.click()")
        await chromium.wait(f"!actions.hidden && {TEXT} !== ''", "wrong")
        await chromium.run(PRESS, "suspend")
        await chromium.wait(f"{TEXT} !== ''", "outcome")
        assert factory.suspended
        assert all("401" in line for line in await chromium.complaints())


async def test_noActions(chromium: Browser) -> None:
    """
    A page without control shows no actions.
    """
    async with watching(TCPDemoFactory(Echo), chromium):
        assert await chromium.run("return unlock.hidden && actions.hidden")


async def test_closeOne(chromium: Browser) -> None:
    """
    Whoever gives the token of control closes a connection, until the page is locked again.
    """
    factory = TCPDemoFactory(Echo)
    async with steering(chromium, factory) as server:
        await chromium.run("document.querySelector('#rows .end button').click()")
        peer = server.peers[1]
        await peer.whenEnded()
        peer.transport.loseConnection()
        await chromium.wait(f"{ROWS}.length === 1")
        await chromium.run(PRESS, "lock")
        await chromium.wait("actions.hidden && !unlock.hidden")


async def test_steer(chromium: Browser) -> None:
    """
    Whoever gives the token of control suspends and resumes, changes the limit, and drains
    when asked twice.
    """
    factory = TCPDemoFactory(Echo, maxConnections=5)
    async with steering(chromium, factory) as server:
        assert await chromium.run("return newLimit.value") == "5"
        await chromium.run(PRESS, "suspend")
        await chromium.wait(f"{TEXT} === 'Resume'", "suspend")
        assert factory.suspended
        await chromium.run(PRESS, "suspend")
        await until(lambda: not factory.suspended)
        await chromium.run(FILL, "newLimit", "9")
        await chromium.run(PRESS, "setLimit")
        await until(lambda: factory.maxConnections == 9)
        await chromium.run(FILL, "newLimit", "-3")
        await chromium.run(PRESS, "setLimit")
        await chromium.wait(f"{TEXT}.includes('whole number')", "outcome")
        assert all("400" in line for line in await chromium.complaints())
        await chromium.run(FILL, "deadline", "")
        await chromium.run("window.confirm = () => false")
        await chromium.run(PRESS, "drain")
        assert not factory.draining
        await chromium.run("window.confirm = () => true")
        await chromium.run(PRESS, "drain")
        await until(lambda: factory.draining)
        await chromium.wait("!draining.hidden")
        for peer in server.peers:
            peer.transport.loseConnection()
        await factory.whenEmpty()


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
                elements = (
                    "return document.querySelectorAll('#rows *:not(tr, td, .end > button)').length"
                )
                assert await chromium.run(elements) == 0
                assert await chromium.run("return document.title") == title(1)
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
        await chromium.wait(f"{TEXT} === 'the server was full1'", "refusedBy")
        factory.suspend()
        await chromium.wait(f"{TEXT} === 'suspended'", "state")
        assert "new clients wait" in await chromium.run(f"return {TEXT}", "use")
        factory.resume()
        await chromium.wait(f"{TEXT} === 'accepting'", "state")
        drained = factory.drain()
        await chromium.wait(f"{TEXT} === 'draining'", "state")
        assert await chromium.run(f"return {TEXT}", "use") == "draining: nobody is accepted"
        assert await chromium.run(f"return {TEXT}", "drainLeft") == "1 of 1 connections left"
        assert "no deadline" in await chromium.run(f"return {TEXT}", "drainDeadline")
        factory.drain(90, spread=90)
        await chromium.wait(f"{TEXT}.startsWith('the rest is aborted in 1 min')", "drainDeadline")
        server.peers[0].transport.loseConnection()
        await drained
        await chromium.wait(f"{TEXT} === 'stopped'", "state")
        assert await chromium.run("return document.getElementById('draining').hidden")
        assert await chromium.run(f"return {TEXT}", "use") == "stopped: nobody is accepted"


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
