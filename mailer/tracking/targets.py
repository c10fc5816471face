"""Targets of tracked links: which may be set, and how often each link was followed."""

from collections.abc import Mapping
from posixpath import normpath
from urllib.parse import unquote, urlsplit

from sqlalchemy import func, select, union_all
from sqlalchemy.orm import Session

from mailer.tracking.links import locate
from mailer.tracking.models import TrackingCount, TrackingEvent, TrackingKind

LONGEST_TARGET = 2000
_OF_ONE_LETTER = ("/o/", "/c/", "/u/", "/v/", "/r/", "/t/", "/a/")


class BadTarget(Exception):
    """Not where readers may be led; the message says why. Nothing was changed."""


def check_target(public_url: str, target: str) -> str:
    """The target as it is stored; a page of ours may be written ``/events``.

    Raises:
        BadTarget: it is no address of the web, holds a password, or belongs to one letter.
    """
    if len(target) > LONGEST_TARGET:
        raise BadTarget(f"longer than {LONGEST_TARGET} characters")
    location = locate(public_url, target)
    if location is None or target != target.strip():
        raise BadTarget(
            "must be an address such as https://eksempel.example/side, or a page of ours: /events"
        )
    if not target.startswith("/") and "@" in urlsplit(target).netloc:
        raise BadTarget("holds a name or a password, which every reader would be given")
    place, own = urlsplit(location), urlsplit(public_url)
    path = normpath(unquote(place.path)).removeprefix(own.path)  # as browsers and servers read it
    if place.hostname == own.hostname and f"{path}/".startswith(_OF_ONE_LETTER):
        raise BadTarget("is the address of one letter's reader; everybody would act as that person")
    return target


def clicks_by_link(db: Session, campaign_id: int) -> Mapping[int, int]:
    """How often each link was followed, by its number; whoever or whatever did."""
    log, counts = TrackingEvent, TrackingCount
    clicks = union_all(
        select(log.link_number.label("number"), func.count().label("clicks"))
        .where(log.campaign_id == campaign_id, log.kind == TrackingKind.CLICK)
        .group_by(log.link_number),
        select(counts.link_number, func.sum(counts.total))
        .where(counts.campaign_id == campaign_id, counts.kind == TrackingKind.CLICK)
        .group_by(counts.link_number),
    ).subquery()
    rows = db.execute(select(clicks.c.number, func.sum(clicks.c.clicks)).group_by(clicks.c.number))
    return {number: int(total) for number, total in rows if number}
