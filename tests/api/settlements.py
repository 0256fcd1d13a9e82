"""A settlement of what was collected for a merchant of a test."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from domain.business_time import business_date
from domain.identifiers import IdPrefix
from domain.settlements import MerchantDay
from storage.settlements import SettlementBook
from tests.api.conftest import Merchant, Stage
from tests.api.payouts import CNAPS

ACCOUNT = {
    "holder_type": "enterprise",
    "region": "CN",
    "bank_id": {"kind": "cnaps", "value": CNAPS},
    "name": "示例商户有限公司",
    "account_number": "1001244509200012345",
}


async def settled(stage: Stage, merchant: Merchant, days: int = 1) -> dict[str, Any]:
    """Of everything until now, as it is written so many days later."""
    now = stage.clock.now() + timedelta(days=days)
    on = business_date(now)
    whose = MerchantDay(merchant_id=merchant.id, currency="CNY")
    settlement_id = stage.services.new_id(IdPrefix.SETTLEMENT)
    book = SettlementBook(stage.engine)
    found = await book.report(whose, on, on - timedelta(days=1), settlement_id, now)
    assert found is not None
    return found
