"""
The requests of control, each checked as a whole before anything is changed.

Nothing here touches a server: the functions turn bytes and fields of JSON into
values, or raise L{BadRequestError}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple, TypedDict

from twisted_tcpdemo.errors import TCPDemoError
from twisted_tcpdemo.server.factory import OVERFLOWS
from twisted_tcpdemo.shapes import Overflow
from twisted_tcpdemo.values.checks import number, wholeOrNone

MOST_CONNECTIONS = 2**31 - 1
LONGEST = 10**9
"""Seconds; about 30 years."""


class BadRequestError(TCPDemoError):
    """
    A request is wrong; the text says why.
    """


class Limits(TypedDict, total=False):
    """
    Changes of limits.
    """

    maxConnections: int | None
    overflow: Overflow


class DrainRequest(NamedTuple):
    """
    The values of a drain.

    @ivar deadline: seconds until the remaining connections are aborted; L{None}
        for no limit.
    @ivar spread: seconds over which idle connections are closed.
    """

    deadline: float | None
    spread: float


def parsed(body: bytes) -> dict[str, object]:
    """
    Parse a JSON object; an empty body is an empty object.

    @raise BadRequestError: if the body is anything else, or names a field twice.  A
        reader of such a body might see the field that does not count.
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


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name in fields:
            raise BadRequestError(f"{json.dumps(name)} is there twice")
        fields[name] = value
    return fields


def _noNumber(text: str) -> float:
    raise ValueError(f"{text} is no number")


def isNumber(text: str) -> bool:
    """
    Whether a part of a path can be the number of a connection, as it is written.
    """
    return text.isascii() and text.isdigit() and len(text) < 20 and text == str(int(text))


def nothing(fields: Mapping[str, object]) -> None:
    """
    Check that a request has no fields.

    @raise BadRequestError: if it has any.
    """
    _checkNames(fields)


def limits(fields: Mapping[str, object]) -> Limits:
    """
    Changes of limits: C{maxConnections}, C{overflow}, or both.

    @raise BadRequestError: if a field is wrong or unknown, or if there is none.
    """
    _checkNames(fields, "maxConnections", "overflow")
    if not fields:
        raise BadRequestError("nothing to change; there are maxConnections and overflow")
    changes: Limits = {}
    for name in fields:  # in their order, for the log
        if name == "overflow":
            changes["overflow"] = _overflow(fields[name])
        else:
            changes["maxConnections"] = _limit(fields[name])
    return changes


def _limit(value: object) -> int | None:
    try:
        return wholeOrNone("maxConnections", value, 0, MOST_CONNECTIONS)
    except (TypeError, ValueError):
        # The text is in JSON: its null, true and quotes are not Python's.
        raise BadRequestError(
            "maxConnections must be null or a whole number, 0 to "
            f"{MOST_CONNECTIONS}, not {_shown(value)}"
        ) from None


def _overflow(value: object) -> Overflow:
    for known in OVERFLOWS:
        if value == known:
            return known
    raise BadRequestError(f"overflow must be one of {', '.join(OVERFLOWS)}, not {_shown(value)}")


def drain(fields: Mapping[str, object]) -> DrainRequest:
    """
    The values of a drain: C{deadline} and C{spread}, both optional.

    @raise BadRequestError: if a field is wrong or unknown, or for C{spread} without
        a deadline.
    """
    _checkNames(fields, "deadline", "spread")
    given = fields.get("deadline")
    deadline = None if given is None else _seconds("deadline", given)
    spread = _seconds("spread", fields.get("spread", 0))
    if spread and deadline is None:
        raise BadRequestError("spread goes with a deadline: without one, nothing is closed")
    return DrainRequest(deadline, spread)


def _seconds(name: str, value: object) -> float:
    try:
        return float(number(name, value, 0, LONGEST))
    except (TypeError, ValueError):
        raise BadRequestError(
            f"{name} must be a number of seconds, 0 to {LONGEST}, not {_shown(value)}"
        ) from None


def _checkNames(fields: Mapping[str, object], *known: str) -> None:
    for name in fields:
        if name not in known:
            there = f"there are {' and '.join(known)}" if known else "nothing is expected"
            raise BadRequestError(f"unknown field {_shown(name)}; {there}")


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
