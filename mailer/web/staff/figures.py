"""The figures of campaigns as staff see them: what is counted, how often, and what may be shown anew."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from mailer.campaigns.account import Reconciliation, reconcile
from mailer.campaigns.attention import Alarm, find_alarms
from mailer.campaigns.heartbeats import SWEEP, last_heartbeat
from mailer.campaigns.models import Campaign, CampaignState
from mailer.campaigns.progress import Progress, look_at
from mailer.events.models import EventChange, Reminder
from mailer.foundation.clock import real_now
from mailer.reports.figures import CountedReport, count_report, tell_report
from mailer.reports.reasons import Reason, count_reasons
from mailer.reports.report import CampaignReport, Dimension
from mailer.runtime import Runtime
from mailer.sending.journals import look_at_journals
from mailer.web.staff.answers import Answers, Kept

NEWEST = 100
"""So many campaigns are listed."""
LIVE_SECONDS = 5.0
ENDED_SECONDS = 60.0
PROOF_SECONDS = 60.0
GROUPS_SECONDS = 600.0
"""Groups are counted anew this seldom, and shown anew when what moved in them moved by many."""
GROUPS_AT_LEAST_SECONDS = 86_400.0
"""Groups are shown anew after so long, however little has changed."""
FEWEST_NEW = 50
"""By so many must a total have changed for the groups to move in what it is the total of."""
_GROUPS = (
    Dimension.ROLE,
    Dimension.SECTOR,
    Dimension.REGION,
    Dimension.ORGANISATION,
    Dimension.DOMAIN,
)
_ENDED = frozenset({CampaignState.FINISHED, CampaignState.CANCELLED, CampaignState.DRAFT})
_SWEEP_LATE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Line:
    """One campaign in the list."""

    id: int
    letter: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Overview:
    """The campaigns somebody launched, and what is wrong with any."""

    lines: Sequence[Line]
    alarms: Sequence[Alarm]
    letters: Mapping[str, str]
    """The letters of automatic campaigns that have alarms, by the campaigns' names."""
    is_sending: bool
    """Whether any campaign is, listed or not."""
    sweep_is_late: bool
    """Scheduler, Redis or every worker is gone."""
    unread_journals: int


@dataclass(frozen=True, slots=True)
class Look:
    """One campaign."""

    id: int
    progress: Progress
    report: CampaignReport
    """Without groups."""
    alarms: Sequence[Alarm]

    @property
    def is_live(self) -> bool:
        """Whether its figures change while one looks."""
        return self.progress.state is CampaignState.SENDING


@dataclass(frozen=True, slots=True)
class _Counted:
    """What the database said of one campaign."""

    progress: Progress
    report: CountedReport
    alarms: Sequence[Alarm]


@dataclass(frozen=True, slots=True)
class _Groups:
    """The groups of a campaign as they were last shown."""

    report: CampaignReport
    count_after: float
    show_after: float


