"""Compares one name with all names of the lists, and says by what it matched.

The comparisons, the surest first:
- identity: the number of the identity document is the listed one;
- exact: the same characters, or the same letters wherever words begin and whatever their order;
- pinyin: characters against letters by their reading, without regard to spaces and order;
- similar: Latin words by `fuzz.ratio` of the words in alphabetical order, which is `token_sort_ratio` with the sorting
  done once; long names in characters by `fuzz.ratio`. `WRatio` and `partial_ratio` are not used: they take a short name
  inside of a long one for nearly the same, and hit half of a list of companies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process

from domain.screening import Agreement, Comparison, Facts, ListedEntry, Match, Thresholds
from screening.names import NameForms, forms_of

Place = tuple[int, int]  # the entry, and which of its names (from 1)


@dataclass(frozen=True)
class _Found:
    place: Place
    comparison: Comparison
    score: int


class Matcher:
    """An index over the names of the entries in force; immutable, so that it can be shared and replaced."""

    def __init__(self, entries: Sequence[ListedEntry], thresholds: Thresholds, *, most_matches: int = 20) -> None:
        self._entries = tuple(entries)
        self._limits = thresholds
        self._most = most_matches
        self._characters: defaultdict[str, list[Place]] = defaultdict(list)
        self._joined: defaultdict[str, list[Place]] = defaultdict(list)
        self._read: defaultdict[str, list[Place]] = defaultdict(list)
        self._identities: defaultdict[str, list[Place]] = defaultdict(list)
        self._latin: list[str] = []
        self._latin_places: list[Place] = []
        self._readings: list[str] = []
        self._reading_places: list[Place] = []
        self._long: list[str] = []
        self._long_places: list[Place] = []
        for number, listed in enumerate(self._entries):
            for id_index in listed.entry.id_indexes:
                self._identities[id_index].append((number, 1))
            for form, name in enumerate(listed.entry.names, start=1):
                self._add((number, form), forms_of(name))

    def matches(self, name: str, facts: Facts | None = None) -> list[Match]:
        """The best match with each entry, the surest first, at most so many. A name without letters matches nothing."""
        known = facts or Facts()
        best: dict[int, _Found] = {}
        same_person = self._exactly(self._identities.get(known.id_index or "", ()), Comparison.IDENTITY)
        for found in (*self._find(forms_of(name)), *same_person):
            number = found.place[0]
            if number not in best or (found.score, _SURENESS[found.comparison]) > (
                best[number].score,
                _SURENESS[best[number].comparison],
            ):
                best[number] = found
        explained = [self._explain(found, known) for found in best.values()]
        explained = [match for match in explained if not _is_somebody_else(match)]
        return sorted(explained, key=lambda m: (-m.score, m.list_code, m.entry_key))[: self._most]

    def _add(self, place: Place, forms: NameForms) -> None:
        if forms.characters:
            self._characters[forms.characters].append(place)
            if len(forms.characters) >= self._limits.similar_chinese_from_characters:
                self._long.append(forms.characters)
                self._long_places.append(place)
        joined = self._read if forms.is_reading else self._joined
        for text in forms.joined:
            joined[text].append(place)
        texts, places = (
            (self._readings, self._reading_places) if forms.is_reading else (self._latin, self._latin_places)
        )
        for text in forms.words:
            texts.append(text)
            places.append(place)

    def _find(self, asked: NameForms) -> Iterator[_Found]:
        if asked.is_reading:
            yield from self._exactly(self._characters.get(asked.characters, ()), Comparison.EXACT)
            yield from self._by_joined(asked, self._joined, Comparison.PINYIN)
            if len(asked.characters) >= self._limits.similar_chinese_from_characters:
                yield from self._similar(
                    asked.characters, self._long, self._long_places, self._limits.similar_chinese, Comparison.SIMILAR
                )
            for words in asked.words:
                yield from self._similar(words, self._latin, self._latin_places, self._limits.pinyin, Comparison.PINYIN)
            return
        yield from self._by_joined(asked, self._joined, Comparison.EXACT)
        yield from self._by_joined(asked, self._read, Comparison.PINYIN)
        for words in asked.words:
            yield from self._similar(
                words, self._readings, self._reading_places, self._limits.pinyin, Comparison.PINYIN
            )
            if len(words) >= self._limits.similar_latin_from_letters:
                yield from self._similar(
                    words, self._latin, self._latin_places, self._limits.similar_latin, Comparison.SIMILAR
                )

    @staticmethod
    def _exactly(places: Iterable[Place], comparison: Comparison) -> Iterator[_Found]:
        for place in places:
            yield _Found(place, comparison, 100)

    def _by_joined(
        self, asked: NameForms, index: defaultdict[str, list[Place]], comparison: Comparison
    ) -> Iterator[_Found]:
        for text in asked.joined:
            yield from self._exactly(index.get(text, ()), comparison)

    def _similar(
        self, text: str, texts: Sequence[str], places: Sequence[Place], cutoff: float, comparison: Comparison
    ) -> Iterator[_Found]:
        # Rounded down, so that what is merely like never shows as equal. Several names may be of one entry, so that
        # more are asked for than are answered.
        found = process.extract(text, texts, scorer=fuzz.ratio, score_cutoff=cutoff, limit=self._most * 4)
        for _, score, at in found:
            yield _Found(places[at], comparison, int(score))

    def _explain(self, found: _Found, facts: Facts) -> Match:
        number, form = found.place
        listed = self._entries[number]
        entry = listed.entry
        return Match(
            list_code=listed.list_code,
            entry_key=entry.key,
            entry_fingerprint=listed.fingerprint,
            form=form,
            comparison=found.comparison,
            score=found.score,
            birth=_agreement(facts.birth_date, [entry.birth_date] if entry.birth_date else []),
            document=_agreement(facts.id_index, entry.id_indexes),
        )


_SURENESS = {Comparison.EXACT: 3, Comparison.IDENTITY: 2, Comparison.PINYIN: 1, Comparison.SIMILAR: 0}


def _agreement(known: object, listed: Sequence[object]) -> Agreement:
    if known is None or not listed:
        return Agreement.UNKNOWN
    return Agreement.AGREES if known in listed else Agreement.DIFFERS


def _is_somebody_else(match: Match) -> bool:
    """A name that only sounds or looks alike, of somebody born on another day.

    The same name stays a hit, for a person to judge: dates on lists are often wrong.
    """
    return (
        match.comparison is not Comparison.EXACT
        and match.birth is Agreement.DIFFERS
        and match.document is not Agreement.AGREES
    )
