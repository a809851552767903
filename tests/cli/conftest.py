"""The command line for tests, on an engine of their own."""

from __future__ import annotations

import pytest
from cli.driver import Cli


@pytest.fixture
def cli(engine_name: str) -> Cli:
    return Cli(engine_name)
