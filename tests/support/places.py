"""
The folders of the project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[2]
PACKAGE: Final = PROJECT / "twisted_tcpdemo"
DOCS: Final = PROJECT / "docs"
EXAMPLES: Final = DOCS / "examples"
TESTS: Final = PROJECT / "tests"
