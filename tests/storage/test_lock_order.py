"""Everybody takes locks in one order, so that nobody is ended as the victim of a deadlock."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import sqlalchemy as sa

from domain.errors import DomainError, EffectRefusedError
from domain.instructions import AcceptUnbinding, ClaimEffect, ResolveCodeAttempt
from domain.personal_data import PersonalField
from tests.storage.books import NOW, Books

ROUNDS = 30


async def deadlocks(books: Books) -> int:
    """Seen so far by the server in this database; sessions report when they are idle."""
    async with books.app.connect() as connection:
        await connection.execute(sa.text("SELECT pg_stat_force_next_flush()"))
    return int(await books.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"))


async def another_user(books: Books) -> tuple[str, str]:
    """A user and a binding like the first ones."""
    user_id, binding_id = books.new_id("usr"), books.new_id("bnd")
    await books.run(
        "INSERT INTO app.end_user SELECT (jsonb_populate_record(u, jsonb_build_object('id', CAST(:new AS text),"
        " 'merchant_user_ref', CAST(:new AS text)))).* FROM app.end_user u WHERE u.id = :old",
        new=user_id, old=books.user_id,
    )  # fmt: skip
    await books.run(
        "INSERT INTO app.consent (user_id, merchant_id, kind, version, content_hash, channel, acted_at)"
        " SELECT :new, merchant_id, kind, version, content_hash, channel, acted_at FROM app.consent"
        " WHERE user_id = :old",
        new=user_id, old=books.user_id,
    )  # fmt: skip
    await books.run(
        "INSERT INTO app.binding SELECT (jsonb_populate_record(b, jsonb_build_object('id', CAST(:new AS text),"
        " 'user_id', CAST(:user AS text)))).* FROM app.binding b WHERE b.id = :old",
        new=binding_id, user=user_id, old=books.binding_id,
    )  # fmt: skip
    return user_id, binding_id


def early_claim(payment: dict[str, Any]) -> ClaimEffect:
    """Refused, because its code is awaited still; it takes the locks of any claim."""
    number = f"DB{payment['id'][4:]}"
    return ClaimEffect(now=NOW, kind="payment", id=payment["id"], step="DB", request_number=number)


async def test_claims_and_acceptances_of_many_users_do_not_block_each_other(books: Books) -> None:
    users = [(books.user_id, books.binding_id), *[await another_user(books) for _ in range(9)]]
    accepted: list[dict[str, Any]] = []
    before = await deadlocks(books)
    for _ in range(2 * ROUNDS):
        random.shuffle(users)
        random.shuffle(accepted)
        new = [books.payment(100, user_id=u, binding_id=b, fee_minor=0, limits=()) for u, b in users]
        claims = [books.instructions.claim_effect(early_claim(payment)) for payment in accepted]
        results = await asyncio.gather(*map(books.instructions.accept_payment, new), *claims, return_exceptions=True)
        accepted = [result for result in results if isinstance(result, dict)]
        assert all(isinstance(result, (dict, EffectRefusedError)) for result in results)
        assert len(accepted) == len(users)
    assert await deadlocks(books) == before


async def test_an_unbinding_its_claim_and_its_repetition_do_not_block_each_other(books: Books) -> None:
    await books.run("UPDATE app.binding SET state = 'unbinding'")
    unbind = AcceptUnbinding(request=books.context(), now=NOW, id=books.binding_id, user_id=books.user_id)
    before = await deadlocks(books)
    for turn in range(ROUNDS):
        claims = [
            ClaimEffect(
                now=NOW, kind="binding", id=books.binding_id, step="US",
                request_number=f"US{books.binding_id[4:]}{turn:02d}{n}",
            )
            for n in range(3)
        ]  # fmt: skip
        await asyncio.gather(
            *(books.instructions.accept_unbinding(unbind) for _ in range(4)),
            *map(books.instructions.claim_effect, claims),
            *(books.instructions.accept_unbinding(unbind) for _ in range(4)),
        )
    assert await deadlocks(books) == before


async def test_an_opening_binding_and_a_wish_to_unbind_it_do_not_block_each_other(books: Books) -> None:
    unbind = AcceptUnbinding(request=books.context(), now=NOW, id=books.binding_id, user_id=books.user_id)
    await books.run("ALTER TABLE app.binding DISABLE TRIGGER legal_step")
    before = await deadlocks(books)
    for turn in range(ROUNDS):
        await books.run("UPDATE app.binding SET state = 'awaiting_code'")
        await books.run("UPDATE app.end_user SET person_index = NULL")
        attempt_id = books.new_id("att")
        await books.run(
            "INSERT INTO app.code_attempt VALUES (:id, :b, :n, 'SG', :number, :at)",
            id=attempt_id, b=books.binding_id, n=turn + 1, number=f"VC{turn}", at=NOW,
        )  # fmt: skip
        [agreement] = await books.vault.seal(books.user_id, {PersonalField.AGREEMENT_NUMBER: f"AG-{turn}"})
        verdict = ResolveCodeAttempt(
            now=NOW, attempt_id=attempt_id, verdict="confirmed", agreement=agreement.model_dump(mode="json")
        )
        results = await asyncio.gather(
            *(books.instructions.accept_unbinding(unbind) for _ in range(3)),
            books.instructions.resolve_code_attempt(verdict),
            *(books.instructions.accept_unbinding(unbind) for _ in range(3)),
            return_exceptions=True,
        )
        assert all(isinstance(result, (dict, tuple, DomainError)) for result in results)
    assert await deadlocks(books) == before
