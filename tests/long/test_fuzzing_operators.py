"""Made-up requests to the operators' API, as each role and as nobody: no outage, no breach, no more than a role may."""

from __future__ import annotations

import logging
import random
import tomllib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import schemathesis

from activities.interfaces import BankRecord
from domain.banking import BankOutcome
from ledger.verify import verify
from tests.api.conftest import CONFIG, ELEMENTS, Stage
from tests.api.houses import House, house_of
from tests.api.rows import fingerprints
from tests.long.conftest import say
from tests.long.fuzzing.aiming import Aim
from tests.long.fuzzing.bearer import Bearer
from tests.long.fuzzing.engine import fuzz
from tests.long.fuzzing.serving import served_on_a_socket
from tests.long.fuzzing.watching import Watch
from tests.ops.conftest import ROLES, OpsStage, Person, open_ops_stage

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

RULES = tomllib.loads((CONFIG / "decisions.toml").read_text(encoding="utf-8"))
# Whoever is fuzzing must not log itself out.
LEFT_OUT = frozenset({"/ops/v1/logout"})
REVEALS = frozenset({"POST /ops/v1/users/{user_id}/personal-data"})
# Together they may ask everything, so each edge case is tried by somebody who gets that far.
EDGES = frozenset({"administrator", "compliance", "support", "treasury"})
# What instructs: nobody of the institution may make one (A3.2a).
INSTRUCTIONS = ("app.end_user", "app.binding", "app.payment", "app.refund", "app.consent")


@pytest.fixture
async def ops(stage: Stage) -> AsyncIterator[OpsStage]:
    """Beside the merchants' API, over the same books."""
    async with open_ops_stage(stage.database, stage.clock) as opened:
        # A bank that says nothing is no outage of ours.
        opened.processes.bank_record = BankRecord(request_number="R", outcome=BankOutcome.NOT_FOUND)
        yield opened


@pytest.mark.parametrize("role", sorted(ROLES.roles))
async def test_a_role_that_tries_everything_gets_what_it_may_and_no_more(
    stage: Stage, ops: OpsStage, seed: int, caplog: pytest.LogCaptureFixture, role: str
) -> None:
    house = await house_of(stage, "海棠书店")
    person, others = await ops.operator(role), [await ops.operator(name) for name in ("support", "risk")]
    before = await fingerprints(stage)
    watch = Watch(_strange(house, [person, *others]), may_be_served=_may(ops, role), shows=REVEALS)
    bearer = Bearer(person.token, seed)
    found = await _fuzzed(
        ops,
        watch,
        seed,
        _aim(house, others, await _asked(house, others[1])),
        bearer=bearer,
        examples=25,
        edges=role in EDGES,
    )
    say(f"{role}: {watch.cases} cases, {dict(sorted(watch.statuses.items()))}, reached {dict(watch.reached)}")
    assert watch.findings == {}
    assert found == [], "\n\n".join(found)
    after = await fingerprints(stage)
    assert {name: after[name][0] for name in INSTRUCTIONS} == {name: before[name][0] for name in INSTRUCTIONS}
    await _nothing_is_wrong(stage, watch, caplog)


