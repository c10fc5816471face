import pytest

from mailer.smtp.replies import ReplyClass, classify_reply, is_about_letters, read_acceptance, read_reply


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        (250, ReplyClass.ACCEPTED),
        (251, ReplyClass.ACCEPTED),
        (421, ReplyClass.REFUSED_FOR_NOW),
        (452, ReplyClass.REFUSED_FOR_NOW),
        (550, ReplyClass.REFUSED),
        (554, ReplyClass.REFUSED),
    ],
)
def test_the_first_digit_decides(code: int, meant: ReplyClass) -> None:
    assert classify_reply(code) is meant


@pytest.mark.parametrize("code", [100, 354, 600, 0])
def test_what_is_no_final_reply_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match=str(code)):
        classify_reply(code)


def test_the_text_that_is_kept_names_nobody() -> None:
    reply = read_reply(550, b"5.1.1 <tr.jensen@kommune.example>: user jensen@x.example\nunknown\x07")
    assert reply.enhanced_code == "5.1.1"
    assert reply.text == "<address>: user <address> unknown"
    assert len(read_reply(550, b"x" * 9000).text) == 200


@pytest.mark.parametrize(
    ("text", "enhanced", "left"),
    [
        (b"5.1.1 unknown", "5.1.1", "unknown"),
        (b"5.1.1 un\n5.1.1 known", "5.1.1", "un known"),
        (b"5.7.1 no\n5.1.1 at all", "5.7.1", "no 5.1.1 at all"),
        (b"2.0.0", "2.0.0", ""),
        (b"10.0.0.1 is blocked", None, "10.0.0.1 is blocked"),
        (b"5.1.1.1 is a host", None, "5.1.1.1 is a host"),
        (b"", None, ""),
        (b"\xff\xfe", None, "\ufffd\ufffd"),
    ],
)
def test_an_enhanced_code_is_taken_out_of_every_line(
    text: bytes, enhanced: str | None, left: str
) -> None:
    reply = read_reply(550, text)
    assert (reply.enhanced_code, reply.text) == (enhanced, left)


@pytest.mark.parametrize("text", [b"2.0.0 queued as 4F", b"2.0.0", b"2.0.0 a\n2.0.0 b"])
def test_an_acceptance_keeps_its_codes(text: bytes) -> None:
    assert str(read_acceptance(250, text)) == "250 2.0.0"
    assert str(read_acceptance(251, b"ok")) == "251"


@pytest.mark.parametrize("code", [211, 214, 220, 221, 235, 334, 354, 199, 600])
def test_a_code_that_speaks_of_something_else_takes_no_letter(code: int) -> None:
    assert not is_about_letters(code)


@pytest.mark.parametrize("code", [200, 250, 251, 252, 421, 450, 550, 571])
def test_a_code_that_can_answer_a_letter(code: int) -> None:
    assert is_about_letters(code)
