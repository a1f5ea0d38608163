"""
The progress of a long transfer, as its user sees it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.cli import client, ended, terminal
from tests.support.peers import serving
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.cli.outcome import Outcome
from twisted_tcpdemo.twistd.programs import Discard


@pytest.mark.deadline(30)
async def test_progress(tmp_path: Path) -> None:
    """
    --progress shows the transfer on a terminal, and leaves a clean line.
    """
    (tmp_path / "input").write_bytes(bytes(1_000_000))
    with terminal() as (screen, path):
        async with serving(TCPDemoFactory(Discard, allowHalfOpen=True)) as server:
            command = ("connect", "127.0.0.1", server.port, "--progress", "--linger", "1.3")
            via = f'"$@" < {tmp_path / "input"} 2> {path}'
            async with client(*command, via=via) as child:
                status, _, _ = await ended(child)
        shown = os.read(screen, 65536).decode()
    assert status == Outcome.DONE
    assert "1.0 MB sent (" in shown
    assert "100 % of the input" in shown
    assert "\x1b[2Ktcpdemo: 127.0.0.1:" in shown
