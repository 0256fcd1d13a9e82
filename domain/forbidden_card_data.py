"""Finds what P1.1.7 bans in what comes in: track and chip data, card verification code, expiry, password.

The answer names where it was found, never what: such a payload is refused and neither kept nor logged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names are compared in lower case without separators: `card_CVN2` is `cardcvn2`.
_BANNED_NAMES = _words(
    """
    cvn cvn2 cvv cvv2 cvc cvc2 cav2 csc2 cvncode cvvcode cvccode
    cardverificationvalue cardverificationcode cardverificationnumber cardsecuritycode securitycode
    expiry expire expires expiration expirydate expirationdate expiredate expdate expirymonth expiryyear
    expirationmonth expirationyear expmonth expyear validthru validthrough goodthru goodthrough
    pin pinblock pincode track track1 track2 track3 trackdata track1data track2data track3data
    trackone tracktwo trackthree track2equivalent track2equivalentdata
    magstripe magstripedata magneticstripe magneticstripedata magnetictrack swipedata
    chipdata iccdata emv emvdata icdata field55 de55
    yxq youxiaoqi anquanma kamima jiaoyimima qukuanmima zhifumima cidao cidaoshuju ercidao ercidaoshuju
    有效期 卡有效期 信用卡有效期 安全码 卡安全码 卡密码 银行卡密码 取款密码 交易密码
    磁道 磁道数据 二磁道 芯片数据
    """
)
# Names that are harmless by themselves, but not of a card.
_BANNED_OF_A_CARD = _words(
    """
    exp expiresat expireson expiresin expiryat validuntil validto validity validperiod csc cid cvcode
    password passwd passcode pwd mima jiaoyanma yanzhengma 密码 校验码
    verificationcode verificationvalue
    """
)
_CARD = re.compile(r"(?:bank|credit|debit|payment)?card|yinhangka|xinyongka|ka|银行卡|信用卡|卡")

# Year, month and three digits of service code, as they follow the card number on every track.
_EXPIRY_AND_SERVICE = r"[0-9]{2}(?:0[1-9]|1[0-2])[0-9]{3}"
_BANNED_CONTENT = (
    # Track 1: format letter, card number, holder, expiry.
    re.compile(rf"[0-9]{{12,19}}\^[^^]{{2,45}}\^{_EXPIRY_AND_SERVICE}"),
    # Track 2 as a reader gives it.
    re.compile(rf"(?<![0-9A-Za-z])[0-9]{{12,19}}={_EXPIRY_AND_SERVICE}"),
    # Track 2 as a chip gives it; whole words only, or a hash could look like it.
    re.compile(rf"(?<![0-9A-Za-z])[0-9]{{12,19}}D{_EXPIRY_AND_SERVICE}[0-9]*F*(?![0-9A-Za-z])", re.IGNORECASE),
    re.compile(rf"57(?:0[9A-F]|1[0-3])[0-9]{{12,19}}D{_EXPIRY_AND_SERVICE}", re.IGNORECASE),
    # Tracks 2 and 3 between their sentinels.
    re.compile(r";[0-9]{12,21}=[0-9=]{7,}"),
    # A code in running text: "CVN2: 123".
    re.compile(
        r"(?<![0-9A-Za-z])(?:cvn2?|cvv2?|cvc2?|安全码)(?:\s{0,3}(?:code|码|is|是|为))?"
        r"[\s\"':=：]{0,6}[0-9]{3,4}(?![0-9A-Za-z])",
        re.IGNORECASE,
    ),
)
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_HARMLESS_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


def contains_forbidden_card_data(payload: object) -> str | None:
    """The path of a banned field or content in a parsed JSON value, like `card.cvn2` or `notes[0]`; or None.

    A key that is not a plain name, or has four digits in a row, stands in the path as `*`. Any depth.
    """
    for path, card_before, name, value in _walk(payload):
        if name is not None and (_is_banned_name(name, card_before) or _is_banned_content(name)):
            return path
        if isinstance(value, str) and _is_banned_content(value):
            return path
    return None


def _walk(payload: object) -> Iterator[tuple[str, bool, str | None, object]]:
    """Every value with its path, whether it lies directly in a card, and its key; without recursion."""
    stack: list[tuple[str, bool, str | None, object]] = [("", False, None, payload)]
    while stack:
        path, in_card, name, value = stack.pop()
        yield path or "$", in_card, name, value
        # The items of a list stand for its own name: `cards[0].expires_at` is of a card.
        is_card = _is_card(name) if name is not None else in_card
        if isinstance(value, Mapping):
            stack += [(_join(path, str(key)), is_card, str(key), item) for key, item in value.items()]
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
            stack += [(f"{path}[{index}]", is_card, None, item) for index, item in enumerate(value)]


def _join(path: str, key: str) -> str:
    safe = _compact(key) in _BANNED_NAMES or (
        _HARMLESS_NAME.fullmatch(key) is not None and not re.search(r"[0-9]{4}", key)
    )
    segment = key if safe else "*"
    return f"{path}.{segment}" if path else segment


def _compact(name: str) -> str:
    return re.sub(r"[\W_]", "", name.translate(_FULL_WIDTH).lower())


def _is_card(name: str) -> bool:
    return _CARD.fullmatch(_compact(name).removesuffix("s")) is not None


def _is_banned_name(name: str, in_card: bool) -> bool:
    compact = _compact(name)
    if compact in _BANNED_NAMES or (in_card and compact in _BANNED_OF_A_CARD):
        return True
    prefix = _CARD.match(compact)
    rest = compact[prefix.end() :] if prefix else ""
    return rest in _BANNED_NAMES or rest in _BANNED_OF_A_CARD


def _is_banned_content(text: str) -> bool:
    # People write card numbers in groups. Nothing banned has fewer than three digits in a row.
    plain = text.translate(_FULL_WIDTH)
    if re.search(r"[0-9]{3}", plain) is None:
        return False
    squeezed = re.sub(r"(?<=[0-9=^])[ -]+(?=[0-9=^])", "", plain)
    return any(pattern.search(candidate) for candidate in {plain, squeezed} for pattern in _BANNED_CONTENT)