async def test_nobody_in_particular_gets_nothing_from_the_operators_api(
    stage: Stage, ops: OpsStage, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    house = await house_of(stage, "海棠书店")
    person = await ops.operator("risk")
    for token in (None, house.merchant.key, f"lso_{'0' * 26}_{'a' * 43}"):
        watch = Watch(_strange(house, [person]), may_be_served=lambda _: False)
        bearer = Bearer(token, seed) if token else None
        before = await fingerprints(stage)
        found = await _fuzzed(ops, watch, seed, _aim(house, [person], []), bearer=bearer, examples=8)
        say(f"nobody: {watch.cases} cases, {dict(sorted(watch.statuses.items()))}")
        assert watch.findings == {}
        assert found == [], "\n\n".join(found)
        changed = {name for name, rows in (await fingerprints(stage)).items() if rows != before[name]}
        assert changed <= {"app.login_brake"}
        await _nothing_is_wrong(stage, watch, caplog)


async def _fuzzed(
    ops: OpsStage, watch: Watch, seed: int, aim: Aim, *, bearer: Bearer | None, examples: int, edges: bool = True
) -> list[str]:
    app = ops.http._transport.app  # type: ignore[attr-defined]
    async with served_on_a_socket(app) as address:
        return await fuzz(
            ops.openapi(),
            address,
            watch,
            seed=seed,
            examples=examples,
            edges=edges,
            auth=bearer,
            aim=aim,
            checks={"negative_data_rejection": {"enabled": False}},
            leave_out=LEFT_OUT,
        )


def _may(ops: OpsStage, role: str) -> Any:
    permitted = ROLES.roles[role].permissions

    def may(case: schemathesis.Case) -> bool:
        operation: dict[str, Any] = ops.openapi()["paths"].get(case.path, {}).get(case.method.lower(), {})
        return operation.get("x-permission") in {None, *permitted}

    return may


def _strange(house: House, people: list[Person]) -> dict[str, str]:
    found = {f"a payer's {name}": value for name, value in ELEMENTS.items()}
    found |= {"a webhook's secret": house.webhook_secret, "an API key": house.merchant.key.split("_", 2)[2]}
    for person in people:
        secret = person.credentials
        found |= {
            f"{person.login}'s token": person.token.split("_", 2)[2],
            f"{person.login}'s password": secret.password,
        }
        found |= {f"{person.login}'s second factor": secret.totp_secret}
    return found


async def _asked(house: House, person: Person) -> list[str]:
    """Decisions that somebody of risk has asked for and that a second person may approve."""
    wanted = {"user.suspend": house.ids["user_id"], "merchant.suspend": house.merchant.id, "partner.disable": "HBRB"}
    made = [
        await person.post(
            "/decisions",
            {"kind": kind, "subject_id": subject, "ground": RULES["kinds"][kind]["grounds"][0], "reason": "三笔异常"},
        )
        for kind, subject in wanted.items()
    ]
    assert {answer.status_code for answer in made} == {201}, [answer.text for answer in made]
    return [answer.json()["id"] for answer in made]


def _aim(house: House, others: list[Person], asked: list[str]) -> Aim:
    subjects = [house.ids["payment_id"], house.ids["user_id"], house.ids["refund_id"], house.merchant.id, "HBRB"]
    identifiers = {
        "user_id": [house.ids["user_id"]],
        "binding_id": [house.ids["binding_id"]],
        "instruction_id": subjects[:3:2],
        "merchant_id": [house.merchant.id],
        "operator_id": [person.id for person in others],
        "decision_id": ["dec_" + "0" * 26, *asked],
        "subject_id": subjects,
    }

    def decision(chance: random.Random) -> dict[str, Any]:
        kind = chance.choice(sorted(RULES["kinds"]))
        fitting = {"user": house.ids["user_id"], "merchant": house.merchant.id, "partner": "HBRB"}
        subject = fitting.get(kind.partition(".")[0], chance.choice(subjects))
        ground = chance.choice(RULES["kinds"][kind]["grounds"])
        detail = chance.choice(({}, {}, {}, {}, {"outcome": "failed", "bank_reference": "x"}, {"function": "bind"}))
        return {
            "kind": kind,
            "subject_id": subject,
            "ground": ground,
            "reason": "三笔异常",
            "detail": detail,
        }

    return Aim(
        identifiers,
        {
            "POST /ops/v1/decisions": decision,
            "POST /ops/v1/users/{user_id}/personal-data": lambda chance: {
                "fields": [chance.choice(("name", "mobile", "id_number", "card_number"))],
                "reason_code": "support_case",
                "reason_text": "the payer calls",
            },
            "POST /ops/v1/operators": lambda chance: {
                "login": f"somebody{chance.randrange(50)}",
                "name": "瑞",
                "roles": [chance.choice(sorted(ROLES.roles))],
            },
        },
    )


async def _nothing_is_wrong(stage: Stage, watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    statement = "SELECT DISTINCT request_id FROM app.operation WHERE outcome IN ('refused', 'denied')"
    recorded = {row["request_id"] for row in await stage.rows(statement)}
    assert {name: code for name, code in watch.refused_commands.items() if name not in recorded} == {}
    report = await verify(stage.database.owner_engine)
    assert report.findings == ()
    assert await stage.records(outcome="failed") == []
    errors = [line for line in caplog.records if line.levelno >= logging.ERROR]
    assert errors == [], [(line.name, line.getMessage(), line.__dict__.get("reason")) for line in errors]
