"""Certificates and negative answers as users read them (P3.4, P4.2a, P4.2b, P4.2c, P4.4d, P4.5e, P4.5f, P8a, P8b)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from itertools import product
from string import Formatter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.policy import read_policy
from documents import closing_texts
from documents.closing import render
from documents.language import Language, legible
from domain.closing import (
    ClosureAnswer,
    ClosureChannel,
    ClosureScope,
    DeletionGround,
    Destroyed,
    Kept,
    RefusalGround,
    Told,
)
from domain.personal_data import PersonalField
from domain.policy import Policy
from tests.documents.pages import Page

CONTACT = Policy.model_validate(read_policy()).contact
HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}{% raw %}{closure}</td></article><img src=x onerror=y>"


def at(text: str) -> datetime:
    """`10-14 06:58` in UTC, which is eight hours behind Shanghai."""
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


DESTROYED = Destroyed(
    fields=(PersonalField.NAME, PersonalField.CARD_NUMBER), items=14, at=at("10-14 16:58"), by_key=True
)


def answer(**changes: Any) -> ClosureAnswer:
    values = {
        "closure_id": "cls_01K9Z7Q4W3E5R6T7Y8V9A0BCDE",
        "user_id": "usr_01K0Z7Q4W3E5R6T7Y8V9A0BCDE",
        "merchant_name": "云杉商城",
        "scope": ClosureScope.ACCOUNT,
        "channel": ClosureChannel.HOTLINE,
        "outcome": "completed",
        "received_at": at("09-18 04:12"),
        "due_on": date(2026, 10, 15),
        "answered_at": at("10-14 17:03"),
        "agreement_ended_on": date(2026, 10, 13),
        "destroyed": DESTROYED,
        "key_backups_expire_on": date(2026, 10, 21),
        "backups_expire_on": date(2026, 11, 13),
    }
    return ClosureAnswer.model_validate(values | changes)


def refusal(ground: RefusalGround | None, **changes: Any) -> ClosureAnswer:
    nothing = {"destroyed": None, "agreement_ended_on": None, "key_backups_expire_on": None, "backups_expire_on": None}
    return answer(outcome="refused", refusal_ground=ground, **nothing, **changes)


def page(shown: ClosureAnswer) -> Page:
    return Page(render(shown, CONTACT))


def told(**changes: Any) -> Told:
    values = {"recipient": "HBRB", "name_zh": "海港银行", "name_en": "Harbour Bank", "kind": "bank"}
    return Told.model_validate(values | {"told_at": at("10-14 07:00")} | changes)


def test_a_certificate_says_in_both_languages_what_was_asked_and_when_it_was_done() -> None:
    shown = page(answer())
    assert shown.chinese.titles[0] == "账户注销证明"
    assert shown.english.titles[0] == "Certificate of account closure"
    assert shown.english.facts["Request number"] == "cls_01K9Z7Q4W3E5R6T7Y8V9A0BCDE"
    assert shown.english.facts["Received"] == "18 September 2026, 12:12"
    # 17:03 in UTC is past midnight in Shanghai.
    assert shown.english.facts["Answered"] == "15 October 2026, 01:03"
    assert shown.chinese.facts["答复时间"] == "2026年10月15日 01:03"
    assert shown.chinese.facts["应当答复日期"] == "2026年10月15日"
    assert shown.chinese.facts["协议终止日期"] == "2026年10月13日"
    assert "云杉商城" in shown.english.text


def test_what_was_destroyed_is_named_with_its_number_and_time() -> None:
    shown = page(answer())
    assert "destroyed on 15 October 2026, 00:58" in shown.english.text
    assert "(14 items in all): name, bank card number." in shown.english.text
    assert "（共 14 项）：姓名、银行卡号。" in shown.chinese.text
    one = page(answer(destroyed=DESTROYED.model_copy(update={"items": 1})))
    assert "(1 item in all)" in one.english.text


def test_backups_are_unreadable_from_the_day_on_which_the_backups_of_the_key_have_expired() -> None:
    shown = page(answer())
    assert "once the key's own backups have expired, on 21 October 2026." in shown.english.text
    assert "密钥自身的备份将于2026年10月21日全部到期" in shown.chinese.text
    assert "deleted, on 13 November 2026." in shown.english.text


def test_where_the_key_lives_on_nobody_is_told_that_copies_in_backups_are_unreadable() -> None:
    shown = page(answer(scope="deletion", destroyed=DESTROYED.model_copy(update={"by_key": False})))
    assert "cannot be read" not in shown.english.text
    assert "不能读出" not in shown.chinese.text
    assert "This was deleted on 15 October 2026, 00:58" in shown.english.text
    assert "deleted, on 13 November 2026." in shown.english.text
    assert "this deletion is carried out again before anything is started" in shown.english.text


def test_a_deletion_that_found_nothing_says_so() -> None:
    for nothing in (None, DESTROYED.model_copy(update={"fields": (), "items": 0})):
        shown = page(answer(scope="deletion", destroyed=nothing))
        assert "We found no personal information" in shown.english.text


def test_what_is_kept_is_a_table_with_until_when_and_why() -> None:
    kept = (
        Kept(kind="transaction", event_year=2026, records=37, until=date(2037, 1, 1), ground="law"),
        Kept(kind="transaction", event_year=2024, records=2, until=date(2030, 1, 1), ground="agreement"),
        Kept(kind="source_of_funds", event_year=2024, records=1, until=date(2040, 7, 2), ground="consent"),
        Kept(kind="identity", event_year=2026, records=3, until=date(2037, 1, 1), ground="law"),
    )
    shown = page(answer(kept=kept))
    assert shown.english.rows[:5] == [
        ("Information", "Records", "Kept until", "Why"),
        ("Identity (agreement ended in 2026)", "3", "1 January 2037", "The law requires us to keep it"),
        ("Source of funds, booked in 2024", "1", "2 July 2040", "You have agreed to a longer time"),
        ("Transactions booked in 2024", "2", "1 January 2030", "As stated in the service agreement"),
        ("Transactions booked in 2026", "37", "1 January 2037", "The law requires us to keep it"),
    ]
    assert (
        "身份信息（协议于2026年终止）",
        "3",
        "2037年1月1日",
        "法律要求支付机构在规定年限内保存",
    ) in shown.chinese.rows
    assert "Nothing has to be kept any longer." in page(answer()).english.text


def test_who_was_told_stands_with_what_each_has_replied_so_far() -> None:
    recipients = (
        told(kind="merchant", name_zh="云杉", name_en="Spruce", reply="erased", replied_at=at("10-14 08:00")),
        told(reply="kept", reply_reason="law"),
        told(reply="kept", reply_reason="own_authorisation"),
        told(reply="kept", reply_reason="we are asked by a court"),
        told(reply="kept"),
        told(reply="received"),
        told(),
        told(told_at=None),
    )
    rows = page(answer(told=recipients)).english.rows[1:]
    assert rows[0] == ("Spruce", "Merchant", "14 October 2026, 15:00", "Has deleted it (14 October 2026, 16:00)")
    assert [row[3] for row in rows[1:]] == [
        "Keeps it. Reason: the law requires the recipient to keep it",
        "Keeps it. Reason: you have authorised the recipient itself",
        "Keeps it. Reason: we are asked by a court",
        "Keeps it. Reason: not stated",
        "Has received the notice and is dealing with it",
        "No reply yet",
        "No reply yet",
    ]
    assert rows[-1][2] == "Not told yet"
    assert "nobody who had to be told" in page(answer()).english.text


def test_what_stays_under_a_pseudonym_is_named_with_the_reason() -> None:
    shown = page(answer(pseudonymous=("fx_quota", "misuse_marks", "screening")))
    assert [row[0] for row in shown.chinese.rows][1:] == [
        "已使用的个人年度结售汇额度",
        "滥用服务的标记",
        "与监管名单比对的结果",
    ]
    assert "cannot be turned back into who you are" in shown.english.text
    assert "pseudonym" not in page(answer()).english.text


@pytest.mark.parametrize("ground", RefusalGround)
@pytest.mark.parametrize("scope", ClosureScope)
def test_a_negative_answer_states_its_ground_and_the_way_to_complain(
    scope: ClosureScope, ground: RefusalGround
) -> None:
    shown = page(refusal(ground, scope=scope))
    chinese, english = closing_texts.REFUSAL_GROUNDS[ground]
    assert f"理由：{chinese}。" in shown.chinese.text
    assert english[1:] in shown.english.text
    assert CONTACT.complaint_zh in shown.chinese.text
    assert CONTACT.complaint_en in shown.english.text
    assert "closed and deleted nothing" in shown.english.text
    assert shown.english.titles == [closing_texts.REFUSALS[scope][1], "What you can do", "How to reach us"]
    assert shown.english.rows == []


def test_where_no_reason_may_be_told_none_is_made_up() -> None:
    shown = page(refusal(None))
    assert "The law does not allow us to tell you the reason." in shown.english.text
    assert not any(text in shown.english.text for _, text in closing_texts.REFUSAL_GROUNDS.values())
    assert CONTACT.complaint_en in shown.english.text


def test_whoever_could_not_be_verified_learns_how_to_ask_again() -> None:
    assert "prove in another way who you are" in page(refusal(RefusalGround.IDENTITY_NOT_VERIFIED)).english.text
    assert "you may ask again at any time" in page(refusal(RefusalGround.TRADE_SECRETS)).english.text


@pytest.mark.parametrize("ground", DeletionGround)
@pytest.mark.parametrize("outcome", ["completed", "refused"])
def test_the_answer_to_a_deletion_cites_the_ground_on_which_it_was_asked(outcome: str, ground: DeletionGround) -> None:
    shown = page(
        answer(scope="deletion", outcome=outcome, deletion_ground=ground, refusal_ground=RefusalGround.GROUND_NOT_MET)
    )
    assert shown.chinese.facts["申请依据"] == closing_texts.DELETION_GROUNDS[ground][0]
    assert shown.english.facts["Ground"] == closing_texts.DELETION_GROUNDS[ground][1]


def test_every_answer_says_where_to_turn_from_the_one_configuration() -> None:
    for shown in (page(answer()), page(refusal(RefusalGround.TRADE_SECRETS))):
        for part in (shown.chinese, shown.english):
            for value in (CONTACT.hotline, CONTACT.email, CONTACT.privacy_email):
                assert value in part.facts.values()
        assert CONTACT.address_zh in shown.chinese.facts.values()
        assert CONTACT.address_en in shown.english.facts.values()
        assert CONTACT.complaint_zh in shown.chinese.text


def test_closing_quick_pay_ends_quick_pay_and_not_the_account() -> None:
    shown = page(answer(scope="quick_pay"))
    assert shown.chinese.titles[0] == "快捷支付关闭证明"
    assert shown.english.facts["Quick pay ended on"] == "13 October 2026"
    assert "Your account and its balance are not affected." in shown.english.text


def test_an_answer_that_comes_too_late_says_so() -> None:
    assert "we apologise" not in page(answer()).english.text
    late = page(answer(answered_at=at("10-15 16:00")))
    assert "This answer comes after the day on which it was due; we apologise." in late.english.text
    assert "我们为此致歉" in page(refusal(RefusalGround.TRADE_SECRETS, answered_at=at("10-15 16:00"))).chinese.text


def test_hostile_names_are_shown_as_the_text_that_they_are() -> None:
    recipient = told(name_zh=HOSTILE, name_en=HOSTILE, reply="kept", reply_reason=HOSTILE)
    html = render(answer(merchant_name=HOSTILE, closure_id=HOSTILE, user_id=HOSTILE, told=(recipient,)), CONTACT)
    shown = Page(html)
    assert shown.english.facts["Merchant"] == HOSTILE
    assert shown.english.rows[1][0] == HOSTILE
    assert shown.english.rows[1][3] == f"Keeps it. Reason: {HOSTILE}"
    assert f"held through {HOSTILE} is closed" in shown.english.text
    assert {"script", "img"} & shown.tags == set()
    assert Page(render(refusal(None, closure_id=HOSTILE), CONTACT)).english.facts["Request number"] == HOSTILE


@given(st.text(max_size=60))
def test_whatever_a_merchant_is_called_the_page_keeps_its_form(name: str) -> None:
    shown = page(answer(merchant_name=name, told=(told(name_zh=name, name_en=name),)))
    assert set(shown.parts) == {"zh-CN", "en"}
    assert shown.english.facts["Merchant"] == legible(name).strip()
    assert shown.tags == page(answer(told=(told(),))).tags


def test_marks_that_turn_the_direction_of_writing_are_not_passed_on() -> None:
    html = render(answer(merchant_name="a\u202eb\u2066c\x00d\x1be"), CONTACT)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", html)


def test_the_page_is_complete_in_itself_and_runs_nothing() -> None:
    html = render(answer(told=(told(),), pseudonymous=("fx_quota",)), CONTACT)
    shown = Page(html)
    assert shown.tags.isdisjoint({"script", "link", "img", "iframe", "object", "form", "base"})
    assert [name for name, _ in shown.attributes if name.startswith("on") or name in {"src", "style", "action"}] == []
    assert {value for name, value in shown.attributes if name == "href"} == {"#en", "#zh-CN"}
    assert not re.search(r"https?://|url\(|@import", html)


def test_no_clause_is_named_to_the_user() -> None:
    texts = page(answer(told=(told(),), pseudonymous=("fx_quota",))).english.text
    assert not re.search(r"\b[APLQ]\d+\.\d", texts)


def test_an_instant_without_a_zone_is_no_instant() -> None:
    with pytest.raises(ValueError, match="zone"):
        render(answer(received_at=datetime(2026, 9, 18)), CONTACT)  # noqa: DTZ001 - that is the point


def test_every_answer_that_there_can_be_has_its_words() -> None:
    channels = product(ClosureScope, ClosureChannel, ["completed", "refused"], [*RefusalGround, None])
    for scope, channel, outcome, ground in channels:
        assert page(answer(scope=scope, channel=channel, outcome=outcome, refusal_ground=ground)).english.titles[0]
    assert set(closing_texts.FIELDS) == set(PersonalField)
    for known, model, field in (
        (closing_texts.KEPT_KINDS, Kept, "kind"),
        (closing_texts.KEPT_GROUNDS, Kept, "ground"),
        (closing_texts.REPLIES, Told, "reply"),
        (closing_texts.RECIPIENT_KINDS, Told, "kind"),
    ):
        assert set(known) == set(model.model_fields[field].annotation.__args__)  # type: ignore[union-attr]


def test_both_languages_say_the_same_values_and_chinese_is_chinese() -> None:
    for name, pair in _pairs():
        chinese, english = ({field for _, field, _, _ in Formatter().parse(text) if field} for text in pair)
        assert chinese == english, name
        assert not re.search("[\u3400-\u9fff]", pair[1]), name
        assert re.search("[\u3400-\u9fff]", pair[0]) or name in {"items", "one_item", "reply_at"}, name


def test_dates_are_said_as_each_language_says_them() -> None:
    assert Language.CHINESE.day(date(2026, 1, 5)) == "2026年1月5日"
    assert Language.ENGLISH.day(date(2026, 12, 31)) == "31 December 2026"


def _pairs() -> list[tuple[str, tuple[str, str]]]:
    found: list[tuple[str, tuple[str, str]]] = []
    for name in (name for name in vars(closing_texts) if name.isupper()):
        for key, value in getattr(closing_texts, name).items():
            nested = value if isinstance(value[0], tuple) else (value,)
            found += [(str(key), each) for each in nested]
    return found
