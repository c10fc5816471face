import pytest

from mailer.smtp.replies import ReplyClass, classify_reply, read_reply


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
