"""A whole stack goes on after its books were put back to an earlier time; banks, merchants and Temporal were not."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from runtime.stack import LocalStack
from tests.cli.test_backup_commands import liushui
from tests.end_to_end.operator import temporal_client
from tests.end_to_end.play import until
from tests.end_to_end.staff import COMPLIANCE, Staff
from tests.end_to_end.world import World, world_on
from tests.long.conftest import say
from tests.long.crowd import Crowd, Member
from tests.long.leavers import SUPPORT, Leaving
from tests.long.traces import read_through_vault, vault_of
from vault.errors import UserErasedError

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

# Gone before the backup; waits before and after it; stays. Gone after it: asked after it too; asked before it, and all
# have replied since; the same, and the merchant has not; by telephone, verified after it. Asked after it, and not gone.
NAMES = ("ann", "bob", "cho", "dan", "eve", "hal", "gus", "fay")
GONE_SINCE, KNOWN = ("dan", "eve", "hal", "gus"), ("eve", "hal", "gus")
_KEPT = "SELECT kind, source_id, event_on::text AS on FROM retention.record WHERE user_id = :u ORDER BY kind, source_id"
_EMPTIED = """
    SELECT u.state, u.merchant_user_ref, u.person_index, (SELECT count(*) FROM vault.item i
        WHERE i.user_id = u.id AND i.ciphertext IS NOT NULL) AS readable,
        (SELECT count(*) FROM app.binding b
            WHERE b.user_id = u.id AND (b.card_index IS NOT NULL OR b.state = 'open')) AS cards
    FROM app.end_user u WHERE u.id = :u"""
_FORGOTTEN = {"state": "closed", "merchant_user_ref": None, "person_index": None, "readable": 0, "cards": 0}
_ANSWERS = "SELECT count(*) AS n FROM app.event WHERE object_id = :id AND type = 'closure.completed'"


@dataclass
class Then:
    """What was there before the restore."""

    people: dict[str, Member]
    closures: dict[str, str] = field(default_factory=dict)
    certificates: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    runs: dict[str, str | None] = field(default_factory=dict)
    unpaid: str = ""

    def process(self, name: str) -> str:
        return f"close-account/{self.closures[name]}"


@pytest.fixture
def backups() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="liushui-after-"))
    yield path
    shutil.rmtree(path)


async def test_after_a_restore_everything_comes_up_and_each_closing_comes_to_its_end(
    stack: LocalStack, backups: Path
) -> None:
    async with world_on(stack) as world:
        staff = await Staff(world).arrive()
        merchant = await world.merchant()
        crowd, leaving = Crowd(world, (merchant, merchant), staff), Leaving(world, staff)
        then = Then(dict(zip(NAMES, await crowd.with_payouts(len(NAMES)), strict=True)))
        await _before_the_backup(then, staff, leaving)
        taken = liushui("backup", "--to", backups, "--folder", stack.folder)
        assert taken.returncode == 0, taken.stderr
        say("the backup is taken")
        await _after_the_backup(then, world, crowd, staff, leaving)
    stack.stop()
    refused = liushui("restore", "--from", backups, "--folder", stack.folder)
    assert "To give up what happened since, say --replace." in refused.stderr
    restored = liushui("restore", "--from", backups, "--folder", stack.folder, "--replace")
    assert restored.returncode == 0, restored.stderr
    say(restored.stdout.strip())
    stack.start()
    say("everything is up again")
    async with world_on(stack) as world:
        crowd.go_on_with(world)
        staff = await Staff(world).arrive()
        leaving = Leaving(world, staff)
        await _whoever_was_forgotten_stays_forgotten(then, world)
        await _what_was_answered_since_is_answered_again_and_the_same(then, world, leaving)
        await _who_waits_goes_on_in_the_same_process(then, world, leaving)
        await _what_the_books_do_not_know_ends(then, world, staff)
        await _new_business_is_done(then, world, crowd, leaving)
        await _people_see_what_is_left(then, staff)
        await _nothing_is_tried_for_ever(world)
    url = stack.environment["api"]["LIUSHUI_DATABASE_URL"]
    verified = liushui("ledger", "verify", LIUSHUI_DATABASE_URL=url, LIUSHUI_ENVIRONMENT="local")
    assert (verified.returncode, "The ledger is sound." in verified.stdout) == (0, True), verified.stdout


async def _before_the_backup(then: Then, staff: Staff, leaving: Leaving) -> None:
    people, closures = then.people, then.closures
    closures["ann"] = await leaving.leave(people["ann"])
    for name in ("bob", "eve", "hal"):
        told = {"reason": "not_received", "evidence_ref": people[name].says("chat")}
        await people[name].asks(f"/v1/users/{people[name].user_id}/disputes", told)
        closures[name] = await leaving.ask(people[name])
    body = {"user_id": people["gus"].user_id, "scope": "account", "channel": "hotline", "evidence_ref": "call:7"}
    closures["gus"] = (await staff.as_person(SUPPORT, lambda ops: ops.post("/closures", body)))["id"]


async def _after_the_backup(then: Then, world: World, crowd: Crowd, staff: Staff, leaving: Leaving) -> None:
    people, closures = then.people, then.closures
    await crowd.pay(people["cho"])
    then.unpaid = (await people["cho"].asks("/v1/payments", await people["cho"].payer.order(30_000, seconds=100)))["id"]
    check = {"method": "id_number", "id_number": people["gus"].payer.id_number, "evidence_ref": "call:8"}
    await staff.as_person(SUPPORT, lambda ops: ops.post(f"/closures/{closures['gus']}/identity", check))
    closures["dan"] = await leaving.ask(people["dan"])
    await asyncio.gather(*(_leaves(then, leaving, name) for name in GONE_SINCE))
    for name in ("dan", "eve", "gus"):
        path = f"/v1/closures/{closures[name]}/erasure_reply"
        await people[name].asks(path, {"outcome": "erased"})
    closures["fay"] = await leaving.ask(people["fay"])
    client = await temporal_client(world)
    for name in ("dan", "eve", "gus"):
        async with asyncio.timeout(60):
            assert (await client.get_workflow_handle(then.process(name)).result())["state"] == "completed"
    for name in closures:
        then.kept[name] = await world.rows(_KEPT, u=people[name].user_id)
        then.runs[name] = (await client.get_workflow_handle(then.process(name)).describe()).run_id
    for name in ("ann", *GONE_SINCE):
        then.certificates[name] = await people[name].merchant.get(f"/v1/closures/{closures[name]}/certificate")
    say(f"{len(GONE_SINCE)} have left since, one pays and one asks")


async def _leaves(then: Then, leaving: Leaving, name: str) -> None:
    await leaving.clear(then.people[name], then.closures[name])
    await leaving.completed(then.closures[name])


async def _whoever_was_forgotten_stays_forgotten(then: Then, world: World) -> None:
    """Keys, ciphertexts and rows; and what the law keeps is there, neither more nor less."""
    async with vault_of(world.stack) as vault:
        for name in ("ann", *GONE_SINCE):
            member = then.people[name]
            assert await world.rows(_EMPTIED, u=member.user_id) == [_FORGOTTEN], name
            with pytest.raises(UserErasedError):
                await read_through_vault(world, vault, member)
            assert await world.rows(_KEPT, u=member.user_id) == then.kept[name] != [], name
        assert then.people["bob"].payer.id_number in await read_through_vault(world, vault, then.people["bob"])


async def _what_was_answered_since_is_answered_again_and_the_same(then: Then, world: World, leaving: Leaving) -> None:
    """Of whose closing the books know; the process that has ended runs anew, the other gives its answer once more."""
    client = await temporal_client(world)
    for name in KNOWN:
        member, closure = then.people[name], then.closures[name]
        await leaving.completed(closure)
        assert await world.rows(_ANSWERS, id=closure) == [{"n": 1}]
        again, first = await member.merchant.get(f"/v1/closures/{closure}/certificate"), then.certificates[name]
        # When it was destroyed and answered, who has replied, and when the last backup expires is of today.
        for what in ("outcome", "scope", "received_at", "agreement_ended_on", "kept", "merchant_name", "pseudonymous"):
            assert again[what] == first[what], (name, what)
        for what in ("fields", "by_key"):
            assert again["destroyed"][what] == first["destroyed"][what], (name, what)
        # The account to which the rest was paid was named after the backup: these data never had it.
        assert again["destroyed"]["items"] == first["destroyed"]["items"] - 2
        assert _recipients(again) == _recipients(first)
        run = (await client.get_workflow_handle(then.process(name)).describe()).run_id
        assert (run == then.runs[name]) == (name == "hal"), name
        await member.asks(f"/v1/closures/{closure}/erasure_reply", {"outcome": "erased"})
    unchanged = await then.people["ann"].merchant.get(f"/v1/closures/{then.closures['ann']}/certificate")
    assert unchanged == then.certificates["ann"]
    say(f"answered again: {', '.join(KNOWN)}")


def _recipients(certificate: dict[str, Any]) -> list[str]:
    return sorted(told["name_en"] for told in certificate["told"])


async def _who_waits_goes_on_in_the_same_process(then: Then, world: World, leaving: Leaving) -> None:
    closure = then.closures["bob"]
    assert await leaving.standing(closure) == {"state": "closing"}
    await leaving.clear(then.people["bob"], closure)
    await leaving.completed(closure)
    assert await world.rows(_ANSWERS, id=closure) == [{"n": 1}]
    client = await temporal_client(world)
    assert (await client.get_workflow_handle(then.process("bob")).describe()).run_id == then.runs["bob"]
    certificate = await then.people["bob"].merchant.get(f"/v1/closures/{closure}/certificate")
    assert (certificate["outcome"], certificate["destroyed"]["by_key"]) == ("completed", True)
    say("who was waiting has left")


async def _what_the_books_do_not_know_ends(then: Then, world: World, staff: Staff) -> None:
    """At the next look, which for a closing is a day away; here it is told."""
    client = await temporal_client(world)
    waiting = client.get_workflow_handle(then.process("fay"))
    assert (await waiting.describe()).status is WorkflowExecutionStatus.RUNNING
    await waiting.signal("look_again")
    unpaid = client.get_workflow_handle(f"collect-payment/{then.unpaid}")
    async with asyncio.timeout(150):
        assert (await waiting.result())["state"] == "unknown_to_the_books"
        assert (await unpaid.result())["state"] == "unknown"
    for name in ("dan", "fay"):
        answer = await then.people[name].merchant.send("GET", f"/v1/closures/{then.closures[name]}")
        assert answer.status_code == 404
    lengths = [(await handle.describe()).history_length for handle in (waiting, unpaid)]
    say(f"events of the processes that the books do not know: {lengths}")
    assert max(lengths) < 60
    [matter] = [matter for matter in await _matters(staff) if matter["why"] == "closure_unknown"]
    assert matter["subject_id"] == then.people["fay"].user_id


async def _matters(staff: Staff) -> list[dict[str, Any]]:
    found = await staff.as_person(COMPLIANCE, lambda ops: ops.get("/matters"))
    items: list[dict[str, Any]] = found["items"]
    return items


async def _new_business_is_done(then: Then, world: World, crowd: Crowd, leaving: Leaving) -> None:
    """A payment, somebody new, and the closing that had to be asked again."""
    await crowd.pay(then.people["cho"])
    newcomer = await crowd.join(7)
    await crowd.bind(newcomer)
    await crowd.pay(newcomer)
    closure = await leaving.leave(then.people["fay"])
    assert await world.rows(_ANSWERS, id=closure) == [{"n": 1}]
    assert await world.rows(_EMPTIED, u=then.people["fay"].user_id) == [_FORGOTTEN]
    say("a payment, a new user and a new closing are done")


async def _people_see_what_is_left(then: Then, staff: Staff) -> None:
    """Money that was paid out since is in the books again; of a payment that the books do not know there is nothing."""

    async def read() -> dict[str, Any]:
        late = {m["subject_id"] for m in await _matters(staff) if m["why"] == "money_after_closing"}
        return {"state": "seen" if late == {then.people[name].user_id for name in GONE_SINCE} else str(late)}

    await until(read, ("seen",), 60)
    assert then.unpaid not in str(await _matters(staff))


async def _nothing_is_tried_for_ever(world: World) -> None:
    """No step of any process is being repeated, and no process has failed."""
    client, repeated = await temporal_client(world), list[str]()
    async for execution in client.list_workflows():
        if execution.status is WorkflowExecutionStatus.FAILED:
            repeated.append(f"{execution.id} has failed")
        if execution.status is WorkflowExecutionStatus.RUNNING:
            shown = await client.get_workflow_handle(execution.id).describe()
            repeated += _repeated(execution.id, shown.raw_description.pending_activities)
    log = (world.stack.folder / "log" / "worker.log").read_text()
    say(f"rounds of the sweeper that failed: {log.count('a round failed')}")
    assert repeated == []


def _repeated(process: str, pending: Iterable[Any]) -> list[str]:
    return [f"{process}: {one.activity_type.name}, attempt {one.attempt}" for one in pending if one.attempt > 3]
