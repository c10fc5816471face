"""Who must not get a letter, looked at when it is frozen and again until it leaves."""

from sqlalchemy import ColumnElement

from mailer.campaigns.audience import is_suppressed
from mailer.events.requests import gets_no_reminder
from mailer.sending.frozen import CampaignLetter


def is_withheld(letter: CampaignLetter) -> ColumnElement[bool]:
    """True for a recipient who must not get this letter.

    A reminder still goes to those who asked for it and want no more letters otherwise.
    """
    if letter.auto_submitted and letter.event_slug is not None:
        return gets_no_reminder(letter.event_slug)
    return is_suppressed()
