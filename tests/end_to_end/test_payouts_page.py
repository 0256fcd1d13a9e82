"""`docs/merchants/payouts.md` as a merchant's engineer follows it: every line of Python in it is run."""

from __future__ import annotations

import sys
from pathlib import Path

from runtime.guardian import PROJECT
from tests.end_to_end.test_first_payment import TYPED, checkout, lines_of, run
from tests.end_to_end.world import World

__all__ = ["checkout"]
PAGE = (PROJECT / "docs" / "merchants" / "payouts.md").read_text(encoding="utf-8")


async def test_the_python_of_the_page_about_payouts_runs_to_its_end(world: World, checkout: Path) -> None:
    said = run([sys.executable, "-W", "error", "-c", TYPED], lines_of("python", PAGE), checkout).splitlines()
    for line in ("succeeded 50000", "checking 10100", "True ('repeated_payee',)", "failed name_mismatch"):
        assert line in said, said
    assert any(line.startswith("张* ****0000 match") for line in said)
    # Two payouts of 100.00 with a fee of 1.00 each, and the fee of the one that came back.
    assert any(line.startswith("returned ") and line.endswith(" 29700") for line in said), said
    assert "DATA_EXPORT_NOT_ALLOWED" in said
    events = [line.split()[1] for line in said if " payout." in line]
    assert events == ["payout.accepted", "payout.confirmed", "payout.scheduled", "payout.succeeded"]
    assert await world.wrong() == []
