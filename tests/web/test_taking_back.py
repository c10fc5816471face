"""A no is taken back by whoever said it just now; to a letter that was passed on it gives no power."""

import html
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
import pytest
from sqlalchemy import select, update

from mailer.campaigns.models import Campaign
from mailer.foundation.clock import Clock
from mailer.runtime import Runtime
from mailer.tracking.addresses import TrackedAddresses
from mailer.tracking.models import TrackingKind
from mailer.tracking.tokens import STAMP_LIFE, BadToken, Grant, Purpose, Tokens, new_mark
from recipients.models import Recipient, Suppression, SuppressionReason, SuppressionScope
from recipients.suppression import unsubscribe
from tests.conftest import NOW
from tests.web.conftest import (
    Mailing,
    Reader,
    add_campaign,
    open_reader,
    outage,
    stamp_in,
)

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
TAKEN_BACK, TOO_LATE = "Dit nej er taget tilbage", "Skriv til os, hvis du vil have breve igen"
LETTERS, EVERYTHING = SuppressionScope.LETTERS, SuppressionScope.EVERYTHING
OFFICE = 'href="mailto:brev@coi.example"'


def look(reader: Reader, mailing: Mailing) -> str:
    """The stamp of a new visit."""
    return stamp_in(reader.get(mailing.path("unsubscribe")))


def choose(reader: Reader, mailing: Mailing, choice: str, stamp: str | None = None) -> httpx.Response:
    form = {"choice": choice} if stamp is None else {"choice": choice, "stamp": stamp}
    return reader.post(mailing.path("unsubscribe"), data=form)


def scope_of(mailing: Mailing) -> SuppressionScope | None:
    found = mailing.suppressed()
    return found.scope if found else None


@contextmanager
def reading_at(mailing: Mailing, now: datetime) -> Iterator[Reader]:
    """A reader whose clock shows another time."""
    clock = Clock(mailing.runtime.settings.state_dir, real=lambda: now)
    with open_reader(replace(mailing.runtime, clock=clock)) as reader:
        yield reader


def another_letter(mailing: Mailing) -> Mailing:
    """A second letter to the same person."""
    with mailing.runtime.database.write() as db:
        campaign = add_campaign(db, db.get_one(Recipient, mailing.recipient_id), tracking="consent")
        return replace(mailing, campaign_id=campaign.id)


@pytest.mark.parametrize("choice", ["letters", "everything"])
def test_the_answer_takes_back_the_very_no_it_answers(
    reader: Reader, mailing: Mailing, choice: str
) -> None:
    said = choose(reader, mailing, choice, look(reader, mailing))
    assert mailing.suppressed() is not None

    undone = choose(reader, mailing, "undo", stamp_in(said))
    assert TAKEN_BACK in undone.text
    assert mailing.suppressed() is None
    assert [event.kind for event in mailing.seen()][-1] is TrackingKind.RESUBSCRIBE


def test_the_page_that_asks_has_nothing_that_lifts(reader: Reader, mailing: Mailing) -> None:
    page = reader.get(mailing.path("unsubscribe")).text

    assert "undo" not in page
    assert OFFICE in page


@pytest.mark.parametrize(("language", "word"), [("da", TOO_LATE), ("en", "Write to us to get letters")])
@pytest.mark.parametrize("data", [{}, {"stamp": ""}, {"stamp": "made-up"}, {"stamp": "æ" * 1000}])
def test_without_a_stamp_nothing_is_lifted_and_the_page_says_whom_to_write_to(
    reader: Reader, mailing: Mailing, data: dict[str, str], language: str, word: str
) -> None:
    reader.post(mailing.path("unsubscribe"), data=ONE_CLICK)
    path = f"{mailing.path('unsubscribe')}?lang={language}"
    page = reader.post(path, data={"choice": "undo"} | data)

    assert page.status_code == 200
    assert word in html.unescape(page.text)
    assert OFFICE in page.text
    assert "<button" not in page.text
    assert scope_of(mailing) == EVERYTHING
    assert [event.kind for event in mailing.seen()] == [TrackingKind.UNSUBSCRIBE]


