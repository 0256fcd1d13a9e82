"""Entry point of the merchant API: `uvicorn api.app:create_app --factory`. The only file of this room that wires."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from temporalio.client import Client

from api.application import build
from api.rate_limits import RateLimits
from api.services import CardIssuer, Services, WebhookRules
from api.signatures import Signatures
from banks.card_prefixes import CardPrefixes, read_card_prefixes
from banks.directory import BankDirectory
from calendars.book import CalendarBook
from config.policy import export_text, read_agreement, read_policy
from config.settings import ApiSettings, load_or_exit
from domain.banking import BankConnector
from domain.disclosure import PartnerRole
from domain.errors import ErrorCode, RefusedError
from domain.fx_banking import FxConnector
from domain.limits import LimitSet
from domain.policy import Policy
from runtime import logging, temporal
from runtime.clock import SystemClock
from runtime.id_source import UlidSource
from screening.names import is_spelling_of
from storage.calendars import Calendars
from storage.closure_requests import ClosureRequests
from storage.fx import FxAcceptance
from storage.fx_reading import FxReading
from storage.instructions import Instructions
from storage.payouts import PayoutReading
from storage.reading import Reading
from storage.requests import Requests
from storage.reviews import Reviews
from storage.settlements import SettlementReading
from storage.signing_keys import SigningKeys
from storage.webhooks import Webhooks
from vault.evidence import EvidenceSeal
from wiring import CONFIG, forgotten_or_exit, open_adapters
from workflows.starting import Processes

_BATCHED = ("app.begin_requests", "app.accept_payments", "app.accept_refunds", "app.accept_payouts")
# A caller that waits longer has given up; the same key tells it later what became of it.
_GIVE_UP_SECONDS = 5.0


class RegisteredBanks:
    """The directory of banks and the card prefixes, as the routes need them."""

    def __init__(self, directory: BankDirectory, prefixes: CardPrefixes) -> None:
        self._directory = directory
        self._prefixes = prefixes
        stated = {record.code: record.limits for record in directory if record.limits is not None}
        self._limits = {code: LimitSet(**limits.model_dump()) for code, limits in stated.items()}
        self._currencies = {record.code: record.currencies for record in directory}

    def issuer(self, card_number: str) -> CardIssuer | None:
        row = self._prefixes.issuer(card_number)
        return CardIssuer(row.bank_code, row.card_type.value) if row else None

    def limits(self, bank_code: str) -> LimitSet:
        self._directory.record(bank_code)
        if bank_code not in self._limits:
            raise RefusedError(ErrorCode.PARTNER_NOT_AVAILABLE)
        return self._limits[bank_code]

    def currencies(self, bank_code: str) -> tuple[str, ...]:
        self._directory.record(bank_code)
        return self._currencies[bank_code]

    def connector(self, bank_code: str) -> BankConnector:
        return self._directory.connector(bank_code)

    def connector_for_sent(self, bank_code: str) -> BankConnector:
        return self._directory.connector_for_sent(bank_code)

    def fx_connector(self, bank_code: str) -> FxConnector:
        self._directory.record(bank_code)
        return self._directory.fx_connector_for_sent(bank_code)

    def opens_receiving_accounts(self, bank_code: str, currency: str) -> bool:
        try:
            record = self._directory.record(bank_code)
        except RefusedError:
            return False
        return record.opens_receiving_accounts and currency in record.holds

    def is_overseas(self, bank_code: str) -> bool:
        return self._directory.record(bank_code).role is PartnerRole.OVERSEAS_BANK


def create_app() -> FastAPI:
    """The application with settings from the environment; ends the process with code 2 if they are not fit."""
    settings = load_or_exit(ApiSettings)
    logging.configure_logging("api", settings.log_level)
    forgotten_or_exit(settings)

    @asynccontextmanager
    async def open_services() -> AsyncIterator[Services]:
        async with AsyncExitStack() as stack:
            yield await _wire(settings, stack)

    return build(open_services, needs_tls=settings.environment == "production", bind_request_id=logging.request_id)


async def _wire(settings: ApiSettings, stack: AsyncExitStack) -> Services:
    clock, policy = SystemClock(), Policy.model_validate(read_policy())
    adapters = await stack.enter_async_context(
        open_adapters(settings, _BATCHED, give_up_after_seconds=_GIVE_UP_SECONDS)
    )
    signing_keys = SigningKeys(adapters.engine)
    client = await temporal.connect(settings.payload_keys, environment=settings.environment)
    return Services(
        clock=clock,
        ids=UlidSource(),
        policy=policy,
        agreement_text=read_agreement(policy.agreement.version),
        data_export_text=read_agreement(export_text(policy.data_export.version)),
        requests=Requests(adapters.engine, adapters.batchers["app.begin_requests"]),
        instructions=Instructions(adapters.engine, adapters.batchers),
        reading=Reading(adapters.engine),
        payouts=PayoutReading(adapters.engine),
        settlements=SettlementReading(adapters.engine),
        reviews=Reviews(adapters.engine),
        fx=FxAcceptance(adapters.engine),
        fx_reading=FxReading(adapters.engine),
        closures=ClosureRequests(adapters.engine),
        calendars=CalendarBook(Calendars(adapters.engine)),
        is_spelling_of=is_spelling_of,
        vault=adapters.vault,
        retention=adapters.retention,
        banks=RegisteredBanks(adapters.banks, read_prefixes(adapters.banks)),
        processes=Processes(client),
        webhooks=Webhooks(adapters.engine),
        webhook_rules=WebhookRules(settings.webhook_key.get_secret_value(), settings.webhook_private_networks),
        signatures=Signatures(signing_keys, EvidenceSeal([settings.master_key.get_secret_value()])),
        signing_keys=signing_keys,
        rate_limits=RateLimits(policy.rate_limits),
        ready={"database": adapters.database_answers, "temporal": lambda: _temporal_answers(client)},
    )


def read_prefixes(directory: BankDirectory) -> CardPrefixes:
    """Which bank issued which cards."""
    text = (CONFIG / "card_prefixes.csv").read_text(encoding="utf-8")
    return read_card_prefixes(text, {record.code for record in directory})


async def _temporal_answers(client: Client) -> bool:
    return await client.service_client.check_health()
