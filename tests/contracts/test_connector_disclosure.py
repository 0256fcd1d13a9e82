"""P2.1.3, P2.1.3-1a: what really goes over the wire, compared exactly with what may."""

from __future__ import annotations

import json

import httpx
import pytest

from domain.banking import (
    BankConnector,
    BankOutcome,
    PaymentCodeRequest,
    PaymentCodeVerification,
    SignApplication,
    SignConfirmation,
    UnsignRequest,
)
from domain.disclosure import PartnerOperation, PartnerRole, allowed_fields
from domain.fx_banking import QuoteSide, ReceivingAccountRequest
from domain.personal_data import PersonalField
from tests.contracts.fx_stage import FxStage, return_of
from tests.contracts.harness import (
    PAYEE,
    BankHarness,
    Payer,
    Region,
    SimulatorHarness,
    notice_of,
    number,
    payout_to,
    refund_of,
    waived_debit,
)

# Payment data of each operation, beside the personal fields that `domain/disclosure.py` allows.
PAYMENT_DATA = {
    PartnerOperation.SIGN_APPLICATION: {"request_number"},
    PartnerOperation.SIGN_CONFIRMATION: {"request_number", "application_request_number", "code"},
    PartnerOperation.UNSIGN: {"request_number"},
    PartnerOperation.PAYMENT_CODE: {"request_number", "debit_request_number", "amount_minor", "currency", "payee"},
    PartnerOperation.PAYMENT_CODE_VERIFICATION: {"request_number", "code_request_number", "code"},
    PartnerOperation.DEBIT: {"request_number", "amount_minor", "currency", "payee", "verification", "authorisation"},
    PartnerOperation.REFUND: {"request_number", "debit_request_number", "amount_minor", "currency"},
    PartnerOperation.PAYOUT: {"request_number", "amount_minor", "currency", "region", "bank_id_kind", "bank_id"},
    PartnerOperation.ERASURE_NOTICE: {"request_number", "disclosed_under", "scope"},
}


FX_DATA: dict[PartnerOperation, set[str]] = {
    PartnerOperation.FX_QUOTE: set(),
    PartnerOperation.FX_CONVERSION: {
        *("request_number", "kind", "quote_id", "rate", "foreign_minor", "foreign_currency", "foreign_at"),
        *("purpose_code", "is_trade", "residency"),
    },
    PartnerOperation.OFFICIAL_QUOTA: {"request_number", "year"},
    PartnerOperation.RECEIVING_ACCOUNT: {"request_number", "currency"},
    PartnerOperation.INBOUND: set(),
    PartnerOperation.INBOUND_RETURN: {"request_number", "inbound_reference", "amount_minor", "currency"},
}


