"""Makes random requests reach something: real identifiers, and bodies that are nearly right.

Without it nearly every request would end at the first check. What schemathesis made up stays in the draw everywhere.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import schemathesis
from hypothesis import strategies as st

Body = Mapping[str, Any]
_IDENTIFIER = re.compile(r"\b([a-z]{2,4})_[0-9A-Z]{26,32}\b")
# What answers say is asked about again, but the pool stays small enough to meet the same thing twice.
MOST_KNOWN = 24


class Aim:
    """Hooks for one run. `identifiers` by the name of a parameter or field; `bodies` by operation.

    `apart` names identifiers for operations that would put the others out of use for everybody.
    """

    def __init__(
        self,
        identifiers: Mapping[str, Sequence[str]],
        bodies: Mapping[str, Callable[[random.Random], Body]],
        apart: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    ) -> None:
        self._identifiers = {name: list(known) for name, known in identifiers.items()}
        self._bodies, self._apart, self._count = bodies, apart or {}, count()
        self._names = {known[0].partition("_")[0]: name for name, known in self._identifiers.items()}

    def hooks(self) -> dict[str, Any]:
        aimed = {f"flatmap_{place}": self._aimed for place in ("path_parameters", "query")}
        return aimed | {"flatmap_body": self._body}

    def learn(self, response: schemathesis.Response) -> None:
        """What an answer names can be asked for."""
        if response.status_code < 300:
            for found in _IDENTIFIER.finditer(response.text):
                known = self._identifiers.get(self._names.get(found[1], ""))
                if known is not None and found[0] not in known and len(known) < MOST_KNOWN:
                    known.append(found[0])

    def _aimed(self, context: Any, generated: Any) -> st.SearchStrategy[Any]:
        if not isinstance(generated, Mapping) or not generated:
            return st.just(generated)
        label = context.operation.label
        return st.fixed_dictionaries({name: self._value(label, name, value) for name, value in generated.items()})

    def _value(self, label: str, name: str, value: Any) -> st.SearchStrategy[Any]:
        known = self._apart.get(label, {}).get(name) or self._identifiers.get(name)
        if not known:
            return st.just(value)
        return st.one_of(st.sampled_from(known), st.sampled_from(known), st.just(value))

    def _body(self, context: Any, generated: Any) -> st.SearchStrategy[Any]:
        make = self._bodies.get(context.operation.label)
        if make is None or not isinstance(generated, Mapping):
            return self._aimed(context, generated)

        def nearly_right(seed: int) -> Any:
            # Hypothesis likes 0; the count makes of each another one, in the same order at every run.
            chance = random.Random(f"{seed} {next(self._count)}")
            body = dict(make(chance))
            # Half of them are right; the others have a field or two of what was made up, or of somebody else's.
            for name in chance.sample(sorted(body), min(len(body), chance.choice((0, 0, 1, 2)))):
                if name in self._identifiers and chance.random() < 0.5:
                    body[name] = chance.choice(self._identifiers[name])
                elif name in generated:
                    body[name] = generated[name]
            return body

        right = st.integers(0, 2**32).map(nearly_right)
        return st.one_of(right, right, st.just(generated))
