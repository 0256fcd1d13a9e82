"""Which Latin spellings are those of a Chinese name, whatever the order, the spaces and the reading."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypinyin import Style, lazy_pinyin

from screening.names import is_spelling_of


@pytest.mark.parametrize(
    ("latin", "chinese"),
    [
        ("OUYANG XIAOMAN", "欧阳小满"),
        ("XIAO MAN OUYANG", "欧阳小满"),
        ("OUYANG XIAO-MAN", "欧阳小满"),
        ("Xiaoman Ou Yang", "欧阳小满"),
        ("ouyangxiaoman", "欧阳小满"),
        ("Ōuyáng, Xiǎomǎn", "欧阳小满"),
        ("ＺＨＡＮＧ　ＳＡＮ", "张三"),
        ("San Zhang", "张三"),
        ("SHAN XIONG", "单雄"),
        ("DAN XIONG", "单雄"),
        ("PIAO SHUN", "朴顺"),
        ("PU SHUN", "朴顺"),
        ("Chongyue Wang", "王重阅"),
        ("ZHONGYUE WANG", "王重阅"),
        ("LYU NYU", "吕女"),
        ("LV NU", "吕女"),
        ("Lü Nü", "吕女"),
        ("MOQI XUE", "万俟雪"),
        ("YUCHI GONG", "尉迟恭"),
        ("ANSHENG CHENFANG", "陈方安生"),
        ("XI'AN LI", "李西安"),
        ("MAIMAITI ABUDULA", "阿卜杜拉·买买提"),
    ],
)
def test_readings_of_a_name_are_spellings_of_it(latin: str, chinese: str) -> None:
    assert is_spelling_of(latin, chinese)


@pytest.mark.parametrize(
    ("latin", "chinese"),
    [
        ("OUYANG XIAO", "欧阳小满"),
        ("OUYANG XIAOMAN A", "欧阳小满"),
        ("OUYANG MANXIAO", "欧阳小满"),
        ("YANG XIAOMAN OU B", "欧阳小满"),
        ("ZHANG SI", "张三"),
        ("CHANG SAN", "张三"),
        ("ZHАNG SAN", "张三"),
        ("ZHANG 3", "张三"),
        ("张三", "张三"),
        ("", "张三"),
        ("-", "张三"),
        ("ZHANG SAN", ""),
        ("ZHANG SAN", "Zhang San"),
        ("ZHANG A", "张A"),
        ("A B", "𠀀𠀁"),
    ],
)
def test_other_names_are_no_spellings(latin: str, chinese: str) -> None:
    assert not is_spelling_of(latin, chinese)


@given(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=2, max_size=6), st.text(max_size=30))
def test_the_usual_reading_is_always_one_and_nothing_that_comes_in_is_a_fault(chinese: str, latin: str) -> None:
    words = lazy_pinyin(chinese, style=Style.NORMAL, errors="ignore")
    if len(words) == len(chinese):
        assert is_spelling_of(" ".join(words).upper(), chinese)
        assert is_spelling_of(f"{''.join(words[1:])} {words[0]}", chinese)
    assert is_spelling_of(latin, chinese) in (True, False)
    assert not is_spelling_of(chinese, latin)


def test_many_readings_take_no_time() -> None:
    began = time.monotonic()
    assert not is_spelling_of("dan" * 42 + "x", "单" * 64)
    assert time.monotonic() - began < 1.0
