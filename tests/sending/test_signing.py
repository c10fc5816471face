"""Letters as they leave, signed: a stranger verifies them, and nothing else about them changes."""

from dataclasses import replace
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailer.events.importing import import_events
from mailer.foundation.settings import SettingsError
from mailer.rendering.dkim import Signer
from mailer.rendering.values import Attributes, RecipientValues
from mailer.runtime import Runtime, template_folders
from mailer.sending.addressees import Addressee
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import LetterTools, dkim_signer, render_letter, write_message
from mailer.sending.preparing import prepare_letter
from mailer.sending.writer import LetterWriter
from tests.conftest import NOW
from tests.making import make_campaign
from tests.rendering.test_message import HOSTILE

TO = Addressee(
    5,
    "aase@kommune.example",
    "kommune.example",
    RecipientValues(
        "Åse Sørensen", "leder", "kommune", "Aarhus", "Skolen", "FTF", "Midtjylland", "da", Attributes()
    ),
    None,
    "KL",
)


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What is written does not depend on the kind of database."""
    return sqlite_url


@pytest.fixture
def letter(runtime: Runtime) -> CampaignLetter:
    """The shipped letter, with its events."""
    events = Path(template_folders(runtime.settings)[-1]) / "letters/startpakke/events.toml"
    with runtime.database.write() as db:
        import_events(db, events, NOW)
        return prepare_letter(runtime.letter_tools, db, make_campaign(db), now=NOW)


@pytest.fixture
def signing(runtime: Runtime, tmp_path: Path) -> LetterTools:
    """Tools that sign with an RSA and an Ed25519 key."""
    keys = {
        "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ed": ed25519.Ed25519PrivateKey.generate(),
    }
    for name, key in keys.items():
        path = tmp_path / f"{name}.pem"
        path.touch(0o600)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    entries = [f"{name}:coi.example:{tmp_path / name}.pem" for name in keys]
    return replace(runtime.letter_tools, settings=runtime.settings.model_copy(update={"dkim": entries}))


def verified(tools: LetterTools, message: bytes) -> list[bool]:
    signer = dkim_signer(tools.settings)
    assert isinstance(signer, Signer)
    records = {f"{key.record_name}.".encode(): key.record.encode() for key in signer.keys}
    check = dkim.DKIM(message)
    return [
        check.verify(idx=index, dnsfunc=lambda name, timeout=5: records[name])
        for index in range(len(signer.keys))
    ]


@pytest.mark.parametrize(
    "name", ["Åse Sørensen", None, *[text for text in HOSTILE if text.isprintable()]]
)
def test_a_compiled_letter_is_signed_whatever_stands_in_it(
    signing: LetterTools, letter: CampaignLetter, name: str | None
) -> None:
    writer = LetterWriter(signing, letter)
    message = writer.write(replace(TO, values=replace(TO.values, name=name)))
    assert writer.per_recipient_because is None
    assert message.data.startswith(b"DKIM-Signature: ")
    assert verified(signing, message.data) == [True, True]


def test_a_letter_rendered_alone_is_signed_too(signing: LetterTools, letter: CampaignLetter) -> None:
    message = write_message(signing, letter, TO, render_letter(signing, letter, TO))
    assert verified(signing, message.data) == [True, True]


def test_a_signature_is_all_that_is_added_and_a_copy_is_the_same_bytes(
    runtime: Runtime, signing: LetterTools, letter: CampaignLetter
) -> None:
    unsigned = LetterWriter(runtime.letter_tools, letter).write(TO)
    signed, copy = (LetterWriter(signing, letter).write(TO) for _ in range(2))
    assert signed == copy
    assert signed.data.endswith(unsigned.data)
    assert signed.envelope == unsigned.envelope
    assert not any(line.startswith(b".") for line in signed.data.split(b"\r\n"))


def test_a_key_that_cannot_sign_writes_no_letter(signing: LetterTools, letter: CampaignLetter) -> None:
    broken = signing.settings.model_copy(update={"dkim": ["s:coi.example:/nowhere/key.pem"]})
    with pytest.raises(SettingsError, match="setting dkim: cannot read /nowhere/key"):
        LetterWriter(replace(signing, settings=broken), letter)
