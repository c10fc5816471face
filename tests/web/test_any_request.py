"""Whatever is asked, however: an answer, its headers of safety, and nothing of what was asked in it."""

import string
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from mailer.events.models import Event
from mailer.tracking.tokens import Purpose
from mailer.web.staff.door import SIGN_IN
from mailer.web.staff.pages import is_staff
from tests.web.conftest import Mailing, Reader
from tests.web.raw import STORED, TRACES, Answer, Headers, ask

KILROY = "kilroy7f3a"
"""Stands in everything that is asked, and must stand in nothing that is answered."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")
DOORS = (
    *("/o/{}", "/c/{}", "/c/{}/1", "/c/{}/2", "/u/{}", "/v/{}", "/p/{}", "/r/{}", "/r/{}/midtjylland"),
    *("/t/{}", "/t/{}/midtjylland", "/a/{}", "/a/{}/midtjylland"),
)
PLACES = (
    "/",
    "/startpakke",
    "/startpakke.pdf",
    "/principper",
    "/events",
    "/events.ics",
    "/events/midtjylland",
    "/events/midtjylland.ics",
    "/health",
    "/metrics",
    "/robots.txt",
    "/static/page.css",
    "/staff",
    "/staff/sign-in",
)
texts = st.text(max_size=40) | st.text(alphabet=string.printable, max_size=40) | st.just("")
pieces = st.builds(
    lambda text, safe: quote(text.encode("utf-8", "surrogatepass"), safe=safe),
    texts,
    st.sampled_from(["", "/", "/.:%@!$&'()*+,;=~-_\\"]),
)
header_values = st.binary(max_size=60).map(lambda value: value.translate(None, b"\r\n\x00"))
header_names = st.sampled_from(
    [
        *(b"host", b"user-agent", b"accept-language", b"accept", b"cookie", b"referer", b"origin"),
        *(b"content-type", b"content-length", b"transfer-encoding", b"expect", b"range", b"forwarded"),
        *(
            b"x-forwarded-for",
            b"x-forwarded-host",
            b"x-forwarded-proto",
            b"x-original-url",
            b"x-rewrite-url",
        ),
        *(b"purpose", b"sec-purpose", b"if-none-match", b"authorization", b"x-http-method-override"),
    ]
)
form_types = st.sampled_from(
    [
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=b",
        b"multipart/form-data",
        b"application/json",
        b"text/plain; charset=utf-99",
        b"\xff\xfe",
    ]
)
bodies = st.sampled_from(
    [
        b"",
        b"List-Unsubscribe=One-Click",
        b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="scope"; filename="../../x"\r\n\r\n\x00\xff',
        b"scope=everything&scope=letters&undo=1",
        b"%00=%ff&" * 20,
        b"{" * 500,
    ]
) | st.binary(max_size=300)


@st.composite
def any_headers(draw: st.DrawFn) -> Headers:
    """Some headers, well meant or not."""
    chosen = draw(st.lists(st.tuples(header_names, header_values), max_size=6))
    if draw(st.booleans()):
        chosen.append((b"content-type", draw(form_types)))
    return [*chosen, (b"user-agent", KILROY.encode()), (b"x-kilroy", KILROY.encode())]


@pytest.fixture
def tokens(mailing: Mailing) -> list[str]:
    """Genuine tokens of every purpose, of people, of nobody and of a campaign that never was."""
    with mailing.runtime.database.write() as db:
        db.execute(update(Event).where(Event.slug == "midtjylland").values(hosted=True))
    return [
        mailing.runtime.tokens.sign(purpose, campaign_id, position)
        for purpose in Purpose
        for campaign_id, position in ((mailing.campaign_id, 1), (mailing.campaign_id, 0), (2**40, 2**40))
    ]


def assert_harmless(reader: Reader, method: str, target: str, headers: Headers, body: bytes) -> None:
    """Ask, and look at the answer as somebody who means harm would."""
    answer = ask(reader, method, target, headers=headers, body=body)

    told = (method, target, answer.status)
    assert 200 <= answer.status < 500, told
    assert answer.header(b"x-content-type-options") == b"nosniff", told
    assert answer.header(b"x-frame-options") == b"DENY", told
    assert b"default-src 'none'" in (answer.header(b"content-security-policy") or b""), told
    assert answer.header(b"server") is None, told
    assert answer.header(b"access-control-allow-origin") is None, told
    assert not any(set(name + value) & set(b"\r\n\x00") for name, value in answer.headers), told
    assert not any(KILROY.encode() in name + value for name, value in answer.headers), told
    assert KILROY.encode() not in answer.body, told
    path = unquote(target.partition("?")[0], errors="replace")
    if is_staff(path) and path.isprintable():
        assert_staff_only_are_let_in(answer)
    else:
        assert answer.header(b"referrer-policy") == b"no-referrer", told
        assert answer.header(b"set-cookie") is None, told
        location = answer.header(b"location")
        assert location is None or location.decode() in STORED, told
    if answer.status >= 400:
        assert not TRACES.search(answer.body), told
        assert answer.header(b"cache-control") == b"no-store", told
    if target.startswith(("/o/", "/c/", "/u/", "/v/", "/p/", "/r/", "/t/", "/a/")):
        assert answer.header(b"x-robots-tag") == b"noindex, nofollow", told


def assert_staff_only_are_let_in(answer: Answer) -> None:
    """A stranger is led to the sign-in page, whose form and cookie are new and this site's alone."""
    assert answer.status in {303, 403, 405, 413, 414, 431} or (
        answer.status == 200 and b'name="password"' in answer.body
    )
    assert answer.header(b"x-robots-tag") == b"noindex, nofollow"
    if answer.status in {200, 303, 403}:  # forms need their origin told to this site
        assert answer.header(b"referrer-policy") == b"same-origin"
        assert answer.header(b"cache-control") == b"no-store"
    if answer.status == 303:
        assert answer.header(b"location") == SIGN_IN.encode()
    cookie = answer.header(b"set-cookie")
    assert cookie is None or cookie.startswith(b"staff-form=")
    assert cookie is None or {b"HttpOnly", b"SameSite=strict"} <= set(cookie.split(b"; "))


