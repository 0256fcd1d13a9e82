"""One simulator for the whole contract suite, with quick faults, and the connectors that it is run against."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from banks.agreement_pay.client import AgreementPayConnector
from domain.banking import BankConnector
from tests.contracts.fx_stage import FxStage
from tests.contracts.harness import BankHarness, SimulatorHarness
from tests.simulator_process import SimulatorProcess, free_port

QUICK = {
    "processing_seconds": 0.8,
    "late_success_seconds": 2.5,
    "hang_seconds": 1.5,
    "slow_seconds": 0.2,
    "arrives_late_seconds": 2.0,
    "return_seconds": 0.3,
    "notice_delay_seconds": 0.05,
    "code_validity_seconds": 300,
    "code_attempts": 3,
    "request_validity_seconds": 60,
    "remembers_request_numbers_seconds": 604_800,
    "fx_quote_valid_seconds": 60,
    "fx_delivery_seconds": 0,
}


@pytest.fixture(scope="session")
def callback_port() -> int:
    """Where the simulator sends callbacks to; a test that wants them listens there."""
    return free_port()


@pytest.fixture(scope="session")
def shared_simulator(tmp_path_factory: pytest.TempPathFactory, callback_port: int) -> Iterator[SimulatorProcess]:
    """Started once."""
    process = SimulatorProcess(tmp_path_factory.mktemp("simulator"), notify_url=f"http://127.0.0.1:{callback_port}")
    process.start()
    yield process
    process.stop()


@pytest.fixture
async def simulator(shared_simulator: SimulatorProcess) -> SimulatorProcess:
    """The shared simulator as at its start: quick, up, and without ordered faults."""
    if not shared_simulator.is_running:
        shared_simulator.start()
    await shared_simulator.clear_faults()
    await shared_simulator.go_down(0)
    await shared_simulator.open_bank("HBRB")
    await shared_simulator.first_rates()
    await shared_simulator.control("fx-desk", bank_code="HBRB", open=True)
    await shared_simulator.change_settings(**QUICK)
    return shared_simulator


@pytest.fixture(params=[SimulatorHarness], ids=["agreement_pay"])
def bank(request: pytest.FixtureRequest, simulator: SimulatorProcess) -> BankHarness:
    """Every connector in turn. Add a further connector's harness to the list above."""
    harness: BankHarness = request.param(simulator)
    return harness


@pytest.fixture
async def connector(bank: BankHarness) -> AsyncIterator[BankConnector]:
    """A connector that is patient enough for a busy machine."""
    built = bank.connector()
    yield built
    await built.close()


@pytest.fixture
async def impatient(bank: BankHarness) -> AsyncIterator[BankConnector]:
    """A connector whose time-out is shorter than the simulator's time-out faults."""
    built = bank.connector(timeout_seconds=0.5)
    yield built
    await built.close()


@pytest.fixture
async def fx(simulator: SimulatorProcess) -> AsyncIterator[FxStage]:
    """A desk and a bank abroad, with connectors that are patient."""
    stage = FxStage(simulator)
    yield stage
    await stage.close()


@pytest.fixture
def harbour(simulator: SimulatorProcess) -> SimulatorHarness:
    """Harbour Bank, for tests of the simulator's own protocol."""
    return SimulatorHarness(simulator)


@pytest.fixture
async def harbour_connector(harbour: SimulatorHarness) -> AsyncIterator[AgreementPayConnector]:
    """A patient connector to it."""
    built = harbour.connector()
    yield built
    await built.close()
