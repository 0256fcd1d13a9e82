"""Naming the bank accounts that money may go to, on the real database (A2.5a)."""

from __future__ import annotations

import pytest

from domain.errors import ConflictError, DomainError, ErrorCode, NotFoundError
from domain.payouts import RemovePayee
from storage.payouts import PayoutReading
from tests.storage.books import NOW, Books
from tests.storage.deciders import Deciders


async def refused(books: Books, **changes: object) -> ErrorCode:
    with pytest.raises(DomainError) as error:
        await books.instructions.accept_payee(await books.payee(**changes))
    return error.value.code


async def test_a_named_account_is_kept_sealed_and_shown_by_its_last_four_only(books: Books) -> None:
    payee = await books.instructions.accept_payee(await books.payee())
    assert (payee["state"], payee["account_last4"], payee["name_match"]) == ("active", "1234", "match")
    assert "6217001234567891234" not in str(payee)
    tokens = "SELECT value FROM app.payee, jsonb_each_text(element_tokens)"
    fields = await books.value(f"SELECT array_agg(field ORDER BY field) FROM vault.item WHERE token IN ({tokens})")  # noqa: S608
    assert fields == ["account_number", "name"]


async def test_the_same_request_answers_the_same_and_the_same_account_the_payee_that_is_there(books: Books) -> None:
    command = await books.payee()
    first = await books.instructions.accept_payee(command)
    assert await books.instructions.accept_payee(command) == first
    with pytest.raises(ConflictError) as error:
        await books.instructions.accept_payee(await books.payee(account_index=command.account_index))
    assert (error.value.code, error.value.subject_id) == (ErrorCode.PAYEE_EXISTS, first["id"])
    assert await books.value("SELECT count(*) FROM app.payee") == 1


async def test_a_removed_payee_is_no_longer_listed_and_its_account_can_be_named_anew(books: Books) -> None:
    command = await books.payee()
    payee = await books.instructions.accept_payee(command)
    for _ in range(2):
        removed = await books.instructions.remove_payee(RemovePayee(request=books.context(), now=NOW, id=payee["id"]))
        assert (removed["state"], removed["removed_at"]) == ("removed", "2026-11-23T02:00:00.000Z")
    again = await books.known_payee(account_index=command.account_index)
    reading = PayoutReading(books.app)
    assert [found.view["id"] for found in await reading.payees(books.merchant_id, books.user_id, None, 10)] == [again]
    kept = await reading.payee(books.merchant_id, payee["id"])
    assert kept is not None
    assert kept.view == removed
    assert set(kept.element_tokens) == {"name", "account_number"}
    assert await reading.payee("mch_another", payee["id"]) is None


async def test_nobody_elses_payee_can_be_removed_or_paid(books: Books) -> None:
    payee_id = await books.known_payee()
    stranger = books.context().model_copy(update={"merchant_id": "mch_another"})
    with pytest.raises(NotFoundError):
        await books.instructions.remove_payee(RemovePayee(request=stranger, now=NOW, id=payee_id))
    assert await books.value("SELECT state FROM app.payee") == "active"


async def test_abroad_needs_the_users_consent_to_the_export_of_data_in_its_version(books: Books) -> None:
    abroad = {"region": "HK", "bank_id_kind": "hk_clearing", "bank_id": "004"}
    assert await refused(books, **abroad) is ErrorCode.DATA_EXPORT_NOT_ALLOWED
    await books.run(
        "INSERT INTO app.consent (user_id, merchant_id, kind, version, channel, acted_at)"
        " VALUES (:u, :m, 'data_export', '2026.1', 'app', :at)", u=books.user_id, m=books.merchant_id, at=NOW,
    )  # fmt: skip
    assert await refused(books, **abroad, data_export_version="2027.1") is ErrorCode.DATA_EXPORT_NOT_ALLOWED
    payee_id = await books.known_payee(**abroad, data_export_version="2026.1")
    await books.fund(20_000)
    with pytest.raises(DomainError) as error:
        await books.instructions.accept_payout(books.payout(payee_id, data_export_version="2027.1"))
    assert error.value.code is ErrorCode.DATA_EXPORT_NOT_ALLOWED


async def test_a_user_keeps_as_many_payees_as_are_allowed(books: Books) -> None:
    await books.known_payee(most=2)
    second = await books.known_payee(most=2)
    assert await refused(books, most=2) is ErrorCode.PAYEES_EXHAUSTED
    await books.instructions.remove_payee(RemovePayee(request=books.context(), now=NOW, id=second))
    await books.known_payee(most=2)


async def test_what_stands_in_a_users_way_stands_in_the_way_of_a_new_payee(books: Books, deciders: Deciders) -> None:
    assert await refused(books, blocked_regions=("CN",)) is ErrorCode.REGION_NOT_SERVED
    await deciders.decide("user.suspend", books.user_id, detail={"function": "payout"})
    assert await refused(books) is ErrorCode.FUNCTION_SUSPENDED
    await deciders.decide("user.suspend", books.user_id)
    assert await refused(books) is ErrorCode.USER_NOT_ACTIVE
    recorded = await books.value(
        "SELECT array_agg(reason ORDER BY id) FROM app.operation WHERE action = 'accept_payee' AND outcome = 'refused'"
    )
    assert recorded == ["region_not_served", "function_suspended", "user_not_active"]
