"""
How many descriptors the process may have.
"""

from __future__ import annotations

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]


def mostDescriptors() -> int | None:
    """
    The process's limit (RLIMIT_NOFILE, the soft one); L{None} where there is none.
    """
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
