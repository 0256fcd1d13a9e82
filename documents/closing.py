"""The answer to a closing or a deletion as a document for the user (P3.4, P4.2a, P4.4d, P8a, P8b).

One self-contained page of HTML without scripts, a part in Chinese and one in English, each on sheets of A4 of its own.
Everything on it is text that the template escapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from documents.closing_texts import (
    CERTIFICATES,
    CHANNELS,
    DELETION_GROUNDS,
    FIELDS,
    KEPT_GROUNDS,
    KEPT_KINDS,
    PSEUDONYMOUS,
    RECIPIENT_KINDS,
    REFUSAL_GROUNDS,
    REFUSALS,
    REPLIES,
    REPLY_REASONS,
    RESULTS,
    SCOPES,
    TEXTS,
)
from documents.language import Language, legible
from domain.business_time import business_date
from domain.closing import ClosureAnswer, ClosureScope, Contact, Destroyed, RefusalGround, Told

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["legible"] = legible


@dataclass(frozen=True)
class Table:
    """The number column is set to the right; a short one stays on one line."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    number_column: int | None = None
    short_columns: tuple[int, ...] = ()


@dataclass(frozen=True)
class Section:
    """A title, paragraphs, and below them a table with a note."""

    title: str
    paragraphs: tuple[str, ...] = ()
    table: Table | None = None
    note: str | None = None


@dataclass(frozen=True)
class Sheet:
    """The whole document in one language."""

    lang: str
    institution: str
    title: str
    granted: bool
    greeting: str
    result: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    contact_title: str
    contact: tuple[tuple[str, str], ...]
    footer: str


def render(answer: ClosureAnswer, contact: Contact) -> str:
    """The page for one answer. Raises ValueError for an instant without a time zone."""
    sheets = [_Writer(language, answer, contact).sheet() for language in Language]
    return _templates.get_template("closing.html").render(sheets=sheets)


