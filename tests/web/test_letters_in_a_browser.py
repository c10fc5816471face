"""The letter in a browser: what the recipient got, and the same for somebody else."""

import email
import email.policy
import re
from dataclasses import replace
from html import unescape
from urllib.parse import parse_qs

import anyio
import pytest
from sqlalchemy import update

from mailer.campaigns.models import Campaign, Delivery, Link
from mailer.sending.addressees import addressees, read_addressee
from mailer.sending.frozen import open_letter
from mailer.sending.writer import LetterWriter
from mailer.tracking.models import TrackingKind
from mailer.tracking.sightings import NOBODY
from mailer.tracking.tokens import Purpose, Tokens
from mailer.web.guards import LETTER_POLICY
from mailer.web.passing_on import FRESH_SECONDS, SharedLetters
from mailer.web.site import open_site
from recipients.models import Region, Sector
from tests.web.conftest import Mailing, Reader, open_reader, outage


@pytest.fixture
def posted(mailing: Mailing) -> Mailing:
    """The campaign with its letter frozen, as a launch leaves it."""
    mailing.freeze_letter()
    return mailing


def test_the_personal_letter_is_what_its_recipient_got(reader: Reader, posted: Mailing) -> None:
    response = reader.get(posted.path("view"))

    assert response.status_code == 200
    assert "Kære Åse Sørensen" in response.text
    assert posted.path("unsubscribe") in response.text
    assert [(event.kind, event.position) for event in posted.seen()] == [(TrackingKind.VIEW, 1)]


def test_the_letter_to_pass_on_is_nobodys(reader: Reader, posted: Mailing) -> None:
    response = reader.get(posted.path("pass_on", position=0))

    assert response.status_code == 200
    assert "Sørensen" not in response.text
    for door in ("/u/", "/v/", "/r/", "/o/"):
        assert f"{posted.addresses.public_url}{door}" not in response.text
    assert posted.seen() == []
    assert posted.counted() == {(posted.campaign_id, TrackingKind.PASS_ON, 0, ""): 1}


def test_no_link_of_the_letter_to_pass_on_names_anybody(reader: Reader, posted: Mailing) -> None:
    tokens = posted.runtime.tokens
    html = reader.get(posted.path("pass_on", position=0)).text

    clicks = {part.partition("/")[0] for part in html.split(f"{posted.addresses.public_url}/c/")[1:]}
    assert {tokens.verify(Purpose.CLICK, token).number for token in clicks} == {NOBODY}
    for path in {f"/c/{token}/1" for token in clicks}:
        assert reader.get(path).status_code == 302
    assert posted.seen() == []


@pytest.mark.parametrize(
    ("variant", "language", "hello"),
    [(0, "da", "Hej"), (len(Sector) * (len(Region) + 1), "en", "Hello")],
)
def test_the_letter_to_pass_on_says_how(
    reader: Reader, posted: Mailing, variant: int, language: str, hello: str
) -> None:
    html = reader.get(posted.path("pass_on", position=variant)).text
    address = posted.addresses.pass_on(posted.campaign_id, variant)

    assert f'<aside class="pass-on" lang="{language}"' in html
    assert f'<span class="pass-on-address">{address}</span>' in html
    (mail,) = re.findall(r'href="(mailto:[^"]+)"', html)
    fields = parse_qs(unescape(mail).partition("?")[2], strict_parsing=True)
    assert fields.keys() == {"subject", "body"}
    assert fields["body"][0].startswith(f"{hello}\r\n\r\n")
    assert address in fields["body"][0]
    assert unescape(mail).startswith("mailto:?"), "it is for the reader to say to whom"


def test_a_letter_passed_on_gives_the_current_address_whichever_key_it_came_by(
    posted: Mailing,
) -> None:
    old = posted.path("pass_on", position=0)
    keys = [b"a newer key than the one of the letter", *posted.runtime.settings.signing_keys]
    with open_reader(replace(posted.runtime, tokens=Tokens(keys))) as reader:
        html = reader.get(old).text

    assert old not in html
    assert posted.addresses.public_url + "/p/" in html


def test_a_letter_passed_on_is_rendered_once_in_a_while_and_counted_each_time(
    reader: Reader, posted: Mailing
) -> None:
    path = posted.path("pass_on", position=0)
    first = reader.get(path).text
    with outage(posted.runtime.database):
        again = [reader.get(path).text for _ in range(3)]

    assert again == [first] * 3
    assert posted.counted() == {(posted.campaign_id, TrackingKind.PASS_ON, 0, ""): 4}


