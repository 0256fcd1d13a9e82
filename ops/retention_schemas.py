"""What is asked about retained records, and how it is answered: never what they say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas import Body
from ops.schemas import OpsResource


class SearchOfPerson(Body):
    """The identity number that the authority names."""

    id_number: Annotated[str, Field(min_length=4, max_length=40)] = Field(repr=False, examples=["11010519491231002X"])


class NewDisclosure(Body):
    """The committed decision, and the public key that the authority has given by another way than this."""

    decision_id: Annotated[str, Field(pattern=r"^dec_[0-9A-HJKMNP-TV-Z]{26}$")] = Field(
        examples=["dec_01KB5N3E4H6Q8Z2T7V9W0X1Y2R"]
    )
    recipient: Annotated[str, Field(pattern=r"^age1[a-z0-9]{20,100}$")] = Field(
        examples=["age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z"]
    )


class RetainedOfPerson(OpsResource):
    object: Literal["retained_of_person"]
    users: list[dict[str, Any]] = Field(description="user_id, merchant_id, held_by, and lines by kind and year.")


class RetainedOfUser(OpsResource):
    object: Literal["retained_of_user"]
    user_id: str
    merchant_id: str
    lines: list[dict[str, Any]] = Field(description="kind, event_year, records, until (first day without), ground.")
    holds: list[dict[str, Any]]
    accesses: list[dict[str, Any]] = Field(description="Who opened how many records for which order, or was refused.")


class SealedDisclosure(OpsResource):
    object: Literal["retention_disclosure"]
    decision_id: str
    recipient: str
    manifest: dict[str, Any] = Field(description="Which records: kind, source and day of each.")
    sha256: str = Field(description="Of the sealed archive.")
    archive: str = Field(description="Base64 of a tar sealed with age: nobody but the recipient opens it.")
