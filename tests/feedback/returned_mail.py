"""Messages as mail systems and people send them back, made for the tests of reading."""

TOKEN = "02a-b0123456789abcdefghij"
BOUNCES_TO = "bounce@coi.example"
RETURN_PATH = f"bounce+{TOKEN}@coi.example"
MESSAGE_ID = "<letter-1@brev.coi.example>"

LETTER = f"""Return-Path: <{RETURN_PATH}>
Received: from worker.coi.example by mx.kommune.example with ESMTP id 1
\tfor <kim@kommune.example>; Mon, 10 Mar 2014 09:00:00 +0100
From: =?utf-8?q?Center_for_Offentlig_Innovation?= <brev@coi.example>
To: Kim <kim@kommune.example>
Subject: Invitation
Message-ID: {MESSAGE_ID}
List-Unsubscribe: <mailto:bounce+02a-bzzzzzzzzzzzzzzzzzzzz@coi.example?subject=unsubscribe>
MIME-Version: 1.0

Dear Kim
"""


def written_by(
    sender: str,
    subject: str,
    body: str,
    *,
    headers: str = "",
    return_path: str = "<>",
    to: str = RETURN_PATH,
) -> bytes:
    """A message of one plain text; `headers` are whole lines."""
    path = f"Return-Path: {return_path}\n" if return_path else ""
    return f"{path}From: {sender}\nTo: {to}\nSubject: {subject}\n{headers}\n{body}".encode()


def report(
    fields: str,
    *,
    text: str = "Your letter could not be delivered.\n",
    letter: str = LETTER,
    to: str = RETURN_PATH,
    kind: str = "delivery-status",
) -> bytes:
    """A report for machines (RFC 6522) with the letter it is about."""
    return (
        f"Return-Path: <>\nFrom: MAILER-DAEMON@mx.kommune.example (Mail Delivery System)\nTo: {to}\n"
        "Subject: Undelivered Mail Returned to Sender\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n"
        f'Content-Type: multipart/report; report-type={kind};\n\tboundary="=_limit"\n\n'
        f"This is a report.\n\n--=_limit\nContent-Type: text/plain; charset=utf-8\n\n{text}\n"
        f"--=_limit\nContent-Type: message/{kind}\n\n{fields}\n"
        f"--=_limit\nContent-Type: message/rfc822\n\n{letter}\n--=_limit--\n"
    ).encode()


def failed(address: str, status: str, diagnostic: str, action: str = "failed") -> str:
    """The fields of one recipient (RFC 3464 §2.3)."""
    return (
        f"Final-Recipient: rfc822; {address}\nAction: {action}\nStatus: {status}\n"
        f"Diagnostic-Code: smtp; {diagnostic}\n\n"
    )


def with_line_ends(message: bytes, line_end: str) -> bytes:
    """The message with its lines ended otherwise."""
    return message.replace(b"\n", line_end.encode())