def test_a_letter_passed_on_follows_what_is_corrected_and_outlives_an_outage(posted: Mailing) -> None:
    now = [0.0]

    async def read() -> list[str | None]:
        with posted.runtime.database.write() as db:
            db.execute(update(Campaign).values(tracking="none"))
        shared = SharedLetters(open_site(posted.runtime), ticking=lambda: now[0])
        pages = [await shared.page(posted.campaign_id, 0)]
        with posted.runtime.database.write() as db:
            db.execute(update(Link).values(target="https://rettet.example/"))
        now[0] += FRESH_SECONDS
        pages.append(await shared.page(posted.campaign_id, 0))
        now[0] += FRESH_SECONDS
        with outage(posted.runtime.database):
            pages.append(await shared.page(posted.campaign_id, 0))
        return pages

    before, after, away = anyio.run(read)

    assert before is not None
    assert after is not None
    assert "https://rettet.example/" not in before
    assert "https://rettet.example/" in after
    assert away == after


def test_only_so_many_letters_to_pass_on_are_kept(posted: Mailing) -> None:
    async def read() -> int:
        shared = SharedLetters(open_site(posted.runtime), most=3)
        for variant in range(8):
            await shared.page(posted.campaign_id, variant)
        return len(shared)

    assert anyio.run(read) == 3


@pytest.mark.parametrize("mode", ["none", "anonymous", "consent", "personal"])
def test_no_and_remind_me_name_the_recipient_in_every_tracking_mode(
    reader: Reader, posted: Mailing, mode: str
) -> None:
    with posted.runtime.database.write() as db:
        db.execute(update(Campaign).values(tracking=mode))
        campaign = db.get_one(Campaign, posted.campaign_id)
        letter = open_letter(db, campaign)
        to = read_addressee(db.execute(addressees().where(Delivery.position == 1)).one())
    message = LetterWriter(posted.runtime.letter_tools, letter).write(to)
    parsed = email.message_from_bytes(message.data, policy=email.policy.default)
    html = parsed.get_body(("html",)).get_content()  # type: ignore[union-attr]
    base = posted.addresses.public_url

    (header,) = re.findall(rf"<{base}(/u/[^>]+)>", str(parsed["List-Unsubscribe"]))
    assert header == posted.path("unsubscribe")
    (remind, *_) = re.findall(rf'href="{base}(/r/[^"]+/midtjylland)"', html)
    assert remind == posted.path("remind", "midtjylland")
    assert f'href="{base}{header}"' in html
    if mode != "personal":
        assert posted.path("open_pixel") not in html
        assert posted.path("click", 1).rpartition("/")[0] not in html


def test_reading_ones_letter_opens_no_pixel(reader: Reader, posted: Mailing) -> None:
    html = reader.get(posted.path("view")).text

    assert "/o/" not in html
    assert [event.kind for event in posted.seen()] == [TrackingKind.VIEW]


def test_every_tracked_link_of_the_letter_leads_somewhere(reader: Reader, posted: Mailing) -> None:
    html = reader.get(posted.path("view")).text
    base = posted.addresses.public_url
    links = {part.partition('"')[0] for part in html.split(f'href="{base}')[1:]}
    clicks = [path for path in links if path.startswith("/c/")]

    assert len(clicks) >= 5
    assert all(reader.get(path).status_code == 302 for path in clicks)
    assert all(reader.get(path).status_code < 400 for path in links)


def test_a_letter_may_bring_styles_and_nothing_else(reader: Reader, posted: Mailing) -> None:
    headers = reader.get(posted.path("view")).headers

    assert headers["content-security-policy"] == LETTER_POLICY
    assert headers["cache-control"] == "no-store"
    assert headers["x-robots-tag"] == "noindex, nofollow"


def test_a_letter_that_was_never_sent_has_no_page(reader: Reader, mailing: Mailing) -> None:
    assert reader.get(mailing.path("view")).status_code == 404
    assert reader.get(mailing.path("view", position=99)).status_code == 404
    assert reader.get(mailing.path("pass_on", position=0)).status_code == 404
    assert reader.get(mailing.path("pass_on", position=9999)).status_code == 404
    assert mailing.seen() == []
