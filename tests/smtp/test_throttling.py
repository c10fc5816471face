"""What asks for fewer letters, in the words of those who say it."""

import pytest

from mailer.smtp.replies import read_reply
from mailer.smtp.throttling import is_throttling

THROTTLING = [
    # Gmail
    (
        421,
        b"4.7.28 Our system has detected an unusual rate of mail\n4.7.28 originating from you",
    ),
    (450, b"4.7.28 Gmail has detected an unusual amount of mail. To protect our users, it is deferred."),
    (421, b"4.7.0 Try again later, closing connection. (MAIL) a1-2gsmtp"),
    (452, b"4.5.3 Too many messages on this connection, please reconnect"),
    # Outlook, Exchange Online
    (451, b"4.7.500 Server busy. Please try again later from [192.0.2.7]. (S77719)"),
    (
        451,
        b"4.7.650 The mail server [192.0.2.7] has been temporarily rate limited due to IP reputation.",
    ),
    (421, b"RP-001 (XX0) Unfortunately, some messages from 192.0.2.7 weren't sent. Try again."),
    (432, b"4.3.2 Concurrent connections limit exceeded. Closing transmission channel."),
    (451, b"4.7.0 Temporary server error. Please try again later. PRX4"),
    (421, b"4.3.2 The maximum number of concurrent server connections has exceeded a limit"),
    (421, b"4.4.2 Message submission rate for this client has exceeded the configured limit"),
    # Yahoo, AOL
    (421, b"4.7.0 [TSS04] Messages from 192.0.2.7 temporarily deferred due to unexpected volume"),
    (451, b"[TS03] All messages from 192.0.2.7 will be deferred due to user complaints"),
    (451, b"4.3.2 Resources temporarily not available - Please try again later [#4.16.1]."),
    # Postfix
    (450, b"4.7.1 Error: too much mail from 192.0.2.7"),
    (450, b"4.7.1 Error: too many recipients from 192.0.2.7"),
    (421, b"4.7.0 mx.modtager.example Error: too many connections from 192.0.2.7"),
    (450, b"4.7.0 Error: too many new TLS sessions from 192.0.2.7"),
    # Exim
    (451, b"Sender rate overlimit - 120.3 / 1h"),
    (421, b"Too many concurrent SMTP connections; please try again later."),
    (450, b"rate limit reached, slow down"),
    # Sendmail, Cisco, Proofpoint, Barracuda, Mimecast
    (452, b"4.3.2 Connection rate limit exceeded."),
    (421, b"#4.4.5 Too many connections from your host."),
    (452, b"#4.5.3 Too many recipients received from the sender"),
    (452, b"Too many messages received from the sender this hour"),
    (451, b"4.4.5 Please try again later"),
    (450, b"4.7.1 Sender 192.0.2.7 is throttled"),
    (452, b"4.7.1 Connection rate too high: rate limited"),
    (451, b"Rate control: slow down"),
    (421, b"Maximum email per hour limit reached"),
    # Comcast, Orange, Mail.ru, Amazon SES
    (452, b"4.1.0 192.0.2.7 Throttled - try again later."),
    (450, b"4.2.1 Too many connections, slow down. OFR005_104"),
    (451, b"Ratelimit exceeded for mailbox domain"),
    (454, b"Throttling failure: Maximum sending rate exceeded."),
    (454, b"Throttling failure: Daily message quota exceeded."),
    # nobody in particular
    (421, b"4.3.2 Service not available, closing transmission channel"),
    (450, b"Maximum number of messages exceeded for this hour"),
]

OTHER_REASONS = [
    (250, b"2.0.0 Ok: queued; rate limit not reached"),
    (550, b"5.7.1 Too many connections, rate limit exceeded"),
    (550, b"5.4.5 Daily SMTP sending limit exceeded"),
    # greylisting
    (450, b"4.2.0 <kari@modtager.example>: Recipient address rejected: Greylisted, see http://postgrey"),
    (450, b"4.2.0 Recipient address rejected: try again in 300 seconds"),
    (451, b"4.7.1 Greylisting in action, please come back in 00:05:00"),
    (450, b"4.7.1 Recipient address rejected: Greylisted for 5 minutes"),
    (451, b"4.7.0 Gray-listed - please try again later"),
    (421, b"4.7.0 Greylisted, please try again later"),
    (451, b"4.7.1 Try again later"),
    # one mailbox
    (452, b"4.2.2 The recipient's inbox is out of storage space. Please direct them to"),
    (452, b"4.2.2 Mailbox full"),
    (452, b"4.2.2 Mailbox size limit exceeded"),
    (452, b"4.2.2 <kari@modtager.example> over quota"),
    (452, b"4.1.1 <kari@modtager.example> mailbox full"),
    (
        450,
        b"4.2.1 The user you are trying to contact is receiving mail too quickly. Please resend later",
    ),
    (450, b"4.2.1 The user is receiving mail at a rate that prevents additional messages from being"),
    # their own trouble
    (452, b"4.3.1 Insufficient system storage"),
    (452, b"4.4.5 Insufficient disk space; try again later"),
    (452, b"4.3.1 Out of memory"),
    (451, b"4.3.0 Error: queue file write error"),
    (451, b"4.3.5 Server configuration error"),
    (451, b"Temporary local problem - please try later"),
    (451, b"4.3.0 Temporary lookup failure"),
    (451, b"4.7.1 Service unavailable - try again later"),
    (450, b"4.1.8 <post@parti.example>: Sender address rejected: Domain not found"),
    (450, b"4.7.25 Client host rejected: cannot find your hostname"),
    (454, b"4.7.0 TLS not available due to local problem"),
    (450, b"4.4.1 mx.modtager.example: connection timed out"),
    (450, b"4.1.2 Recipient address rejected: Domain not found, a separate matter"),
    (450, b""),
]


@pytest.mark.parametrize(("code", "text"), THROTTLING)
def test_who_wants_fewer_letters_is_heard(code: int, text: bytes) -> None:
    assert is_throttling(read_reply(code, text))


@pytest.mark.parametrize(("code", "text"), OTHER_REASONS)
def test_another_reason_slows_nobody_down(code: int, text: bytes) -> None:
    assert not is_throttling(read_reply(code, text))


def test_how_it_is_written_does_not_matter() -> None:
    assert is_throttling(read_reply(450, b"TOO MANY CONNECTIONS"))
    assert not is_throttling(read_reply(451, b"4.7.0 GREYLISTED: TRY AGAIN LATER"))
