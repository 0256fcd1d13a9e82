"""Masked views of personal data: what a screen, an answer or an operator sees by default (P1.0).

What each mask shows at most, whatever the length of the value:

| field | shows | example |
|---|---|---|
| name, Chinese | the surname: two characters if compound and not the whole name | 张*, 欧阳** |
| name, other | the first letter | J*** |
| ID number | first and last of 18 characters | 3****************4 |
| card number | first four and last four of 13 to 19 digits | 6217 **** **** 1234 |
| account number | the last four, of eight characters or more | ****7890 |
| mobile | first three and last four of 11 digits | 138****1234 |
| agreement number | nothing | **** |

A value that has not the shape of its field shows nothing at all. A mask has at most three stars for hidden
characters of a name, so that a long name does not give its length away; the others have a fixed number.
"""

from __future__ import annotations

import re

from domain.personal_data import PersonalField

HIDDEN = "****"
_MOST_NAME_STARS = 3

# The compound surnames in common use; any other name shows one character, which is never too much.
_COMPOUND_SURNAMES = frozenset(
    re.findall(
        "..",
        "欧阳司马上官诸葛司徒东方独孤南宫夏侯皇甫尉迟公孙慕容令狐长孙宇文轩辕端木百里呼延"
        "东郭闻人澹台公冶宗政濮阳淳于单于太叔申屠仲孙钟离鲜于闾丘司空赫连拓跋万俟第五",
    )
)


def mask(field: PersonalField, value: str) -> str:
    """The masked view of one value of a field; see the table above for what it shows."""
    match field:
        case PersonalField.NAME:
            return mask_name(value)
        case PersonalField.ID_NUMBER:
            return mask_id_number(value)
        case PersonalField.CARD_NUMBER:
            return mask_card_number(value)
        case PersonalField.ACCOUNT_NUMBER:
            return mask_account_number(value)
        case PersonalField.MOBILE:
            return mask_mobile(value)
        case PersonalField.AGREEMENT_NUMBER:
            return HIDDEN


def mask_account_number(number: str) -> str:
    """The last four characters: `****7890`. A number so short that this would show most of it shows nothing."""
    return HIDDEN + number[-4:] if len(number) >= 8 else HIDDEN


def mask_name(name: str) -> str:
    """`张三` is `张*`, `欧阳娜娜` is `欧阳**`, `John Smith` is `J***`."""
    shown = 2 if name[:2] in _COMPOUND_SURNAMES and len(name) > 2 else 1
    hidden = len(name) - shown
    if hidden <= 0:
        return HIDDEN
    return name[:shown] + "*" * min(hidden, _MOST_NAME_STARS)


def mask_id_number(id_number: str) -> str:
    """`310101199001011234` is `3****************4`."""
    if not re.fullmatch(r"[0-9]{17}[0-9Xx]", id_number):
        return HIDDEN
    return f"{id_number[0]}{'*' * 16}{id_number[-1]}"


def mask_card_number(card_number: str) -> str:
    """`6217001234567891234` is `6217 **** **** 1234`; eight stars for every length."""
    if not re.fullmatch(r"[0-9]{13,19}", card_number):
        return HIDDEN
    return f"{card_number[:4]} **** **** {card_number[-4:]}"


def mask_mobile(mobile: str) -> str:
    """`13800001234` is `138****1234`."""
    if not re.fullmatch(r"[0-9]{11}", mobile):
        return HIDDEN
    return f"{mobile[:3]}****{mobile[-4:]}"
