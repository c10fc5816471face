"""Signatures that a stranger's verifier accepts, and that nothing they cover can survive a change of."""

import base64
import itertools
import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from mailer.foundation.settings import SettingsError, load_settings
from mailer.rendering.dkim import Signer, open_signer, relaxed_body
from mailer.rendering.errors import BadKey
from mailer.rendering.message import compose
from tests.rendering.test_message import COMMON, HOSTILE, PERSONAL, letter

AT = datetime(2014, 3, 7, 8, 0, tzinfo=UTC)
KINDS = ("rsa", "ed25519")
MESSAGE = compose(
    letter("Emne på dansk", "Kære  Åse\n\n  indrykket \t tekst \n.\n\n\n", "<p>Hej\t du</p>\n\n"),
    COMMON,
    PERSONAL,
)


def pem(private: object, password: bytes | None = None) -> bytes:
    locked = (
        serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    )
    return private.private_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def write_key(folder: Path) -> Callable[..., Path]:
    def write(name: str, data: bytes, mode: int = 0o600) -> Path:
        path = folder / name
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
        return path

    return write


@pytest.fixture(scope="module")
def entries(write_key: Callable[..., Path]) -> dict[str, str]:
    made = {
        "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
    }
    return {
        kind: f"{kind}:coi.example:{write_key(f'{kind}.pem', pem(key))}" for kind, key in made.items()
    }


@pytest.fixture(scope="module")
def signer(entries: dict[str, str]) -> Signer:
    """Signs with both kinds of key."""
    opened = open_signer(tuple(entries.values()))
    assert opened is not None
    return opened


def verified(signer: Signer, message: bytes) -> list[bool]:
    """What dkimpy says of each signature, with the records the signer wants published."""
    records = {f"{key.record_name}.".encode(): key.record.encode() for key in signer.keys}
    count = len(re.findall(rb"(?m)^DKIM-Signature:", message))
    results = []
    for index in range(count):
        check = dkim.DKIM(message)
        try:
            results.append(check.verify(idx=index, dnsfunc=lambda name, timeout=5: records[name]))
        except dkim.DKIMException:
            results.append(False)
    return results


def sealed(signer: Signer, message: bytes = MESSAGE) -> bytes:
    return signer.sign([message], at=AT) + message


def test_both_kinds_of_key_sign_what_a_stranger_verifies(signer: Signer) -> None:
    assert [key.algorithm for key in signer.keys] == ["rsa-sha256", "ed25519-sha256"]
    assert verified(signer, sealed(signer)) == [True, True]


@pytest.mark.parametrize("kind", KINDS)
def test_one_key_signs_alone(entries: dict[str, str], kind: str) -> None:
    signer = open_signer((entries[kind],))
    assert signer is not None
    assert verified(signer, sealed(signer)) == [True]


@examples(max_examples=40)
@given(
    name=st.one_of(st.sampled_from(HOSTILE), st.text(max_size=80)),
    subject=st.one_of(st.sampled_from(HOSTILE), st.text(max_size=80)),
    text=st.one_of(st.sampled_from(HOSTILE), st.text(max_size=200)),
)
def test_signatures_hold_whatever_stands_in_the_letter(
    signer: Signer, name: str, subject: str, text: str
) -> None:
    message = compose(letter(subject, text, f"<p>{text}</p>"), COMMON, replace(PERSONAL, to_name=name))
    assert verified(signer, sealed(signer, message)) == [True, True]


@pytest.mark.parametrize(
    "field",
    [
        *("From", "To", "Reply-To", "Subject", "Date", "Message-ID", "List-Id", "List-Unsubscribe"),
        *("List-Unsubscribe-Post", "Feedback-ID", "MIME-Version", "Content-Type"),
    ],
)
def test_a_field_can_be_neither_changed_nor_removed_nor_added(signer: Signer, field: str) -> None:
    message = sealed(signer)
    pattern = re.compile(rb"(?m)^" + field.encode() + rb":.*\r\n(?:[ \t].*\r\n)*")
    found = pattern.findall(message)[0]
    name, _, value = found.partition(b":")
    changed = message.replace(found, name + b": x" + value)
    removed = message.replace(found, b"")
    second = b"%b: <evil@evil.example>\r\n" % name
    for tampered in (changed, removed, second + message, message.replace(found, found + second)):
        assert tampered != message
        assert verified(signer, tampered) == [False, False]


@pytest.mark.parametrize("field", ["Cc", "Content-Transfer-Encoding", "Auto-Submitted"])
def test_a_field_that_was_not_there_cannot_be_added(signer: Signer, field: str) -> None:
    assert verified(signer, f"{field}: base64\r\n".encode() + sealed(signer)) == [False, False]


def test_a_relay_may_add_its_own_fields_before_the_signature(signer: Signer) -> None:
    received = b"Received: from a.example by b.example; Fri, 7 Mar 2014 09:00:00 +0100\r\n"
    assert verified(signer, received + sealed(signer)) == [True, True]


def test_the_body_cannot_be_changed_cut_or_lengthened(signer: Signer) -> None:
    message = sealed(signer)
    assert verified(signer, message.replace(b"Hej", b"Nej")) == [False, False]
    assert verified(signer, message[: message.rindex(b"--=_")]) == [False, False]
    assert verified(signer, message + b"more\r\n") == [False, False]
    assert b"l=" not in message.split(b"From:")[0].replace(b"ed=", b"").split(b"bh=")[0]


