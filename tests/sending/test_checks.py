"""What the checks of one rendered letter, one value and one address say."""

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailer.foundation.settings import Settings, TrackingMode, load_settings
from mailer.rendering.letter import Letter
from mailer.rendering.links import extract_literal_links
from mailer.rendering.source import LetterSource
from mailer.rendering.values import Attributes, RecipientValues
from mailer.sending.addressees import NOBODY, Addressee
from mailer.sending.checks import check_header, check_settings
from mailer.sending.findings import Finding, Gravity, masked
from mailer.sending.frozen import PAGES, CampaignLetter, PlannedLink
from mailer.sending.letters import LetterTools, render_letter, write_message
from mailer.sending.oddities import oddity
from mailer.sending.reading import Reader
from mailer.smtp.relays import parse_relay
from mailer.tracking.tokens import Tokens
from tests.conftest import NOW, SECRET_KEY

READER = Addressee(
    NOBODY,
    "aase@kommune.example",
    "kommune.example",
    RecipientValues(
        "Åse Sørensen", "leder", "kommune", None, None, "ingen", None, "da", Attributes(side="")
    ),
    None,
    None,
)
RELAYS = (parse_relay("smtp://127.0.0.1:2525?starttls=never"),)


def settings(**values: object) -> Settings:
    return load_settings(
        **{"state_dir": Path("/nowhere"), "secret_key": SECRET_KEY, "sender": "COI <brev@coi.example>"}
        | values
    )


def campaign_letter(
    html: str, *, text: str = "Hej\n", subject: str = "Emne", tracking: str = "personal"
) -> CampaignLetter:
    """A letter as a campaign freezes it, without a database."""
    files = {"subject.txt": subject, "body.txt": text, "body.html": f"<body><p>Hej</p>{html}</body>"}
    source, literals = extract_literal_links(LetterSource("egen", files, {}))
    targets = {**PAGES, **{url: url for url in literals}}
    return CampaignLetter(
        campaign_id=1,
        campaign_name="brev",
        tracking=TrackingMode(tracking),
        auto_submitted=False,
        dated_at=NOW,
        letter=Letter(source),
        events=(),
        event_slug=None,
        links={
            key: PlannedLink(number, key, "link", None, target)
            for number, (key, target) in enumerate(targets.items(), start=1)
        },
        literals=literals,
    )


def tools() -> LetterTools:
    return LetterTools(settings(), Tokens([SECRET_KEY.encode()]), ())


def found(letter: CampaignLetter) -> list[Finding]:
    rendered = render_letter(tools(), letter, READER)
    return list(Reader(letter, tools().settings.public_url).read(rendered))


@pytest.mark.parametrize("tracking", ["personal", "none"])
@pytest.mark.parametrize(
    ("html", "check", "gravity"),
    [
        ('<a href="">her</a>', "link-target", Gravity.ERROR),
        ('<a href="#">her</a>', "link-target", Gravity.ERROR),
        ('<a href="#nowhere">her</a>', "link-target", Gravity.ERROR),
        ('<a href="kl.example/side">her</a>', "link-target", Gravity.ERROR),
        ('<a href="/startpakke">her</a>', "link-target", Gravity.ERROR),
        ('<a href="//kl.example/side">her</a>', "link-target", Gravity.ERROR),
        ('<a href="javascript:alert(1)">her</a>', "link-target", Gravity.ERROR),
        ('<a href="https://">her</a>', "link-target", Gravity.ERROR),
        ('<a href="{{ recipient.attributes.side }}">her</a>', "link-target", Gravity.ERROR),
        ('<a href="{{ links.pack }}9">her</a>', "link-target", Gravity.ERROR),
        ('<a href="https://ond.example/x">https://kl.example/x</a>', "link-elsewhere", Gravity.ERROR),
        ('<a href="https://ond.example/x"><b>www.kl.</b>example</a>', "link-elsewhere", Gravity.ERROR),
        ('<a href="https://kl.example.ond.example/">kl.example</a>', "link-elsewhere", Gravity.ERROR),
        ('<a href="https://notkl.example/">kl.example</a>', "link-elsewhere", Gravity.ERROR),
        ('<a href="https://kl.example@ond.example/">kl.example</a>', "link-elsewhere", Gravity.ERROR),
        ('<a href="{{ links.pack }}">www.kl.dk</a>', "link-elsewhere", Gravity.ERROR),
        ('<a href="http://kl.example/">her</a>', "link-https", Gravity.WARNING),
        ('<a href="https://kl.example/{{ recipient.role }}">her</a>', "link-untracked", Gravity.WARNING),
        ('<img src="https://kl.example/a.png">', "image-alt", Gravity.WARNING),
        ('<img src="a.png" alt="">', "image-source", Gravity.ERROR),
    ],
)
def test_links_and_images_that_are_wrong(html: str, check: str, gravity: Gravity, tracking: str) -> None:
    findings = found(campaign_letter(html, tracking=tracking))
    if tracking == "none" and (check == "link-untracked" or html.endswith('9">her</a>')):
        assert findings == []
    else:
        (finding,) = findings
        assert (finding.check, finding.gravity) == (check, gravity)


