"""What is said to a relay, and what is not said in the clear."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mailer.smtp.connection import Connection
from mailer.smtp.errors import RelayUnavailable
from mailer.smtp.relays import parse_relay


@contextmanager
def listening_in(*extensions: str) -> Iterator[tuple[int, list[bytes]]]:
    """A server that offers these extensions and keeps every line it hears."""
    heard: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"220 relay.example ESMTP\r\n")
            while line := lines.readline():
                heard.append(line)
                names = ["relay.example", *extensions]
                text = "".join(f"250-{name}\r\n" for name in names[:-1]) + f"250 {names[-1]}\r\n"
                connection.sendall(text.encode() if line.upper().startswith(b"EHLO") else b"235 ok\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1], heard
        thread.join(10)


@pytest.mark.parametrize("starttls", ["require", "offer"])
def test_no_password_goes_out_when_the_offer_of_protection_was_taken_away(starttls: str) -> None:
    with listening_in("AUTH PLAIN LOGIN") as (port, heard):
        relay = parse_relay(f"smtp://u:hemmelig@127.0.0.1:{port}?starttls={starttls}")
        connection = Connection(relay, greet_as="brev.example")
        with pytest.raises(RelayUnavailable, match="does not offer STARTTLS"):
            connection.open()

    assert [line.split()[0].upper() for line in heard] == [b"EHLO"]


def test_protection_that_is_only_asked_for_may_be_missing_where_no_password_is_said() -> None:
    with listening_in("8BITMIME") as (port, heard):
        connection = Connection(
            parse_relay(f"smtp://127.0.0.1:{port}?starttls=offer"), greet_as="brev.example"
        )
        connection.open()
        connection.close()

    assert [line.split()[0].upper() for line in heard] == [b"EHLO"]