def test_no_request_at_a_door_for_tokens_does_harm(
    reader: Reader, mailing: Mailing, tokens: list[str]
) -> None:
    @settings(max_examples=250, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(METHODS),
        st.sampled_from(DOORS),
        st.sampled_from(tokens) | pieces,
        pieces,
        pieces,
        any_headers(),
        bodies,
    )
    @example("POST", "/u/{}", tokens[0], "", "", [(b"content-length", b"\xb2")], b"x")
    @example("POST", "/u/{}", tokens[0], "", "", [(b"content-length", b"-1")], b"x")
    def check(
        method: str, door: str, token: str, more: str, query: str, headers: Headers, body: bytes
    ) -> None:
        target = door.format(token) + more + f"?{KILROY}={query}"
        assert_harmless(reader, method, target, headers, body)

    check()


def test_no_request_at_an_open_page_does_harm(reader: Reader, mailing: Mailing) -> None:
    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(METHODS), st.sampled_from(PLACES), pieces, pieces, any_headers(), bodies)
    @example("GET", "/staff", "", "", [], b"")
    @example("GET", "/staff", "/%00", "", [], b"")
    @example("GET", "/staff/sign-in", "", "", [], b"")
    @example("POST", "/staff/sign-in", "", "", [], b"form=1")
    def check(method: str, place: str, more: str, query: str, headers: Headers, body: bytes) -> None:
        kilroy = f"/{KILROY}" if more else ""
        assert_harmless(reader, method, f"{place}{more}{kilroy}?{KILROY}={query}", headers, body)

    check()


def test_no_request_anywhere_does_harm(reader: Reader, mailing: Mailing) -> None:
    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(METHODS) | st.text(string.ascii_uppercase, min_size=1, max_size=20),
        pieces,
        pieces,
        any_headers(),
        bodies,
    )
    def check(method: str, path: str, query: str, headers: Headers, body: bytes) -> None:
        assert_harmless(reader, method, f"/{path}{KILROY}?{query}", headers, body)

    check()
