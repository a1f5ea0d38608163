"""
Status and connections as text for a terminal.

All text of a server is made safe first: a hostile peer may have chosen it, or the
server may be hostile itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted_tcpdemo.values.text import printable

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")

COLUMNS = ("id", "peer", "host", "age", "idle", "read", "written", "pending", "rtt")


def size(value: object) -> str:
    """
    A number of bytes in words: C{12.3 MB}.
    """
    number = _number(value)
    if number is None:
        return "-"
    unit = 0
    while abs(number) >= 999.5 and unit < len(_UNITS) - 1:
        number /= 1000
        unit += 1
    return f"{number:.0f} B" if not unit else f"{number:.1f} {_UNITS[unit]}"


def duration(value: object) -> str:
    """
    A duration in words: C{0.3s}, C{2m05s}, C{3h20m}, C{4d02h}.
    """
    seconds = _number(value)
    if seconds is None or not 0 <= seconds < 1e12:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02}m"
    return f"{hours // 24}d{hours % 24:02}h"


def count(value: object) -> str:
    """
    A whole number, in groups of three digits.
    """
    if value is None:
        return "none"
    number = _number(value)
    return text(value) if number is None else f"{number:,.0f}"


def text(value: object) -> str:
    """
    Any other value in words, safe and not too long.
    """
    return "-" if value is None else printable(str(value), 120)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
        return None
    return float(value)


def limit(status: Mapping[str, object]) -> str:
    """
    The limit in words: C{limit 100}, C{limit 1,000 (descriptors)}, C{no limit}.
    """
    given = status.get("maxConnections")
    holds = status.get("effectiveLimit", given)
    if holds is None:
        return "no limit"
    return f"limit {count(holds)}{'' if holds == given else ' (descriptors)'}"


def summary(status: Mapping[str, object], before: Mapping[str, object] | None = None) -> list[str]:
    """
    The counters, one a line.

    @param before: an earlier status, for rates.
    """
    get = status.get
    where = ", ".join(map(_listener, _list(get("listeners")))) or "nowhere"
    rows = [
        ("state", f"{text(get('state'))}, listening on {where}"),
        ("process", f"{text(get('pid'))}, up {duration(get('uptime'))}"),
        (
            "connections",
            f"{count(get('connectionCount'))} of {limit(status).removeprefix('limit ')}, "
            f"{text(get('overflow'))} beyond",
        ),
        ("accepted", count(get("acceptedCount")) + _rate(status, before, "acceptedCount")),
        ("refused", count(get("refusedCount")) + _parts(get("refusedBy"))),
        ("closed", count(get("closedCount")) + _parts(get("closedBy"))),
        ("read", size(get("bytesRead")) + _rate(status, before, "bytesRead")),
        ("written", size(get("bytesWritten")) + _rate(status, before, "bytesWritten")),
    ]
    if dryRun := get("wouldRefuseBy"):
        rows.insert(5, ("would refuse", _sum(dryRun) + _parts(dryRun)))
    if "bytesPending" in status:
        rows.append(("pending", size(get("bytesPending"))))
    return [f"{name:<12} {value}" for name, value in rows]


def _listener(value: object) -> str:
    if not isinstance(value, dict):
        return text(value)
    address, port = text(value.get("address")), value.get("port")
    if port is None:
        return address
    return f"[{address}]:{text(port)}" if ":" in address else f"{address}:{text(port)}"


def _parts(by: object) -> str:
    if not isinstance(by, dict) or not by:
        return ""
    return f" ({', '.join(f'{text(name)}: {count(number)}' for name, number in by.items())})"


def _sum(by: object) -> str:
    return count(sum(_number(n) or 0 for n in by.values()) if isinstance(by, dict) else by)


def _rate(status: Mapping[str, object], before: Mapping[str, object] | None, name: str) -> str:
    if before is None:
        return ""
    now, then = _number(status.get(name)), _number(before.get(name))
    end, start = _number(status.get("time")), _number(before.get("time"))
    if now is None or then is None or end is None or start is None or end <= start or now < then:
        return ""
    perSecond = (now - then) / (end - start)
    return f" ({size(perSecond) if name.startswith('bytes') else f'{perSecond:,.1f}'}/s)"


def connections(values: object, room: int | None = None, matching: object = None) -> list[str]:
    """
    A table of connections, one a line.

    @param room: the most lines of the table; L{None} for no limit.
    @param matching: the number of all connections, where C{values} may hold fewer.
    """
    rows = [_row(value) for value in _list(values) if isinstance(value, dict)]
    total = max(len(rows), int(_number(matching) or 0))
    if room is not None and total + 1 > room:
        rows = rows[: max(0, room - 2)]
    if not total:
        return ["no connections"]
    used = [i for i in range(len(COLUMNS)) if any(row[i] != "-" for row in rows) or i < 2]
    widths = {i: max(len(COLUMNS[i]), *(len(row[i]) for row in rows), 0) for i in used}
    lines = [_aligned([COLUMNS[i] for i in used], used, widths)]
    lines += [_aligned([row[i] for i in used], used, widths) for row in rows]
    if len(rows) < total:
        how = "control lists all" if room is None else "--all"
        lines.append(f"... and {total - len(rows):,} more ({how})")
    return lines


def _row(value: Mapping[str, object]) -> list[str]:
    get = value.get
    trip = _number(get("roundTripTime"))
    return [
        text(get("id")),
        text(get("peer")),
        text(get("host")),
        duration(get("age")),
        duration(get("idle")),
        size(get("bytesRead")),
        size(get("bytesWritten")),
        size(get("bytesPending")),
        "-" if trip is None else f"{trip * 1000:.1f} ms",
    ]


def _aligned(cells: Sequence[str], used: Sequence[int], widths: Mapping[int, int]) -> str:
    """
    Text to the left, numbers to the right.
    """
    pairs = zip(cells, used, strict=True)
    parts = [f"{c:<{widths[i]}}" if i in (1, 2) else f"{c:>{widths[i]}}" for c, i in pairs]
    return "  ".join(parts).rstrip()


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
