"""What a person is for the rules of foreign exchange, read off the document that a bank has confirmed (A0.6, L9).

Nobody says it for a user: neither the user nor the merchant.
"""

from __future__ import annotations

import re

from domain.fx_banking import Residency

_ID_NUMBER = re.compile(r"[1-9][0-9]{16}[0-9X]", re.ASCII)
# Residence permits of residents of Hong Kong, Macao and Taiwan carry these in the place of an area of the mainland.
_OF_THE_REGIONS = ("810000", "820000", "830000")
# Permanent-resident cards of foreigners begin with it.
_OF_FOREIGNERS = "9"


def residency_of(id_number: str) -> Residency:
    """Of an individual, by a normalised 18-character number. Raises ValueError for what is no such number."""
    if _ID_NUMBER.fullmatch(id_number) is None:
        raise ValueError("not an 18-character ID number")
    is_foreign = id_number.startswith((_OF_FOREIGNERS, *_OF_THE_REGIONS))
    return "foreign_individual" if is_foreign else "domestic_individual"
