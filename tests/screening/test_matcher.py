"""Names against the made-up lists: what is found whatever its writing, and what is let be."""

from __future__ import annotations

import re
import time
from datetime import date
from itertools import islice, product
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.screening_files import ListFileError, read_list_file
from config.policy import read_policy
from domain.policy import Policy
from domain.screening import Agreement, Comparison, Facts, ListedEntry, ListEntry, Thresholds
from screening.matcher import Matcher
from screening.names import forms_of
from wiring import CONFIG

LIMITS: Thresholds = Policy.model_validate(read_policy()).screening.thresholds
C, A = Comparison, Agreement


def listed(entry: ListEntry, code: str = "UN") -> ListedEntry:
    return ListedEntry(list_code=code, entry=entry, fingerprint=entry.fingerprint, since_version=1)


def example_entries() -> list[ListedEntry]:
    return [
        listed(ListEntry.model_validate(row, strict=False), file.stem)
        for file in sorted((CONFIG / "screening").glob("*.csv"))
        for row in read_list_file(file)
    ]


def entry(*names: str, **changes: object) -> ListEntry:
    return ListEntry.model_validate({"key": "E-1", "kind": "person", "names": names} | changes)


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher(example_entries(), LIMITS)


@pytest.mark.parametrize(
    ("name", "key", "comparison"),
    [
        ("乌有之", "EX-MPS-1", C.EXACT),
        ("乌 有 之", "EX-MPS-1", C.EXACT),
        ("WU YOUZHI", "EX-MPS-1", C.EXACT),
        ("ＷＵ　Ｙｏｕｚｈｉ", "EX-MPS-1", C.EXACT),
        ("Youzhi Wu", "EX-MPS-1", C.EXACT),
        ("You-Zhi, Wu", "EX-MPS-1", C.EXACT),
        ("吴有志", "EX-MPS-1", C.PINYIN),
        ("鹿末需", "EX-MPS-2", C.PINYIN),
        ("Kongxu OUYANG", "EX-UN-3", C.EXACT),
        ("欧阳空虚", "EX-UN-3", C.EXACT),
        ("Ou Yang Kong Xu", "EX-UN-3", C.EXACT),
        ("Jia Ding Ming", "EX-PBOC-2", C.EXACT),
        ("贾丁铭", "EX-PBOC-2", C.PINYIN),
        ("Jia Dingmin", "EX-PBOC-2", C.SIMILAR),
        ("阿卜杜勒尼莫努斯卡姆", "EX-UN-1", C.EXACT),
        ("阿卜杜拉·尼莫·努斯卡姆", "EX-UN-1", C.SIMILAR),
        ("nusquam, nemo al", "EX-UN-1", C.EXACT),
        ("Abdul Nemo Nusqam", "EX-UN-1", C.SIMILAR),
        ("Nikto Niotkudov Ivan", "EX-UN-2", C.EXACT),
        ("Iván Nikto Niótkudov", "EX-UN-2", C.EXACT),
        ("Ivan Nikto Niotkudoff", "EX-UN-2", C.SIMILAR),
        ("Void & Nowhere Trading Company Limited", "EX-UN-4", C.SIMILAR),
        ("镜花水月支付科技（有限公司）", "EX-PBOC-1", C.EXACT),
        ("镜花水月支付科技公司", "EX-PBOC-1", C.SIMILAR),
        ("mirror flower payment technology co ltd", "EX-PBOC-1", C.EXACT),
    ],
)
def test_a_listed_name_is_found_in_every_writing(matcher: Matcher, name: str, key: str, comparison: Comparison) -> None:
    [match] = matcher.matches(name)
    assert (match.entry_key, match.comparison) == (key, comparison)
    assert match.score == 100.0 if comparison in (C.EXACT, C.PINYIN) else LIMITS.similar_chinese <= match.score < 100


@pytest.mark.parametrize(
    "name",
    [
        "乌有", "有乌之", "乌有芝兰", "Wu You", "Wu Youzhu", "Ivan", "Nikto", "Mirror Technology", "有限公司", "···",
        "", "2026", "欧阳空", "虚无科技有限公司",
    ],
)  # fmt: skip
def test_a_name_that_only_shares_something_is_let_be(matcher: Matcher, name: str) -> None:
    assert matcher.matches(name) == []


_FAMILY = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎"
_GIVEN = re.findall(r"\S+", "伟 芳 娜 敏 静 秀英 丽 强 磊 洋 艳 勇 军 杰 娟 涛 超 明 霞 秀兰 刚 平 桂英 建国")


