"""The client's models say what the API's document says, and bear what a later version may add."""

from __future__ import annotations

from typing import Any

import pytest

from client import (
    events,
    fx_models,
    models,
    payout_models,
    reports,
    settlement_models,
    signing_keys,
    states,
    webhook_endpoints,
)
from client.models import Payment, Resource
from domain import states as rules
from tests.api.document import api_document

_SAME = (
    "User",
    "Consent",
    "Binding",
    "LimitLeft",
    "Limits",
    "PaymentPreview",
    "Payment",
    "Refund",
    "AccountBalance",
    "Balances",
    "Movement",
    "WaiverApplication",
    "Waiver",
    "WaitingFor",
)


_OF_PAYOUTS = (
    "Payee",
    "PayoutPreview",
    "Payout",
    "PayoutLimits",
    "Arrival",
    "NeededConfirmation",
    "SecondConfirmation",
    "EvidenceRequested",
    "PayoutReturn",
    "DataRecipient",
)


_OF_SETTLEMENTS = ("SettlementAccount", "SettlementAccounts", "Settlement", "SettlementLine", "SettlementReport")


_OF_FX = (
    "ReceivingAccount",
    "Inbound",
    "FxMandate",
    "IndicativeRate",
    "FxRate",
    "PlannedFx",
    "PlannedWindow",
    "FxRounding",
    "QuotaOfFx",
)


_MODELS: dict[str, type[Resource]] = {name: getattr(models, name) for name in _SAME} | {
    **{name: getattr(payout_models, name) for name in _OF_PAYOUTS},
    **{name: getattr(settlement_models, name) for name in _OF_SETTLEMENTS},
    **{name: getattr(fx_models, name) for name in _OF_FX},
    "Fx": fx_models.Conversion,
    "FxPreview": fx_models.ConversionPreview,
    "FxEvidence": fx_models.Evidence,
    "AgreementInForce": models.Agreement,
    "DataExportText": payout_models.DataExport,
    "Event": events.Event,
    "Report": reports.Report,
    "PageOfEvents": events.EventPage,
    "SigningKeyResource": signing_keys.RegisteredKey,
    "WebhookEndpointWithSecret": webhook_endpoints.WebhookEndpoint,
    "WebhookDeliveryWithLog": webhook_endpoints.WebhookDelivery,
    "WebhookAttempt": webhook_endpoints.WebhookAttempt,
    "WebhookReplay": webhook_endpoints.WebhookReplay,
}


@pytest.mark.parametrize("name", _MODELS)
def test_every_field_of_the_api_is_in_the_model(name: str) -> None:
    schemas, model = api_document()["components"]["schemas"], _MODELS[name]
    documented = {field: schema for field, schema in schemas[name]["properties"].items() if field != "object"}
    names = {found.alias or name for name, found in model.model_fields.items()}
    assert {field for field in documented if field not in names} == set()
    nullable = {field for field, schema in documented.items() if _may_be_null(schema)}
    assert {field for field in nullable if not _takes_null(model, field)} == set()


def _may_be_null(schema: dict[str, Any]) -> bool:
    return any(choice.get("type") == "null" for choice in schema.get("anyOf", ()))


def _takes_null(model: type[Resource], field: str) -> bool:
    [found] = [item for name, item in model.model_fields.items() if (item.alias or name) == field]
    return type(None) in getattr(found.annotation, "__args__", ())


@pytest.mark.parametrize(
    "name",
    ["BindingState", "PaymentState", "RefundState", "PayoutState", "ReceivingAccountState", "FxState", "WaitReason"],
)
def test_the_client_knows_the_words_of_the_rules(name: str) -> None:
    assert {word.value for word in getattr(states, name)} >= {word.value for word in getattr(rules, name)}


def test_a_word_of_a_later_version_stays_a_string() -> None:
    class Found(Resource):
        state: models.AnyPaymentState

    assert Found.model_validate({"state": "succeeded"}).state is states.PaymentState.SUCCEEDED
    assert Found.model_validate({"state": "split"}).state == "split"
    assert Found.model_validate_json('{"state": "split", "more": 1}').state == "split"


def test_a_part_of_a_fen_is_no_amount() -> None:
    class Found(Resource):
        amount_minor: int

    with pytest.raises(ValueError, match="amount_minor"):
        Found.model_validate_json('{"amount_minor": 12.5}')
    assert Payment.model_fields["amount_minor"].annotation is int
