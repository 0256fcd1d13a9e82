"""One simulator for the tests of its page, its control and its logs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulator_process import SimulatorProcess


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """A simulator of this module's own."""
    process = SimulatorProcess(tmp_path_factory.mktemp("simulator"))
    process.start()
    yield process
    process.stop()
