"""Which letters are reminders, and which of them goes to whom, how long before an event."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailer.events.audiences import AudienceRule
from mailer.events.dates import Lead, parse_lead
from mailer.events.errors import BadLead
from mailer.events.fields import FIELDS
from mailer.events.reasons import Reason, ReasonKind
from mailer.events.schedules import ScheduledLead, parse_schedule
from mailer.foundation.log import get_log
from mailer.rendering.errors import LetterError
from mailer.rendering.source import LetterSource, list_letters, load_letter

_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Occasion:
    """One reminder that an event is to get."""

    lead: Lead
    rule: AudienceRule
    letter: LetterSource | None
    """None where no letter can go; ``fault`` says why."""
    fault: Reason | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The event's fields it cannot do without; hours cannot be counted without a time."""
        if self.letter is None:
            return ()
        at_lead = {parse_lead(lead): needs for lead, needs in self.letter.needs_at.items()}
        needs = dict.fromkeys(at_lead.get(self.lead, self.letter.needs))
        return (*needs, *(("time",) if self.lead.unit == "hour" and "time" not in needs else ()))


@dataclass(frozen=True, slots=True)
class LetterFault:
    """Why a letter cannot be used; as text, in English, it names letter and reason."""

    letter: str
    is_readable: bool
    """Whether it can be read, and only what it says of reminders makes no sense."""
    text: str

    def __str__(self) -> str:
        """A line for the command line."""
        return self.text


def reminder_letters(folders: Sequence[Path]) -> list[LetterSource]:
    """The letters that are reminders: those whose manifest says whom they are for, or when they go.

    One that cannot be read or makes no sense is left out and logged: it must not hold up the others.
    """
    letters, faults = _read_letters(folders)
    for fault in faults:
        _log.error("letter cannot be used as a reminder", letter=fault.letter, error=fault.text)
    return letters


def find_letter_faults(folders: Sequence[Path]) -> list[LetterFault]:
    """Why letters cannot be read, or be used as reminders: one for each of them."""
    return _read_letters(folders)[1]


def check_reminder(letter: LetterSource) -> None:
    """Return if what the manifest says of reminders makes sense.

    Raises:
        LetterError: it does not; the message names letter and key.
    """
    leads = {"leads": letter.leads, "optional_leads": letter.optional_leads, "needs_at": letter.needs_at}
    for key, texts in leads.items():
        for text in texts:
            try:
                parse_lead(str(text))
            except BadLead as error:
                raise LetterError(f"letter {letter.name}: {key}: {error}") from error
    named = {
        "needs": letter.needs,
        **{f"needs_at: {at}": needs for at, needs in letter.needs_at.items()},
    }
    for key, needs in named.items():
        _refuse_strangers(letter, key, needs, FIELDS, "field of an event")
    _refuse_strangers(letter, "rules", letter.rules, tuple(AudienceRule), "audience rule")


def list_occasions(schedule: str | None, letters: Sequence[LetterSource]) -> list[Occasion]:
    """The reminders an event gets, the longest lead first.

    Args:
        schedule: the event's own; None where the letters' leads hold.
        letters: those that are reminders.
    """
    if schedule is None:
        by_lead = _by_lead(letters, lambda letter: letter.leads)
        entries = tuple(ScheduledLead(lead, None) for lead in by_lead)
    else:
        by_lead = _by_lead(letters, lambda letter: (*letter.leads, *letter.optional_leads))
        try:
            entries = parse_schedule(schedule)
        except BadLead as error:  # written past every check
            fault = Reason(ReasonKind.BAD_SCHEDULE, fault=str(error))
            return [Occasion(Lead(1, "day"), AudienceRule.ASKED, None, fault)]
    named: dict[Lead, list[str]] = {}
    for entry in entries:
        named.setdefault(entry.lead, []).extend([entry.letter] if entry.letter else [])
    longest_first = sorted(named, key=lambda lead: lead.length, reverse=True)
    return [
        occasion
        for lead in longest_first
        for occasion in _occasions_at(lead, named[lead], by_lead.get(lead, []), letters)
    ]


def _occasions_at(
    lead: Lead, names: Sequence[str], usual: Sequence[LetterSource], letters: Sequence[LetterSource]
) -> Iterator[Occasion]:
    """The reminders at one lead: each rule's letter is the one named, or else the usual one.

    Where something is wrong with what the event says, no letter goes at that lead: it might be the one
    that was not wanted.
    """
    known = {letter.name: letter for letter in letters}
    strangers = [name for name in names if name not in known]
    wanted = [known[name] for name in names if name in known]
    fault = None
    if strangers:
        fault = Reason(ReasonKind.UNKNOWN_LETTER, letters=(strangers[0],), known=tuple(sorted(known)))
    elif not wanted and not usual:
        fault = Reason(ReasonKind.NO_LETTER, lead=str(lead))
    served = False
    for rule in AudienceRule:
        serving = [letter for letter in wanted if rule in letter.rules]
        serving = serving or [letter for letter in usual if rule in letter.rules]
        if not serving:
            continue
        served = True
        if fault is None and len(serving) > 1:
            both = Reason(ReasonKind.TWO_LETTERS, letters=tuple(letter.name for letter in serving))
            yield Occasion(lead, rule, None, both)
        else:
            yield Occasion(lead, rule, None if fault else serving[0], fault)
    if not served:
        yield Occasion(lead, AudienceRule.ASKED, None, fault)


def _by_lead(
    letters: Sequence[LetterSource], leads_of: Callable[[LetterSource], Sequence[str]]
) -> Mapping[Lead, list[LetterSource]]:
    found: dict[Lead, list[LetterSource]] = {}
    for letter in letters:
        for lead in dict.fromkeys(map(parse_lead, leads_of(letter))):
            found.setdefault(lead, []).append(letter)
    return found


def _read_letters(folders: Sequence[Path]) -> tuple[list[LetterSource], list[LetterFault]]:
    letters: list[LetterSource] = []
    faults: list[LetterFault] = []
    for name in list_letters(folders):
        letter = None
        try:
            letter = load_letter(name, folders)
            check_reminder(letter)
        except LetterError as error:
            faults.append(LetterFault(name, letter is not None, str(error)))
        else:
            letters.append(letter)
    return [letter for letter in letters if letter.rules], faults


def _refuse_strangers(
    letter: LetterSource,
    key: str,
    given: Sequence[str],
    known: Sequence[str] | Mapping[str, object],
    what: str,
) -> None:
    for name in given:
        if name not in known:
            raise LetterError(
                f"letter {letter.name}: {key}: {name!r} is no {what}; there are: {', '.join(known)}"
            )
