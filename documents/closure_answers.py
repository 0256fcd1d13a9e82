"""The answer to a user from what the books know of a closure: a certificate, or why not (P3.4, P4.2a, P4.4d).

`facts` is what `app.closure_facts` answers: {closure, merchant_name, answer, erased, pseudonymous, notices}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.closing import ClosureAnswer, ClosureState, Kept, RefusalGround, Told
from domain.retention import KeptLine

# To be told one of these would be a warning, which the law does not allow.
UNTOLD_GROUNDS = frozenset({RefusalGround.NATIONAL_SECURITY, RefusalGround.CRIMINAL_PROCEEDINGS})


def closure_answer(facts: Mapping[str, Any], kept: Sequence[KeptLine]) -> ClosureAnswer | None:
    """The answer as it was given, with what recipients have replied since; None while there is none.

    `kept`: what the retention store has of the user now, for the answer to a request that was refused.
    """
    state = facts["closure"]["state"]
    if state == ClosureState.REFUSED:
        return _refused(facts, kept)
    if state != ClosureState.COMPLETED:
        return None
    told = tuple(Told.model_validate(notice) for notice in facts["notices"])
    return ClosureAnswer.model_validate(facts["answer"]).model_copy(update={"told": told})


def _refused(facts: Mapping[str, Any], kept: Sequence[KeptLine]) -> ClosureAnswer:
    closure = facts["closure"]
    ground = next((each for each in RefusalGround if each.value == closure["reason"]), None)
    same = ("user_id", "scope", "channel", "received_at", "due_on", "answered_at")
    return ClosureAnswer.model_validate(
        {name: closure[name] for name in same}
        | {
            "closure_id": closure["id"],
            "merchant_name": facts["merchant_name"],
            "outcome": "refused",
            "deletion_ground": closure["ground"],
            "refusal_ground": None if ground in UNTOLD_GROUNDS else ground,
            "kept": tuple(Kept.model_validate(line.model_dump(mode="json")) for line in kept),
        }
    )
