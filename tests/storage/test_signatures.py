"""What the first commit of a request makes of signatures, whatever the process before it says."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from domain.errors import ErrorCode
from runtime import logging
from runtime.postgres import EmbeddedPostgres
from storage.administration import Act
from storage.batcher import Batcher
from storage.database import create_engine
from storage.migrate import Tree, downgrade, upgrade
from storage.provision import Passwords, provision
from storage.requests import Begun, GivenSignature, Requests, StartedRequest
from storage.signing_keys import SigningKeys, register, revoke
from tests.conftest import Database
from tests.storage.books import NOW, Books

PUBLIC_KEY = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
OPERATOR = Act("operator:test", NOW)


def requests_of(books: Books) -> Requests:
    return Requests(books.app, books.batchers["app.begin_requests"])


def started(books: Books, signature: GivenSignature | None, **changes: Any) -> StartedRequest:
    values = {
        "now": NOW, "request_id": books.new_id("req"), "action": "accept_payment", "scope": "payments:write",
        "key_id": "key_test", "secret_hash": hashlib.sha256(b"secret").hexdigest(), "record": True,
        "idempotency_key": books.ids.ulid(), "fingerprint": "f", "resource_id": books.new_id("pay"),
        "signature": signature,
    }  # fmt: skip
    return StartedRequest.model_validate(values | changes)


def signature(key_id: str, nonce: str = "nonce", **changes: Any) -> GivenSignature:
    values = {
        "key_id": key_id, "nonce_hash": hashlib.sha256(nonce.encode()).hexdigest(), "created": NOW,
        "nonce_expires_at": NOW + timedelta(seconds=600), "signature": "ab" * 64, "sealed_base": "cd" * 40,
        "seal_key_id": "se_1",
    }  # fmt: skip
    return GivenSignature.model_validate(values | changes)


async def key_of(books: Books) -> str:
    key: str = (await register(books.owner, OPERATOR, books.ids.ulid(), books.merchant_id, PUBLIC_KEY))["id"]
    return key


def code_of(begun: Begun) -> ErrorCode | None:
    return begun.refusal.code if begun.refusal else None


async def test_a_request_that_is_sent_again_after_a_lost_answer_does_not_replay_itself(books: Books) -> None:
    request = started(books, signature(await key_of(books)))
    first, again = [await requests_of(books).begin(request) for _ in range(2)]
    assert (code_of(first), code_of(again)) == (None, None)
    assert await books.value("SELECT count(*) FROM app.instruction_signature") == 1
    other = started(books, request.signature)
    assert code_of(await requests_of(books).begin(other)) is ErrorCode.SIGNATURE_REPLAYED


async def test_one_nonce_in_one_batch_is_taken_once(books: Books) -> None:
    given = signature(await key_of(books))
    begun = await asyncio.gather(*(requests_of(books).begin(started(books, given)) for _ in range(30)))
    assert sorted(str(code_of(one)) for one in begun) == ["None"] + ["SIGNATURE_REPLAYED"] * 29


async def test_one_nonce_at_two_processes_is_taken_once(books: Books, database: Database) -> None:
    given = signature(await key_of(books))
    other_engine = create_engine(database.app_url)
    async with Batcher(other_engine, "app.begin_requests") as batcher:
        processes = [requests_of(books), Requests(other_engine, batcher)]
        begun = await asyncio.gather(*(processes[n % 2].begin(started(books, given)) for n in range(20)))
    await other_engine.dispose()
    assert sum(code_of(one) is None for one in begun) == 1


async def test_a_revocation_holds_for_a_process_that_remembers_the_key(books: Books) -> None:
    key_id, book = await key_of(books), SigningKeys(books.app)
    assert await book.find(key_id) is not None
    await revoke(books.owner, OPERATOR, books.merchant_id, key_id)
    assert await book.find(key_id) is not None
    begun = await requests_of(books).begin(started(books, signature(key_id)))
    assert code_of(begun) is ErrorCode.SIGNING_KEY_UNKNOWN
    assert begun.merchant_id == books.merchant_id
    assert await books.value("SELECT count(*) FROM app.idempotency") == 0
    assert await books.value("SELECT detail->>'signing_key' FROM app.operation WHERE outcome = 'denied'") == key_id


async def test_a_refusal_of_an_unknown_key_names_no_merchant(books: Books) -> None:
    begun = await requests_of(books).begin(started(books, None, secret_hash="00" * 32))
    assert (begun.merchant_id, code_of(begun)) == (None, ErrorCode.API_KEY_INVALID)


async def test_operators_read_and_register_keys_and_the_app_role_writes_no_table(
    books: Books, database: Database
) -> None:
    async with books.app.connect() as connection:
        for statement in (
            "INSERT INTO app.signature_nonce VALUES ('k', sha256('x'), 'r', now())",
            "UPDATE app.signing_key SET revoked_at = NULL",
            "DELETE FROM app.signature_nonce",
        ):
            with pytest.raises(sa.exc.DBAPIError, match="permission denied"):
                await connection.exec_driver_sql(statement)
            await connection.rollback()
    made = await register(database.ops_engine, OPERATOR, books.ids.ulid(), books.merchant_id, PUBLIC_KEY)
    assert made["registered_by"] == "operator:test"


async def test_what_the_migration_replaced_comes_back_with_its_rights_when_it_goes_down(
    postgres_server: EmbeddedPostgres,
) -> None:
    urls = await provision(postgres_server.admin_url, "signed_down", "signed_down_keys", Passwords.generate())
    await downgrade(urls.owner, Tree.MAIN, "0004_events")
    engine = create_async_engine(urls.owner, poolclass=NullPool)
    async with engine.connect() as connection:
        body = await connection.scalar(sa.text("SELECT prosrc FROM pg_proc WHERE proname = 'begin_requests'"))
        rights = {
            (role, function): await connection.scalar(
                sa.text("SELECT has_function_privilege(:role, f.oid, 'EXECUTE') FROM pg_proc f WHERE proname = :name"),
                {"role": f"signed_down_{role}", "name": function},
            )
            for role in ("app", "webhooks")
            for function in ("begin_requests", "finish_request")
        }
    await engine.dispose()
    assert "signature" not in body
    assert [granted for granted, has in rights.items() if has] == [("app", "begin_requests")]
    await upgrade(urls.owner, Tree.MAIN)


async def test_what_the_writer_of_batches_logs_is_not_under_the_id_of_the_request_that_began_it(books: Books) -> None:
    seen: list[str | None] = []
    sa.event.listen(
        books.app.sync_engine, "before_cursor_execute", lambda *_: seen.append(logging.current_request_id())
    )
    with logging.request_id("req_first"):
        await requests_of(books).begin(started(books, None))
    assert seen
    assert set(seen) == {None}
