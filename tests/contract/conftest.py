"""
The fixtures of the contract, for all of its files.
"""

from __future__ import annotations

from tests.client.conftest import resolver, resources
from tests.contract.test_contract import serve, transport

__all__ = ["resolver", "resources", "serve", "transport"]
