"""Writes the table of error codes into `docs/merchants/errors.md`: `python -m api.error_table`."""

from __future__ import annotations

from pathlib import Path

from api.problems import status_of
from domain.error_codes import ERROR_TEXTS, OPERATOR_CODES, ErrorCode

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "merchants" / "errors.md"
_BEGIN, _END = "<!-- codes: ", "<!-- end of codes -->"
# Whatever else is refused was decided: the same key would only be told the same again.
_SAME_KEY_AGAIN = frozenset({ErrorCode.SERVICE_UNAVAILABLE, ErrorCode.IDEMPOTENCY_IN_PROGRESS, ErrorCode.RATE_LIMITED})


def error_table() -> str:
    """One line a code that a merchant can meet, in the order of the code list."""
    lines = ["| Code | Status | Meaning | 含义 | What to do | 处理 |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| `{code.value}` | {status_of(code)}{' ↻' if code in _SAME_KEY_AGAIN else ''} | {text.title_en} |"
        f" {text.title_zh} | {text.action_en} | {text.action_zh} |"
        for code, text in ERROR_TEXTS.items()
        if code not in OPERATOR_CODES
    ]
    return "\n".join(lines)


def with_table(document: str) -> str:
    """The document with the present table between its marks."""
    head, _, rest = document.partition(_BEGIN)
    mark, _, _ = rest.partition("\n")
    _, _, tail = rest.partition(_END)
    return f"{head}{_BEGIN}{mark}\n\n{error_table()}\n\n{_END}{tail}"


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
