"""The staff pages in Chromium: signing in and out without scripts, wide and narrow, light and dark."""

import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import update
from sqlalchemy.orm import Session

from mailer.campaigns.heartbeats import SWEEP
from mailer.campaigns.models import (
    Batch,
    BatchState,
    Campaign,
    CampaignState,
    Delivery,
    DeliveryState,
    Heartbeat,
)
from mailer.foundation.clock import real_now
from mailer.runtime import Runtime
from mailer.staff.accounts import add_account
from mailer.staff.models import StaffRole
from mailer.tracking.models import Label, TrackingKind
from recipients.models import Region, Role, Sector
from tests.conftest import NOW
from tests.reports.factories import act, deliver, make_campaign, make_event, make_link, make_recipient
from tests.web.conftest import serving
from tests.web.test_in_a_browser import watch

pytestmark = pytest.mark.browser

PASSWORD = "en lang og god sætning"
TOWNS = ("Aalborg", "Aarhus", "Odense", "Esbjerg", "Køge", "Roskilde", "Vejle", "Hjørring", "Samsø")
WIDTHS = (320, 1100)


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
        make_event(db, "midtjylland", "Inspirationsmøde i Midtjylland").region = "Midtjylland"
        make_event(db, "sjaelland", "Inspirationsmøde på Sjælland", days_ahead=30).date = date(
            2014, 4, 8
        )
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
        make_campaign(db, "påmindelse-midtjylland")
    return runtime


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
    db.add(Heartbeat(name=SWEEP, at=real_now()))


def sign_in(page: Page, base: str) -> None:
    page.goto(f"{base}/staff")
    page.get_by_label("Navn").fill("bodil")
    page.get_by_label("Adgangskode").fill(PASSWORD)
    page.get_by_role("button", name="Log ind").click()
    page.get_by_role("heading", name="Udsendelser", exact=True).wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_staff_pages_fit(
    browser: Browser, office: Runtime, tmp_path: Path, width: int, scheme: str
) -> None:
    with (
        serving(office) as base,
        browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,  # type: ignore[arg-type]
        ) as context,
    ):
        page = context.new_page()
        complaints = watch(page)
        page.goto(f"{base}/staff")
        page.screenshot(path=tmp_path / f"staff-sign-in-{width}-{scheme}.png", full_page=True)
        sign_in(page, base)
        for name, path in {
            "overview": "",
            "campaign": "/campaigns/1",
            "reasons": "/campaigns/1/reasons",
        }.items():
            page.goto(f"{base}/staff{path}")
            page.screenshot(path=tmp_path / f"staff-{name}-{width}-{scheme}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert page.locator("h1").count() == 1, name
    assert complaints == []


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
