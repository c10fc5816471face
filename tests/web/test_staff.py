"""The staff pages from outside: nothing without a session, nothing from another site's form."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import anyio
import httpx
import pytest
from sqlalchemy import select, update

from mailer.campaigns.models import Campaign, CampaignState, Delivery, DeliveryState, Link
from mailer.foundation.clock import real_now
from mailer.foundation.database import Database
from mailer.foundation.settings import Settings
from mailer.runtime import Runtime
from mailer.staff.accounts import remove_account
from mailer.staff.models import StaffSession
from mailer.staff.sessions import IDLE
from mailer.staff.signing_in import SignedIn
from mailer.tracking.models import Label, TrackingCount, TrackingEvent, TrackingKind
from mailer.web.guards import PAGE_POLICY
from mailer.web.staff import door
from tests.conftest import NOW
from tests.web.conftest import Mailing, Reader, open_reader, outage
from tests.web.staffing import FIELD, HERE, PASSWORD, Staff, opened, quick, signed_in, staff

__all__ = ["opened", "quick", "signed_in", "staff"]

HOSTILE = "<script>alert('æ')</script>\"'&"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: sessions are tested on both."""
    return sqlite_url


def campaign_path(mailing: Mailing) -> str:
    return f"/staff/campaigns/{mailing.campaign_id}"


def test_without_a_session_every_address_leads_to_the_sign_in_page(
    staff: Staff, mailing: Mailing
) -> None:
    path = campaign_path(mailing)
    for each in (
        "/staff",
        "/staff/",
        path,
        f"{path}/reasons",
        "/staff/campaigns/9",
        "/staff/events",
        "/staff/events/midtjylland",
        "/staff/reminders",
        "/staff/reminders?now=2014-03-21T09:00",
        "/staff/nowhere",
        "/staff//x",
    ):
        for answer in (staff.get(each), staff.reader.head(each)):
            assert (answer.status_code, answer.headers["location"]) == (303, "/staff/sign-in"), each
            assert answer.content == b""
    assert staff.post("/staff/sign-out", {}).headers["location"] == "/staff/sign-in"
    assert "brev-personal" not in staff.get("/staff/sign-in").text


def test_who_signs_in_sees_campaigns_and_figures(signed_in: Staff, mailing: Mailing) -> None:
    assert "brev-personal" in signed_in.get("/staff").text
    page = signed_in.get(campaign_path(mailing))

    assert page.status_code == 200
    assert "Hvor er brevene?" in page.text
    assert "Regnskabet" in page.text


@pytest.mark.parametrize(
    ("name", "password"), [("bodil", "en forkert sætning"), ("ukendt", PASSWORD), ("", "")]
)
def test_wrong_name_and_wrong_password_are_answered_alike(
    staff: Staff, name: str, password: str
) -> None:
    answer = staff.sign_in(name, password)

    assert answer.status_code == 401
    assert "Navn eller adgangskode er forkert." in answer.text
    assert "staff-session" not in staff.cookies
    assert password not in answer.text or not password


def test_a_sign_in_form_of_another_browser_or_none_is_refused(staff: Staff, reader: Reader) -> None:
    other = Staff(reader)
    foreign = FIELD.search(other.get("/staff/sign-in").text)
    staff.get("/staff/sign-in")
    assert foreign
    for form in (foreign[1], "", "0" * 64, "æ"):
        answer = staff.post("/staff/sign-in", {"form": form, "name": "bodil", "password": PASSWORD})
        assert answer.status_code == 403
    assert "staff-session" not in staff.cookies


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://ondt.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8001"},
        {"Origin": "https://127.0.0.1:8000"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "", "Sec_Fetch_Site": ""},
    ],
)
def test_no_form_of_another_site_is_taken(staff: Staff, headers: dict[str, str]) -> None:
    assert staff.sign_in(**headers).status_code == 403
    assert staff.sign_in().status_code == 303
    assert staff.post("/staff/sign-out", {"form": staff.form()}, **headers).status_code == 403
    assert staff.get("/staff").status_code == 200