def test_two_stamps_are_none(reader: Reader, mailing: Mailing) -> None:
    stamp = stamp_in(choose(reader, mailing, "everything"))
    reader.post(mailing.path("unsubscribe"), data={"choice": "undo", "stamp": [stamp, stamp]})

    assert scope_of(mailing) == EVERYTHING


def test_an_office_without_an_address_is_answered_by_answering_the_letter(mailing: Mailing) -> None:
    unset = mailing.runtime.settings.model_copy(update={"sender": None})
    with open_reader(replace(mailing.runtime, settings=unset)) as reader:
        page = reader.get(mailing.path("unsubscribe"))
        assert page.status_code == 200
        assert "Svar på brevet, så sender vi dig breve igen." in page.text
        assert "mailto:" not in page.text


def test_no_changed_stamp_lifts_anything(mailing: Mailing) -> None:
    grant, tokens = Grant(mailing.campaign_id, 1), mailing.runtime.tokens
    stamp, rng = tokens.stamp(grant, new_mark(), NOW), random.Random(2014)
    letters = "0123456789abcdefghijklmnopqrstuv-"
    changed = {
        stamp[:place] + other + stamp[place + 1 :]
        for place in range(len(stamp))
        for other in letters
        if other != stamp[place]
    }
    made_up = {
        "".join(rng.choices(letters[:-1], k=10))
        + stamp[10:11]
        + "".join(rng.choices(letters[:-1], k=len(stamp) - 11))
        for _ in range(20_000)
    }
    others = {tokens.sign(purpose, mailing.campaign_id, 1) for purpose in Purpose}
    for forged in changed | made_up | others | {stamp.upper(), stamp + "\n", " " + stamp, ""}:
        with pytest.raises(BadToken):
            tokens.read_stamp(grant, forged, now=NOW)
    for other in (Grant(mailing.campaign_id, 2), Grant(mailing.campaign_id + 1, 1)):
        with pytest.raises(BadToken):
            tokens.read_stamp(other, stamp, now=NOW)
    assert tokens.read_stamp(grant, stamp, now=NOW)


def test_a_stamp_is_of_no_use_after_an_hour(reader: Reader, mailing: Mailing) -> None:
    stamp = stamp_in(choose(reader, mailing, "everything"))
    for late in (STAMP_LIFE + timedelta(seconds=1), timedelta(days=400), -timedelta(days=1)):
        with reading_at(mailing, NOW + late) as later:
            assert TOO_LATE in choose(later, mailing, "undo", stamp).text
            assert scope_of(mailing) == EVERYTHING
            # nor does an old page make a no narrower, or tie a new one to the old
            choose(later, mailing, "letters", stamp)
            assert scope_of(mailing) == EVERYTHING

    with reading_at(mailing, NOW + STAMP_LIFE) as just_in_time:
        page = choose(just_in_time, mailing, "undo", stamp)
    assert TAKEN_BACK in page.text
    assert timedelta(hours=1) == STAMP_LIFE


def test_another_letter_lifts_nothing(reader: Reader, mailing: Mailing) -> None:
    other = another_letter(mailing)
    stamp = stamp_in(choose(reader, mailing, "everything"))

    assert TOO_LATE in choose(reader, other, "undo", stamp).text
    choose(reader, other, "undo", look(reader, other))
    choose(reader, other, "undo", stamp_in(choose(reader, other, "letters")))
    assert scope_of(mailing) == EVERYTHING


def test_somebody_elses_stamp_lifts_nothing(reader: Reader, mailing: Mailing) -> None:
    choose(reader, mailing, "everything")
    theirs = reader.post(mailing.path("unsubscribe", position=2), data={"choice": "everything"})

    assert TOO_LATE in choose(reader, mailing, "undo", stamp_in(theirs)).text
    assert scope_of(mailing) == EVERYTHING


