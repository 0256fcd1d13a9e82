"""What the simulated banks do with foreign currency: where it arrives, whose desk converts it, the first rates."""

from __future__ import annotations

from collections.abc import Mapping

# In which foreign currencies the institution has a reserve, beside those that the bank pays out in.
HOLDS: Mapping[str, tuple[str, ...]] = {"HBRB": ("USD", "HKD"), "WLWB": (), "OSPB": ("USD", "HKD", "JPY")}
# Which currencies a bank's desk converts into CNY.
DESKS: Mapping[str, tuple[str, ...]] = {"HBRB": ("USD", "HKD", "JPY"), "WLWB": ("USD",), "OSPB": ()}
OPENS_RECEIVING_ACCOUNTS = frozenset({"OSPB"})
ANSWERS_QUOTA = frozenset({"HBRB"})
PUBLISHERS: Mapping[str, str] = {"HBRB": "Harbour Bank FX desk", "WLWB": "Willow Bank FX desk"}
# What a desk buys and sells a unit at, in CNY, until it is told otherwise.
FIRST_RATES: Mapping[str, tuple[str, str]] = {
    "USD": ("7.1234", "7.1434"),
    "HKD": ("0.9131", "0.9161"),
    "JPY": ("0.0476", "0.0479"),
}
