"""Thousands of requests made up from the merchant API's own document: no outage, no breach of it, no leak (A7.8)."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest

from ledger.verify import verify
from tests.api.conftest import ELEMENTS, Stage
from tests.api.houses import House, forget_quotas, house_of, new_public_key
from tests.api.payouts import OWN_ACCOUNT, confirmed, order_of
from tests.api.rows import fingerprints
from tests.long.conftest import say
from tests.long.fuzzing.aiming import Aim
from tests.long.fuzzing.bearer import Bearer
from tests.long.fuzzing.engine import fuzz
from tests.long.fuzzing.living import LivingProcesses
from tests.long.fuzzing.serving import served_on_a_socket
from tests.long.fuzzing.watching import Watch

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

CARDS = ("9901010000000000018", "9901010000000000026", "9901010000000000034", "9901010000000000042")
Payer = tuple[str, str]
PERSONS = {f"a payer's {name}": value for name, value in ELEMENTS.items()}
PERSONS |= {"a payee's account": OWN_ACCOUNT["account_number"]}
# An aimed request is right although it was to be wrong.
AIMED = {"negative_data_rejection": {"enabled": False}}


async def test_a_merchant_that_tries_everything_gets_neither_an_outage_nor_anything_of_another(
    stage: Stage, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    theirs, ours = await house_of(stage, "别家"), await house_of(stage, "海棠书店")
    object.__setattr__(stage.services, "processes", living := LivingProcesses(stage))
    before = await fingerprints(stage, theirs.marks)
    payers = [await stage.payer(ours.merchant) for _ in range(4)]
    aim = Aim(_identifiers(ours, theirs, payers), await _bodies(stage, ours, payers), _apart(ours))
    watch = Watch(strange={f"a stranger's {mark[:4]}": mark for mark in theirs.marks} | PERSONS)
    async with _served(stage) as address:
        bearer = await _bearer(stage, ours, seed)
        with caplog.at_level(logging.INFO):
            found = await fuzz(
                stage.openapi(),
                address,
                watch,
                seed=seed,
                examples=90,
                chains=40,
                edges=False,
                leave_out=frozenset({"/v1/signing_keys/{signing_key_id}/revoke"}),
                auth=bearer,
                aim=aim,
                checks=AIMED,
            )
    await living.rest()
    _report("aimed", watch)
    say(f"the processes did {living.done} things; reached: {dict(watch.reached)}")
    assert watch.findings == {}
    assert found == [], "\n\n".join(found)
    assert await fingerprints(stage, theirs.marks) == before
    await _nothing_is_wrong(stage, watch, caplog)


async def test_requests_as_the_document_makes_them_are_answered_as_the_document_says(
    stage: Stage, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    ours = await house_of(stage, "海棠书店")
    watch = Watch(strange=PERSONS)
    async with _served(stage) as address:
        bearer = await _bearer(stage, ours, seed)
        found = await fuzz(stage.openapi(), address, watch, seed=seed, examples=40, auth=bearer)
    _report("as generated", watch)
    assert watch.findings == {}
    assert found == [], "\n\n".join(found)
    await _nothing_is_wrong(stage, watch, caplog)


@pytest.mark.parametrize("credential", [None, "lsk_01KB5N3E4H6Q8Z2T7V9W0X1Y2R_" + "a" * 43], ids=["none", "unknown"])
async def test_without_a_credential_nothing_is_served_whatever_is_asked(
    stage: Stage, seed: int, caplog: pytest.LogCaptureFixture, credential: str | None
) -> None:
    theirs = await house_of(stage, "别家")
    aim = Aim({name: [value] for name, value in theirs.ids.items()}, await _bodies(stage, theirs, []))
    watch = Watch(
        strange={f"a stranger's {mark[:4]}": mark for mark in theirs.marks} | PERSONS, may_be_served=lambda _: False
    )
    before = await fingerprints(stage)
    async with _served(stage) as address:
        bearer = Bearer(credential, seed) if credential else None
        found = await fuzz(stage.openapi(), address, watch, seed=seed, examples=20, auth=bearer, aim=aim, checks=AIMED)
    _report("without a credential", watch)
    assert watch.findings == {}
    assert found == [], "\n\n".join(found)
    assert set(watch.statuses) <= {401, 403, 404, 405, 413}
    assert await fingerprints(stage) == before
    await _nothing_is_wrong(stage, watch, caplog)


def _served(stage: Stage) -> Any:
    forget_quotas(stage)
    return served_on_a_socket(stage.http._transport.app)  # type: ignore[attr-defined]


def _report(what: str, watch: Watch) -> None:
    say(f"{what}: {watch.cases} cases, {dict(sorted(watch.statuses.items()))}, {dict(watch.codes.most_common())}")


async def _nothing_is_wrong(stage: Stage, watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """Every refused command is on record, the books balance, nothing broke behind the answers."""
    statement = "SELECT DISTINCT request_id FROM app.operation WHERE outcome IN ('refused', 'denied')"
    recorded = {row["request_id"] for row in await stage.rows(statement)}
    unrecorded = {name: code for name, code in watch.refused_commands.items() if name not in recorded}
    assert watch.refused_commands
    assert unrecorded == {}
    report = await verify(stage.database.owner_engine)
    assert report.findings == ()
    assert not any(report.trial_balance_difference.values())
    assert await stage.records(outcome="failed") == []
    errors = [line for line in caplog.records if line.levelno >= logging.ERROR]
    assert errors == [], [(line.name, line.getMessage(), line.__dict__.get("reason")) for line in errors]


def _identifiers(ours: House, theirs: House, payers: list[Payer]) -> dict[str, list[str]]:
    found = {name: [ours.ids[name], theirs.ids[name]] for name in ours.ids}
    found["user_id"] += [user_id for user_id, _ in payers]
    found["binding_id"] += [binding_id for _, binding_id in payers]
    return found | {"event_id": [ours.event_id, theirs.event_id], "object_id": [ours.ids["payment_id"]]}


def _apart(ours: House) -> dict[str, dict[str, list[str]]]:
    """One payer is unbound and reported again and again; the others go on paying."""
    only = {name: [ours.ids[name]] for name in ("user_id", "binding_id")}
    return {
        "DELETE /v1/users/{user_id}/bindings/{binding_id}": only,
        "POST /v1/users/{user_id}/reports": only,
    }


async def _bearer(stage: Stage, house: House, seed: int) -> Bearer:
    signing_key = await stage.sign(house.merchant)
    return Bearer(house.merchant.key, seed, signing_key=signing_key, now=stage.clock.now)


async def _bodies(stage: Stage, house: House, payers: list[Payer]) -> dict[str, Any]:
    orders = [house.order] + [
        await stage.confirmed(house.merchant, stage.order(*payer, amount_minor=1_000))
        for payer in payers
        for _ in range(10)
    ]
    agreement = stage.policy.agreement

    def consent(chance: random.Random) -> dict[str, Any]:
        kind = chance.choice(("agreement", "agreement", "waiver_objection", "capacity_statement"))
        body = {"kind": kind, "version": agreement.version, "channel": "app"}
        return body | {"content_hash": agreement.content_hash, "acted_at": stage.clock.now().isoformat()}

    return await _bodies_of_payouts(house) | {
        "POST /v1/users": lambda chance: {
            "merchant_user_ref": f"customer-{chance.randrange(200)}",
            "type": chance.choice(("individual", "enterprise")),
            "region": chance.choice(("CN", "SG")),
        },
        "POST /v1/users/{user_id}/consents": consent,
        "POST /v1/users/{user_id}/bindings": lambda chance: ELEMENTS | {"card_number": chance.choice(CARDS)},
        "POST /v1/users/{user_id}/bindings/{binding_id}/code": _code,
        "POST /v1/payments/{payment_id}/code": _code,
        "POST /v1/payments": lambda chance: chance.choice(orders),
        "POST /v1/payments/preview": lambda chance: {
            name: value
            for name, value in chance.choice(orders).items()
            if name not in ("confirmation_hash", "order_expires_at")
        },
        "POST /v1/payments/{payment_id}/refunds": lambda chance: {
            "amount_minor": chance.choice((1, 100, 1_000, 77_700)),
            "reason_code": "other",
        },
        "POST /v1/waiver/applications": lambda chance: {"limit_minor": chance.randrange(1, 30_000), "currency": "CNY"},
        "POST /v1/users/{user_id}/reports": lambda _: {"kind": "not_me", "channel": "app"},
        "POST /v1/signing_keys": lambda _: {"public_key": new_public_key(), "algorithm": "ed25519", "label": "another"},
        "POST /v1/webhook_endpoints": lambda chance: {
            "url": chance.choice(("https://shop.example/events", "https://127.0.0.1/", "http://shop.example:1/")),
            "event_types": chance.choice(([], ["payment.*"])),
        },
        "POST /v1/webhook_endpoints/{endpoint_id}/rotate_secret": lambda chance: {
            "overlap_seconds": chance.randrange(1_000)
        },
        "POST /v1/webhook_endpoints/{endpoint_id}/replay": lambda _: {"event_id": house.event_id},
    }


async def _bodies_of_payouts(house: House) -> dict[str, Any]:
    payouts = [house.payout] + [
        await confirmed(house.merchant, order_of(house.ids["user_id"], house.ids["payee_id"], amount_minor=1_000))
        for _ in range(10)
    ]
    return {
        "POST /v1/users/{user_id}/payees": lambda chance: (
            OWN_ACCOUNT
            | {
                "account_number": f"62{chance.randrange(20):017d}",
                "relation": chance.choice(("own", "other")),
                "name": chance.choice(("李四", "海棠书店", "Chan Tai Man")),
            }
        ),
        "POST /v1/payouts": lambda chance: chance.choice(payouts),
        "POST /v1/payouts/preview": lambda chance: {
            name: value for name, value in chance.choice(payouts).items() if name != "confirmation_hash"
        },
        "POST /v1/payouts/{payout_id}/confirm": lambda chance: {
            "confirmation_hash": chance.choice(payouts)["confirmation_hash"]
        },
        "POST /v1/payouts/{payout_id}/evidence": lambda _: {"evidence": [{"kind": "invoice", "reference": "file:1"}]},
    }


def _code(chance: random.Random) -> dict[str, str]:
    return {"code": chance.choice(("482913", "482913", "482913", "000000"))}