@pytest.mark.parametrize("age", [timedelta(seconds=1), timedelta(days=400)])
@pytest.mark.parametrize("how", [ONE_CLICK, {"choice": "everything"}, {"choice": "letters"}, None])
def test_who_holds_a_forwarded_letter_cannot_lift_its_recipients_no(
    mailing: Mailing, how: dict[str, str] | None, age: timedelta
) -> None:
    said_at, scope = NOW - age, LETTERS if how == {"choice": "letters"} else EVERYTHING
    if how is None:  # by mail, or before there were marks
        with mailing.runtime.database.write() as db:
            unsubscribe(db, mailing.address_hash, EVERYTHING, now=said_at)
    else:
        with reading_at(mailing, said_at) as recipient:
            recipient.post(mailing.path("unsubscribe"), data=how)
    assert scope_of(mailing) == scope

    with open_reader(mailing.runtime) as stranger:
        for letter in (mailing, another_letter(mailing)):
            stamps = [look(stranger, letter), stamp_in(choose(stranger, letter, "letters"))]
            choose(stranger, letter, "undo")
            for stamp in stamps:
                for choice in ("undo", "letters", "undo"):
                    choose(stranger, letter, choice, stamp)
            assert scope_of(mailing) == scope


def test_a_no_said_in_between_stays(reader: Reader, mailing: Mailing) -> None:
    strangers = stamp_in(choose(reader, mailing, "letters"))
    choose(reader, mailing, "everything")

    choose(reader, mailing, "undo", strangers)
    assert scope_of(mailing) == EVERYTHING


def test_many_strangers_lift_nothing_either(reader: Reader, mailing: Mailing) -> None:
    choose(reader, mailing, "everything")
    stamps = [stamp_in(choose(reader, mailing, "letters")) for _ in range(6)]
    for stamp in stamps:
        choose(reader, mailing, "undo", stamp)

    assert scope_of(mailing) == EVERYTHING


def test_a_button_pressed_twice_is_pressed_once(reader: Reader, mailing: Mailing) -> None:
    stamp = look(reader, mailing)
    pages = [choose(reader, mailing, "everything", stamp) for _ in range(2)]
    mailing.drain()
    undone = [choose(reader, mailing, "undo", stamp_in(page)) for page in pages]

    assert mailing.suppressed() is None
    assert undone[0].text == undone[1].text
    assert len(mailing.seen()) == 2


def test_going_back_and_choosing_anew_is_one_visit(reader: Reader, mailing: Mailing) -> None:
    stamp = look(reader, mailing)
    choose(reader, mailing, "everything", stamp)
    answer = choose(reader, mailing, "letters", stamp)
    assert scope_of(mailing) == LETTERS

    choose(reader, mailing, "undo", stamp_in(answer))
    choose(reader, mailing, "everything", stamp)
    assert scope_of(mailing) == EVERYTHING
    choose(reader, mailing, "undo", stamp_in(answer))
    assert mailing.suppressed() is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_each_of_two_tabs_takes_its_own_no_back(
    reader: Reader, mailing: Mailing, order: tuple[int, int]
) -> None:
    tabs = [look(reader, mailing) for _ in range(2)]
    for tab, choice in zip(tabs, ("everything", "letters"), strict=True):
        choose(reader, mailing, choice, tab)

    choose(reader, mailing, "undo", tabs[order[0]])
    assert scope_of(mailing) == (LETTERS, EVERYTHING)[order[0]]
    choose(reader, mailing, "undo", tabs[order[1]])
    assert mailing.suppressed() is None


