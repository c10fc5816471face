"""The staff pages in Chromium: signing in and out without scripts, wide and narrow, light and dark."""

import re
from datetime import time, timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mailer.campaigns.heartbeats import SWEEP, TICKED
from mailer.campaigns.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignState,
    Delivery,
    DeliveryState,
    Heartbeat,
)
from mailer.events.audiences import AudienceRule
from mailer.events.changes import update_event
from mailer.events.models import Event, EventChange, Reminder, ReminderRequest, ReminderState
from mailer.foundation.clock import real_now
from mailer.runtime import Runtime
from mailer.staff.accounts import add_account
from mailer.staff.models import StaffRole
from mailer.tracking.models import Label, TrackingKind
from recipients.models import Recipient, Region, Role, Sector
from tests.conftest import NOW
from tests.reports.factories import (
    act,
    deliver,
    make_campaign,
    make_event,
    make_link,
    make_recipient,
    register,
)
from tests.web.conftest import serving
from tests.web.test_in_a_browser import (
    HARMLESS,
    HEIGHTS,
    RULES,
    SMALLEST_TARGET,
    pictures_in,
    watch,
)

pytestmark = pytest.mark.browser

PASSWORD = "en lang og god sætning"
TOWNS = ("Aalborg", "Aarhus", "Odense", "Esbjerg", "Køge", "Roskilde", "Vejle", "Hjørring", "Samsø")
NARROW, WIDE = 320, 1100
STOPPABLE = "meta-refresh"
"""A page that looks again by itself has a link to stop that."""
PAGES = {
    "overview": "",
    "campaign": "/campaigns/1",
    "reasons": "/campaigns/1/reasons",
    "events": "/events",
    "event": "/events/sjaelland",
    "reminders": "/reminders",
    "rehearsal": "/reminders?now=2014-03-24T09:00",
}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: a browser does not see it."""
    return sqlite_url


@pytest.fixture
def office(runtime: Runtime) -> Runtime:
    """A campaign half-way out, one that has ended, and somebody to look at them."""
    with runtime.database.write() as db:
        add_account(db, "bodil", StaffRole.ADMIN, PASSWORD, now=real_now())
        campaign = make_campaign(db)
        campaign.state, campaign.started_at = CampaignState.SENDING, real_now() - timedelta(minutes=4)
        campaign.waiting_for = "relay mail.example:587: its certificate is not trusted"
        hold_events(db)
        links = [
            make_link(db, campaign, "pack", kind="download"),
            make_link(
                db, campaign, "events.registration/midtjylland", kind="registration", event="midtjylland"
            ),
            make_link(
                db, campaign, "events.registration/sjaelland", kind="registration", event="sjaelland"
            ),
        ]
        states = [DeliveryState.BOUNCED, DeliveryState.UNCERTAIN, DeliveryState.DEFERRED]
        for number in range(240):
            town = TOWNS[number * number % len(TOWNS)] if number > 2 else "Christiansø"
            recipient = make_recipient(
                db,
                f"{number}@{town.lower()}.example",
                role=Role.MAYOR if number < 3 else list(Role)[3 + number % 7],
                sector=list(Sector)[number // 7 % 3],
                region=list(Region)[number % 5],
                organisation=f"{town} Kommune",
            )
            state = DeliveryState.SENT if number < 200 else DeliveryState.PENDING
            position = deliver(
                db, campaign, recipient, states[number % 3] if number % 40 == 7 else state
            )
            if number < 200 and number % 3:
                label = list(Label)[0 if number % 5 else number % 3]
                act(
                    db,
                    campaign,
                    TrackingKind.OPEN,
                    position,
                    label=label,
                    at=NOW + timedelta(minutes=number),
                )
            if number < 200 and number % 4 == 1:
                link = links[number % 3]
                act(
                    db,
                    campaign,
                    TrackingKind.CLICK,
                    position,
                    link=link,
                    at=NOW + timedelta(minutes=number),
                )
        settle(db, campaign)
        reminded = make_campaign(db, "paamindelse-hovedstaden-14-days")
        remind(db, reminded)
    return runtime


def hold_events(db: Session) -> None:
    """One event that has been, one of ours that is nearly full, one with holes that has moved."""
    seen = make_event(db, "hovedstaden", "Inspirationsmøde i Hovedstaden", days_ahead=-1)
    seen.region, seen.place = "Hovedstaden", "Det Danske Filminstitut"
    ours = make_event(db, "midtjylland", "Inspirationsmøde i Midtjylland", days_ahead=31)
    ours.region, ours.place, ours.address = "Midtjylland", "Skanderborg Park", "Skovsvinget 10"
    ours.time, ours.hosted, ours.capacity = time(13, 30), True, 120
    ours.programme_url = "https://program.example/midt"
    holes = make_event(db, "sjaelland", "Inspirationsmøde på Sjælland", days_ahead=17)
    holes.region, holes.registration_url = "Sjælland", "https://tilmelding.example/sj"
    update_event(db, "sjaelland", {"date": "2014-03-26"}, now=NOW - timedelta(days=1))


def remind(db: Session, campaign: Campaign) -> None:
    """A reminder that went, one that went late, and people who registered or asked for the next."""
    events = {event.slug: event.id for event in db.scalars(select(Event))}
    for lead, days, late in (("14 days", 14, False), ("7 days", 7, True)):
        db.add(
            Reminder(
                event_id=events["hovedstaden"],
                lead=lead,
                rule=AudienceRule.ASKED,
                event_date=(NOW - timedelta(days=1)).date(),
                state=ReminderState.SENT,
                due_at=NOW - timedelta(days=days + 1),
                late=late,
                audience=37,
                campaign_id=campaign.id,
                at=NOW,
            )
        )
    campaign.audience = 37
    db.execute(update(EventChange).values(told_at=NOW, campaign_id=campaign.id))
    update_event(db, "sjaelland", {"address": "Ringsted"}, now=NOW)
    ours = db.get_one(Event, events["midtjylland"])
    for number, recipient in enumerate(db.scalars(select(Recipient)).all()):
        if number < 90:
            register(db, ours, recipient)
        elif number < 120:
            db.add(ReminderRequest(event_id=ours.id, recipient_id=recipient.id, asked_at=NOW))
    for name in (SWEEP, TICKED):
        db.add(Heartbeat(name=name, at=real_now()))


def settle(db: Session, campaign: Campaign) -> None:
    """Give the letters what a sender would have, so that the account is in order."""
    ours = Delivery.campaign_id == campaign.id
    pending = Delivery.state == DeliveryState.PENDING
    answer = {"relay": "mail.example:587", "code": 250, "attempts": 1, "reason": "2.0.0 Ok"}
    db.execute(update(Delivery).where(ours, ~pending).values(**answer))
    db.execute(
        update(Delivery)
        .where(ours, Delivery.state.in_([DeliveryState.UNCERTAIN, DeliveryState.DEFERRED]))
        .values(due_at=real_now(), code=451, reason="4.3.0 Mailbox busy, try again later")
    )
    db.execute(
        update(Delivery)
        .where(ours, Delivery.state == DeliveryState.BOUNCED)
        .values(code=550, enhanced_code="5.1.1", reason="User unknown")
    )
    for first, last, state in ((1, 200, BatchState.DONE), (201, 240, BatchState.READY)):
        db.add(Batch(campaign_id=campaign.id, first=first, last=last, state=state, due_at=real_now()))


def sign_in(page: Page, base: str) -> None:
    page.goto(f"{base}/staff")
    page.get_by_label("Navn").fill("bodil")
    page.get_by_label("Adgangskode").fill(PASSWORD)
    page.get_by_role("button", name="Log ind").click()
    page.get_by_role("heading", name="Udsendelser", exact=True).wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_staff_pages_fit_and_keep_nobody_out(
    browser: Browser, office: Runtime, tmp_path: Path, width: int, scheme: str
) -> None:
    """Narrow pages are as they are served; into wide ones goes the script that examines them."""
    rules = RULES if scheme == "light" else ["color-contrast"]  # nothing else depends on it
    found: dict[str, list[str]] = {}
    with (
        serving(office) as base,
        browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,  # type: ignore[arg-type]
            locale="da-DK",
            bypass_csp=width == WIDE,
        ) as context,
    ):
        page = context.new_page()
        complaints = watch(page)

        def look(name: str) -> None:
            picture = pictures_in(tmp_path) / f"staff-{name}-{width}-{scheme}.png"
            page.screenshot(path=picture, full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert page.locator("h1").count() == 1, name
            assert min(page.evaluate(HEIGHTS)) >= SMALLEST_TARGET, name
            if width == WIDE:
                results = Axe().run(page, options={"runOnly": rules}).response["violations"]
                serious = [each for each in results if each["impact"] not in HARMLESS]
                told = [f"{each['id']}: {each['help']}" for each in serious if each["id"] != STOPPABLE]
                found.update({name: told} if told else {})

        page.goto(f"{base}/staff")
        look("sign-in")
        sign_in(page, base)
        for name, path in PAGES.items():
            page.goto(f"{base}/staff{path}")
            look(name)
    assert (complaints, found) == ([], {})


def test_a_day_is_rehearsed_without_scripts(browser: Browser, office: Runtime) -> None:
    with serving(office) as base, browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        sign_in(page, base)
        page.get_by_role("navigation").get_by_role("link", name="Påmindelser").click()
        page.get_by_label("Se planen, som den vil se ud").fill("2014-03-24T09:00")
        page.get_by_role("button", name="Prøv").click()
        expect(page.get_by_role("status")).to_contain_text("mandag den 24. marts 2014 kl. 9.00")
        page.get_by_role("link", name="Inspirationsmøde i Midtjylland").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Inspirationsmøde i Midtjylland")


def test_somebody_signs_in_and_out_without_scripts(browser: Browser, office: Runtime) -> None:
    with serving(office) as base, browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        sign_in(page, base)
        page.get_by_role("link", name="startpakke-2014").click()
        expect(page.get_by_role("progressbar", name=re.compile("Fremdrift"))).to_be_visible()
        expect(page.get_by_role("heading", name="Hvor er brevene?")).to_be_visible()
        page.get_by_role("button", name="Log ud").click()
        page.get_by_role("heading", name="Log ind").wait_for()
        page.goto(f"{base}/staff/campaigns/1")
        expect(page.get_by_role("heading", name="Log ind")).to_be_visible()