@dataclass(frozen=True)
class _Writer:
    language: Language
    answer: ClosureAnswer
    contact: Contact

    def sheet(self) -> Sheet:
        answer, contact = self.answer, self.contact
        granted = answer.outcome == "completed"
        titles = CERTIFICATES if granted else REFUSALS
        return Sheet(
            lang=self.language.tag,
            institution=self.language.say((contact.name_zh, contact.name_en)),
            title=self.language.say(titles[answer.scope]),
            granted=granted,
            greeting=self._say("dear_user"),
            result=self._granted() if granted else self._refused(),
            facts=self._facts(),
            sections=self._sections(granted),
            contact_title=self._say("contact_title"),
            contact=self._contact(),
            footer=self._say("times"),
        )

    def _say(self, key: str, **values: str | int) -> str:
        return self.language.say(TEXTS[key], **values)

    def _granted(self) -> tuple[str, ...]:
        done, meaning = RESULTS[self.answer.scope]
        return (
            self.language.say(done, merchant=self.answer.merchant_name),
            self.language.say(meaning),
            *self._apology(),
        )

    def _refused(self) -> tuple[str, ...]:
        """Where the law lets no reason be told, the answer is without one (P4.4d)."""
        ground = self.answer.refusal_ground
        if ground is None:
            reason = self._say("reason_untold")
        else:
            reason = self._say("reason", reason=self._within(self.language.say(REFUSAL_GROUNDS[ground])))
        return (f"{self._say('refused')}{self._space}{reason}", self._say("unchanged"), *self._apology())

    def _apology(self) -> tuple[str, ...]:
        late = business_date(self.answer.answered_at) > self.answer.due_on
        return (self._say("late"),) if late else ()

    def _facts(self) -> tuple[tuple[str, str], ...]:
        answer, language = self.answer, self.language
        found = [
            ("fact_closure", answer.closure_id),
            ("fact_user", answer.user_id),
            ("fact_merchant", answer.merchant_name),
            ("fact_scope", language.say(SCOPES[answer.scope])),
            ("fact_channel", language.say(CHANNELS[answer.channel])),
            ("fact_received", language.instant(answer.received_at)),
            ("fact_due", language.day(answer.due_on)),
            ("fact_answered", language.instant(answer.answered_at)),
        ]
        if answer.deletion_ground is not None:
            found.insert(4, ("fact_ground", language.say(DELETION_GROUNDS[answer.deletion_ground])))
        if answer.agreement_ended_on is not None:
            key = "fact_ended_quick_pay" if answer.scope is ClosureScope.QUICK_PAY else "fact_ended_account"
            found.append((key, language.day(answer.agreement_ended_on)))
        return tuple((self._say(key), value) for key, value in found)

    def _sections(self, granted: bool) -> tuple[Section, ...]:
        """A refusal has of the tables only what there is to tell."""
        answer = self.answer
        found = []
        if granted or answer.destroyed:
            found.append(self._destroyed(answer.destroyed))
        if answer.destroyed:
            found.append(self._backups(answer.destroyed))
        if granted or answer.kept:
            found.append(self._kept())
        if answer.pseudonymous:
            found.append(self._pseudonymous())
        if granted or answer.told:
            found.append(self._told())
        return (*found, *(() if granted else (self._next(),)))

    def _destroyed(self, destroyed: Destroyed | None) -> Section:
        if destroyed is None or not destroyed.fields:
            return Section(self._say("destroyed_title"), (self._say("destroyed_nothing"),))
        said = self._say(
            "destroyed_by_key" if destroyed.by_key else "destroyed_items",
            at=self.language.instant(destroyed.at),
            items=self._say("one_item") if destroyed.items == 1 else self._say("items", count=destroyed.items),
            fields=self.language.listed(self.language.say(FIELDS[field]) for field in destroyed.fields),
        )
        return Section(self._say("destroyed_title"), (said,))

    def _backups(self, destroyed: Destroyed) -> Section:
        """Only the end of a key makes the copies in backups unreadable; others are there until they expire (P4.2c)."""
        answer, said = self.answer, []
        if destroyed.by_key and answer.key_backups_expire_on:
            said.append(self._say("backups_key", on=self.language.day(answer.key_backups_expire_on)))
        if answer.backups_expire_on:
            said.append(self._say("backups_expire", on=self.language.day(answer.backups_expire_on)))
        return Section(self._say("backups_title"), (self._space.join((*said, self._say("backups_restored"))),))

    def _kept(self) -> Section:
        """What, until when and why (P3.4, P4.5e, P4.5f)."""
        if not self.answer.kept:
            return Section(self._say("kept_title"), (self._say("kept_nothing"),))
        rows = tuple(
            (
                self.language.say(KEPT_KINDS[kept.kind], year=kept.event_year),
                str(kept.records),
                self.language.day(kept.until),
                self.language.say(KEPT_GROUNDS[kept.ground]),
            )
            for kept in sorted(self.answer.kept, key=lambda kept: (kept.kind, kept.event_year, kept.until))
        )
        headers = self._headers("kept_what", "kept_count", "kept_until", "kept_why")
        table = Table(headers, rows, number_column=1, short_columns=(2,))
        return Section(self._say("kept_title"), (self._say("kept_lead"),), table, self._say("kept_note"))

    def _pseudonymous(self) -> Section:
        rows = tuple((self.language.say(what), self.language.say(why)) for what, why in self._outliving())
        table = Table(self._headers("pseudonym_what", "kept_why"), rows)
        return Section(self._say("pseudonym_title"), (self._say("pseudonym_lead"),), table)

    def _outliving(self) -> list[tuple[tuple[str, str], tuple[str, str]]]:
        return [PSEUDONYMOUS[each] for each in self.answer.pseudonymous]

    def _told(self) -> Section:
        """Who was told, and what each has said so far (P4.2b)."""
        if not self.answer.told:
            return Section(self._say("told_title"), (self._say("told_nobody"),))
        rows = tuple(
            (
                self.language.say((told.name_zh, told.name_en)),
                self.language.say(RECIPIENT_KINDS[told.kind]),
                self.language.instant(told.told_at) if told.told_at else self._say("told_not_yet"),
                self._reply(told),
            )
            for told in self.answer.told
        )
        headers = self._headers("told_recipient", "told_kind", "told_at", "told_reply")
        table = Table(headers, rows, short_columns=(1, 2))
        return Section(self._say("told_title"), (self._say("told_lead"),), table)

    def _reply(self, told: Told) -> str:
        said = self.language.say(REPLIES[told.reply], reason=self._reply_reason(told.reply_reason))
        return said + (self._say("reply_at", at=self.language.instant(told.replied_at)) if told.replied_at else "")

    def _reply_reason(self, reason: str | None) -> str:
        if not reason:
            return self._say("reply_unreasoned")
        return self.language.say(REPLY_REASONS[reason]) if reason in REPLY_REASONS else reason

    def _next(self) -> Section:
        """A negative answer names the way to complain (P8b)."""
        said = [self._say("next_again", closure=self.answer.closure_id)]
        if self.answer.refusal_ground is RefusalGround.IDENTITY_NOT_VERIFIED:
            said = [self._say("next_identity")]
        ask = self._say("next_ask", hotline=self.contact.hotline, privacy=self.contact.privacy_email)
        complain = self._say("next_complain", complaint=self._complaint())
        return Section(self._say("next_title"), (*said, ask, complain))

    def _contact(self) -> tuple[tuple[str, str], ...]:
        contact, granted = self.contact, self.answer.outcome == "completed"
        found = (
            (self._say("contact_hotline"), contact.hotline),
            (self._say("contact_email"), contact.email),
            (self._say("contact_privacy"), contact.privacy_email),
            (self._say("contact_address"), self.language.say((contact.address_zh, contact.address_en))),
        )
        return (*found, (self._say("contact_complaint"), self._complaint())) if granted else found

    def _complaint(self) -> str:
        return self.language.say((self.contact.complaint_zh, self.contact.complaint_en))

    def _headers(self, *keys: str) -> tuple[str, ...]:
        return tuple(self._say(key) for key in keys)

    @property
    def _space(self) -> str:
        """Between two sentences."""
        return "" if self.language is Language.CHINESE else " "

    def _within(self, sentence: str) -> str:
        """As it stands behind a colon."""
        return sentence[:1].lower() + sentence[1:]
