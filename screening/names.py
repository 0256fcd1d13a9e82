"""A name in the forms in which it can be compared: characters, letters, and the reading of characters in letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from pypinyin import Style, pinyin

# Surnames that are read otherwise than the same character elsewhere.
_SURNAME_READINGS = """
    单=shan 曾=zeng 解=xie 仇=qiu 查=zha 任=ren 朴=piao 盖=ge 区=ou 尉迟=yuchi 万俟=moqi 长孙=zhangsun 宁=ning 华=hua
    召=shao 乐=yue 缪=miao 燕=yan 翟=zhai 覃=qin 逄=pang 冼=xian 纪=ji 种=chong 重=chong 秘=bi 谌=chen 晟=cheng 员=yun
    折=she 黑=he 繁=po"""
_COMPOUND_SURNAMES = """
    欧阳 司马 上官 诸葛 东方 皇甫 尉迟 公孙 慕容 令狐 宇文 长孙 司徒 司空 夏侯 端木 万俟 百里 呼延 南宫 东郭 轩辕"""
_SURNAMES = dict(pair.split("=") for pair in _SURNAME_READINGS.split())
_COMPOUND = frozenset(_COMPOUND_SURNAMES.split())
_HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")
_NOT_WORD = re.compile(r"[^\w\u3400-\u9fff]+|_+")
_MOST_READINGS = 4
_MOST_ROTATED_WORDS = 6


@dataclass(frozen=True)
class NameForms:
    """`characters` are Chinese ones without anything between them; `words` are Latin, in alphabetical order.

    `joined` are the words without spaces, Latin ones in each order that turning them gives (family name first or last),
    so that it does not matter where a transliteration puts its spaces. `is_reading`: how characters are read.
    """

    characters: str
    words: tuple[str, ...]
    joined: frozenset[str]
    is_reading: bool


def forms_of(name: str) -> NameForms:
    """The forms of a name: width, case, accents, separators and the order of words do not count."""
    plain = _plain(name)
    if _HAN.search(plain):
        characters = "".join(_NOT_WORD.sub(" ", plain).split())
        readings = _readings("".join(_HAN.findall(characters)))
        joined = frozenset("".join(reading) for reading in readings)
        words = tuple(" ".join(sorted([reading[0], "".join(reading[1:])])).strip() for reading in readings)
        return NameForms(characters, words, joined, is_reading=True)
    parts = _NOT_WORD.sub(" ", plain).split()
    return NameForms("", (" ".join(sorted(parts)),) if parts else (), frozenset(_turned(parts)), is_reading=False)


def is_spelling_of(latin: str, chinese: str) -> bool:
    """Whether a name in Latin letters is a Chinese one in pinyin, by any reading of each character.

    The surname, or what stands before a dot, may come first or last; case, accents, spaces and hyphens do not count.
    False for a name that is not in Chinese characters alone, or has one whose reading is not known.
    """
    letters = "".join(_NOT_WORD.sub(" ", _plain(latin)).split())
    parts = _NOT_WORD.sub(" ", _plain(chinese)).split()
    characters = "".join(parts)
    if not (letters.isascii() and letters.isalpha()) or not parts or _HAN.sub("", characters):
        return False
    ways = [_all_readings(character) for character in characters]
    return any(_is_read(letters, ways[at:] + ways[:at]) for at in (len(parts[0]), *_ends_of_surname(characters)))


def _all_readings(character: str) -> frozenset[str]:
    [found] = pinyin(character, style=Style.NORMAL, heteronym=True)
    as_surname = [_SURNAMES[character]] if character in _SURNAMES else []
    return frozenset(spelling for each in (*found, *as_surname) for spelling in _spellings(each))


def _ends_of_surname(characters: str) -> list[int]:
    """After how many characters the given name may begin; 0 keeps the order. Of four, two may be two surnames."""
    two = characters[:2] in _COMPOUND or len(characters) >= 4
    return [0, 1, 2] if two else [0, 1]


def _is_read(letters: str, ways: Sequence[frozenset[str]]) -> bool:
    """Whether the letters are one reading of each, in this order."""
    ends = {0}
    for readings in ways:
        ends = {end + len(each) for end in ends for each in readings if letters.startswith(each, end)}
    return len(letters) in ends


def _plain(name: str) -> str:
    """Compatibility forms, no case, no accents; an umlaut ü is the v or u that readings write."""
    folded = unicodedata.normalize("NFKC", name).casefold().replace("ü", "v")
    bare = unicodedata.normalize("NFD", folded.replace("'", "").replace("\u2019", ""))
    return unicodedata.normalize("NFC", "".join(c for c in bare if not unicodedata.combining(c)))


def _readings(characters: str) -> list[list[str]]:
    """How the characters are read, family name first as one word; `lv` is also written `lu` and `lyu`."""
    family = characters[:2] if characters[:2] in _COMPOUND and len(characters) > 2 else characters[:1]
    given = characters[len(family) :]
    first = _SURNAMES.get(family) or "".join(_syllables(family))
    rest = [_options(syllables) for syllables in pinyin(given, style=Style.NORMAL, heteronym=False)]
    found: list[list[str]] = []
    for combination in product(_spellings(first), *rest):
        found.append(list(combination))
        if len(found) == _MOST_READINGS:
            break
    return found


def _syllables(characters: str) -> list[str]:
    return [syllables[0] for syllables in pinyin(characters, style=Style.NORMAL, heteronym=False)]


def _options(syllables: list[str]) -> list[str]:
    return _spellings(syllables[0])


def _spellings(syllable: str) -> list[str]:
    plain = _plain(syllable)
    return [plain.replace("v", letter) for letter in ("v", "u", "yu")] if "v" in plain else [plain]


def _turned(words: list[str]) -> list[str]:
    if len(words) > _MOST_ROTATED_WORDS:
        return ["".join(words)]
    return ["".join(words[at:] + words[:at]) for at in range(len(words))]
