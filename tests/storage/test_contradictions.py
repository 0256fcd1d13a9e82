"""What contradicts the books is refused, or is a case for an operator; it never changes them by itself."""

from __future__ import annotations

from typing import Any

import pytest

from domain.banking import BankNotice, BankOutcome
from domain.errors import DomainError, ErrorCode
from domain.instructions import AcceptBinding
from domain.personal_data import PersonalField
from storage.requests import Requests
from tests.storage.books import BANK, ELEMENTS, NOW, Books


async def apply(books: Books, card_index: str, person_index: str) -> dict[str, Any]:
    sealed = await books.vault.seal(books.user_id, {PersonalField(name): value for name, value in ELEMENTS.items()})
    return await books.instructions.accept_binding(
        AcceptBinding(
            request=books.context(),
            now=NOW,
            id=books.new_id("bnd"),
            user_id=books.user_id,
            bank_code=BANK,
            card_index=card_index,
            card_last4="0018",
            card_type="debit",
            person_index=person_index,
            age_class="adult",
            sealed=tuple(item.model_dump(mode="json") for item in sealed),
            element_tokens={item.field.value: item.token for item in sealed},
            blocked_regions=("KP",),
        )
    )


async def test_two_people_cannot_bind_cards_for_one_user_at_once(books: Books) -> None:
    await books.run("DELETE FROM app.binding")
    await books.run("UPDATE app.end_user SET person_index = NULL")
    await apply(books, "card-2", "person-2")
    with pytest.raises(DomainError) as refused:
        await apply(books, "card-3", "person-3")
    assert refused.value.code is ErrorCode.PERSON_DIFFERS
    assert (await apply(books, "card-4", "person-2"))["state"] == "accepted"


@pytest.mark.parametrize(
    ("recorded", "announced", "cases"),
    [
        ("declined", BankOutcome.SUCCEEDED, 1),
        ("succeeded", BankOutcome.DECLINED, 1),
        ("declined", BankOutcome.DECLINED, 0),
        ("succeeded", BankOutcome.SUCCEEDED, 0),
    ],
)
async def test_a_callback_that_contradicts_a_refunds_end_is_a_case_for_an_operator(
    books: Books, recorded: str, announced: BankOutcome, cases: int
) -> None:
    payment = await books.instructions.accept_payment(books.payment())
    number = f"RF{payment['id'][4:]}"
    await books.run(
        "INSERT INTO app.effect (request_number, subject_id, step, bank_code, partner_role, claimed_at, outcome)"
        " VALUES (:n, :id, 'RF', :bank, 'domestic_bank', :at, :outcome)",
        n=number, id=payment["id"], bank=BANK, at=NOW, outcome=recorded,
    )  # fmt: skip
    requests = Requests(books.app, books.batchers["app.begin_requests"])
    for _ in range(2):
        notice = BankNotice(notice_id=books.new_id("ntc"), request_number=number, announces=announced)
        await requests.record_callback(NOW, BANK, notice)
    opened = "SELECT count(*) FROM app.case_record WHERE kind = 'operator_needed' AND subject_id = :id"
    assert await books.value(opened, id=payment["id"]) == cases
