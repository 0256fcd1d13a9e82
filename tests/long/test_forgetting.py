"""Fifty people through everything, ten of whom leave: of the ten nothing is left but what the law keeps, sealed."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxRestrictions

from runtime.stack import LocalStack
from runtime.start_guard import GuardedRunner
from runtime.temporal import DEFAULT_NAMESPACE, data_converter
from tests.cli.test_backup_commands import liushui
from tests.end_to_end.operator import payload_keys, temporal_client
from tests.end_to_end.play import Merchant
from tests.end_to_end.staff import Staff
from tests.end_to_end.world import World, world_on
from tests.long.conftest import say
from tests.long.crowd import ABROAD, LEAVERS, PEOPLE, SAME_PERSON, Crowd, Member
from tests.long.leavers import Leaving, opened_for_an_order
from tests.long.places import Place, dumps, histories_without_keys, on_disk, opened_payloads, places
from tests.long.scan import Needles
from tests.long.traces import (
    DATA,
    MAY_STAY,
    agreement_numbers,
    by_table,
    digests_of,
    hits_on_disk,
    key_material_of,
    left_on_disk,
    read_through_vault,
    vault_of,
)
from tests.webhooks.receiver import Receiver
from vault.errors import UserErasedError
from worker import PASSED_THROUGH, WORKFLOWS

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

CHANNELS = {7: "hotline", 9: "email"}
# Two of whose merchants do not say at once that they have deleted.
REPLIES_LATE = (0, 9)
LEAVING_AT_ONCE = 5
# What the scan finds of the ten while they are there.
_UNTIL_THEY_LEAVE = {"word", "digest", "key", "ciphertext"}
_ELEMENTS = ("name", "ID number", "card", "mobile")
_PATHS = (
    "/v1/users/{}", "/v1/users/{}/bindings", "/v1/users/{}/payees", "/v1/users/{}/receiving_accounts",
    "/v1/payments", "/v1/payouts?user_id={}", "/v1/fx?user_id={}", "/v1/inbounds?user_id={}",
    "/v1/fx_mandates?user_id={}", "/v1/closures?user_id={}", "/v1/disputes?user_id={}",
)  # fmt: skip
_EVENTS_OF = """
    SELECT e.type, e.body FROM app.event e WHERE e.object_id IN (
        SELECT app.objects_of(:u) UNION SELECT i.id FROM app.inbound i WHERE i.user_id = :u)"""


@pytest.fixture
def backups() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="liushui-forgotten-"))
    yield path
    shutil.rmtree(path)


async def test_of_ten_of_fifty_nothing_is_left_anywhere_but_what_the_law_keeps_sealed(
    stack: LocalStack, backups: Path, receiver: Receiver
) -> None:
    async with world_on(stack) as world:
        staff = await Staff(world).arrive()
        merchants = (await world.merchant("海棠书店"), await world.merchant("晚钟茶庄"))
        for merchant in merchants:
            await merchant.done("POST", "/v1/webhook_endpoints", {"url": receiver.url})
        crowd, begun = Crowd(world, merchants, staff), datetime.now(UTC) - timedelta(minutes=1)
        await crowd.live()
        say(f"{PEOPLE} people have lived")
        digests, secrets = await digests_of(world, crowd.leavers), await key_material_of(world, crowd.leavers)
        shared = set((await digests_of(world, crowd.stayers)).values())
        digests = {name: value for name, value in digests.items() if value not in shared}
        assert _kinds_in_dumps(stack, _sought(crowd, digests, secrets, agreement_numbers(stack))) == _UNTIL_THEY_LEAVE
        taken = liushui("backup", "--to", backups, "--folder", stack.folder)
        assert taken.returncode == 0, taken.stderr
        closures = await _leave(world, staff, crowd)
        sought = _sought(crowd, digests, secrets, agreement_numbers(stack))
        say(f"{LEAVERS} have left")
        assert await _found_in_stores(stack, sought) == []
        assert await _found_in_processes(world, sought) == []
        assert await _found_in_answers(crowd, sought) == []
        assert await _found_in_webhooks(crowd, receiver, begun, sought) == []
        assert [hit for place, content in _files_in(backups) for hit in sought.found_in(place, content)] == []
        await _is_on_disk_until_it_is_written_anew(stack, sought)
        await _only_an_order_opens_what_is_kept(staff, crowd, *_ELEMENTS, "goods", "counterparty")
        await _old_processes_still_work(world, crowd, closures)
        await _the_other_merchants_user_is_untouched(world, crowd)
        assert await world.wrong() == []
    stack.stop()
    restored = liushui("restore", "--from", backups, "--folder", stack.folder, "--replace")
    assert restored.returncode == 0, restored.stderr
    say(restored.stdout.strip())
    stack.start()
    async with world_on(stack) as world:
        crowd.go_on_with(world)
        assert await _found_in_stores(stack, sought) == []
        assert await _found_in_answers(crowd, sought) == []
        await _ten_are_forgotten_and_forty_readable(world, crowd)
        # What was copied after the backup was carried over.
        await _only_an_order_opens_what_is_kept(await Staff(world).arrive(), crowd, *_ELEMENTS, "goods", "counterparty")


async def _leave(world: World, staff: Staff, crowd: Crowd) -> dict[int, str]:
    """All ten, and what their merchants say about their own copies; closures by number."""
    leaving, few, closures = Leaving(world, staff), asyncio.Semaphore(LEAVING_AT_ONCE), dict[int, str]()

    async def one(member: Member) -> None:
        async with few:
            closures[member.number] = await leaving.leave(member, CHANNELS.get(member.number, "merchant"))
        if member.number not in REPLIES_LATE:
            body = {"outcome": "erased"}
            path = f"/v1/closures/{closures[member.number]}/erasure_reply"
            await member.merchant.done("POST", path, body, member.says("key"))

    async with asyncio.TaskGroup() as group:
        for member in crowd.leavers:
            group.create_task(one(member))
    return closures


def _sought(
    crowd: Crowd, digests: Mapping[str, str], secrets: Mapping[str, bytes], agreements: Mapping[str, str]
) -> Needles:
    """`planted` may be in the clear of nobody. Of the ten go `word`s and references about them, each `digest` but where
    it is meant to stay, and each `key` and `ciphertext`.
    """
    planted = {f"planted {name}": value for name, value in agreements.items()}
    for member in (*crowd.leavers, *crowd.stayers):
        planted |= {f"planted {what} of {member.number}": value for what, value in member.personal.items()}
    words = {f"word {what} of {m.number}": value for m in crowd.leavers for what, value in m.told.items()}
    say(f"looked for: {len(planted)} planted values; of the ten {len(words)} words, {len(digests)} digests,")
    say(f"    {len(secrets)} keys and ciphertexts")
    return Needles({**planted, **words, **{f"digest {name}": value for name, value in digests.items()}, **secrets})


def _kinds_in_dumps(stack: LocalStack, sought: Needles) -> set[str]:
    return {hit.split(" ")[0] for place, content in dumps(stack) for hit in sought.found_in(place, content)}


async def _found_in_stores(stack: LocalStack, sought: Needles) -> list[str]:
    """Dumps, and every file and process of the stack. What only PostgreSQL's own files hold is no finding by itself, if
    it is in the clear of nobody: a dead row, a page of the write-ahead log. It is counted and said.
    """
    await on_disk(stack)
    found: list[str] = []
    dead: list[tuple[str, list[str]]] = []
    for place, content in places(stack):
        if place.startswith("dump of "):
            found += _found_in_dump(place, content, sought)
            continue
        hits = sought.found_in(place, content)
        if place.startswith(DATA):
            dead.append((place, hits))
            hits = [hit for hit in hits if hit.startswith("planted ")]
        found += hits
    say(f"in PostgreSQL's files: {left_on_disk(dead)}")
    return found


def _found_in_dump(place: str, content: bytes, sought: Needles) -> list[str]:
    found = []
    for table, rows in by_table(place, content):
        may_stay = table.rpartition(", ")[2] in MAY_STAY
        found += [hit for hit in sought.found_in(table, rows) if not (may_stay and hit.startswith("digest "))]
    return found


async def _found_in_processes(world: World, sought: Needles) -> list[str]:
    """Histories as anybody sees them, and opened with our payload keys."""
    found, opened = list[str](), 0
    async for place, content in histories_without_keys(world):
        found += sought.found_in(place, content)
    client = await temporal_client(world, with_keys=False)
    async for execution in client.list_workflows():
        async for place, content in opened_payloads(world, execution):
            opened += 1
            found += sought.found_in(place, content)
    say(f"{opened} payloads opened")
    assert opened > PEOPLE
    return found


async def _found_in_answers(crowd: Crowd, sought: Needles) -> list[str]:
    """What merchants read now about the ten, and every event that there ever was."""
    found: list[str] = []
    for member in crowd.leavers:
        for path in _PATHS:
            answer = await member.merchant.send("GET", path.format(member.user_id))
            assert answer.is_success, answer.text
            found += sought.found_in(f"answer to {path}", answer.content)
    for merchant in crowd.merchants:
        async for page in _pages_of(merchant, "/v1/events"):
            found += sought.found_in("the events", page)
    return found + await _digits_left(crowd)


async def _found_in_webhooks(crowd: Crowd, receiver: Receiver, since: datetime, sought: Needles) -> list[str]:
    """Every event once more."""
    found, seen, sent = list[str](), len(receiver.arrived), 0
    for merchant in crowd.merchants:
        [endpoint] = (await merchant.get("/v1/webhook_endpoints"))["items"]
        span = {"from": since.isoformat(), "until": datetime.now(UTC).isoformat()}
        sent += (await merchant.done("POST", f"/v1/webhook_endpoints/{endpoint['id']}/replay", span))["deliveries"]
    async with asyncio.timeout(120):
        while len(receiver.arrived) < seen + sent:  # noqa: ASYNC110 - another process sends them
            await asyncio.sleep(0.2)
    say(f"{sent} events were sent again")
    assert sent > PEOPLE
    for arrived in receiver.arrived[seen:]:
        found += sought.found_in("a webhook", arrived.path.encode() + str(arrived.headers).encode() + arrived.body)
    return found


async def _pages_of(merchant: Merchant, path: str) -> AsyncIterator[bytes]:
    cursor: str | None = ""
    while cursor is not None:
        answer = await merchant.send("GET", f"{path}?limit=100" + (f"&cursor={cursor}" if cursor else ""))
        yield answer.content
        cursor = answer.json()["next_cursor"]


async def _digits_left(crowd: Crowd) -> list[str]:
    """Last digits are too short to look for among others: each event about one of the ten is looked at by itself."""
    found = []
    for member in crowd.leavers:
        rows = await crowd.world.rows(_EVENTS_OF, u=member.user_id)
        assert rows
        for row in rows:
            digits = {name: value for name, value in row["body"].items() if name.endswith("last4") and value}
            found += [f"{name} of {member.number} in {row['type']}" for name in digits]
    return found


async def _is_on_disk_until_it_is_written_anew(stack: LocalStack, sought: Needles) -> None:
    """Dead rows and the write-ahead log keep what nobody can query any more, until their room is used again."""
    await on_disk(stack, "VACUUM")
    say(f"after VACUUM: {left_on_disk(hits_on_disk(stack, sought))}")
    await on_disk(stack, "VACUUM FULL", "SELECT pg_switch_wal()")
    await on_disk(stack, "SELECT pg_switch_wal()")
    left = left_on_disk(hits_on_disk(stack, sought))
    say(f"after VACUUM FULL and two new segments of the log: {left}")
    assert {what.split(" ")[0] for what in left} <= {"digest"}


async def _only_an_order_opens_what_is_kept(staff: Staff, crowd: Crowd, *expected: str) -> None:
    for member in crowd.leavers:
        kept = json.dumps(await opened_for_an_order(staff, member.user_id), ensure_ascii=False)
        assert [what for what in expected if member.personal[what] not in kept] == [], member.number


async def _old_processes_still_work(world: World, crowd: Crowd, closures: Mapping[int, str]) -> None:
    """They answer, replay in today's code, and those that still waited complete."""
    client = await temporal_client(world)
    for number in REPLIES_LATE:
        handle = client.get_workflow_handle(f"close-account/{closures[number]}")
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        path = f"/v1/closures/{closures[number]}/erasure_reply"
        await crowd.members[number].merchant.done("POST", path, {"outcome": "kept", "reason": "law"})
        async with asyncio.timeout(60):
            assert (await handle.result())["state"] == "completed"
    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=data_converter(payload_keys(world), DEFAULT_NAMESPACE),
        namespace=DEFAULT_NAMESPACE,
        workflow_runner=GuardedRunner(
            restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
        ),
    )
    theirs, processes = await crowd.objects_of(crowd.leavers), Counter[str]()
    async for execution in client.list_workflows():
        if execution.id.rpartition("/")[2] in theirs:
            handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
            assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED, execution.id
            await handle.query("__temporal_workflow_metadata")
            await replayer.replay_workflow(await handle.fetch_history())
            processes[str(execution.workflow_type)] += 1
    say(f"answered and replayed: {dict(processes)}")
    assert {"bind-card", "collect-payment", "refund-payment", "send-payout", "settle-fx"} <= processes.keys()
    assert processes["close-account"] == LEAVERS


