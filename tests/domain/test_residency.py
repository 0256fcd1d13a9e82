"""What a person is for foreign exchange is read off the document (A0.6, L9)."""

from __future__ import annotations

import pytest

from domain.residency import residency_of


@pytest.mark.parametrize("id_number", ["11010119900307803X", "310101200001010016", "820105199003071234"])
def test_residents_of_the_mainland_are_domestic_individuals(id_number: str) -> None:
    # Areas that begin like Macao's permits and are none are areas all the same.
    assert residency_of(id_number) == "domestic_individual"


@pytest.mark.parametrize("area", ["810000", "820000", "830000", "911124", "931000"])
def test_permits_of_the_regions_and_cards_of_foreigners_make_foreign_individuals(area: str) -> None:
    assert residency_of(f"{area}199003071234") == "foreign_individual"


@pytest.mark.parametrize("text", ["", "1" * 17, "0" * 18, "11010119900307803x", "H1234567", "1101011990030780３X"])
def test_what_is_no_normalised_number_has_no_residency(text: str) -> None:
    with pytest.raises(ValueError, match="not an 18-character"):
        residency_of(text)
