"""A letter proved before it is launched: one copy of every kind of it is looked at, in a second or two.

Two recipients get copies of one kind if everything is the same for both that the letter decides with,
down to which of the values it prints are there at all, and what it prints into a link or an image. Such
copies differ in printed words alone, so that what is wrong with one is wrong with all of its kind; the
longest values are looked at besides. A letter of too many kinds, such as one that filters names, is left
to a preflight, which looks at all; so is one that is not compiled and prints values of which its kinds
tell only that they are there: those may decide whether it can be written, as in a ``style``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    String,
    Text,
    case,
    cast,
    false,
    func,
    null,
    type_coerce,
)
from sqlalchemy.orm import Session

from mailer.foundation.settings import TrackingMode
from mailer.rendering.compiled import read_uses
from mailer.rendering.errors import LetterError, RecipientValueError
from mailer.rendering.fields import FieldUse
from mailer.sending.addressees import Addressee, read_addressee
from mailer.sending.checks import check_header
from mailer.sending.examining import (
    ADDRESS_SIGN,
    RANGE,
    TOO_LARGE_BYTES,
    Audience,
    Examiner,
    Tally,
    seal,
)
from mailer.sending.findings import Finding
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import LetterTools, render_letter, write_message
from mailer.sending.slots import Deciding
from mailer.sending.verdicts import Verdict, kept_verdict, stamp_of
from recipients.models import Recipient, TrackingChoice

MOST_KINDS = 1_000
"""As many are looked at in five to ten seconds; the shipped letter has some hundreds."""
_MOST_RENDERED = 100
"""Of the longest values, where each copy is rendered by itself."""
_PLACES = 1 << 32
"""More than there are ids."""
_ATTRIBUTES = "attributes."
_BLANKS = "".join(sign for sign in map(chr, range(0x3001)) if sign.isspace())
"""Whatever ``str.strip`` takes away."""
_TEXTS: Mapping[str, Any] = {
    "name": case((Recipient.shared, null()), else_=Recipient.name),
    "organisation": Recipient.organisation,
    "workplace": Recipient.workplace,
}
_WORDS: Mapping[str, Any] = {
    name: type_coerce(getattr(Recipient, name), String)
    for name in ("role", "sector", "confederation", "region", "language")
}
"""Fields of few values: each is a kind of its own."""


class TooManyKinds(Exception):
    """A copy of every kind does not tell enough, and no preflight has looked at all of them."""


def prove_letter(
    tools: LetterTools,
    db: Session,
    letter: CampaignLetter,
    audience: Audience,
    *,
    most: int = MOST_KINDS,
    too_large_bytes: int = TOO_LARGE_BYTES,
) -> Verdict:
    """Look at a copy of every kind, or take the word of a preflight that has looked at them all.

    Args:
        db: a snapshot, so that all is said of the same recipients.
        audience: a draft's.
        most: kinds that are looked at here.
        too_large_bytes: above it a letter is refused by most servers.

    Raises:
        LetterError: a part of the letter is no template.
        TooManyKinds: a preflight has to look at it first.
    """
    task = seal(tools, letter, audience, overhead=0, list_flaws=False, too_large_bytes=too_large_bytes)
    examiner = Examiner(task)
    uses, dialect = read_uses(letter.letter.source), db.get_bind().dialect.name
    wrong: dict[Finding, None] = {}
    while True:  # until no copy tells that more decides than what they were chosen by
        deciding = examiner.deciding
        kinds = _Kinds(uses, letter, dialect, deciding)
        of_each = audience.columns(
            func.min(Recipient.id), func.count(), *[_longest(value) for value in kinds.printed]
        )
        found = db.execute(of_each.group_by(*kinds.columns).limit(most + 1)).all()
        if len(found) > most:
            return _verdict_on_all(tools, db, letter, audience)
        rows = _rows(db, examiner, audience, [first for first, *_ in found])
        tally = examiner.examine(rows, {first: count for first, count, *_ in found})
        if tally.because is not None and not kinds.tell_all:
            return _verdict_on_all(tools, db, letter, audience)
        wrong |= tally.findings
        if examiner.deciding == deciding:
            break
    findings = [
        *_header_findings(tools, letter, [read_addressee(row) for row in rows]),
        *wrong,
        *_errors(tally),
    ]
    longest = sorted({place for _, _, *places in found for place in places if place}, reverse=True)
    ids = list(dict.fromkeys(place % _PLACES for place in longest))
    if tally.because is not None:
        del ids[_MOST_RENDERED:]
    for start in range(0, len(ids), RANGE):
        rows = _rows(db, examiner, audience, ids[start : start + RANGE])
        findings += [each for each in _errors(examiner.examine(rows)) if each.check == "size"]
    everybody = sum(count for _, count, *_ in found)
    verdict = Verdict(tuple(dict.fromkeys(findings)), everybody)
    return replace(
        verdict, writable=everybody - sum(each.recipients or 0 for each in verdict.unwritable)
    )


def _verdict_on_all(
    tools: LetterTools, db: Session, letter: CampaignLetter, audience: Audience
) -> Verdict:
    """A preflight's word.

    Raises:
        TooManyKinds: it has not looked at the letter and its readers as they are.
    """
    stamp = stamp_of(db, tools.settings, letter, audience)
    told = kept_verdict(tools.settings.state_dir, letter.campaign_id, stamp)
    if told is None:
        raise TooManyKinds
    return told


def _errors(tally: Tally) -> list[Finding]:
    """What is wrong with recipients. A size is not that of all of its kind, but of some."""
    return [
        replace(finding, recipients=None) if finding.check == "size" else finding
        for finding in tally.errors()
    ]


def _rows(db: Session, examiner: Examiner, audience: Audience, ids: Sequence[int]) -> Sequence[Any]:
    reading = audience.reading(examiner.needs).where(Recipient.id.in_(ids))
    return db.execute(reading.order_by(Recipient.id)).all()


def _longest(value: ColumnElement[Any]) -> ColumnElement[int]:
    """How long the longest value is, times ``_PLACES``, and the id of who has it."""
    return func.max(cast(func.length(value), BigInteger) * _PLACES + Recipient.id)


def _header_findings(
    tools: LetterTools, letter: CampaignLetter, kinds: Sequence[Addressee]
) -> list[Finding]:
    """What the header lacks in the first letter that can be written: all have the same fields."""
    for to in kinds:
        try:
            message = write_message(tools, letter, to, render_letter(tools, letter, to))
        except (RecipientValueError, LetterError, UnicodeError):
            continue
        return list(check_header(message.data))
    return []


class _Kinds:
    """By which columns the kinds of a letter differ, and what it prints of any length."""

    def __init__(
        self, uses: Mapping[str, FieldUse], letter: CampaignLetter, dialect: str, deciding: Deciding
    ) -> None:
        self._on_postgres = dialect == "postgresql"
        self.columns: list[ColumnElement[Any]] = [_WORDS["language"]]
        self.printed: list[ColumnElement[Any]] = []
        self.tell_all = True
        """Whether two of one kind have the same printed values, too."""
        if any(event.region for event in letter.events):
            self.columns.append(_WORDS["region"])  # the reader's own events stand first
        if letter.tracking is TrackingMode.PERSONAL:
            self.columns.append(func.coalesce(Recipient.tracking == TrackingChoice.OBJECTION, false()))
        elif letter.tracking is TrackingMode.CONSENT:
            self.columns.append(func.coalesce(Recipient.tracking == TrackingChoice.CONSENT, false()))
        if any(use.whole for use in uses.values()):
            self.columns += [*_WORDS.values(), *_TEXTS.values(), cast(Recipient.attributes, Text)]
            self.printed += [*_TEXTS.values(), cast(Recipient.attributes, Text)]
            return
        slots = frozenset[str]().union(*(use.slots for use in uses.values())) - _WORDS.keys()
        for name, constants in (_read(uses) | dict.fromkeys(deciding.whole)).items():
            self.tell_all &= constants is None or name not in slots
            value = None
            if name.startswith(_ATTRIBUTES):
                value = self._add_attribute(name.removeprefix(_ATTRIBUTES), constants)
                if value is not None and name in slots:
                    self.columns.append(value.contains(ADDRESS_SIGN))
            elif name in _TEXTS:
                value = _TEXTS[name]
                self.columns += _told(value, constants)
                self.printed.append(value)
            elif name in _WORDS:
                self.columns.append(_WORDS[name])
            if value is not None and name in deciding.blank:
                trim = func.btrim if self._on_postgres else func.trim
                self.columns.append(trim(value, _BLANKS) == "")

    def _add_attribute(self, key: str, constants: frozenset[str] | None) -> ColumnElement[str] | None:
        """Tell kinds apart by an attribute; None if all attributes together do that."""
        if not key.isprintable() or '"' in key or "\\" in key:  # SQLite has no path to it
            self.columns.append(cast(Recipient.attributes, Text))
            self.printed.append(cast(Recipient.attributes, Text))
            return None
        value: ColumnElement[str] = Recipient.attributes[key].as_string()
        if self._on_postgres:
            kind, text = func.json_typeof(Recipient.attributes[key]), "string"
        else:
            kind, text = func.json_type(Recipient.attributes, f'$."{key}"'), "text"
        self.columns += [kind, case((kind != text, value)), *_told(value, constants)]
        self.printed.append(value)
        return value


def _read(uses: Mapping[str, FieldUse]) -> dict[str, frozenset[str] | None]:
    """The fields a letter uses in any language, with what each is compared to; None: it counts whole."""
    fields: dict[str, frozenset[str] | None] = {}
    for use in uses.values():
        for name in (*use.slots, *use.presence):
            fields.setdefault(name, frozenset())
        for name, constants in use.compared.items():
            known = fields.get(name, frozenset())
            fields[name] = None if known is None else known | {*map(_as_text, constants)}
        fields |= dict.fromkeys(use.keys)
    return fields


def _as_text(constant: object) -> str:
    """A constant of a template as the database writes it."""
    return constant if isinstance(constant, str) else json.dumps(constant)


def _told(value: ColumnElement[Any], constants: frozenset[str] | None) -> list[ColumnElement[Any]]:
    """What of a value decides: all of it, or whether it is there and which of the constants it is.

    Questions of yes and no let PostgreSQL foresee how few kinds there are, so that it sorts nothing.
    """
    if constants is None:
        return [value]
    return [value.is_(None), *(value == constant for constant in sorted({"", *constants}))]