def test_the_mail_programs_no_outlives_the_pages(reader: Reader, mailing: Mailing) -> None:
    reader.post(mailing.path("unsubscribe"), data=ONE_CLICK)
    page = choose(reader, mailing, "letters", look(reader, mailing))
    undone = choose(reader, mailing, "undo", stamp_in(page))

    assert scope_of(mailing) == EVERYTHING
    assert "gælder det stadig" in undone.text
    assert OFFICE in undone.text


def test_with_the_database_away_a_no_is_taken_back_after_it(mailing: Mailing) -> None:
    with outage(mailing.runtime.database), open_reader(mailing.runtime) as reader:
        said = choose(reader, mailing, "everything", look(reader, mailing))
        undone = choose(reader, mailing, "undo", stamp_in(said))
        late = choose(reader, mailing, "undo")
    assert (TAKEN_BACK in undone.text, TOO_LATE in late.text) == (True, True)

    assert mailing.suppressed() is None
    assert [event.kind for event in mailing.seen()] == [
        TrackingKind.UNSUBSCRIBE,
        TrackingKind.RESUBSCRIBE,
    ]


def test_what_cannot_be_kept_is_not_said_to_be_taken_back(reader: Reader, mailing: Mailing) -> None:
    stamp = look(reader, mailing)
    folder = mailing.runtime.settings.state_dir / "web"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("no folder can be made here")  # as good as a full disk

    assert choose(reader, mailing, "undo", stamp).status_code == 503
    assert choose(reader, mailing, "undo").status_code == 200
    folder.unlink()


def test_a_stamp_under_an_old_key_is_good_and_under_one_given_up_is_not(mailing: Mailing) -> None:
    old, new = b"an old key that signed once", b"the key that signs from now on"
    signed = replace(mailing.runtime, tokens=Tokens([old]))
    changed = replace(mailing.runtime, tokens=Tokens([new, old]))
    given_up = replace(mailing.runtime, tokens=Tokens([new]))

    def letter(runtime: Runtime) -> Mailing:
        return replace(mailing, addresses=TrackedAddresses(runtime.settings.public_url, runtime.tokens))

    with open_reader(signed) as reader:
        stamp = stamp_in(choose(reader, letter(signed), "everything"))
    with open_reader(given_up) as reader:
        choose(reader, letter(given_up), "undo", stamp)
    assert scope_of(mailing) == EVERYTHING
    with open_reader(changed) as reader:
        choose(reader, letter(changed), "undo", stamp)
    assert mailing.suppressed() is None


def test_a_withdrawal_noted_before_there_were_stamps_lifts_nothing(
    reader: Reader, mailing: Mailing
) -> None:
    reader.post(mailing.path("unsubscribe"), data=ONE_CLICK)
    mailing.drain()
    journals = mailing.runtime.settings.state_dir / "web"
    (journals / "events-0123456789abcdef.log").write_text(
        f'["resubscribe","{NOW.isoformat()}",{mailing.campaign_id},1,null,null,"post","",null,null]\n'
    )

    assert mailing.drain() == 1
    assert scope_of(mailing) == EVERYTHING


@pytest.mark.parametrize("mode", ["none", "anonymous", "consent", "personal"])
def test_a_no_is_taken_back_in_every_tracking_mode(reader: Reader, mailing: Mailing, mode: str) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(update(Campaign).values(tracking=mode))
    stamp = stamp_in(choose(reader, mailing, "everything"))
    assert mailing.suppressed() is not None

    choose(reader, mailing, "undo", stamp)
    assert mailing.suppressed() is None


def test_a_stamp_tells_nothing_and_stands_in_no_address(reader: Reader, mailing: Mailing) -> None:
    page = reader.get(mailing.path("unsubscribe"))
    stamp = stamp_in(page)

    assert page.text.count(stamp) == 1
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    choose(reader, mailing, "everything", stamp)
    with mailing.runtime.database.read() as db:
        mailing.drain()
        kept = db.scalars(select(Suppression)).one()
    assert kept.reason is SuppressionReason.UNSUBSCRIBED
    assert stamp not in (kept.note or "")
