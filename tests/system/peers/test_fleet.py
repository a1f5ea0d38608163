"""
A fleet: the HAProxy of C{docs/deploy/haproxy.cfg} before three servers, which tell it how
they are.
"""

from __future__ import annotations

import csv
import re
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.support.clients import freePort
from tests.support.peers import connectTo
from tests.support.places import DOCS
from tests.support.processes import Child, running, script, twistd
from tests.support.storm import said, storm
from tests.support.waiting import until
from tests.system.peers.support import needs, program

pytestmark = [needs("haproxy"), pytest.mark.deadline(120)]

NAMES = ("one", "two", "three")
"""The servers of the file, at 10.0.0.1, 10.0.0.2 and 10.0.0.3."""

PEERS_LIMIT = 20
"""Connections of one peer at a time that the file allows."""


class Fleet:
    """
    HAProxy and its servers.

    @ivar servers: the servers that run, by their names.
    """

    def __init__(self, folder: Path, port: int, serverPort: int, agentPort: int) -> None:
        self.folder = folder
        self.port = port
        self.servers: dict[str, Child] = {}
        self._ports = serverPort, agentPort
        self._statistics = folder / "admin.sock"

    def command(self, name: str, *options: str) -> list[str]:
        """
        The command line of a server.
        """
        address, (port, agentPort) = self.addressOf(name), self._ports
        return twistd(
            *("--protocol", "echo", "--port", str(port), "--interface", address),
            *("--proxy-protocol", "--proxy-from", "127.0.0.0/8", "--drain", "30"),
            *("--drain-delay", "1"),
            *("--agent", f"tcp:{agentPort}:interface={address}"),
            *("--control", str(self.folder / f"{name}.sock"), *options),
        )

    def addressOf(self, name: str) -> str:
        """
        The address of a server.
        """
        return f"127.0.0.{NAMES.index(name) + 1}"

    def configuration(self, mayReject: bool) -> str:
        """
        The file, for this machine and in less time.

        @param mayReject: whether it limits peers.  A crowd is one.
        """
        text = (DOCS / "deploy" / "haproxy.cfg").read_text()
        port, agentPort = self._ports
        for old, new in {
            "maxconn 15100": "maxconn 1000",
            "/dev/log": "127.0.0.1",
            "/run/haproxy/admin.sock": str(self._statistics),
            "10.0.0.": "127.0.0.",
            ":::18001 v4v6": f"127.0.0.1:{self.port}",
            ":18101\n": f":{port}\n",
            "agent-port 18201": f"agent-port {agentPort}",
            "agent-inter 1s": "agent-inter 100ms",
            "inter 2s": "inter 200ms",
        }.items():
            assert old in text, old
            text = text.replace(old, new)
        return text if mayReject else re.sub(r"\n.*connection reject.*", "", text)

    def tell(self, command: str) -> str:
        """
        Give HAProxy a command.

        @return: its answer.
        """
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self._statistics))
            client.sendall(f"{command}\n".encode())
            return client.makefile().read()

    def answers(self) -> bool:
        """
        Whether HAProxy takes commands; then it takes clients, too.
        """
        try:
            return bool(self.tell("show info"))
        except OSError:
            return False

    def statistics(self) -> dict[str, dict[str, str]]:
        """
        What HAProxy tells of each server.
        """
        rows = csv.DictReader(self.tell("show stat").removeprefix("# ").splitlines())
        return {row["svname"]: row for row in rows if row["pxname"] == "tcpdemo"}

    def stateOf(self, name: str) -> str:
        """
        HAProxy's word for the state of a server.
        """
        return self.statistics()[name]["status"].partition(" ")[0]

    def weights(self) -> list[int]:
        """
        The weights of all servers.
        """
        statistics = self.statistics()
        return [int(statistics[name]["weight"]) for name in NAMES]

    async def steer(self, name: str, *words: str) -> None:
        """
        Control a server.
        """
        command = [*script("tcpdemo"), "control", str(self.folder / f"{name}.sock"), *words]
        async with running(command) as steering:
            assert await steering.whenEnded() == 0, steering.err