@pytest.mark.parametrize(
    "html",
    [
        '<h2 id="a">A</h2><a href="#a">ned</a>',
        '<a href="mailto:post@kl.example">post@kl.example</a> <a href="tel:+4512345678">ring</a>',
        '<a href="https://www.kl.example/x?a=1&amp;b=2">kl.example/x</a>',
        '<a href="https://kl.example/">www.kl.example</a> <a href="https://kl.example/">f.eks. her</a>',
        '<a href="https://kl.example/startpakke.pdf">startpakke.pdf</a>',
        '<a href="https://xn--kbenhavn-54a.example/">københavn.example</a>',
        '<img src="https://kl.example/a.png" alt=""><a name="top"></a>',
        '<a href="{{ links.unsubscribe }}">farvel</a> <a href="{{ links.events_page }}">møder</a>',
    ],
)
def test_ordinary_links_are_left_alone(html: str) -> None:
    assert found(campaign_letter(html, text="Se https://kl.example/x.\n")) == []


def test_what_reads_the_same_is_judged_once_and_what_reads_otherwise_again() -> None:
    html = '<a href="#">{{ recipient.role }}</a> {{ recipient.name }}'
    letter = campaign_letter(html)
    reader = Reader(letter, tools().settings.public_url)

    def read(**changed: str) -> list[str]:
        to = replace(READER, values=replace(READER.values, **changed))
        rendered = render_letter(tools(), letter, to)
        return [finding.detail.rpartition(" ")[2] for finding in reader.read(rendered)]

    assert read() == ["'leder'"]
    assert read(name="En Anden") == []
    assert read(role="minister") == ["'minister'"]


def test_findings_hold_no_token_that_acts_for_somebody() -> None:
    letter = campaign_letter(
        '<a href="{{ links.pack }}9">her</a><a href="{{ links.unsubscribe }}">x</a>'
    )
    (finding,) = found(letter)
    assert "/c/…/" in finding.detail


def test_addresses_in_the_text_part_are_looked_at_too() -> None:
    text = "Se http://kl.example/a og https://kl.example/{{ recipient.role }}\n"
    checks = [finding.check for finding in found(campaign_letter("", text=text))]
    assert checks == ["link-https", "link-untracked"]


def test_no_part_may_be_empty() -> None:
    def checks(letter: CampaignLetter) -> list[tuple[str, Gravity]]:
        return [(finding.check, finding.gravity) for finding in found(letter)]

    assert checks(campaign_letter("", subject=" \n ")) == [("subject", Gravity.ERROR)]
    assert checks(campaign_letter("", subject="x" * 151)) == [("subject", Gravity.WARNING)]
    assert checks(campaign_letter("", subject="x" * 150)) == []
    assert checks(campaign_letter("", text=" \n\t")) == [("text", Gravity.ERROR)]
    hidden = "<style>p { display: none }</style>{# nothing to read #}"
    files = {"subject.txt": "Emne", "body.txt": "Hej", "body.html": f"<body>{hidden}</body>"}
    letter = campaign_letter("")
    object.__setattr__(letter, "letter", Letter(LetterSource("egen", files, {})))
    assert checks(letter) == [("html", Gravity.ERROR)]


def test_every_field_a_letter_needs_is_there_and_missed_when_it_is_not() -> None:
    letter = campaign_letter("")
    data = write_message(tools(), letter, READER, render_letter(tools(), letter, READER)).data
    assert list(check_header(data)) == []
    without = data.replace(b"\r\nList-Unsubscribe-Post:", b"\r\nX-Post:")
    (finding,) = check_header(without)
    assert finding.detail == "the header has no List-Unsubscribe-Post"


@pytest.mark.parametrize(
    ("domain", "aligned"),
    [("coi.example", True), ("example", True), ("brev.coi.example", False), ("oi.example", False)],
)
def test_a_signature_for_another_domain_is_noticed(tmp_path: Path, domain: str, aligned: bool) -> None:
    key = tmp_path / "key.pem"
    key.touch(0o600)
    private = Ed25519PrivateKey.generate()
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    in_force = settings(dkim=f"s:{domain}:{key}")
    checks = [finding.check for finding in check_settings(in_force, RELAYS)]
    assert checks == ([] if aligned else ["dkim"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Jens\x07 Hansen", "control"),
        ("Jens\u202eHansen", "control"),
        ("Ã…se SÃ¸rensen", "wrong encoding"),
        ("S�rensen", "lost"),
        ("S?rensen", "lost"),
        ("ÅSE SØRENSEN", "capitals"),
        ("test", "placeholder"),
        ("n/a", "placeholder"),
        ("Test", "placeholder"),
        ("aase@kommune.example", "an @"),
        ("Jens Hansen 2", "digits"),
        ("x" * 100, "100 characters"),
        ("{{ recipient.name }}", "template syntax"),
        ("{% raw %}", "template syntax"),
        ("<b>Jens</b>", "HTML"),
    ],
)
def test_odd_names_are_noticed(name: str, words: str) -> None:
    assert words in (oddity("name", name) or "")


@pytest.mark.parametrize(
    "name",
    [*("Åse Sørensen", "José Ibáñez", "Ib", "KL", "Anne-Mette O'Neil", "Dr. Jens von Ålborg"),
     *("Łukasz Żak", "Tom Test", "Íris Þórsdóttir", "João da Conceição", "李 小龙", "Zoë")],
)  # fmt: skip
def test_ordinary_names_are_not_odd(name: str) -> None:
    assert oddity("name", name) is None


@pytest.mark.parametrize("value", ["KL", "3F", "HK KOMMUNAL", "Afdeling 2B", "post@kl.example"])
def test_offices_may_have_digits_and_capitals(value: str) -> None:
    assert oddity("organisation", value) is None


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("jens@kl.example", "j…@kl.example"),
        ("j@kl.example", "…@kl.example"),
        ("å@b@kl.example", "å…@kl.example"),
    ],
)
def test_a_masked_address_leaves_the_domain_and_a_letter(address: str, shown: str) -> None:
    assert masked(address) == shown
