"""What is said to a relay of a letter, step by step."""

from mailer.smtp.envelope import Mail
from mailer.smtp.extensions import Extensions


class Step:
    """What a reply is awaited to; numbers, since to look up a member of an enumeration takes time."""

    PROBE = 0
    """RSET, to see whether the connection still lives; its letter waits."""
    RESET = 1
    """RSET, after a transaction that was given up."""
    EMPTY_DOT = 2
    """The dot that ends a letter without a recipient."""
    MAIL = 3
    RCPT = 4
    DATA = 5
    DOT = 6
    CHUNK = 7
    """BDAT LAST with its whole letter."""
    QUIT = 8


_SAID_BYTES = tuple(
    len(said)
    for said in (
        b"RSET\r\n",
        b"RSET\r\n",
        b".\r\n",
        b"",
        b"RCPT TO:<>\r\n",
        b"DATA\r\n",
        b".\r\n",
        b"BDAT  LAST\r\n",
        b"QUIT\r\n",
    )
)
"""What is said for each step beside the letter and its addresses."""


class Misfit(Exception):
    """The relay offers too little for a mail."""


def mail_command(mail: Mail, extensions: Extensions) -> str:
    """MAIL with what must be said of a letter (RFC 1870, RFC 6152, RFC 6531).

    Raises:
        Misfit: the relay cannot take it.
    """
    envelope, size = mail.envelope, mail.size_bytes
    parameters = ""
    if extensions.announces_size:
        if 0 < extensions.largest_bytes < size:
            raise Misfit("the letter is too long for it")
        parameters = f" SIZE={size}"
    if envelope.needs_smtputf8:
        if not extensions.smtputf8:
            raise Misfit("the address needs SMTPUTF8, which it does not offer")
        parameters += " SMTPUTF8"
    if not mail.is_ascii:
        if not extensions.eight_bit:
            raise Misfit("the letter needs 8BITMIME, which it does not offer")
        parameters += " BODY=8BITMIME"
    return f"MAIL FROM:<{envelope.sender}>{parameters}\r\n"


def length_of(step: int, mail: Mail | None, extensions: Extensions) -> int:
    """How many bytes were said to get this reply."""
    said = _SAID_BYTES[step]
    if mail is None:
        return said
    if step == Step.MAIL:
        return len(mail_command(mail, extensions).encode())
    if step == Step.RCPT:
        return said + len(mail.envelope.recipient.encode())
    if step == Step.CHUNK:
        return said + len(str(mail.size_bytes)) + mail.size_bytes
    return said + (mail.size_bytes if step == Step.DOT else 0)
