"""Roles of operators as data: what each may do, and which two no one person may have (P3.1b, A8.1a).

A permission is a word of this file; a role that names another one stops the start with a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.decisions import DecisionKind

# What may be looked at, and done without a decision.
PLAIN_PERMISSIONS = frozenset(
    {
        "payments:read",  # instructions, matters, cases, users with masked data, partners
        "personal_data:read",  # needs a current training mark besides (P3.1c)
        "payloads:decode",
        "records:read",
        "bank:ask",
        "cases:open",
        "merchants:read",
        "merchants:write",
        "keys:write",
        "signing_keys:write",  # never one person's with keys:write: the two together instruct as a merchant
        "operators:write",
        "reviews:read",  # the queue of payouts under review, and what the rules said of them
        "reviews:write",  # take one, ask for evidence, extend
        "screening:write",  # load a version of a list
        "calendars:write",  # load corrections, unpublished years, hours of a bank
        "settlements:read",
        "settlements:write",  # settle a day once more, pay one anew whose payout failed
        "fx:read",  # conversions, remittances with masked names, positions, desks, the authority's rates
        "fx_quota:read",  # what a person has settled in a year, across merchants
        "closures:read",  # requests to close or to delete, what is in their way, disputes, the answers
        "closures:write",  # record a request that came by telephone or email
        "closures:verify",  # make sure whose request it is (P4.4a)
        "disputes:write",
        "retention:read",  # who has something retained, and opening it for an order and two people (P4.5e)
        "exports:read",  # what personal data has gone beyond the border, and under which contract (P6b)
    }
)
# What is decided by people: each kind has a permission to request it and one to approve it (A8.1a).
PERMISSIONS = PLAIN_PERMISSIONS | {f"{kind.value}:{part}" for kind in DecisionKind for part in ("request", "approve")}


class Role(BaseModel):
    """One role; `incompatible` names roles that its holders cannot have besides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title_zh: str = Field(min_length=1, max_length=40)
    title_en: str = Field(min_length=1, max_length=40)
    permissions: frozenset[str] = Field(min_length=1)
    incompatible: frozenset[str] = frozenset()


class RoleBook(BaseModel):
    """`config/roles.toml` as a value. Raises ValidationError whose message says which word is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: Mapping[str, Role] = Field(min_length=1)

    @model_validator(mode="after")
    def _every_word_is_known(self) -> RoleBook:
        for name, role in self.roles.items():
            if unknown := sorted(role.permissions - PERMISSIONS):
                raise ValueError(f"the role {name} has permissions that do not exist: {', '.join(unknown)}")
            if unknown := sorted(role.incompatible - self.roles.keys()):
                raise ValueError(f"the role {name} is incompatible with roles that do not exist: {', '.join(unknown)}")
            if name in role.incompatible:
                raise ValueError(f"the role {name} is incompatible with itself")
        return self

    def conflicts(self) -> frozenset[tuple[str, str]]:
        """Every pair of roles that no one person may have, in both orders."""
        stated = {(name, other) for name, role in self.roles.items() for other in role.incompatible}
        return frozenset(stated | {(other, name) for name, other in stated})

    def permissions_of(self, roles: frozenset[str]) -> frozenset[str]:
        """What somebody with these roles may do."""
        return frozenset(word for name in roles for word in self.roles[name].permissions)
