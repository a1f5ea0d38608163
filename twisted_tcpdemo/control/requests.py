"""
What control is asked, checked to the end before anything is changed.

Nothing here touches a server: bytes go in, values or a L{BadRequestError} come
out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

from twisted_tcpdemo.errors import TCPDemoError
from twisted_tcpdemo.server.factory import OVERFLOWS

MOST_CONNECTIONS = 2**31 - 1
LONGEST = 10**9
"""Seconds; about 30 years."""


class BadRequestError(TCPDemoError):
    """
    Something was asked that makes no sense.
    """


class DrainRequest(NamedTuple):
    """
    How to drain.

    @ivar deadline: seconds until what is left is aborted, or L{None}.
    @ivar spread: seconds over which idle connections are closed.
    """

    deadline: float | None
    spread: float


def parsed(body: bytes) -> dict[str, Any]:
    """
    A JSON object; no bytes at all are an empty one.

    @raise BadRequestError: if it is anything else, or names a field twice: the
        one that counts would not be the one that its reader sees.
    """
    if not body.strip():
        return {}
    try:
        value = json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_noNumber)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequestError("the body must be a JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise BadRequestError(f"{json.dumps(name)} is there twice")
        fields[name] = value
    return fields


def _noNumber(text: str) -> float:
    raise ValueError(f"{text} is no number")


def nothing(fields: Mapping[str, Any]) -> None:
    """
    Check that a request says nothing more than its path.

    @raise BadRequestError: if it does.
    """
    _checkNames(fields)


def limits(fields: Mapping[str, Any]) -> dict[str, Any]:
    """
    Changes of limits: C{maxConnections}, C{overflow}, or both.

    @raise BadRequestError: if one of them is wrong, or there is none.
    """
    _checkNames(fields, "maxConnections", "overflow")
    if not fields:
        raise BadRequestError("nothing to change; there are maxConnections and overflow")
    if "maxConnections" in fields:
        limit = fields["maxConnections"]
        whole = isinstance(limit, int) and not isinstance(limit, bool)
        if limit is not None and not (whole and 0 <= limit <= MOST_CONNECTIONS):
            raise BadRequestError(
                "maxConnections must be null or a whole number, 0 to "
                f"{MOST_CONNECTIONS}, not {_shown(limit)}"
            )
    if "overflow" in fields and fields["overflow"] not in OVERFLOWS:
        known = ", ".join(OVERFLOWS)
        raise BadRequestError(f"overflow must be one of {known}, not {_shown(fields['overflow'])}")
    return dict(fields)


def drain(fields: Mapping[str, Any]) -> DrainRequest:
    """
    How to drain: C{deadline} and C{spread}, neither of which must be given.

    @raise BadRequestError: if one of them is wrong.
    """
    _checkNames(fields, "deadline", "spread")
    deadline = fields.get("deadline")
    if deadline is not None:
        deadline = _seconds("deadline", deadline)
    spread = _seconds("spread", fields.get("spread", 0))
    if spread and deadline is None:
        raise BadRequestError("spread goes with a deadline: without one, nothing is closed")
    return DrainRequest(deadline, spread)


def _seconds(name: str, value: Any) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and 0 <= value <= LONGEST and isfinite(value)):
        raise BadRequestError(
            f"{name} must be a number of seconds, 0 to {LONGEST}, not {_shown(value)}"
        )
    return float(value)


def _checkNames(fields: Mapping[str, Any], *known: str) -> None:
    for name in fields:
        if name not in known:
            there = f"there are {' and '.join(known)}" if known else "nothing is expected"
            raise BadRequestError(f"unknown field {_shown(name)}; {there}")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