def test_blanks_that_relays_touch_break_nothing(signer: Signer) -> None:
    message = sealed(signer)
    assert verified(signer, message.replace(b"Subject: ", b"subject:  ") + b"\r\n\r\n") == [True, True]


@pytest.mark.parametrize(
    ("body", "relaxed"),
    [
        (b"", b""),
        (b"\r\n\r\n", b""),
        (b" \r\n\t\r\n", b""),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),
        (b"no end \t", b"no end\r\n"),
        (b"a" + b" " * 1000 + b"b\r\n", b"a b\r\n"),
    ],
)
def test_the_body_is_relaxed_as_rfc_6376_says(body: bytes, relaxed: bytes) -> None:
    assert relaxed_body([body]) == relaxed


@given(
    st.lists(st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"="])).map(b"".join), max_size=4),
    st.booleans(),
)
def test_the_body_is_relaxed_as_strangers_do_however_it_is_cut(pieces: list[bytes], long: bool) -> None:
    if long:
        pieces = [piece * 100 for piece in pieces]
    pieces.append(b"\r\n")
    strangers = dkim.canonicalization.Relaxed.canonicalize_body(b"".join(pieces))
    assert relaxed_body(pieces) == strangers


@given(st.lists(st.integers(0, len(MESSAGE)), max_size=30))
def test_the_signature_is_the_same_however_the_message_is_cut(signer: Signer, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(MESSAGE)]
    pieces = [MESSAGE[begin:end] for begin, end in itertools.pairwise(places)]
    one = Signer(signer.keys[1:])
    assert one.sign(pieces, at=AT) == one.sign([MESSAGE], at=AT)


def test_a_copy_has_the_same_signature_and_no_signature_expires(signer: Signer) -> None:
    first = sealed(signer).removesuffix(MESSAGE)
    assert sealed(signer).removesuffix(MESSAGE) == first
    assert b" t=1394179200;" in first
    assert b"x=" not in re.sub(rb"b=[^;]*", b"", first.replace(b"\r\n", b""))


def test_the_signature_is_folded_and_no_line_begins_with_a_dot(signer: Signer) -> None:
    lines = sealed(signer).removesuffix(MESSAGE).split(b"\r\n")
    assert max(len(line) for line in lines) <= 78
    assert all(line.startswith((b"DKIM-Signature:", b" ")) for line in lines[:-1])
    assert lines[-1] == b""


def test_no_key_is_no_signature() -> None:
    assert open_signer(()) is None


def refused(path: object) -> str:
    with pytest.raises(BadKey) as caught:
        open_signer((f"s:coi.example:{path}",))
    assert str(path) in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_a_key_others_could_read_is_refused(write_key: Callable[..., Path]) -> None:
    data = pem(ed25519.Ed25519PrivateKey.generate())
    for mode in (0o644, 0o604, 0o602):
        assert "chmod 600" in refused(write_key("open.pem", data, mode))
    assert open_signer((f"s:coi.example:{write_key('group.pem', data, 0o640)}",)) is not None


def test_keys_that_may_not_sign_are_refused_with_the_reason(write_key: Callable[..., Path]) -> None:
    short = pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))
    curve = pem(ec.generate_private_key(ec.SECP256R1()))
    locked = pem(ed25519.Ed25519PrivateKey.generate(), b"passphrase")
    assert "1024 bits" in refused(write_key("short.pem", short))
    assert "neither an RSA nor an Ed25519 key" in refused(write_key("curve.pem", curve))
    assert "passphrase" in refused(write_key("locked.pem", locked))


def test_what_is_no_key_is_refused_and_not_repeated(write_key: Callable[..., Path]) -> None:
    half = pem(ed25519.Ed25519PrivateKey.generate())
    secret = half.splitlines()[1]
    message = refused(write_key("half.pem", secret))
    assert "no private key in PEM" in message
    assert secret.decode() not in message
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    shown = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert "no private key in PEM" in refused(write_key("public.pem", shown))


def test_a_path_that_is_no_file_is_refused_at_once(folder: Path) -> None:
    assert "No such file" in refused(folder / "nowhere.pem")
    assert "is no file" in refused(folder)
    os.mkfifo(folder / "pipe", 0o600)
    assert "is no file" in refused(folder / "pipe")


@pytest.mark.parametrize(
    "value",
    [
        "key.pem",
        "s:coi.example",
        "s:coi.example:relative.pem",
        "s;x:coi.example:/k.pem",
        "s:co i.example:/k.pem",
        ["s:coi.example:/k\r\nBcc: x.pem"],
        "s:kø.example:/k.pem",
    ],
)
def test_the_setting_has_one_form(tmp_path: Path, value: object) -> None:
    with pytest.raises(SettingsError, match="dkim: must be  selector"):
        load_settings(state_dir=tmp_path, dkim=value)


def test_the_setting_takes_one_key_or_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(state_dir=tmp_path).dkim_keys == ()
    several = ("a:coi.example:/a.pem", "b:coi.example:/b.pem")
    assert load_settings(state_dir=tmp_path, dkim=list(several)).dkim_keys == several
    monkeypatch.setenv("MAILER_DKIM", " ".join(several))
    assert load_settings(state_dir=tmp_path).dkim_keys == several


def test_the_record_is_what_others_find_the_key_by(signer: Signer) -> None:
    long, short = (key.record for key in signer.keys)
    assert signer.keys[0].record_name == "rsa._domainkey.coi.example"
    assert long.startswith("v=DKIM1; k=rsa; p=")
    assert len(base64.b64decode(short.rpartition("p=")[2])) == 32
