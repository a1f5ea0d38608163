"""
Status and connections as tables.

All text of a server is made safe first: a hostile peer may have chosen it, or the
server may be hostile itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted_tcpdemo.cli.showing.columns import COLUMNS, Column, Row
from twisted_tcpdemo.cli.showing.display import Part, Table, styled
from twisted_tcpdemo.cli.showing.words import count, duration, numberIn, size, text

STYLES = {
    "accepting": "green",
    "suspended": "yellow",
    "waiting": "yellow",
    "draining": "yellow",
    "stopped": "red",
}
"""How the states of a server look."""

GAP = 2
"""Columns of a terminal between two cells."""


def limit(status: Mapping[str, object]) -> str:
    """
    The limit in words: C{limit 100}, C{limit 1,000 (descriptors)}, C{no limit}.
    """
    given = status.get("maxConnections")
    holds = status.get("effectiveLimit", given)
    if holds is None:
        return "no limit"
    return f"limit {count(holds)}{'' if holds == given else ' (descriptors)'}"


def summary(status: Mapping[str, object], before: Mapping[str, object] | None = None) -> Table:
    """
    The counters, one a row.

    @param before: an earlier status, for rates.
    """
    get = status.get
    where = ", ".join(map(_listener, _list(get("listeners")))) or "nowhere"
    rows = [
        ("state", styled(f"{text(get('state'))}, listening on {where}", _styleOf(get("state")))),
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
    return Table([[styled(f"{name:<12}", "bold"), value] for name, value in rows], gap=1)


def _styleOf(state: object) -> str:
    return STYLES.get(state, "") if isinstance(state, str) else ""


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
    return count(sum(numberIn(n) or 0 for n in by.values()) if isinstance(by, dict) else by)


def _rate(status: Mapping[str, object], before: Mapping[str, object] | None, name: str) -> str:
    if before is None:
        return ""
    now, then = numberIn(status.get(name)), numberIn(before.get(name))
    end, start = numberIn(status.get("time")), numberIn(before.get("time"))
    if now is None or then is None or end is None or start is None or end <= start or now < then:
        return ""
    perSecond = (now - then) / (end - start)
    return f" ({size(perSecond) if name.startswith('bytes') else f'{perSecond:,.1f}'}/s)"


def connections(
    rows: Sequence[Row],
    space: tuple[int | None, int | None] = (None, None),
    matching: object = None,
) -> list[Part]:
    """
    A table of connections, and how many it leaves out.

    @param space: the columns and lines of the terminal that it may fill; L{None} for
        no limit.
    @param matching: the number of all connections, where C{rows} may hold fewer.
    """
    total = max(len(rows), int(numberIn(matching) or 0))
    if not total:
        return ["no connections"]
    width, room = space
    shown = rows
    if room is not None and total + 1 > room:
        shown = rows[: max(0, room - 2)]
    table = _fitting([[_cell(c, row) for c in COLUMNS] for row in shown], width)
    if len(shown) == total:
        return [table]
    how = "control lists all" if room is None else "--all"
    return [table, styled(f"... and {total - len(shown):,} more ({how})", "dim")]


def _fitting(cells: list[list[str]], width: int | None) -> Table:
    """
    A table with the columns that have values and fit.
    """
    used = [
        number
        for number, column in enumerate(COLUMNS)
        if column.rank == 0 or any(row[number] != "-" for row in cells)
    ]
    widths = {n: max(len(COLUMNS[n].name), *(len(row[n]) for row in cells), 0) for n in used}

    def ranked(number: int) -> tuple[int, int]:
        return COLUMNS[number].rank, number

    while width is not None and sum(widths[n] + GAP for n in used) - GAP > width:
        least = max(used, key=ranked)
        if COLUMNS[least].rank == 0:
            break
        used.remove(least)
    heads = [COLUMNS[n].name for n in used]
    left = frozenset(i for i, head in enumerate(heads) if head in ("peer", "host"))
    return Table([[row[n] for n in used] for row in cells], heads, left)


def _cell(column: Column, row: Row) -> str:
    value = row.get(column.field)
    match column.name:
        case "age" | "idle":
            return duration(value)
        case "read" | "written" | "pending":
            return size(value)
        case "rtt":
            trip = numberIn(value)
            return "-" if trip is None else f"{trip * 1000:.1f} ms"
        case _:
            return text(value)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
