"""Writes the tables of test cards into `docs/merchants/test_cards.md`: `python -m banks.simulator.card_table`."""

from __future__ import annotations

from pathlib import Path

from banks.simulator.cards import BANK_NAMES, FAULT_ACCOUNTS, FAULT_CARDS, ISSUERS, example_card
from banks.simulator.payee_accounts import example_account

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "merchants" / "test_cards.md"
_BEGIN, _END = "<!-- cards: ", "<!-- end of cards -->"
_GOOD = (1, 2)
_REGIONS = ("CN", "HK", "MO", "TW")


def card_tables() -> str:
    """Good cards, and one of each bank for each fault; accounts that are no cards, for each fault of a payout."""
    lines = ["| Bank | | Debit cards that work | Credit cards that work |", "| --- | --- | --- | --- |"]
    for bank_code in ISSUERS:
        kinds = [
            " ".join(f"`{example_card(bank_code, serial=serial, card_type=kind)}`" for serial in _GOOD)
            for kind in ("debit", "credit")
        ]
        lines.append(f"| `{bank_code}` | {' '.join(BANK_NAMES[bank_code])} | {kinds[0]} | {kinds[1]} |")
    lines += [
        "",
        f"| nn | What happens | 现象 | {' | '.join(ISSUERS)} |",
        f"| --- | --- | --- |{' --- |' * len(ISSUERS)}",
    ]
    for row in FAULT_CARDS.values():
        cards = " | ".join(f"`{example_card(bank_code, row.number)}`" for bank_code in ISSUERS)
        lines.append(f"| {row.number:02d} | {row.text_en} | {row.text_zh} | {cards} |")
    lines += ["", f"| Accounts to pay to | {' | '.join(_REGIONS)} |", f"| --- |{' --- |' * len(_REGIONS)}"]
    for number, title in [(None, "one that is paid"), *((row.number, row.text_en) for row in FAULT_ACCOUNTS.values())]:
        accounts = " | ".join(f"`{example_account(region, number)}`" for region in _REGIONS)
        lines.append(f"| {title} | {accounts} |")
    return "\n".join(lines)


def with_tables(document: str) -> str:
    """The document with the present tables between its marks."""
    head, _, rest = document.partition(_BEGIN)
    mark, _, _ = rest.partition("\n")
    _, _, tail = rest.partition(_END)
    return f"{head}{_BEGIN}{mark}\n\n{card_tables()}\n\n{_END}{tail}"


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
