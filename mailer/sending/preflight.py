"""What would go wrong with a campaign, found before the first letter leaves."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from mailer.campaigns.audience import matches_patterns
from mailer.campaigns.lifecycle import find_campaign
from mailer.campaigns.models import Campaign, CampaignState
from mailer.foundation.clock import real_now
from mailer.foundation.database import Database
from mailer.foundation.settings import SettingsError
from mailer.rendering.errors import LetterError, RecipientValueError
from mailer.sending.addressees import sample_addressee
from mailer.sending.checks import check_events, check_header, check_settings, check_tracking
from mailer.sending.examining import (
    RANGE,
    TOO_LARGE_BYTES,
    Audience,
    Tally,
    examine_all,
    seal,
    split_audience,
)
from mailer.sending.findings import Finding, Flaw, Gravity, error, warning
from mailer.sending.forecast import Forecast, forecast
from mailer.sending.frozen import CampaignLetter, open_letter
from mailer.sending.letters import LetterTools, Message, dkim_signer, render_letter, write_message
from mailer.sending.preparing import prepare_letter
from mailer.sending.reading import Reader
from mailer.sending.redaction import Redaction, told
from mailer.sending.verdicts import Verdict, keep_verdict, stamp_of
from mailer.sending.withholding import is_withheld
from mailer.smtp.relays import Relay
from recipients.errors import ImportRunning
from recipients.models import Recipient
from recipients.runs import require_no_import_running
from recipients.segments import find_segment

NOBODY = "nobody would get this letter: the segment is empty, or everybody in it is suppressed"
_OTHERS = 100
"""Samples that are tried where the first of no kind could get the letter."""
_SOME_SENDER = "nobody@sender.example"
"""Stands for the sender while none is set, so that everything else can be looked at."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Trial mode: who of the audience would get the letter."""

    inside: int
    outside: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of the letters as they go over the wire."""

    smallest: int
    mean: int
    largest: int
    limit: int
    """Above it mail clients cut letters off (``largest_letter``)."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """Everything one look at a campaign found."""

    campaign: str
    state: CampaignState
    audience: int
    """Letters looked at: the audience of a draft, else the pending deliveries."""
    writable: int
    """Those of them that could be written."""
    findings: tuple[Finding, ...]
    """Errors first."""
    sizes: Sizes | None
    variants: int | None
    """In how many variants the letter is compiled; None if it is not, or nothing was written."""
    per_recipient_because: str | None
    """Why it is rendered per recipient; None if it is compiled."""
    trial: Trial | None
    signed_by: tuple[str, ...]
    """Names of the DKIM records that must be published for the signatures to hold."""
    forecast: Forecast | None

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way."""
        return not any(finding.gravity is Gravity.ERROR for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Looking:
    """How a preflight looks, and whom it tells what."""

    processes: int | None = None
    """How many work at it; by default as many as the audience is worth."""
    show_recipients: bool = False
    """Whether examples carry whole addresses."""
    progress: Callable[[int, int], None] | None = None
    """Told how many letters of how many have been looked at."""
    flaw: Callable[[Flaw], None] | None = None
    """Told everything that is wrong with any recipient."""
    range_size: int = RANGE
    """Recipients a process looks at before it tells what it found."""
    too_large_bytes: int = TOO_LARGE_BYTES
    """Above it a letter is refused by most servers."""


def preflight(
    tools: LetterTools,
    relays: Sequence[Relay],
    database: Database,
    name: str,
    *,
    now: datetime,
    looking: Looking | None = None,
) -> Preflight:
    """Write every letter of a campaign and look at each; nothing is sent.

    What is wrong with a draft is kept in the state folder: a launch takes this word for it.

    Args:
        now: the clock people see.

    Raises:
        CampaignNotFound: there is no such campaign.
        LetterNotFound: there is no such letter.
        SegmentNotFound: the campaign's segment is gone.
    """
    looking = looking or Looking()
    findings = list(check_settings(tools.settings, relays))
    plain = _unsigned(tools)
    with database.snapshot() as db:
        campaign = find_campaign(db, name)
        audience = _audience(db, campaign)
        findings += _check_campaign(db, campaign)
        ranges = split_audience(db, audience, looking.range_size)
        trial = _trial(db, audience, tools.settings.allowed_patterns)
        letter, samples = _open(plain, db, campaign, audience, now=now)
        stamp = (
            stamp_of(db, tools.settings, letter, audience) if letter and not audience.frozen else None
        )
    findings += _check_audience(audience, sum(count for _, _, count in ranges), trial)
    total = Tally()
    if letter is not None:
        total = _examine(tools, plain, database, letter, audience, ranges, samples, looking)
    found = (*samples.findings, *total.findings, *total.about_recipients(show=looking.show_recipients))
    if letter is not None and stamp is not None:
        verdict = Verdict((*samples.findings, *total.findings, *total.errors()), total.letters)
        stamp = replace(stamp, left_out=stamp.left_out | total.left_out)
        keep_verdict(tools.settings.state_dir, letter.campaign_id, stamp, verdict)
    findings += found
    with database.read() as db:
        foreseen = _foresee(db, tools, relays, audience, ranges, trial, total, now=now)
    return Preflight(
        campaign=name,
        state=campaign.state,
        audience=sum(count for _, _, count in ranges),
        writable=total.letters,
        findings=tuple(sorted(dict.fromkeys(findings), key=lambda found: found.gravity)),
        sizes=_sizes(total, tools.settings.largest_letter),
        variants=len(total.texts) if total.letters and total.because is None else None,
        per_recipient_because=total.because,
        trial=trial,
        signed_by=_record_names(tools),
        forecast=foreseen,
    )


@dataclass(frozen=True, slots=True)
class Samples:
    """The letter, tried on one recipient of each kind."""

    findings: tuple[Finding, ...]
    message: Message | None
    """One that could be written."""


def try_samples(
    tools: LetterTools, db: Session, letter: CampaignLetter, recipients: Select[int]
) -> Samples:
    """Write the whole message for one recipient of each kind, and look at it as a reader would.

    Who lacks a value fails alone, later; a letter that not one of them could get is an error. Some more
    are tried before it is called that: the first of a kind may be the one whose values are odd.

    Args:
        recipients: ids; the suppressed may be among them.

    Raises:
        LetterError: it can be written to nobody it was tried on; the message repeats nobody's values.
    """
    get_it = Recipient.id.in_(recipients), ~is_withheld(letter)
    kinds = (
        select(func.min(Recipient.id))
        .where(*get_it)
        .group_by(Recipient.role, Recipient.sector, Recipient.language, Recipient.name.is_(None))
    )
    firsts = select(Recipient).where(Recipient.id.in_(kinds))
    others = select(Recipient).where(*get_it).order_by(Recipient.id.desc()).limit(_OTHERS)
    reader = Reader(letter, tools.settings.public_url)
    redaction = Redaction(letter, tools.settings.public_url)
    source = letter.letter.source
    findings: dict[Finding, None] = {}
    lacking: RecipientValueError | None = None
    broken: LetterError | None = None
    message: Message | None = None
    for tried in (firsts, others):
        for recipient in db.scalars(tried).all() if message is None else ():
            to = sample_addressee(db, recipient)
            try:
                rendered = render_letter(tools, letter, to)
                message = write_message(tools, letter, to, rendered)
            except RecipientValueError as error_of_one:
                lacking = error_of_one
                continue
            except LetterError as error_at_its_values:
                broken = error_at_its_values
                continue
            except UnicodeError:
                continue
            findings |= dict.fromkeys(redaction.of(finding) for finding in reader.read(rendered))
            findings |= dict.fromkeys(check_header(message.data))
    if broken is not None and message is None:
        raise LetterError(told(broken, source)) from None
    if lacking is not None and message is None:
        what = f"letter {source.name!r} could be written to nobody it was tried on"
        findings[error("letter", f"{what}: {told(lacking, source)}")] = None
    return Samples(tuple(findings), message)


def _unsigned(tools: LetterTools) -> LetterTools:
    """The tools to write letters without signatures, and with some sender where none is set."""
    settings = tools.settings
    sender = settings.sender or _SOME_SENDER
    return replace(tools, settings=settings.model_copy(update={"dkim": None, "sender": sender}))


def _audience(db: Session, campaign: Campaign) -> Audience:
    rule = find_segment(db, campaign.segment).rule if campaign.segment else None
    return Audience(campaign.id, rule, frozen=campaign.frozen_letter is not None)


def _check_campaign(db: Session, campaign: Campaign) -> Iterator[Finding]:
    yield from check_tracking(campaign)
    try:
        require_no_import_running(db, real_now())
    except ImportRunning as running:
        yield error("import", str(running))


def _check_audience(audience: Audience, count: int, trial: Trial | None) -> Iterator[Finding]:
    if not count and audience.frozen:
        yield warning("audience", "no letter of this campaign is waiting to be sent")
    elif not count:
        yield error("audience", NOBODY)
    if trial is not None:
        yield warning(
            "trial",
            f"trial mode is on: {trial.inside:,} of {count:,} get the letter, all others are counted"
            " as suppressed",
        )


def _trial(db: Session, audience: Audience, allowed: Sequence[str] | None) -> Trial | None:
    if allowed is None:
        return None
    inside = func.count().filter(matches_patterns(allowed))
    counts = db.execute(audience.columns(inside, func.count())).one()
    return Trial(counts[0], counts[1] - counts[0])


def _open(
    tools: LetterTools, db: Session, campaign: Campaign, audience: Audience, *, now: datetime
) -> tuple[CampaignLetter | None, Samples]:
    """The letter, and what is wrong with samples of it; None if it cannot be rendered for anybody."""
    try:
        if campaign.frozen_letter is None:
            letter = prepare_letter(tools, db, campaign, now=now)
        else:
            letter = open_letter(db, campaign)
        samples = try_samples(tools, db, letter, audience.columns(Recipient.id))
    except LetterError as broken:
        return None, Samples((error("letter", str(broken)),), None)
    about_events = () if audience.frozen else check_events(db, letter)
    return letter, replace(samples, findings=(*about_events, *samples.findings))


def _examine(
    tools: LetterTools,
    plain: LetterTools,
    database: Database,
    letter: CampaignLetter,
    audience: Audience,
    ranges: Sequence[tuple[int, int, int]],
    samples: Samples,
    looking: Looking,
) -> Tally:
    overhead = _signature_bytes(tools, letter, samples.message)
    task = seal(
        plain,
        letter,
        audience,
        overhead=overhead,
        list_flaws=looking.flaw is not None,
        too_large_bytes=looking.too_large_bytes,
    )
    total, done, count = Tally(), 0, sum(size for _, _, size in ranges)
    examined = examine_all(task, database, ranges, processes=looking.processes)
    for tally, (_, _, size) in zip(examined, ranges, strict=True):
        total.add(tally)
        done += size
        if looking.flaw is not None:
            for flaw in tally.flaws:
                looking.flaw(flaw)
        if looking.progress is not None:
            looking.progress(done, count)
    return total


def _signature_bytes(tools: LetterTools, letter: CampaignLetter, message: Message | None) -> int:
    """How much longer signatures make every letter."""
    try:
        signer = dkim_signer(tools.settings)
    except SettingsError:
        return 0  # told among the findings
    if signer is None or message is None:
        return 0
    return len(signer.sign([message.data], at=letter.dated_at))


def _foresee(
    db: Session,
    tools: LetterTools,
    relays: Sequence[Relay],
    audience: Audience,
    ranges: Sequence[tuple[int, int, int]],
    trial: Trial | None,
    total: Tally,
    *,
    now: datetime,
) -> Forecast | None:
    if not total.letters:
        return None
    count = sum(size for _, _, size in ranges)
    leaving = trial.inside if trial else total.letters
    domains = (
        audience.columns(Recipient.domain, func.count())
        .where(matches_patterns(tools.settings.allowed_patterns))
        .group_by(Recipient.domain)
        .order_by(func.count().desc(), Recipient.domain)
    )
    mean = total.total / total.letters
    added = 0 if audience.frozen else count
    return forecast(db, relays, domains, audience=added, letters=leaving, mean_bytes=mean, now=now)


def _sizes(total: Tally, limit: int) -> Sizes | None:
    if not total.letters:
        return None
    return Sizes(total.smallest, round(total.total / total.letters), total.largest, limit)


def _record_names(tools: LetterTools) -> tuple[str, ...]:
    try:
        signer = dkim_signer(tools.settings)
    except SettingsError:
        return ()
    return tuple(key.record_name for key in signer.keys) if signer else ()
