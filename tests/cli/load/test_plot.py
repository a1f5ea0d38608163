"""
The plot of a load.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from twisted_tcpdemo.cli.load.histogram import Results
from twisted_tcpdemo.cli.load.plot import HEIGHT, WIDTH, svg


@pytest.mark.parametrize("count", [0, 1, 5, 10_000])
def test_inside(count: int) -> None:
    """
    Whatever the times are, the drawing is well-formed, and nothing is outside.
    """
    results = Results()
    for number in range(count):
        results.measured.add(1000 + number**2)
        results.corrected.add(10 * (1000 + number**2))
    drawing = svg(results, 'a <title> & "more"')
    ElementTree.fromstring(drawing)
    lines = re.findall(r'class="corrected" d="(M80\.0 [^"]*)"', drawing)
    assert bool(lines) is bool(count)
    for line in lines:
        for letter, place in re.findall(r"([HV])([\d.-]+)", line):
            assert 0 <= float(place) <= (WIDTH if letter == "H" else HEIGHT)
        assert len(line) < 30_000
