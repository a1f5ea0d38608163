"""
Changes of an input at random.
"""

from __future__ import annotations

import random
from collections.abc import Sequence


def mutated(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """
    Change an input in one to eight places.

    @param others: inputs of which parts may be taken.
    """
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        place = chance.randint(0, len(changed))
        end = min(len(changed), place + chance.randint(1, 8))
        part = changed[place:end]
        other = chance.choice(others)
        start = chance.randint(0, len(other))
        match chance.randrange(5):
            case 0:
                changed[place:end] = b""
            case 1:
                changed[place:place] = part * chance.randint(1, 40)
            case 2:
                changed[place:end] = chance.randbytes(len(part))
            case 3:
                changed[place:place] = other[start : start + chance.randint(1, 40)]
            case _:
                changed[place:place] = chance.choice([b"\0", b"\r\n", b"\xff", b"9" * 20, b"\x1b"])
    return bytes(changed)
