"""A bank is switched off: after all else of the whole stack, for nothing is sent to it meanwhile, whoever waits."""

from __future__ import annotations

import pytest

from tests.end_to_end.foreign import DESK, OTHER_DESK, OTHER_DESK_OFFICE, holder, open_offices
from tests.end_to_end.play import Merchant
from tests.end_to_end.staff import OTHER_TREASURY, TREASURY, Staff
from tests.end_to_end.world import World

EACH_MINOR = 10_000


@pytest.fixture
async def staff(world: World) -> Staff:
    staff = await Staff(world).arrive()
    await open_offices(staff)
    return staff


async def test_a_conversion_goes_to_another_desk_while_its_own_is_switched_off_and_comes_back_with_it(
    world: World, merchant: Merchant, staff: Staff
) -> None:
    who = await holder(world, merchant, mandate=False)
    await who.funded(2 * EACH_MINOR)
    await open_offices(staff, (OTHER_DESK_OFFICE,))
    await staff.decide("partner.disable", DESK, by=TREASURY, approved_by=None)
    try:
        elsewhere = await who.ended((await who.convert(EACH_MINOR))["id"])
        assert (elsewhere["state"], elsewhere["desk"]) == ("settled", OTHER_DESK)
        await staff.close_bank(OTHER_DESK_OFFICE, 600)
        waiting = await who.convert(EACH_MINOR)
        assert (await who.waits_for(waiting["id"], "fx_desk_window"))["desk"] == OTHER_DESK
    finally:
        await staff.decide("partner.enable", DESK, by=TREASURY, approved_by=OTHER_TREASURY)
    back = await who.ended(waiting["id"])
    assert (back["state"], back["desk"]) == ("settled", DESK)
    await staff.open_bank(OTHER_DESK_OFFICE)
    assert await world.wrong() == []
