"""
Files that an operator names.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from twisted_tcpdemo.values.files import contentOf


def test_content(tmp_path: Path) -> None:
    """
    A file is read with its mode; of one that is too large, one byte more.
    """
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    file.chmod(0o640)
    content, mode = contentOf(str(file), 5)
    assert (content, stat.S_IMODE(mode)) == (b"12345", 0o640)
    assert contentOf(str(file), 3)[0] == b"1234"


@pytest.mark.parametrize("path", ["/", "/dev/null", "fifo"])
def test_noFile(path: str, tmp_path: Path) -> None:
    """
    A folder, a device and a FIFO without a writer are refused at once, and stay closed.
    """
    os.mkfifo(tmp_path / "fifo")
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(ValueError, match=r"^it is no regular file$"):
        contentOf(str(tmp_path / path), 5)
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/nowhere", "No such file or directory"),
        ("a\0b", "embedded null byte"),
        pytest.param(
            "/proc/self/mem",
            "Input/output error",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux has such a file"),
        ),
    ],
)
def test_unreadable(path: str, why: str) -> None:
    """
    A file that is not there, or fails while it is read, is refused with the reason.
    """
    with pytest.raises(ValueError, match=f"^it cannot be read: {why}$"):
        contentOf(path, 5)
