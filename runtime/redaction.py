"""A second line of defence for logs: what looks like personal information or a one-time code is struck out.

The first line is that nobody logs such things. This one knows shapes only: it finds numbers, not names.
"""

from __future__ import annotations

import re
from typing import Any

STRUCK_OUT = "[redacted]"

# A number that stands alone; digits inside an identifier (letters or underscores beside them) are not
# touched.
_START, _END = r"(?<![A-Za-z0-9_])", r"(?![A-Za-z0-9_])"
_NUMBERS = re.compile(
    rf"{_START}(?:"
    r"\d{17}[\dXx]"  # resident identity number
    r"|\d{13,19}"  # card number
    r"|\d{4}(?:[ -]\d{4}){2,3}(?:[ -]\d{1,4})?"  # card number in groups
    r"|(?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}"  # mobile
    rf"){_END}"
)
_CODES = re.compile(
    r"(?i)((?<![a-z_])(?:code|sms_code|otp|verification_code|captcha|验证码)[\"']?\s*[:=]\s*[\"']?)(\d{4,8})(?!\d)"
)
# Full-width forms, as Chinese input methods type them, are read as what they stand for.
_WIDTHS = str.maketrans("０１２３４５６７８９Ｘｘ：＝", "0123456789Xx:=")
_SECRET_FIELDS = frozenset(
    {"id_number", "card_number", "mobile", "mobile_number", "phone", "holder_name", "agreement_number"}
    | {"sms_code", "otp", "verification_code", "password", "cvv", "cvn", "pin"}
    | {"authorization", "authorisation", "api_key", "master_key", "index_key", "payload_keys"}
)


def redact_text(text: str) -> str:
    """The text without what has the shape of an identity number, card number, mobile or `code=123456`."""
    return _CODES.sub(rf"\g<1>{STRUCK_OUT}", _NUMBERS.sub(STRUCK_OUT, text.translate(_WIDTHS)))


def redact(value: Any, field: str = "") -> Any:
    """The same through mappings and lists; a field named after a secret loses its value whatever that is."""
    if field.lower() in _SECRET_FIELDS and value not in (None, ""):
        return STRUCK_OUT
    if isinstance(value, dict):
        return {redact_text(str(key)): redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, field) for item in value]
    return value if isinstance(value, bool | float) or value is None else _redact_single(value, field.lower())


def _redact_single(value: Any, field: str) -> Any:
    text = value if isinstance(value, str) else repr(value)
    if field == "code" and re.fullmatch(r"\d{4,8}", text):
        return STRUCK_OUT
    if isinstance(value, int):
        return value if field.endswith("_minor") or redact_text(text) == text else STRUCK_OUT
    return redact_text(text)
