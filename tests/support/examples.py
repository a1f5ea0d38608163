"""
The examples of the documentation as processes of their own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

from tests.support.places import EXAMPLES


@contextmanager
def running(name: str, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """
    An example as a process of its own, on a free port of the loopback instead of its
    own.

    @param arguments: of its command line.
    """
    source = (EXAMPLES / name).read_text()
    source = source.replace("listen(18001)", 'listen("fasttcp:18001:interface=127.0.0.1")')
    source = source.replace("18001", "0")
    process = subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def portOf(process: subprocess.Popen[str]) -> int:
    """
    The port that an example says it listens on.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"listening on 127\.0\.0\.1:(\d+)", line)
    assert found, line + (process.stderr.read() if process.stderr and not line else "")
    return int(found[1])