def test_signing_out_needs_the_sessions_own_form(staff: Staff, reader: Reader) -> None:
    other = Staff(reader)
    staff.sign_in()
    other.sign_in("admin")
    for form in ("", "0" * 64, other.form()):
        assert staff.post("/staff/sign-out", {"form": form}).status_code == 403
    assert staff.get("/staff").status_code == 200
    token = staff.cookies["staff-session"]

    assert staff.post("/staff/sign-out", {"form": staff.form()}).status_code == 303

    staff.cookies["staff-session"] = token
    assert staff.get("/staff").status_code == 303
    assert other.get("/staff").status_code == 200


def test_nobody_signs_out_by_a_link(signed_in: Staff) -> None:
    assert signed_in.get("/staff/sign-out").status_code == 404
    assert signed_in.get("/staff").status_code == 200


def test_a_token_planted_before_signing_in_is_not_the_sessions(staff: Staff) -> None:
    staff.cookies["staff-session"] = "x" * 43
    staff.sign_in()

    assert staff.cookies["staff-session"] != "x" * 43
    staff.cookies["staff-session"] = "x" * 43
    assert staff.get("/staff").status_code == 303


def test_cookies_are_kept_from_scripts_and_other_sites(staff: Staff) -> None:
    lines = staff.sign_in().headers.get_list("set-cookie")

    assert any(line.startswith("staff-session=") for line in lines)
    for line in lines:
        assert "httponly" in line.lower()
        assert "samesite=strict" in line.lower()
        assert "path=/staff" in line.lower()
        assert "domain=" not in line.lower()


@pytest.fixture
def behind_tls(settings: Settings, runtime: Runtime) -> Iterator[Reader]:
    secure = settings.model_copy(update={"public_url": "https://brev.example"})
    with open_reader(Runtime(secure, runtime.database, runtime.clock, runtime.tokens)) as opened:
        yield opened


def test_behind_tls_cookies_are_bound_to_this_host(staff: Staff, behind_tls: Reader) -> None:
    browser = Staff(behind_tls)
    lines = browser.sign_in(Origin="https://brev.example").headers.get_list("set-cookie")

    assert any(line.startswith("__Host-staff-session=") for line in lines)
    for line in lines:
        assert line.startswith("__Host-")
        assert "; secure" in line.lower()
        assert "; path=/;" in f"{line.lower()};"
    assert browser.get("/staff").status_code == 200


def test_a_viewer_does_not_see_why_letters_failed(
    staff: Staff, mailing: Mailing, reader: Reader
) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(
            update(Delivery)
            .where(Delivery.position == 2)
            .values(
                state=DeliveryState.FAILED, code=550, reason="User kim.hansen unknown", relay="mx:25"
            )
        )
        for position in range(3, 8):
            db.add(
                Delivery(
                    campaign_id=mailing.campaign_id,
                    position=position,
                    state=DeliveryState.UNCERTAIN,
                    reason="connection lost after the dot",
                    relay="mx:25",
                )
            )
    staff.sign_in()
    admin = Staff(reader)
    admin.sign_in("admin")
    path = f"{campaign_path(mailing)}/reasons"

    assert path not in staff.get(campaign_path(mailing)).text
    assert staff.get(path).status_code == 403
    assert "connection lost" not in staff.get(path).text
    assert path in admin.get(campaign_path(mailing)).text
    told = admin.get(path).text
    assert "connection lost after the dot" in told
    assert "@" not in told
    assert "550" in told
    assert "kim.hansen" not in told


def test_no_page_tells_who_anybody_is(signed_in: Staff, mailing: Mailing) -> None:
    for path in ("/staff", campaign_path(mailing)):
        text = signed_in.get(path).text
        assert "aase" not in text
        assert "Åse" not in text


