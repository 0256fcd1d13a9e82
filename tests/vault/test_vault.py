"""Personal data goes in, and comes out only masked, or for a purpose it is held for, on the record."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from domain.disclosure import PartnerOperation, PartnerRole
from domain.masking import mask
from domain.personal_data import DisclosureGround, PersonalField, Purpose, fields_for
from tests.vault.conftest import ELEMENTS, VaultCase
from vault.errors import (
    DisclosureRefusedError,
    PurposeNotAllowedError,
    SealBrokenError,
    TokenNotFoundError,
    UserErasedError,
    UserKeyMissingError,
    VaultError,
)
from vault.sealing import SealedItem
from vault.vault import Vault, read_request, sealed_items

SIGN = {
    "recipient": "HBRB",
    "role": PartnerRole.DOMESTIC_BANK,
    "operation": PartnerOperation.SIGN_APPLICATION,
    "purpose": Purpose.QUICK_PAY,
    "ground": DisclosureGround.NECESSARY_FOR_SERVICE,
    "request_number": "SG01JD0000000000000000000000",
}


async def test_what_was_sealed_is_revealed_for_its_purpose_by_another_process(case: VaultCase, vault: Vault) -> None:
    user_id, items = await case.enrol(vault)
    tokens = [item.token for item in items]
    assert await case.open_vault().reveal(user_id, tokens, Purpose.QUICK_PAY, "worker:bind_card") == ELEMENTS


async def test_every_read_is_recorded_with_purpose_actor_and_fields(case: VaultCase, vault: Vault) -> None:
    user_id, items = await case.enrol(vault)
    await vault.reveal(user_id, [items[0].token, items[2].token], Purpose.SUPPORT, "staff:42")
    (access,) = await case.rows("SELECT * FROM vault.access")
    assert {key: access[key] for key in ("user_id", "fields", "purpose", "actor", "outcome", "reason", "at")} == {
        "user_id": user_id,
        "fields": ["card_number", "name"],
        "purpose": "support",
        "actor": "staff:42",
        "outcome": "opened",
        "reason": None,
        "at": case.clock.now,
    }
    assert set(access["tokens"]) == {items[0].token, items[2].token}


async def test_a_read_for_a_purpose_outside_the_set_is_refused_and_recorded(case: VaultCase, vault: Vault) -> None:
    user_id, items = await case.enrol(vault, {**ELEMENTS, PersonalField.AGREEMENT_NUMBER: "AGR1"})
    with pytest.raises(PurposeNotAllowedError) as refused:
        await vault.reveal(user_id, [item.token for item in items], Purpose.QUICK_PAY, "staff:42")
    assert refused.value.reason == "purpose_not_allowed"
    (access,) = await case.rows("SELECT outcome, reason, purpose, cardinality(fields) AS fields FROM vault.access")
    assert access == {"outcome": "refused", "reason": "purpose_not_allowed", "purpose": "quick_pay", "fields": 5}


async def test_items_at_hand_are_opened_without_a_database_for_their_purpose_only(
    case: VaultCase, vault: Vault
) -> None:
    user_id, items = await case.enrol(vault, {PersonalField.AGREEMENT_NUMBER: "AGR1"})
    opened = await vault.open_items(user_id, items, Purpose.EXECUTE_INSTRUCTION)
    assert opened == {PersonalField.AGREEMENT_NUMBER: "AGR1"}
    with pytest.raises(PurposeNotAllowedError):
        await vault.open_items(user_id, items, Purpose.QUICK_PAY)


async def test_a_batch_of_reads_answers_each_item_by_itself(case: VaultCase, vault: Vault) -> None:
    user_id, items = await case.enrol(vault)
    good, bad = ["tok_" + "0" * 26], [item.token for item in items]
    requests = [read_request(user_id, tokens, Purpose.QUICK_PAY, "worker", case.clock.now) for tokens in (good, bad)]
    statement = sa.text("SELECT item, result FROM vault.open_items(CAST(:items AS jsonb)) ORDER BY item")
    async with case.database.app_engine.begin() as connection:
        rows = (await connection.execute(statement, {"items": json.dumps(requests)})).all()
    first, second = [json.loads(row.result) if isinstance(row.result, str) else row.result for row in rows]
    assert [row.item for row in rows] == [0, 1]
    with pytest.raises(TokenNotFoundError):
        sealed_items(first)
    assert {item.token for item in sealed_items(second)} == {item.token for item in items}


async def test_another_users_token_is_as_unknown_as_one_that_never_was(case: VaultCase, vault: Vault) -> None:
    _, theirs = await case.enrol(vault)
    user_id, mine = await case.enrol(vault)
    for tokens in ([theirs[0].token], [mine[0].token, theirs[1].token], ["tok_" + "0" * 26], []):
        with pytest.raises(TokenNotFoundError):
            await vault.reveal(user_id, tokens, Purpose.QUICK_PAY, "worker")
    assert await case.rows("SELECT DISTINCT outcome, reason FROM vault.access") == [
        {"outcome": "refused", "reason": "token_not_found"}
    ]


async def test_a_ciphertext_swapped_between_rows_or_users_is_refused(case: VaultCase, vault: Vault) -> None:
    user_id, items = await case.enrol(vault)
    other_id, others = await case.enrol(vault)
    name, id_number = items[0], items[1]
    swapped = [
        name.model_copy(update={"ciphertext": id_number.ciphertext}),
        name.model_copy(update={"field": PersonalField.MOBILE}),
        name.model_copy(update={"token": id_number.token}),
        name.model_copy(update={"ciphertext": others[0].ciphertext}),
        name.model_copy(update={"key_version": 2}),
        name.model_copy(update={"ciphertext": "AAAA" + name.ciphertext[4:]}),
        name.model_copy(update={"ciphertext": "AAAA"}),
        others[0],
    ]
    for item in swapped:
        with pytest.raises(SealBrokenError):
            await vault.open_items(user_id, [item], Purpose.QUICK_PAY)
    assert await vault.open_items(other_id, others, Purpose.QUICK_PAY) == ELEMENTS


async def test_masked_views_show_no_value_and_need_no_purpose(case: VaultCase, vault: Vault) -> None:
    user_id, items = await case.enrol(vault)
    _, theirs = await case.enrol(vault)
    masked = await case.open_vault().masked(user_id, [item.token for item in (*items, theirs[0])])
    assert masked == {item.token: mask(item.field, ELEMENTS[item.field]) for item in items}
    assert await case.rows("SELECT * FROM vault.access") == []


async def test_the_same_value_sealed_twice_looks_different(vault: Vault, case: VaultCase) -> None:
    user_id, items = await case.enrol(vault)
    again = await vault.seal(user_id, ELEMENTS)
    assert not {item.ciphertext for item in items} & {item.ciphertext for item in again}
    assert not {item.token for item in items} & {item.token for item in again}


async def test_storing_again_changes_nothing_and_other_content_under_a_token_is_an_error(
    case: VaultCase, vault: Vault
) -> None:
    user_id, items = await case.enrol(vault)
    rows = [item.model_dump(mode="json") for item in items]
    assert await case.call("vault.store_items", rows) == 0
    forged = rows[0] | {"ciphertext": rows[1]["ciphertext"]}
    with pytest.raises(sa.exc.IntegrityError):
        await case.call("vault.store_items", [forged])
    assert await vault.reveal(user_id, [items[0].token], Purpose.QUICK_PAY, "w") == {PersonalField.NAME: "欧阳娜娜"}


async def test_sealing_comes_after_the_user_has_a_key_and_within_bounds(case: VaultCase, vault: Vault) -> None:
    with pytest.raises(UserKeyMissingError):
        await vault.seal("usr_nobody", ELEMENTS)
    await vault.ensure_user_key("usr_somebody")
    for value in ("", "x" * 1025, "\ud800"):
        with pytest.raises(ValueError, match="a value of name has"):
            await vault.seal("usr_somebody", {PersonalField.NAME: value})
    with pytest.raises(ValueError, match="at most 100"):
        await vault.reveal("usr_somebody", ["tok"] * 101, Purpose.QUICK_PAY, "worker")


async def test_erased_items_are_gone_and_the_others_stay(case: VaultCase, vault: Vault) -> None:
    user_id, items = await case.enrol(vault)
    assert await vault.erase_items(user_id, [items[0].token]) == 1
    assert await vault.erase_items(user_id, [items[0].token]) == 0
    with pytest.raises(UserErasedError):
        await vault.reveal(user_id, [items[0].token], Purpose.QUICK_PAY, "worker")
    assert list(await vault.reveal(user_id, [items[1].token], Purpose.QUICK_PAY, "worker")) == [PersonalField.ID_NUMBER]
    assert items[0].token not in await vault.masked(user_id, [item.token for item in items])


async def test_a_disclosure_is_recorded_with_exactly_its_fields(case: VaultCase, vault: Vault) -> None:
    disclosure = vault.disclose(user_id="usr_1", fields=fields_for(Purpose.QUICK_PAY), **SIGN)
    row = disclosure.model_dump(mode="json")
    assert await case.call("vault.record_disclosures", [row]) == 1
    assert await case.call("vault.record_disclosures", [row]) == 0
    (logged,) = await case.rows("SELECT * FROM vault.disclosure", case.database.app_engine)
    assert logged == {
        "disclosure_id": disclosure.disclosure_id,
        "user_id": "usr_1",
        "recipient": "HBRB",
        "role": "domestic_bank",
        "operation": "sign_application",
        "fields": ["card_number", "id_number", "mobile", "name"],
        "purpose": "quick_pay",
        "ground": "necessary_for_service",
        "request_number": SIGN["request_number"],
        "cross_border": False,
        "at": case.clock.now,
    }


def test_fields_outside_the_allow_list_are_refused_before_anything_leaves(vault: Vault) -> None:
    refusals: list[tuple[dict[str, object], set[PersonalField]]] = [
        ({}, {*ELEMENTS, PersonalField.AGREEMENT_NUMBER}),
        ({}, set(ELEMENTS) - {PersonalField.MOBILE}),
        ({}, set()),
        ({"operation": PartnerOperation.DEBIT}, set(ELEMENTS)),
        ({"role": PartnerRole.CLEARING}, set(ELEMENTS)),
        ({"purpose": Purpose.EXECUTE_INSTRUCTION}, set(ELEMENTS)),
    ]
    for changed, fields in refusals:
        with pytest.raises(DisclosureRefusedError):
            vault.disclose(user_id="usr_1", fields=fields, **{**SIGN, **changed})


async def test_no_error_and_no_repr_shows_a_value_or_a_ciphertext(case: VaultCase, vault: Vault) -> None:
    user_id, items = await case.enrol(vault)
    shown = [repr(items), str(items)]
    try:
        await vault.open_items(user_id, [items[0].model_copy(update={"token": "x"})], Purpose.QUICK_PAY)
    except VaultError as error:
        shown += [repr(error), str(error)]
    assert len(shown) == 4
    secrets = [*ELEMENTS.values(), *(item.ciphertext for item in items)]
    assert not any(secret in text for secret in secrets for text in shown)


def test_a_sealed_item_survives_json() -> None:
    item = SealedItem.model_validate(
        {
            "token": "tok_1",
            "user_id": "usr_1",
            "field": "name",
            "ciphertext": "AAAA",
            "key_version": 1,
            "created_at": "2026-11-22T04:00:00Z",
        }
    )
    assert SealedItem.model_validate(json.loads(json.dumps(item.model_dump(mode="json")))) == item
