"""A campaign with deliveries, and events put into the log as the drainer puts them there."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, Delivery, DeliveryState
from mailer.tracking.labels import judge_sighting
from mailer.tracking.models import Manner, TrackingEvent, TrackingKind, UserAgent
from tests.conftest import NOW

EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0"
)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
CURL = "curl/8.5.0"


@dataclass(slots=True)
class Letters:
    """The letters of one campaign, all accepted by a relay at ``NOW``."""

    db: Session
    campaign_id: int

    def see(
        self,
        after: float,
        *,
        position: int = 1,
        kind: TrackingKind = TrackingKind.CLICK,
        link: int | None = 1,
        manner: Manner = Manner.GET,
        agent: str = EDGE,
        network: str | None = "office",
    ) -> TrackingEvent:
        """Something done with a letter so many seconds after the relay took it."""
        judgement = judge_sighting(kind, manner, agent)
        seen = TrackingEvent(
            kind=kind,
            campaign_id=self.campaign_id,
            position=position,
            link_number=link if kind is TrackingKind.CLICK else None,
            manner=manner,
            agent_id=self._agent(agent),
            network=network,
            label=judgement.label,
            reason=judgement.reason,
            at=later(after),
        )
        self.db.add(seen)
        self.db.flush()
        return seen

    def _agent(self, text: str) -> int:
        found = self.db.scalar(select(UserAgent.id).where(UserAgent.text == text))
        if found is None:
            agent = UserAgent(text=text)
            self.db.add(agent)
            self.db.flush()
            found = agent.id
        return found


def later(seconds: float) -> datetime:
    """So many seconds after the relay took the letters."""
    return NOW + timedelta(seconds=seconds)


def make_letters(db: Session, *, count: int = 1, name: str = "brev") -> Letters:
    """A campaign of so many letters, sent."""
    campaign = Campaign(name=name, letter="brev", tracking="personal", created_at=NOW, audience=count)
    db.add(campaign)
    db.flush()
    db.add_all(
        Delivery(campaign_id=campaign.id, position=position, state=DeliveryState.SENT, at=NOW)
        for position in range(1, count + 1)
    )
    db.flush()
    return Letters(db, campaign.id)