def test_what_fewer_than_five_recipients_did_is_not_shown(signed_in: Staff, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        db.add(
            TrackingEvent(
                kind=TrackingKind.OPEN,
                campaign_id=mailing.campaign_id,
                position=1,
                label=Label.PERSON,
                reason="test",
                at=NOW,
            )
        )
        db.add(
            TrackingCount(
                campaign_id=mailing.campaign_id,
                day=NOW.date(),
                kind=TrackingKind.PASS_ON,
                link_number=0,
                subject="",
                label=Label.PERSON,
                reason="test",
                total=1,
            )
        )
    text = signed_in.get(campaign_path(mailing)).text

    assert "færre end fem modtagere" in text
    assert "sendt videre" not in text
    assert "Åbnet" not in text
    assert "Åbninger" not in text


def test_hostile_names_stay_text(signed_in: Staff, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        campaign = db.get(Campaign, mailing.campaign_id)
        assert campaign
        campaign.name, campaign.letter = HOSTILE, HOSTILE[:90]
        campaign.state, campaign.waiting_for = CampaignState.SENDING, HOSTILE
        db.execute(update(Link).values(target=f"https://x.example/{HOSTILE}", key=HOSTILE))
    for path in ("/staff", campaign_path(mailing)):
        text = signed_in.get(path).text
        assert "<script" not in text
        assert "&lt;script&gt;" in text


def test_pages_are_kept_nowhere_and_shown_in_no_frame(staff: Staff, mailing: Mailing) -> None:
    answers = [staff.get("/staff"), staff.get("/staff/sign-in"), staff.sign_in("x", "y")]
    staff.sign_in()
    answers += [staff.get("/staff"), staff.get(campaign_path(mailing)), staff.get("/staff/nowhere")]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == PAGE_POLICY
        assert "frame-ancestors 'none'" in PAGE_POLICY
        assert "script-src" not in PAGE_POLICY
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-robots-tag"] == "noindex, nofollow"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "<script" not in answer.text
        assert " style=" not in answer.text


def test_a_page_that_looks_again_by_itself_keeps_no_session_alive(
    signed_in: Staff, mailing: Mailing
) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(update(Campaign).values(state=CampaignState.SENDING))
        db.execute(update(StaffSession).values(seen_at=real_now() - IDLE + timedelta(minutes=5)))
    path = campaign_path(mailing)

    def seen() -> object:
        with mailing.runtime.database.read() as db:
            return db.scalar(select(StaffSession.seen_at))

    before = seen()
    assert f'content="5; url={path}?automatisk"' in signed_in.get(f"{path}?automatisk").text
    assert seen() == before
    signed_in.get(path)
    assert seen() != before


def test_who_wants_peace_stops_a_page_from_looking_again(signed_in: Staff, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        db.execute(update(Campaign).values(state=CampaignState.SENDING))
    for path in ("/staff", campaign_path(mailing)):
        assert f'href="{path}?stille"' in signed_in.get(path).text
        still = signed_in.get(f"{path}?stille").text
        assert 'http-equiv="refresh"' not in still
        assert f'<a href="{path}">Se selv efter nyt' in still


def test_a_campaign_that_has_ended_is_not_looked_at_again(signed_in: Staff, mailing: Mailing) -> None:
    assert 'http-equiv="refresh"' not in signed_in.get(campaign_path(mailing)).text


def test_a_removed_account_is_out_at_once(signed_in: Staff, mailing: Mailing) -> None:
    with mailing.runtime.database.write() as db:
        remove_account(db, "bodil")
    assert signed_in.get("/staff").status_code == 303


def test_guessing_ends_in_waiting(staff: Staff) -> None:
    for _ in range(6):
        assert staff.sign_in(password="en forkert sætning").status_code == 401
    answer = staff.sign_in()

    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert "staff-session" not in staff.cookies


def test_an_outage_shows_nothing_and_signs_nobody_in(
    signed_in: Staff, mailing: Mailing, opened: list[Database]
) -> None:
    signed_in.get(campaign_path(mailing))
    with outage(opened[0]):
        answer = signed_in.get(campaign_path(mailing))
        assert Staff(signed_in.reader).sign_in().status_code == 503
    assert answer.status_code == 503
    assert "brev-personal" not in answer.text


def test_readers_who_hold_every_connection_keep_no_staff_out(
    staff: Staff, mailing: Mailing, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as held:
        patched = held.enter_context(monkeypatch.context())
        patched.setattr(mailing.runtime.database.engine.pool, "_timeout", 0.05)
        for _ in range(15):
            held.enter_context(mailing.runtime.database.engine.connect())
        assert staff.sign_in().status_code == 303
        assert staff.get("/staff").status_code == 200


def test_having_no_connection_left_is_an_outage(signed_in: Staff, opened: list[Database]) -> None:
    opened[0].engine.pool._timeout = 0.05  # type: ignore[attr-defined]
    with ExitStack() as held:
        for _ in range(15):
            held.enter_context(opened[0].engine.connect())
        answer = signed_in.get("/staff")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "60"


def test_a_crowd_of_strangers_is_told_to_come_again_and_a_known_browser_comes_in(
    signed_in: Staff, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave, real = threading.Event(), door.sign_in

    def slow(database: Database, name: str, password: str, **more: Any) -> SignedIn | None:
        assert name == "bodil" or leave.wait(30)
        return real(database, name, password, **more)

    monkeypatch.setattr(door, "sign_in", slow)
    stranger = Staff(reader)
    form = FIELD.search(stranger.get("/staff/sign-in").text)
    assert form
    fields = {"form": form[1], "name": "ukendt", "password": "x"}
    told = {"Origin": HERE, "Cookie": f"staff-form={stranger.cookies['staff-form']}"}
    answers: list[httpx.Response] = []

    async def crowd() -> None:
        transport = httpx.ASGITransport(app=reader.app)
        async with httpx.AsyncClient(transport=transport, base_url=HERE, headers=told) as client:

            async def come() -> None:
                answers.append(await client.post("/staff/sign-in", data=fields))

            async with anyio.create_task_group() as coming:
                for _ in range(30):
                    coming.start_soon(come)

    try:
        done = reader.portal.start_task_soon(crowd)
        while len(answers) < 8:
            assert not done.done()
            time.sleep(0.01)
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.headers["retry-after"] for answer in answers} == {"5"}
        del signed_in.cookies["staff-session"]
        assert signed_in.sign_in().status_code == 303
    finally:
        leave.set()
    done.result(60)
    assert len([answer for answer in answers if answer.status_code == 503]) == 8


def test_a_crowd_with_made_up_sessions_is_told_to_come_again(
    signed_in: Staff, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave, real = threading.Event(), door.find_visitor

    def slow(db: Any, token: str, **more: Any) -> Any:
        assert token != "x" * 43 or leave.wait(30)
        return real(db, token, **more)

    monkeypatch.setattr(door, "find_visitor", slow)
    statuses: list[int] = []

    async def crowd() -> None:
        transport = httpx.ASGITransport(app=reader.app)
        told = {"Cookie": f"staff-session={'x' * 43}"}
        async with httpx.AsyncClient(transport=transport, base_url=HERE, headers=told) as client:

            async def come() -> None:
                statuses.append((await client.get("/staff")).status_code)

            async with anyio.create_task_group() as coming:
                for _ in range(30):
                    coming.start_soon(come)

    try:
        done = reader.portal.start_task_soon(crowd)
        while len(statuses) < 7:
            assert not done.done()
            time.sleep(0.01)
        assert set(statuses) == {503}
        assert signed_in.get("/staff").status_code == 200
    finally:
        leave.set()
    done.result(60)
    assert sorted(statuses) == [303] * 23 + [503] * 7


def test_a_name_that_cannot_be_one_is_answered_like_any_other(staff: Staff) -> None:
    assert staff.sign_in("\x00").text.count("Navn eller adgangskode er forkert.") == 1


@pytest.mark.parametrize("number", ["0", "-1", "99999999999999999999", "1.5", "x", "%00"])
def test_odd_numbers_are_no_campaigns(signed_in: Staff, number: str) -> None:
    assert signed_in.get(f"/staff/campaigns/{number}").status_code == 404


def test_states_add_up_to_the_audience(signed_in: Staff, mailing: Mailing) -> None:
    page = signed_in.get(campaign_path(mailing)).text
    table = page.partition("Brevene fordelt på tilstand</caption>")[2].partition("</table>")[0]
    counts = [int(cell) for cell in re.findall(r"<td>(\d+)</td>", table)]

    assert sum(counts[:-1]) == counts[-1] == 2
