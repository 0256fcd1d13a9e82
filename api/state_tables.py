"""Writes the states of everything into `docs/merchants/states.md`: `python -m api.state_tables`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from domain.states import (
    BINDING_STEPS,
    CLOSURE_STEPS,
    DISPUTE_STEPS,
    FX_STEPS,
    PAYMENT_STEPS,
    PAYOUT_STEPS,
    RECEIVING_ACCOUNT_STEPS,
    REFUND_STEPS,
)

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "merchants" / "states.md"
PICTURES: dict[str, Mapping[Any, frozenset[Any]]] = {
    "binding": BINDING_STEPS,
    "payment": PAYMENT_STEPS,
    "refund": REFUND_STEPS,
    "payout": PAYOUT_STEPS,
    "receiving_account": RECEIVING_ACCOUNT_STEPS,
    "fx": FX_STEPS,
    "closure": CLOSURE_STEPS,
    "dispute": DISPUTE_STEPS,
}


def picture(steps: Mapping[Any, frozenset[Any]]) -> str:
    """A Mermaid state diagram of the legal steps, in the order of the states."""
    order = list(steps)
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {state}" for state in order if not any(state in ends for ends in steps.values())]
    lines += [f"    {state} --> {end}" for state in order for end in order if end in steps[state]]
    lines += [f"    {state} --> [*]" for state in order if not steps[state]]
    return "\n".join([*lines, "```"])


def with_pictures(document: str) -> str:
    """The document with the present picture between each pair of marks."""
    for name, steps in PICTURES.items():
        begin, end = f"<!-- {name}: ", f"<!-- end of {name} -->"
        head, _, rest = document.partition(begin)
        mark, _, _ = rest.partition("\n")
        _, _, tail = rest.partition(end)
        document = f"{head}{begin}{mark}\n\n{picture(steps)}\n\n{end}{tail}"
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(with_pictures(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
