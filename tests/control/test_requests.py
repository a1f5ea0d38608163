"""
The requests that control understands, and those that it refuses.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.logger import LogEvent

from tests.support.control import controlled, said
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.control.requests import BadRequestError, limits, parsed
from twisted_tcpdemo.control.routes import MAX_BODY
from twisted_tcpdemo.twistd.programs import Echo


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", "/", None, 404, 'there is no "/"'),
        ("GET", "/status/", None, 404, "there is no"),
        ("GET", "/x%00%1b", None, 404, "there is no"),
        ("POST", "/connections/4711/close", None, 404, 'no connection "4711"'),
        ("POST", "/connections/-1/abort", None, 404, 'no connection "-1"'),
        ("POST", "/connections/1/kill", None, 404, "there is no"),
        ("DELETE", "/limits", None, 405, "/limits takes GET, PATCH"),
        ("GET", "/drain", None, 405, "/drain takes POST"),
        ("GET", "/connections/1/close", None, 405, "takes POST"),
        ("PATCH", "/limits", None, 400, "nothing to change"),
        ("PATCH", "/limits", b"{", 400, "the body is no JSON"),
        ("PATCH", "/limits", b"\xff", 400, "the body is no JSON"),
        ("PATCH", "/limits", b"[" * MAX_BODY, 400, "the body is no JSON"),
        ("PATCH", "/limits", b"[]", 400, "must be a JSON object"),
        ("PATCH", "/limits", {"maxConnections": -1}, 400, "not -1"),
        ("PATCH", "/limits", {"maxConnections": True}, 400, "not true"),
        ("PATCH", "/limits", {"maxConnections": 1.5}, 400, "not 1.5"),
        ("PATCH", "/limits", {"maxConnections": "5"}, 400, 'not "5"'),
        ("PATCH", "/limits", {"maxConnections": 2**31}, 400, "maxConnections must be"),
        ("PATCH", "/limits", {"maxConnections": 5, "overflow": "x"}, 400, 'not "x"'),
        ("PATCH", "/limits", {"maxConnections": 5, "overflow": ["wait"]}, 400, "overflow must be"),
        ("PATCH", "/limits", {"maxConnections": 5, "limit": 3}, 400, 'unknown field "limit"'),
        ("PATCH", "/limits", b'{"maxConnections": 5, "maxConnections": 6}', 400, "there twice"),
        ("PATCH", "/limits", b'{"maxConnections": 5, "a": NaN}', 400, "NaN is no number"),
        ("PATCH", "/limits", b" " * (MAX_BODY + 1), 413, "no more than 4096 bytes"),
        ("POST", "/drain", {"deadline": -1}, 400, "deadline must be"),
        ("POST", "/drain", {"deadline": "30"}, 400, "deadline must be"),
        ("POST", "/drain", b'{"deadline": 1e999}', 400, "deadline must be"),
        ("POST", "/drain", {"deadline": 30, "spread": None}, 400, "spread must be"),
        ("POST", "/drain", {"spread": 3}, 400, "spread goes with a deadline"),
        ("POST", "/suspend", {"deadline": 3}, 400, "nothing is expected"),
        ("GET", "/status", {"x": 1}, 400, "nothing is expected"),
    ],
)
async def test_badInput(
    tmp_path: Path,
    events: list[LogEvent],
    *,
    method: str,
    path: str,
    body: object,
    status: int,
    error: str,
) -> None:
    """
    A malformed request is answered with the reason, and changes nothing.
    """
    async with controlled(tmp_path, TCPDemoFactory(Echo, maxConnections=3)) as control:
        reply = await control.ask(method, path, body)
        assert (reply.status, list(reply.value)) == (status, ["error"])
        assert error in reply.value["error"]
        factory = control.factory
        assert (factory.maxConnections, factory.overflow) == (3, "refuse")
        assert not (factory.suspended or factory.draining)
    assert said(events) == []


def test_parsed() -> None:
    """
    An empty body is an empty object.
    """
    assert parsed(b"") == parsed(b" \n") == parsed(b"{}") == {}
    with pytest.raises(BadRequestError, match='not "x'):
        limits({"overflow": "x" * 1000})
