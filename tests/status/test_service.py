"""
The service that listens for the status page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import serverFromString

from tests.support.status import ask
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.service.startup import StartError
from twisted_tcpdemo.status import StatusService
from twisted_tcpdemo.twistd.tap import Options, makeService


async def test_address() -> None:
    """
    The page has an address from its start to its stop, with the real port.
    """
    from twisted.internet import reactor

    where = "tcp:0:interface=127.0.0.1"
    service = StatusService(TCPDemoFactory(), where, serverFromString(reactor, where), reactor)
    assert service.address is None
    service.startService()
    address = service.address
    assert address is not None and address.host == "127.0.0.1"  # type: ignore[attr-defined]
    assert (await ask(address.port)).code == 200  # type: ignore[attr-defined]
    await service.stopService()
    assert service.address is None


def made(*arguments: str) -> Any:
    """
    The service of a command line, not yet started.
    """
    options = Options()
    options.parseOptions(["--port", "0", "--interface", "127.0.0.1", *arguments])
    return makeService(options)


def start(service: Any) -> Any:
    """
    Start a service, as twistd does.
    """
    service.privilegedStartService()
    service.startService()
    return service


@pytest.mark.parametrize(
    "where", ["tcp:0", "tcp:0:interface=0.0.0.0", r"fasttcp:0:interface=\:\:", "tcp6:0"]
)
@pytest.mark.parametrize("transport", ["fast", "twisted"])
async def test_openToStrangers(
    where: str, transport: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """
    A page that other machines can reach does not start without a token, and listens
    nowhere then; with a token it starts, and asks for it.
    """
    options = ("--transport", transport, "--status", where)
    refused = made(*options)
    with pytest.raises(StartError, match="other machines can reach it"):
        start(refused)
    assert capfd.readouterr().err.count("\n") == 1
    assert refused.companions[0].address is None
    await refused.stopService()
    token = tmp_path / "token"
    token.write_text("s3cret")
    token.chmod(0o600)
    service = start(made(*options, "--status-token-file", str(token)))
    port = service.companions[0].address.port
    client = "tcp:127.0.0.1:{port}"
    assert (await ask(port, client=client)).code == 401
    bearer = "Authorization: Bearer s3cret\r\n"
    assert (await ask(port, client=client, headers=bearer)).code == 200
    await service.stopService()


async def test_healthWithoutToken(tmp_path: Path) -> None:
    """
    Where the page asks for a token, a health check needs none, and reads the state alone.
    """
    token = tmp_path / "token"
    token.write_text("s3cret")
    token.chmod(0o600)
    service = start(made("--status", "tcp:0", "--status-token-file", str(token)))
    port, factory = service.companions[0].address.port, service.server._factory
    health = await ask(port, "/healthz")
    assert (health.code, health.body) == (200, b"accepting\n")
    assert "content-security-policy" in health.headers
    factory.suspend()
    assert (await ask(port, "/healthz")).code == 503
    assert (await ask(port, "/healthz", method="POST")).code == 401
    assert (await ask(port, "/healthz/../status.json")).code == 401
    assert (await ask(port, "/healthz", host="evil.example")).code == 401
    await service.stopService()


@pytest.mark.parametrize("where", ["{folder}/page", "unix:{folder}/page"])
async def test_path(where: str, tmp_path: Path) -> None:
    """
    A path is a UNIX socket for the owner alone, as it is for control.
    """
    service = start(made("--status", where.format(folder=tmp_path)))
    assert (tmp_path / "page").stat().st_mode & 0o777 == 0o600
    assert (await ask(0, client=f"unix:{tmp_path}/page")).code == 200
    await service.stopService()
    assert not (tmp_path / "page").exists()