def test_of_a_thousand_frequent_names_almost_none_is_a_false_hit(matcher: Matcher) -> None:
    names = list(islice(("".join(pair) for pair in product(_FAMILY, _GIVEN)), 1000))
    false_hits = [name for name in names if matcher.matches(name)]
    assert len(set(names)) == 1000
    # The stated number; a person has to look at each of them.
    assert len(false_hits) <= 2, false_hits


def test_of_namesakes_the_birth_date_tells_apart_those_that_only_sound_alike() -> None:
    born = date(1961, 4, 1)
    matcher = Matcher([listed(entry("乌有之", "Wu Youzhi", birth_date=born))], LIMITS)
    assert matcher.matches("吴有志", Facts(birth_date=date(1990, 1, 1))) == []
    [sounds] = matcher.matches("吴有志", Facts(birth_date=born))
    assert (sounds.comparison, sounds.birth, sounds.form) == (C.PINYIN, A.AGREES, 2)
    # Dates on lists are often wrong: the same name is for a person to judge.
    [same] = matcher.matches("乌有之", Facts(birth_date=date(1990, 1, 1)))
    assert (same.comparison, same.birth, same.form) == (C.EXACT, A.DIFFERS, 1)


def test_the_listed_identity_number_is_found_under_any_name() -> None:
    matcher = Matcher([listed(entry("乌有之", id_indexes=["a" * 64, "b" * 64]))], LIMITS)
    [match] = matcher.matches("完全另名", Facts(id_index="b" * 64))
    assert (match.comparison, match.document, match.is_certain) == (C.IDENTITY, A.AGREES, True)
    [namesake] = matcher.matches("乌有之", Facts(id_index="c" * 64))
    assert (namesake.comparison, namesake.document, namesake.is_certain) == (C.EXACT, A.DIFFERS, False)
    [both] = matcher.matches("乌有之", Facts(id_index="a" * 64))
    assert (both.comparison, both.is_certain) == (C.EXACT, True)


def test_an_entry_is_found_once_by_its_best_name_and_the_surest_come_first() -> None:
    two = [
        listed(entry("Abdul Nemo Nusquam", "Abdul Nemo Nusquamm")),
        listed(entry("Abdul Nemo Nusquan", key="E-2")),
    ]
    found = Matcher(two, LIMITS).matches("Abdul Nemo Nusquamm")
    assert [(match.entry_key, match.form) for match in found] == [("E-1", 2), ("E-2", 1)]
    assert found[0].score > found[1].score
    assert len(Matcher(two, LIMITS, most_matches=1).matches("Abdul Nemo Nusquamm")) == 1


def test_surnames_are_read_as_surnames_and_an_umlaut_in_each_spelling() -> None:
    assert "zengguofan" in forms_of("曾国藩").joined
    assert "shanxiongxin" in forms_of("单雄信").joined
    assert {"lvbu", "lubu", "lyubu"} <= forms_of("吕布").joined
    assert forms_of("欧阳修").joined == {"ouyangxiu"}
    assert forms_of("Xiu Ouyang").joined == {"ouyangxiu", "xiuouyang"}


@given(st.text(max_size=40))
def test_no_text_breaks_the_forms_of_a_name(text: str) -> None:
    forms = forms_of(text)
    assert all(word == word.strip() for word in forms.words)


def test_a_name_is_compared_with_ten_thousand_entries_in_little_time() -> None:
    chance = Random(4)
    syllables = ["ba", "ka", "li", "mo", "su", "ta", "ver", "don", "al", "ri", "en", "zo", "qui", "fa", "mus", "hel"]
    names = {" ".join("".join(chance.choices(syllables, k=3)) for _ in range(3)).title() for _ in range(9_990)}
    entries = [listed(entry(name, key=f"N-{number}")) for number, name in enumerate(sorted(names))]
    matcher = Matcher([*entries, *example_entries()], LIMITS)
    asked = ["王小明", "Abdul Nemo Nusquam", "镜花水月支付科技公司", "Vermoli Donsuta Kabali"]
    began = time.perf_counter()
    for name in asked * 5:
        matcher.matches(name)
    # The bound of the design, per name; it takes a hundredth of it on an idle machine.
    assert (time.perf_counter() - began) / (len(asked) * 5) < 0.05


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"key,kind\nA,person\n", "lacks the columns names"), (b"key,kind,names\nA,person\n", "line 2"),
        (b"\xff\xfe", "cannot be read"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_list_is_one_sentence(tmp_path: Path, content: bytes, fault: str) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(content)
    with pytest.raises(ListFileError, match=fault):
        read_list_file(file)
