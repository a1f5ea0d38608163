"""
How many descriptors the process may have, and the rule for when there are no more.
"""

from __future__ import annotations

from typing import Final

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

NO_DESCRIPTOR: Final = "descriptorLimit"
"""The rule that refuses a client when the process has no descriptor left for it, or the
kernel does not watch one more."""


def mostDescriptors() -> int | None:
    """
    The process's limit (RLIMIT_NOFILE, the soft one); L{None} where there is none.
    """
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
