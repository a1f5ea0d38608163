"""
Answers, and the work that makes them.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

TEXT: Final = b"text/plain; charset=utf-8"
JSON: Final = b"application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """
    An answer.

    @ivar status: the HTTP status.
    @ivar pieces: the body.  Each piece is made, or sent, when the visitor has taken
        those before.
    @ivar contentType: the media type.
    @ivar length: the bytes of the body, or L{None} if they are not known before.
    @ivar headers: more headers.
    """

    status: int
    pieces: Iterable[bytes]
    contentType: bytes = TEXT
    length: int | None = None
    headers: Mapping[bytes, bytes] = field(default_factory=dict)


Work: TypeAlias = Generator[None, None, Answer]
"""The making of an answer: each step takes a millisecond or two, and the last one
returns it."""


def whole(
    status: int,
    pieces: list[bytes],
    contentType: bytes = TEXT,
    headers: Mapping[bytes, bytes] | None = None,
) -> Answer:
    """
    An answer with all of its body.
    """
    return Answer(status, pieces, contentType, sum(map(len, pieces)), headers or {})


def asJSON(status: int, value: object, headers: Mapping[bytes, bytes] | None = None) -> Answer:
    """
    An answer that is a line of JSON.
    """
    return whole(status, [json.dumps(value).encode() + b"\n"], JSON, headers)


def encoded(value: object) -> bytes:
    """
    A value as JSON, in ASCII and without spaces.
    """
    return json.dumps(value, separators=(",", ":")).encode()
