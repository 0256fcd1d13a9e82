"""A page as its reader sees it: the words of each language, the tables, and what a browser would be told to do."""

from __future__ import annotations

from html.parser import HTMLParser

_EMPTY = {"meta", "br"}


class Part:
    """What stands in one language."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.texts: list[str] = []
        self.facts: dict[str, str] = {}
        self.rows: list[tuple[str, ...]] = []

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


class Page(HTMLParser):
    """Raises AssertionError where the tags do not fit together."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: dict[str, Part] = {}
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self._open: list[str] = []
        self._part: Part | None = None
        self._words = ""
        self._row: list[str] = []
        self._label = ""
        self.feed(html)
        self.close()
        assert self._open == []

    @property
    def chinese(self) -> Part:
        return self.parts["zh-CN"]

    @property
    def english(self) -> Part:
        return self.parts["en"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self._words = ""
        if tag not in _EMPTY:
            self._open.append(tag)
        if tag == "article":
            self._part = self.parts.setdefault(str(dict(attrs)["lang"]), Part())
        if tag == "tr":
            self._row = []

    def handle_data(self, data: str) -> None:
        self._words += data

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if self._part is not None:
            self._keep(self._part, tag)
        if tag == "article":
            self._part = None
        self._words = ""

    def _keep(self, part: Part, tag: str) -> None:
        words = self._words.strip()
        if words:
            part.texts.append(words)
        if tag in {"h1", "h2"}:
            part.titles.append(words)
        elif tag == "dt":
            self._label = words
        elif tag == "dd":
            part.facts[self._label] = words
        elif tag in {"td", "th"}:
            self._row.append(words)
        elif tag == "tr":
            part.rows.append(tuple(self._row))