async def _the_other_merchants_user_is_untouched(world: World, crowd: Crowd) -> None:
    """One person at two merchants: gone from one, and at the other as before; the quota counts both."""
    stays = crowd.members[SAME_PERSON]
    async with vault_of(world.stack) as vault:
        assert set(stays.personal.values()) >= await read_through_vault(world, vault, stays) >= {stays.payer.id_number}
    statement = (
        "SELECT (SELECT sum(f.amount_minor) FROM app.fx f WHERE f.user_id = ANY(:both) AND f.state = 'settled')::bigint"
        " AS dealt, q.used_usd_minor FROM app.fx_quota q JOIN app.end_user u USING (person_index) WHERE u.id = :stays"
    )
    both = [crowd.members[ABROAD].user_id, stays.user_id]
    for _ in range(2):
        [row] = await world.rows(statement, both=both, stays=stays.user_id)
        assert row["used_usd_minor"] == row["dealt"]
        assert stays.holder is not None
        before = len(await stays.holder.conversions())
        await stays.holder.remit(5_000)
        fx = (await stays.holder.conversions(before + 1))[-1]
        assert (await stays.holder.ended(fx["id"]))["state"] == "settled"
    await crowd.pay(stays)


async def _ten_are_forgotten_and_forty_readable(world: World, crowd: Crowd) -> None:
    async with vault_of(world.stack) as vault:
        for member in crowd.leavers:
            with pytest.raises(UserErasedError):
                await read_through_vault(world, vault, member)
        for member in crowd.stayers:
            read = await read_through_vault(world, vault, member)
            assert read >= {member.payer.name, member.payer.id_number, member.payer.card}
    [row] = await world.rows("SELECT count(*) AS n FROM app.end_user WHERE state = 'closed'")
    assert row["n"] == LEAVERS
    await crowd.pay(crowd.members[LEAVERS])


def _files_in(folder: Path) -> Iterator[Place]:
    return ((file.name, file.read_bytes()) for file in folder.rglob("*") if file.is_file())