@asynccontextmanager
async def fleet(
    folder: Path, *options: str, mayReject: bool = False, limits: tuple[int, ...] = (200, 200, 200)
) -> AsyncGenerator[Fleet]:
    """
    A fleet as long as the block lasts.
    """
    found = Fleet(folder, freePort(), freePort(), freePort())
    file = folder / "haproxy.cfg"
    file.write_text(found.configuration(mayReject))
    async with AsyncExitStack() as stack:
        for name, limit in zip(NAMES, limits, strict=True):
            command = found.command(name, "--max-connections", str(limit), *options)
            found.servers[name] = await stack.enter_async_context(running(command))
        for server in found.servers.values():
            await server.whenPrinted(r"the agent-check on ")
            if options:
                await server.whenPrinted(r"worker \d is process ")
        balancer = await stack.enter_async_context(
            running([program("haproxy"), "-db", "-f", str(file)])
        )
        await until(lambda: balancer.status is not None or found.answers())
        assert balancer.status is None, balancer.err
        await until(lambda: all(found.stateOf(name) == "UP" for name in NAMES))
        yield found


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "workers"])
async def test_drain(options: tuple[str, ...], tmp_path: Path) -> None:
    """
    While fifty clients call, a server is told to stop, leaves, drains and ends, and a new one
    takes its place: every call is answered, and the new one is called.
    """
    async with fleet(tmp_path, *options) as servers:
        with storm("talks", servers.port, 8000) as crowd:
            before = servers.servers["two"]
            await before.whenPrinted(r"connection \d+: ")
            before.signal(signal.SIGTERM)
            await until(lambda: servers.stateOf("two") == "DRAIN")
            await before.whenEnded()
            async with running(servers.command("two", "--max-connections", "200")) as after:
                await until(lambda: servers.stateOf("two") == "UP")
                await after.whenPrinted(r"connection \d+: (?!.*127\.0\.0\.1:0)")
                assert await until(lambda: said(crowd)) == b"8000 answered\n"


async def test_states(tmp_path: Path) -> None:
    """
    HAProxy takes a suspended server out, and back when it is resumed, and takes out one that
    drains.
    """
    async with fleet(tmp_path) as servers:
        await servers.steer("one", "suspend")
        await until(lambda: servers.stateOf("one") == "MAINT")
        clients = [connectTo(servers.port) for _ in range(4)]
        for client in clients:
            client.sendall(b"hello")
            assert client.recv(10) == b"hello"
        sessions = {name: int(servers.statistics()[name]["scur"]) for name in NAMES}
        # Which of the others gets how many is up to their weights of the moment.
        assert sessions["one"] == 0 and sessions["two"] > 0 and sum(sessions.values()) == 4
        await servers.steer("one", "resume")
        await until(lambda: servers.stateOf("one") == "UP")
        servers.servers["two"].signal(signal.SIGTERM)
        # HAProxy's health check fails, too: the port is closed.
        await until(lambda: servers.stateOf("two") in {"DRAIN", "DOWN"})
        for client in clients:
            client.close()


async def test_balancersOperator(tmp_path: Path) -> None:
    """
    What HAProxy's operator says of a server holds when its agent is disabled; otherwise the
    server's own word undoes it.
    """
    async with fleet(tmp_path) as servers:
        servers.tell("set server tcpdemo/one state maint")
        await until(lambda: servers.stateOf("one") == "UP")
        servers.tell("disable agent tcpdemo/one")
        servers.tell("set server tcpdemo/one state maint")
        for word, state in (("suspend", "MAINT"), ("resume", "UP"), ("suspend", "MAINT")):
            await servers.steer("two", word)
            await until(lambda state=state: servers.stateOf("two") == state)
        assert servers.stateOf("one") == "MAINT"
        servers.tell("enable agent tcpdemo/one")
        await until(lambda: servers.stateOf("one") == "UP")


async def test_weights(tmp_path: Path) -> None:
    """
    The weights follow the places that are left, so servers of different sizes fill up
    together, and nobody is refused.
    """
    limits = (40, 20, 10)
    async with fleet(tmp_path, limits=limits) as servers:
        assert servers.weights() == [100, 100, 100]
        clients: list[socket.socket] = []
        for _ in range(60):
            clients.append(connectTo(servers.port))
            clients[-1].sendall(b"hello")
            assert clients[-1].recv(10) == b"hello"

            def isTold() -> bool:
                statistics = servers.statistics()
                used = [int(statistics[name]["scur"]) for name in NAMES]
                left = [100 * (m - n) // m for m, n in zip(limits, used, strict=True)]
                # A health check may be among them for a moment.
                return all(abs(a - b) <= 10 for a, b in zip(servers.weights(), left, strict=True))

            await until(isTold)
        statistics = servers.statistics()
        shares = [int(statistics[n]["scur"]) / m for n, m in zip(NAMES, limits, strict=True)]
        assert min(shares) > 0.7, shares
        for client in clients:
            client.close()
        await until(lambda: servers.weights() == [100, 100, 100])


async def test_peerLimit(tmp_path: Path) -> None:
    """
    The limit for each peer holds over all servers.
    """
    async with fleet(tmp_path, mayReject=True) as servers:
        clients = [connectTo(servers.port) for _ in range(PEERS_LIMIT)]
        for client in clients:
            client.sendall(b"hello")
            assert client.recv(10) == b"hello"
        with pytest.raises(ConnectionResetError), connectTo(servers.port) as over:
            over.recv(10)
        sessions = [int(servers.statistics()[name]["scur"]) for name in NAMES]
        assert sum(sessions) == PEERS_LIMIT and max(sessions) < PEERS_LIMIT
        for client in clients:
            client.close()
