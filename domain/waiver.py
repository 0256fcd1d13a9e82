"""Verification-free payment: whose limit holds, and what standard of fault a loss under it is judged by."""

from __future__ import annotations

from typing import Literal

LiabilityStandard = Literal["negligence", "gross_negligence"]


def waiver_cap_minor(issuer_limit_minor: int, law_limit_minor: int) -> int:
    """The cap that stands beside the merchant's own limit: the lower of the issuer's and the law's (L6, Q7)."""
    return min(issuer_limit_minor, law_limit_minor)


def liability_standard(verification: str) -> LiabilityStandard:
    """The institution answers for a waived payment only for intent or gross negligence (A3.11f), else A3.9b."""
    return "gross_negligence" if verification == "waived" else "negligence"
