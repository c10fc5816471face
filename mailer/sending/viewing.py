"""The letter in a browser: as its recipient got it, and the copy to pass on."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, CampaignState
from mailer.foundation.settings import TrackingMode
from mailer.rendering.letter import RenderedLetter
from mailer.sending.addressees import NOBODY, Addressee, addressee_as_sent
from mailer.sending.frozen import open_letter
from mailer.sending.letters import LetterTools, letter_values, render_letter
from mailer.sending.variants import variant_reader


@dataclass(frozen=True, slots=True)
class SharedLetter:
    """The copy to pass on, and where it is found."""

    rendered: RenderedLetter
    language: str
    """The readers' it is written for; the letter itself may have Danish only."""
    address: str


def view_letter(
    tools: LetterTools, db: Session, campaign_id: int, position: int
) -> RenderedLetter | None:
    """The letter as its recipient got it, without pixel; None if there is no such delivery."""
    campaign = _launched(db, campaign_id)
    to = addressee_as_sent(db, campaign_id, position)
    if campaign is None or to is None:
        return None
    return render_letter(tools, open_letter(db, campaign), to, in_browser=True)


def pass_on_letter(
    tools: LetterTools, db: Session, campaign_id: int, variant: int
) -> SharedLetter | None:
    """The letter to pass on: for nobody in particular, with no link that acts for a person."""
    campaign = _launched(db, campaign_id)
    reader = variant_reader(variant)
    if campaign is None or reader is None:
        return None
    letter = open_letter(db, campaign)
    to = Addressee(NOBODY, "", "", reader, None, None, is_somebody=False)
    tracked_as = None if letter.tracking is TrackingMode.NONE else NOBODY
    values = letter_values(tools, letter, to, tracked_as, in_browser=True)
    address = tools.addresses.pass_on(campaign_id, variant)
    return SharedLetter(letter.letter.render(values, pixel=None), reader.language, address)


def _launched(db: Session, campaign_id: int) -> Campaign | None:
    campaign = db.get(Campaign, campaign_id)
    if campaign is None or campaign.state == CampaignState.DRAFT or campaign.frozen_letter is None:
        return None
    return campaign
