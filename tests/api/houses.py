"""Merchants with something of everything, and every address of the API with a request that is good there."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.rate_limits import RateLimits
from tests.api.closing import answered_closure, closure_body, dispute_of, records_body
from tests.api.conftest import ELEMENTS, Merchant, Stage
from tests.api.fx import arrived, confirmed_fx, fx_of, fx_order_of, mandate_body, mandate_of, receiving
from tests.api.payouts import OWN_ACCOUNT, confirmed, funded, order_of, payee_of, payout_of
from tests.api.refused_payments import enable_waiver
from tests.api.refused_webhooks import new_endpoint
from tests.api.settlements import ACCOUNT as SETTLEMENT_ACCOUNT
from tests.api.settlements import settled

# Whom banks, monitors and readers of the document are is not known by a merchant's key.
WITHOUT_A_KEY = {
    "POST /bank-callbacks/{bank_code}",
    "GET /health",
    "GET /ready",
    "GET /docs",
    "GET /openapi.json",
}


@dataclass(frozen=True)
class Route:
    """An address of the document and the scope it asks for."""

    name: str
    scope: str
    is_command: bool

    @property
    def method(self) -> str:
        return self.name.split()[0]

    @property
    def template(self) -> str:
        return self.name.split()[1]


@dataclass
class House:
    """A merchant with something of everything; it signs its instructions."""

    merchant: Merchant
    # By the name of the parameter that they are good for.
    ids: dict[str, str] = field(default_factory=dict)
    # Confirmed by the payer, and not sent yet.
    order: dict[str, Any] = field(default_factory=dict)
    payout: dict[str, Any] = field(default_factory=dict)
    fx: dict[str, Any] = field(default_factory=dict)
    event_id: str = ""
    webhook_secret: str = field(default="", repr=False)

    @property
    def marks(self) -> set[str]:
        """Whatever identifies this merchant's rows and must never be in a stranger's answer."""
        own = {self.merchant.id, self.order["order_number"], self.payout["order_number"], self.fx["order_number"]}
        own |= {self.event_id, self.webhook_secret}
        return own | set(self.ids.values())


Body = Callable[[House, Stage], dict[str, Any]]


def _consent(_house: House, stage: Stage) -> dict[str, Any]:
    return {
        "kind": "agreement",
        "version": stage.policy.agreement.version,
        "content_hash": stage.policy.agreement.content_hash,
        "channel": "app",
        "acted_at": stage.clock.now().isoformat(),
    }


# What each command is sent: good enough to be carried out, were it only asked by the right one.
BODIES: dict[str, Body | None] = {
    "POST /v1/users": lambda *_: {"merchant_user_ref": "customer-new", "type": "individual", "region": "CN"},
    "POST /v1/users/{user_id}/consents": _consent,
    "POST /v1/users/{user_id}/reports": lambda house, _: {
        "kind": "not_me",
        "payment_id": house.ids["payment_id"],
        "channel": "app",
    },
    "POST /v1/users/{user_id}/bindings": lambda *_: ELEMENTS | {"card_number": "9901010000000000026"},
    "DELETE /v1/users/{user_id}/bindings/{binding_id}": None,
    "POST /v1/users/{user_id}/bindings/{binding_id}/code": lambda *_: {"code": "482913"},
    "POST /v1/users/{user_id}/bindings/{binding_id}/code/resend": None,
    "POST /v1/payments/preview": lambda house, _: {
        name: value for name, value in house.order.items() if name not in ("confirmation_hash", "order_expires_at")
    },
    "POST /v1/payments": lambda house, _: house.order,
    "POST /v1/payments/{payment_id}/code": lambda *_: {"code": "482913"},
    "POST /v1/payments/{payment_id}/code/resend": None,
    "POST /v1/payments/{payment_id}/refunds": lambda *_: {"amount_minor": 100, "reason_code": "other"},
    "POST /v1/users/{user_id}/payees": lambda *_: OWN_ACCOUNT | {"account_number": "6200000000000000001"},
    "DELETE /v1/payees/{payee_id}": None,
    "POST /v1/payouts/preview": lambda house, _: {
        name: value for name, value in house.payout.items() if name != "confirmation_hash"
    },
    "POST /v1/payouts": lambda house, _: house.payout,
    "POST /v1/payouts/{payout_id}/confirm": lambda house, _: {"confirmation_hash": house.payout["confirmation_hash"]},
    "POST /v1/payouts/{payout_id}/evidence": lambda *_: {"evidence": [{"kind": "invoice", "reference": "file:1"}]},
    "POST /v1/users/{user_id}/receiving_accounts": lambda *_: {"currency": "HKD", "holder_name": "Zhang San"},
    "POST /v1/fx_mandates": lambda house, _: mandate_body(house.ids["user_id"], currency="HKD"),
    "POST /v1/fx_mandates/{fx_mandate_id}/end": None,
    "POST /v1/fx/preview": lambda house, _: {
        name: value for name, value in house.fx.items() if name != "confirmation_hash"
    },
    "POST /v1/fx": lambda house, _: house.fx,
    "POST /v1/fx/{fx_id}/disposal": lambda *_: {"action": "release"},
    "POST /v1/users/{user_id}/disputes": lambda house, _: {
        "subject_id": house.ids["payment_id"],
        "reason": "not_received",
    },
    "POST /v1/users/{user_id}/closures": lambda _house, stage: closure_body(stage),
    "POST /v1/closures/{closure_id}/records": lambda *_: records_body(),
    "POST /v1/closures/{closure_id}/erasure_reply": lambda *_: {"outcome": "erased"},
    "POST /v1/settlement_account": lambda *_: SETTLEMENT_ACCOUNT,
    "POST /v1/waiver/applications": lambda *_: {"limit_minor": 5_000, "currency": "CNY"},
    "POST /v1/signing_keys": lambda *_: {"public_key": new_public_key(), "algorithm": "ed25519", "label": "next"},
    "POST /v1/signing_keys/{signing_key_id}/revoke": None,
    "POST /v1/webhook_endpoints": lambda *_: {"url": "https://shop.example/more"},
    "DELETE /v1/webhook_endpoints/{endpoint_id}": None,
    "POST /v1/webhook_endpoints/{endpoint_id}/enable": None,
    "POST /v1/webhook_endpoints/{endpoint_id}/disable": None,
    "POST /v1/webhook_endpoints/{endpoint_id}/rotate_secret": lambda *_: {"overlap_seconds": 60},
    "POST /v1/webhook_endpoints/{endpoint_id}/test": None,
    "POST /v1/webhook_endpoints/{endpoint_id}/replay": lambda house, _: {"event_id": house.event_id},
}
QUERIES = {"GET /v1/statement": {"account": "pending"}}


def routes(stage: Stage) -> Iterator[Route]:
    """Every address that asks for a key."""
    for template, methods in stage.openapi()["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {template}"
            if name not in WITHOUT_A_KEY:
                assert operation.get("security"), f"{name} asks for no credential"
                keyed = any(item["name"] == "Idempotency-Key" for item in operation["parameters"])
                yield Route(name, operation["x-scope"], keyed)


def new_public_key() -> str:
    """Of an Ed25519 key that nobody keeps."""
    return base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()


async def house_of(stage: Stage, name: str) -> House:
    merchant = await stage.merchant(name)
    user_id, binding_id = await stage.payer(merchant)
    paid = await stage.paid(merchant, user_id, binding_id, amount_minor=77_700)
    refund = await merchant.post(f"/v1/payments/{paid['id']}/refunds", {"amount_minor": 700, "reason_code": "other"})
    assert refund.status_code == 201, refund.text
    await funded(stage, merchant, (user_id, binding_id), amount_minor=500_000)
    payee = await payee_of(merchant, user_id)
    payout = await payout_of(merchant, user_id, payee["id"])
    await enable_waiver(stage, merchant)
    endpoint = await new_endpoint(merchant)
    delivery = (await merchant.post(f"/v1/webhook_endpoints/{endpoint['id']}/test")).json()
    another = await merchant.post(
        "/v1/signing_keys", {"public_key": new_public_key(), "algorithm": "ed25519", "label": "spare"}
    )
    assert another.status_code == 201, another.text
    ids = {"user_id": user_id, "binding_id": binding_id, "payment_id": paid["id"], "refund_id": refund.json()["id"]}
    ids |= {"endpoint_id": endpoint["id"], "delivery_id": delivery["id"], "signing_key_id": another.json()["id"]}
    ids |= {"payee_id": payee["id"], "payout_id": payout["id"], "settlement_id": (await settled(stage, merchant))["id"]}
    ids |= await _foreign_currency(stage, merchant, user_id)
    # Somebody else's, and answered: what is asked of this user must not be refused for it.
    leaving = await stage.user(merchant)
    closure = await answered_closure(stage, merchant, leaving)
    ids |= {"closure_id": closure, "dispute_id": (await dispute_of(merchant, user_id))["id"], "leaving": leaving}
    order = await stage.confirmed(merchant, stage.order(user_id, binding_id, amount_minor=66_600))
    another_payout = await confirmed(merchant, order_of(user_id, payee["id"]))
    another_fx = await confirmed_fx(merchant, fx_order_of(user_id))
    return House(merchant, ids, order, another_payout, another_fx, delivery["event_id"], endpoint["secret"])


async def _foreign_currency(stage: Stage, merchant: Merchant, user_id: str) -> dict[str, str]:
    account = await receiving(stage, merchant, user_id)
    received = await arrived(stage, user_id, account["number"])
    mandate, fx = await mandate_of(merchant, user_id), await fx_of(merchant, user_id)
    ids = {"receiving_account_id": account["id"], "inbound_id": str(received.inbound_id)}
    return ids | {"fx_mandate_id": mandate["id"], "fx_id": fx["id"]}


def forget_quotas(stage: Stage) -> None:
    """For tests that ask more than one merchant or address ever may."""
    plenty = dict.fromkeys(("reads", "commands", "money_commands", "unauthenticated"), 10**9)
    limits = RateLimits(stage.policy.rate_limits.model_copy(update=plenty))
    object.__setattr__(stage.services, "rate_limits", limits)
