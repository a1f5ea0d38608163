"""
The actions of the status page: who may act, and who may not.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.status import Answer, ask, connected, showing
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.control.routes import ControlSite
from twisted_tcpdemo.service.startup import StartError
from twisted_tcpdemo.twistd.programs import Echo
from twisted_tcpdemo.twistd.tap import Options, makeService

TOKEN = "Authorization: Bearer secret\r\n"
OWN = "X-TCPDemo-Control: 1\r\n"


class Page:
    """
    A page with actions, and a way to ask for them.
    """

    def __init__(self, factory: TCPDemoFactory, port: int) -> None:
        self.factory = factory
        self._port = port

    async def act(
        self, path: str, body: object = None, headers: str = OWN + TOKEN, method: str = "POST"
    ) -> Answer:
        """
        Ask for an action.
        """
        content = b"" if body is None else json.dumps(body).encode()
        length = f"Content-Length: {len(content)}\r\n"
        return await ask(
            self._port, f"/control{path}", method=method, headers=headers + length, body=content
        )


@asynccontextmanager
async def acting(token: bytes | None = None, **options: Any) -> AsyncGenerator[Page]:
    """
    Show a page with actions as long as the block lasts.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(Echo, **options)
    control = ControlSite(factory, reactor, b"secret")  # type: ignore[arg-type]
    async with showing(factory, control=control, token=token) as port:
        yield Page(factory, port)


async def test_limit() -> None:
    """
    Whoever has the token changes the limit.
    """
    async with acting(maxConnections=3) as page:
        answer = await page.act("/limits", {"maxConnections": 7}, method="PATCH")
        assert (answer.code, answer.data["maxConnections"]) == (200, 7)
        assert page.factory.maxConnections == 7
        wrong = await page.act("/limits", {"maxConnections": "all"}, method="PATCH")
        assert wrong.code == 400 and "whole number" in wrong.data["error"]


async def test_close() -> None:
    """
    Whoever has the token closes a connection.
    """
    async with acting() as page:
        [protocol] = connected(page.factory)
        answer = await page.act(f"/connections/{protocol.connectionID}/close")
        assert (answer.code, answer.data["state"]) == (202, "closing")
        assert protocol.transport.disconnecting
        protocol.connectionLost()


STRANGERS = [
    (OWN, 401, "token"),
    (OWN + "Authorization: Bearer secre\r\n", 401, "token"),
    (OWN + "Authorization: Basic OnNlY3JldA==\r\n", 401, "token"),
    (TOKEN, 403, "header"),
    (OWN + TOKEN + "Origin: http://evil.example\r\n", 403, "from this page"),
    (OWN + TOKEN + "Origin: null\r\n", 403, "from this page"),
    (OWN + TOKEN + "Origin: http://localhost:1\r\n", 403, "from this page"),
    (OWN + TOKEN + "Sec-Fetch-Site: cross-site\r\n", 403, "from this page"),
    (OWN + TOKEN + "Sec-Fetch-Site: same-site\r\n", 403, "from this page"),
    (OWN + TOKEN + "Sec-Fetch-Site: none\r\n", 403, "from this page"),
    (OWN + TOKEN + "Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost\r\n", 403, "this page"),
]


@pytest.mark.parametrize(("headers", "code", "why"), STRANGERS)
async def test_strangers(headers: str, code: int, why: str) -> None:
    """
    Without the token, without the header of the page, or from another site, nothing happens.
    """
    async with acting() as page:
        [protocol] = connected(page.factory)
        answer = await page.act(f"/connections/{protocol.connectionID}/close", headers=headers)
        assert (answer.code, why in answer.data["error"]) == (code, True)
        assert "access-control-allow-origin" not in answer.headers
        assert not protocol.transport.disconnecting
        await page.act("/drain", {"deadline": 0}, headers=headers)
        assert page.factory.connectionCount == 1
        assert not page.factory.draining


@pytest.mark.parametrize(
    "headers",
    [
        "Origin: http://localhost\r\n",
        "Sec-Fetch-Site: same-origin\r\n",
        "Origin: https://proxy.example\r\nSec-Fetch-Site: same-origin\r\n",
    ],
)
async def test_ownPage(headers: str) -> None:
    """
    A request that the browser says is the page's own is carried out.
    """
    async with acting() as page:
        assert (await page.act("/limits", method="GET", headers=OWN + TOKEN + headers)).code == 200


async def test_preflight() -> None:
    """
    A browser that asks whether another site may send such a request is not told so.
    """
    async with acting() as page:
        asked = "Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n"
        answer = await page.act("/suspend", method="OPTIONS", headers=asked)
        assert answer.code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_rebinding() -> None:
    """
    A name that is not this machine's gets no action either.
    """
    async with acting() as page:
        answer = await ask(page._port, "/control/limits", host="evil.example", headers=OWN + TOKEN)
        assert answer.code == 421


async def test_bothTokens() -> None:
    """
    On a page that takes a token itself, that token does not act, and control's does.
    """
    async with acting(token=b"looking") as page:
        looking = "Authorization: Bearer looking\r\n"
        assert (await page.act("/limits", method="GET", headers=OWN + looking)).code == 401
        assert (await page.act("/limits", method="GET")).code == 200
        assert (await ask(page._port, headers=looking)).data["actions"] is True
        assert (await ask(page._port)).code == 401


async def test_readOnly() -> None:
    """
    A page without control has no actions, and says so.
    """
    async with showing(TCPDemoFactory(Echo)) as port:
        assert (await ask(port)).data["actions"] is False
        answer = await ask(port, "/control/suspend", method="POST", headers=OWN + TOKEN)
        assert answer.code == 405


async def test_longBody() -> None:
    """
    A body that is too long for control is refused.
    """
    async with acting() as page:
        assert (await page.act("/limits", {"x": "y" * 5000}, method="PATCH")).code == 413


async def test_option(tmp_path: Path) -> None:
    """
    --control-token-file gives the page of --status its actions.
    """
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    options = Options()
    path = tmp_path / "status"
    listen = ("--listen", "tcp:0:interface=127.0.0.1")
    options.parseOptions([*listen, "--status", str(path), "--control-token-file", str(token)])
    service: Any = makeService(options)
    service.privilegedStartService()
    service.startService()
    client = f"unix:{path}"
    assert (await ask(0, client=client)).data["actions"] is True
    headers = f"{OWN}{TOKEN}Content-Length: 0\r\n"
    answer = await ask(0, "/control/suspend", method="POST", headers=headers, client=client)
    assert answer.data["state"] == "suspended"
    assert (await ask(0, client=client)).data["state"] == "suspended"
    await service.stopService()


def test_badToken(tmp_path: Path) -> None:
    """
    A token that everybody can read ends the start with one line.
    """
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o644)
    options = Options()
    options.parseOptions(
        ["--port", "0", "--status", str(tmp_path / "s"), "--control-token-file", str(token)]
    )
    with pytest.raises(StartError, match="everybody can read it"):
        makeService(options)
