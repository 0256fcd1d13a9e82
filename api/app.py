"""Entry point of the merchant API: `uvicorn api.app:create_app --factory`. The only file of this room that wires."""

from __future__ import annotations

import base64
import tomllib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from pydantic import SecretBytes
from temporalio.client import Client

from api.application import build
from api.services import CardIssuer, Services
from banks.agreement_pay.config import BankConnection
from banks.card_prefixes import CardPrefixes, read_card_prefixes
from banks.directory import BankDirectory, BankRegister, build_directory
from config.policy import read_agreement, read_policy
from config.settings import ApiSettings, load_or_exit
from domain.banking import BankConnector
from domain.limits import LimitSet
from domain.policy import Policy
from runtime import logging, temporal
from runtime.clock import SystemClock
from runtime.id_source import UlidSource
from storage.batcher import Batcher
from storage.database import create_engine
from storage.instructions import Instructions
from storage.reading import Reading
from storage.requests import Requests
from vault.sealing import MasterKeys
from vault.vault import Vault
from workflows.starting import Processes

CONFIG = Path(__file__).resolve().parent.parent / "config"
_BATCHED = ("app.begin_requests", "app.accept_payments", "app.accept_refunds")
# A caller that waits longer has given up; the same key tells it later what became of it.
_GIVE_UP_SECONDS = 5.0


class RegisteredBanks:
    """The directory of banks and the card prefixes, as the routes need them."""

    def __init__(self, directory: BankDirectory, prefixes: CardPrefixes) -> None:
        self._directory = directory
        self._prefixes = prefixes
        self._limits = {record.code: LimitSet(**record.limits.model_dump()) for record in directory}
        self._currencies = {record.code: record.currencies for record in directory}

    def issuer(self, card_number: str) -> CardIssuer | None:
        row = self._prefixes.issuer(card_number)
        return CardIssuer(row.bank_code, row.card_type.value) if row else None

    def limits(self, bank_code: str) -> LimitSet:
        self._directory.record(bank_code)
        return self._limits[bank_code]

    def currencies(self, bank_code: str) -> tuple[str, ...]:
        self._directory.record(bank_code)
        return self._currencies[bank_code]

    def connector(self, bank_code: str) -> BankConnector:
        return self._directory.connector(bank_code)

    def connector_for_sent(self, bank_code: str) -> BankConnector:
        return self._directory.connector_for_sent(bank_code)


def create_app() -> FastAPI:
    """The application with settings from the environment; ends the process with code 2 if they are not fit."""
    settings = load_or_exit(ApiSettings)
    logging.configure_logging("api", settings.log_level)

    @asynccontextmanager
    async def open_services() -> AsyncIterator[Services]:
        async with AsyncExitStack() as stack:
            yield await _wire(settings, stack)

    return build(open_services, needs_tls=settings.environment == "production", bind_request_id=logging.request_id)


async def _wire(settings: ApiSettings, stack: AsyncExitStack) -> Services:
    clock = SystemClock()
    main = create_engine(settings.database_url.get_secret_value(), application_name="liushui-api")
    stack.push_async_callback(main.dispose)
    keys = create_engine(settings.key_database_url.get_secret_value(), pool_size=4, application_name="liushui-api")
    stack.push_async_callback(keys.dispose)
    directory = read_banks(settings)
    stack.push_async_callback(directory.close)
    batchers = {
        name: await stack.enter_async_context(Batcher(main, name, give_up_after_seconds=_GIVE_UP_SECONDS))
        for name in _BATCHED
    }
    client = await temporal.connect(settings.payload_keys, environment=settings.environment)
    reading = Reading(main)
    policy = Policy.model_validate(read_policy())
    return Services(
        clock=clock,
        ids=UlidSource(),
        policy=policy,
        agreement_text=read_agreement(policy.agreement.version),
        requests=Requests(main, batchers["app.begin_requests"]),
        instructions=Instructions(main, batchers),
        reading=reading,
        vault=Vault(
            main=main,
            keys=keys,
            master_keys=MasterKeys([settings.master_key.get_secret_value()]),
            index_key=settings.index_key.get_secret_value(),
            clock=clock.now,
        ),
        banks=RegisteredBanks(directory, read_prefixes(directory)),
        processes=Processes(client),
        ready={"database": reading.answers, "temporal": lambda: _temporal_answers(client)},
    )


def read_banks(settings: ApiSettings) -> BankDirectory:
    """The registered banks with their connectors; in this release all of them are played by the simulator."""
    register = BankRegister.from_toml(tomllib.loads((CONFIG / "banks.toml").read_text(encoding="utf-8")))
    connection = BankConnection.from_encoded(
        settings.simulator_url, _base64(settings.bank_signing_key), _base64(settings.simulator_public_key)
    )
    return build_directory(register, {record.code: connection for record in register.banks})


def read_prefixes(directory: BankDirectory) -> CardPrefixes:
    """Which bank issued which cards."""
    text = (CONFIG / "card_prefixes.csv").read_text(encoding="utf-8")
    return read_card_prefixes(text, {record.code for record in directory})


async def _temporal_answers(client: Client) -> bool:
    return await client.service_client.check_health()


def _base64(key: SecretBytes) -> str:
    return base64.b64encode(key.get_secret_value()).decode()