class StaffFigures:
    """Counts campaigns, each at most every few seconds."""

    def __init__(self, runtime: Runtime, answers: Answers) -> None:
        self._runtime = runtime
        self._answers = answers
        self._lines: dict[int, Kept] = {}
        self._groups: dict[int, _Groups] = {}
        """By campaigns that exist; never dropped: whoever could, would see groups twice in a moment."""

    async def overview(self) -> Overview:
        """The newest campaigns and the alarms.

        Letters that go by themselves are not listed: so many, each to so few, tell who registered when.
        """
        return await self._answers.ask(("overview", 0), self._count_overview, lambda _: LIVE_SECONDS)

    async def campaign(self, campaign_id: int) -> Look | None:
        """One campaign; None if there is none to be seen: confirmations are one person's, or nearly."""
        return await self._answers.work_out(
            ("campaign", campaign_id),
            lambda: self._look_at(campaign_id),
            lambda look: LIVE_SECONDS if look is None or look.is_live else 2 * LIVE_SECONDS,
        )

    async def groups(self, campaign_id: int) -> CampaignReport | None:
        """The campaign by what its recipients are, as it stood when enough had changed; None if none."""
        return await self._answers.work_out(
            ("groups", campaign_id),
            lambda: self._find_groups(campaign_id),
            lambda _: LIVE_SECONDS,
        )

    async def proof(self, campaign_id: int) -> Reconciliation | None:
        """Whether every letter is accounted for."""

        def prove(db: Session) -> Reconciliation | None:
            campaign = db.get(Campaign, campaign_id)
            unread = look_at_journals(self._runtime.settings.state_dir).unread
            return reconcile(db, campaign, unread_journals=unread) if campaign else None

        return await self._answers.ask(("proof", campaign_id), prove, lambda _: PROOF_SECONDS)

    async def reasons(self, campaign_id: int) -> Sequence[Reason]:
        """Why letters did not get through."""
        return await self._answers.ask(
            ("reasons", campaign_id),
            lambda db: count_reasons(db, campaign_id),
            lambda _: PROOF_SECONDS,
        )

    def _count_overview(self, db: Session) -> Overview:
        launched = select(Campaign).where(Campaign.auto_submitted.is_(False))
        newest = db.scalars(launched.order_by(Campaign.id.desc()).limit(NEWEST)).all()
        now = real_now()
        self._lines = {
            campaign.id: self._lines[campaign.id] for campaign in newest if campaign.id in self._lines
        }
        last = last_heartbeat(db, SWEEP)
        alarms = self._alarms(db, now)
        sending = exists().where(Campaign.state == CampaignState.SENDING)
        return Overview(
            [self._line(db, campaign, now) for campaign in newest],
            alarms,
            _automatic_letters(db, alarms),
            bool(db.scalar(select(sending))),
            last is None or now - last > _SWEEP_LATE,
            look_at_journals(self._runtime.settings.state_dir).unread,
        )

    def _line(self, db: Session, campaign: Campaign, now: datetime) -> Line:
        """Counting letters costs; those of an ended campaign hardly move."""
        kept = self._lines.get(campaign.id)
        if kept is not None and kept.until > time.monotonic() and campaign.state in _ENDED:
            line: Line = kept.answer
            if line.progress.state is campaign.state:
                return line
        line = Line(campaign.id, campaign.letter, self._progress(db, campaign, now))
        self._lines[campaign.id] = Kept(time.monotonic() + ENDED_SECONDS, line)
        return line

    def _look_at(self, campaign_id: int) -> Look | None:
        counted = self._answers.read(lambda db: self._count_campaign(db, campaign_id))
        if counted is None:
            return None
        return Look(campaign_id, counted.progress, tell_report(counted.report), counted.alarms)

    def _count_campaign(self, db: Session, campaign_id: int) -> _Counted | None:
        campaign = db.get(Campaign, campaign_id)
        if campaign is None or (campaign.auto_submitted and not _is_an_events(db, campaign_id)):
            return None
        now = real_now()
        return _Counted(
            self._progress(db, campaign, now),
            self._count(db, campaign, (Dimension.EVENT, Dimension.LINK)),
            [alarm for alarm in self._alarms(db, now) if alarm.campaign in {None, campaign.name}],
        )

    def _count(self, db: Session, campaign: Campaign, dimensions: Sequence[Dimension]) -> CountedReport:
        return count_report(
            db,
            campaign,
            now=self._runtime.clock.now(),
            zone=self._runtime.settings.zone,
            dimensions=dimensions,
        )

    def _find_groups(self, campaign_id: int) -> CampaignReport | None:
        """Groups that differ from those shown last by many, so that nobody's own act can be told."""
        shown, now = self._groups.get(campaign_id), time.monotonic()
        if shown is not None and now < shown.count_after:
            return shown.report
        counted = self._answers.read(lambda db: self._count_groups(db, campaign_id))
        if counted is None:
            return None
        report = tell_report(counted)
        if shown is not None and now < shown.show_after and not _may_follow(shown.report, report):
            self._groups[campaign_id] = replace(shown, count_after=now + GROUPS_SECONDS)
            return shown.report
        self._groups[campaign_id] = _Groups(report, now + GROUPS_SECONDS, now + GROUPS_AT_LEAST_SECONDS)
        return report

    def _count_groups(self, db: Session, campaign_id: int) -> CountedReport | None:
        campaign = db.get(Campaign, campaign_id)
        return self._count(db, campaign, _GROUPS) if campaign else None

    def _progress(self, db: Session, campaign: Campaign, now: datetime) -> Progress:
        return look_at(
            db,
            campaign,
            now=now,
            shown=self._runtime.clock.now(),
            zone=self._runtime.settings.zone,
        )

    def _alarms(self, db: Session, now: datetime) -> list[Alarm]:
        return list(
            find_alarms(
                db,
                now=now,
                shown=self._runtime.clock.now(),
                uncertain_alarm=self._runtime.settings.uncertain_alarm,
            )
        )


def _automatic_letters(db: Session, alarms: Iterable[Alarm]) -> dict[str, str]:
    named = {alarm.campaign for alarm in alarms if alarm.campaign}
    found = select(Campaign.name, Campaign.letter).where(
        Campaign.auto_submitted, Campaign.name.in_(named)
    )
    return {row.name: row.letter for row in db.execute(found)}


def _is_an_events(db: Session, campaign_id: int) -> bool:
    """Whether it reminded of an event or told what became of one."""
    reminds = exists().where(Reminder.campaign_id == campaign_id)
    tells = exists().where(EventChange.campaign_id == campaign_id)
    return bool(db.scalar(select(or_(reminds, tells))))


def _may_follow(shown: CampaignReport, counted: CampaignReport) -> bool:
    """Whether what moved in the groups moved by so many that it names nobody.

    A total that is as it was may be so because one came and one went: seats are given back, and people
    erased. So no row may have moved, where the total has not by many.
    """
    before, after = _totals(shown), _totals(counted)
    return all(
        abs(after[measure] - total) >= FEWEST_NEW
        or (after[measure] == total and _rows(shown, measure) == _rows(counted, measure))
        for measure, total in before.items()
    )


def _totals(report: CampaignReport) -> dict[str, int]:
    """What people did in all, by what groups call it: deliveries, and the clicks themselves."""
    done = report.engagement
    counts = {
        "opened": done.opens.recipients,
        "clicked": done.clicks.recipients,
        "downloaded": done.downloads.recipients,
        "registration_clicked": done.registration_clicks.recipients,
        "registered": done.registrations.recipients,
        "unsubscribed": done.unsubscribes.recipients,
        "clicks": done.clicks.total,
    }
    return {measure: count or 0 for measure, count in counts.items()}


def _rows(report: CampaignReport, measure: str) -> dict[tuple[Dimension, str | None], int | None]:
    """What each group is shown to have done; nothing of what groups do not tell, as unsubscribing."""
    return {
        (dimension, group.value): getattr(group, measure, None)
        for dimension, groups in report.by.items()
        for group in groups
    }