class WireTap(httpx.AsyncHTTPTransport):
    """Keeps every request that leaves, as it leaves."""

    def __init__(self) -> None:
        super().__init__(trust_env=False)
        self.sent: list[tuple[str, dict[str, str], bytes]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append((str(request.url), dict(request.headers), await request.aread()))
        return await super().handle_async_request(request)


async def _play_everything(bank: BankHarness, connector: BankConnector, payer: Payer) -> list[PartnerOperation]:
    application, code_number = number("SG"), number("PC")
    await connector.apply_to_sign(SignApplication(request_number=application, elements=payer.elements))
    code = await bank.code(payer, application)
    confirmed = await connector.confirm_sign(
        SignConfirmation(request_number=number("SC"), application_request_number=application, code=code)
    )
    assert confirmed.agreement_number is not None
    debit = waived_debit(confirmed.agreement_number)
    await connector.send_payment_code(
        PaymentCodeRequest(
            request_number=code_number,
            debit_request_number=debit.request_number,
            agreement_number=debit.agreement_number,
            amount_minor=debit.amount_minor,
            currency=debit.currency,
            payee=PAYEE,
        )
    )
    code = await bank.code(payer, code_number)
    verified = await connector.verify_payment_code(
        PaymentCodeVerification(request_number=number("VC"), code_request_number=code_number, code=code)
    )
    await connector.debit(debit.model_copy(update={"authorisation": verified.authorisation}))
    await connector.refund(refund_of(debit, 1))
    await connector.query(debit.request_number)
    await connector.unsign(UnsignRequest(request_number=number("US"), agreement_number=debit.agreement_number))
    await connector.send_erasure_notice(notice_of(application, debit.request_number))
    return [
        PartnerOperation.SIGN_APPLICATION,
        PartnerOperation.SIGN_CONFIRMATION,
        PartnerOperation.PAYMENT_CODE,
        PartnerOperation.PAYMENT_CODE_VERIFICATION,
        PartnerOperation.DEBIT,
        PartnerOperation.REFUND,
        PartnerOperation.QUERY,
        PartnerOperation.UNSIGN,
        PartnerOperation.ERASURE_NOTICE,
    ]


async def test_each_request_carries_exactly_the_allowed_fields(bank: BankHarness) -> None:
    wire, payer = WireTap(), bank.payer()
    connector = bank.connector(transport=wire)
    operations = await _play_everything(bank, connector, payer)
    await connector.close()
    assert len(wire.sent) == len(operations)
    for operation, (_, _, body) in zip(operations, wire.sent, strict=True):
        if operation is PartnerOperation.QUERY:
            assert body == b""
            continue
        allowed = {field.value for field in allowed_fields(PartnerRole.DOMESTIC_BANK, operation)}
        assert set(json.loads(body)) == allowed | PAYMENT_DATA[operation], operation


async def test_no_element_of_the_payer_leaves_except_in_the_body_of_the_application(bank: BankHarness) -> None:
    wire, payer = WireTap(), bank.payer()
    connector = bank.connector(transport=wire)
    operations = await _play_everything(bank, connector, payer)
    await connector.close()
    elements = [value.encode() for value in payer.elements.model_dump().values()]
    for operation, (url, headers, body) in zip(operations, wire.sent, strict=True):
        outside_body = f"{url} {headers}".encode()
        found = [element in outside_body for element in elements]
        assert not any(found), operation
        if operation is not PartnerOperation.SIGN_APPLICATION:
            assert not any(element in body for element in elements), operation


@pytest.mark.parametrize("operation", list(PartnerOperation))
def test_only_the_application_gets_the_four_elements_and_other_roles_get_no_more_than_a_name_and_an_account(
    operation: PartnerOperation,
) -> None:
    elements = {PersonalField.NAME, PersonalField.ID_NUMBER, PersonalField.CARD_NUMBER, PersonalField.MOBILE}
    quota_holder = {PersonalField.NAME, PersonalField.ID_NUMBER}
    sent = {
        PartnerOperation.SIGN_APPLICATION: elements,
        PartnerOperation.PAYOUT: {PersonalField.NAME},
        PartnerOperation.FX_CONVERSION: quota_holder,
        PartnerOperation.OFFICIAL_QUOTA: quota_holder,
        PartnerOperation.RECEIVING_ACCOUNT: {PersonalField.NAME},
    }
    allowed = allowed_fields(PartnerRole.DOMESTIC_BANK, operation)
    assert allowed & elements == sent.get(operation, set())
    abroad = {
        PartnerOperation.PAYOUT: {PersonalField.NAME, PersonalField.ACCOUNT_NUMBER},
        PartnerOperation.RECEIVING_ACCOUNT: {PersonalField.NAME},
    }
    assert allowed_fields(PartnerRole.OVERSEAS_BANK, operation) == abroad.get(operation, set())
    for role in set(PartnerRole) - {PartnerRole.DOMESTIC_BANK, PartnerRole.OVERSEAS_BANK}:
        assert not allowed_fields(role, operation)


@pytest.mark.parametrize("region", ["CN", "HK", "MO", "TW"])
async def test_a_payout_carries_the_payees_name_and_account_and_nothing_else_of_anybody(
    bank: BankHarness, region: Region
) -> None:
    wire = WireTap()
    connector = bank.connector(transport=wire)
    payout = payout_to(bank.payee_account(region), region)
    await bank.fund(payout.amount_minor, "CNY")
    assert (await connector.pay_out(payout)).outcome is BankOutcome.SUCCEEDED
    await connector.query(payout.request_number)
    await connector.close()
    (url, headers, body), (query_url, query_headers, nothing) = wire.sent
    allowed = {field.value for field in allowed_fields(PartnerRole.DOMESTIC_BANK, PartnerOperation.PAYOUT)}
    assert allowed == {"name", "account_number"}
    assert set(json.loads(body)) == allowed | PAYMENT_DATA[PartnerOperation.PAYOUT]
    for outside_body in (url, headers, query_url, query_headers):
        assert payout.account_number not in str(outside_body)
        assert payout.payee_name not in str(outside_body)
    assert nothing == b""
    assert payout.account_number not in f"{payout!r} {connector!r}"


async def test_what_goes_to_a_desk_and_abroad_is_exactly_what_may(fx: FxStage) -> None:
    """A4.3, P2.1.3-1c, P6b: of an individual name and ID number, of an account's holder the name, of others nothing."""
    wire = WireTap()
    desk = SimulatorHarness(fx.process, "HBRB").connector(transport=wire)
    abroad = SimulatorHarness(fx.process, "OSPB").connector(transport=wire)
    conversion = await fx.conversion(purpose_code="122030")
    await desk.fx_quote("USD", QuoteSide.BUYS)
    await desk.deal(conversion)
    await desk.official_quota("陈小满", "11010119900307889X", 2026)
    await abroad.open_receiving_account(
        ReceivingAccountRequest(request_number=number("RA"), currency="USD", holder_name="陈小满")
    )
    reference = await fx.arrive()
    await abroad.inbound(reference)
    await abroad.return_inbound(return_of(reference, 1))
    await desk.close()
    await abroad.close()
    sent = [set(json.loads(body)) if body else set() for _, _, body in wire.sent]
    domestic, overseas = PartnerRole.DOMESTIC_BANK, PartnerRole.OVERSEAS_BANK
    asked = [
        (domestic, PartnerOperation.FX_QUOTE),
        (domestic, PartnerOperation.FX_CONVERSION),
        (domestic, PartnerOperation.OFFICIAL_QUOTA),
        (overseas, PartnerOperation.RECEIVING_ACCOUNT),
        (overseas, PartnerOperation.INBOUND),
        (overseas, PartnerOperation.INBOUND_RETURN),
    ]
    for (role, operation), names in zip(asked, sent, strict=True):
        allowed = {field.value for field in allowed_fields(role, operation)}
        assert names == allowed | FX_DATA[operation], operation
    for url, headers, _ in wire.sent:
        assert conversion.id_number not in f"{url} {headers}"
    assert str(conversion.id_number) not in f"{conversion!r}"
