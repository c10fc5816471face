"""The page behind "no more letters": what may be asked of it, in which form, and in which language."""

from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer.web.guards import LARGEST_BODY
from recipients.models import SuppressionScope
from tests.web.conftest import Mailing, Reader, open_reader, outage

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
FORM = "application/x-www-form-urlencoded"
MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'
)


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: these are rules of HTTP."""
    return sqlite_url


def test_looking_never_unsubscribes(reader: Reader, mailing: Mailing) -> None:
    for headers in (
        {},
        {"Sec-Purpose": "prefetch"},
        {"User-Agent": "BarracudaCentral"},
        {"User-Agent": ""},
        {"X-HTTP-Method-Override": "POST"},
    ):
        for method, status in (("GET", 200), ("HEAD", 200), ("OPTIONS", 405), ("PUT", 405)):
            response = reader.request(method, mailing.path("unsubscribe"), headers=headers)
            assert response.status_code == status

    assert mailing.suppressed() is None
    assert mailing.seen() == []


def test_nothing_in_the_address_unsubscribes(reader: Reader, mailing: Mailing) -> None:
    for query in (
        "List-Unsubscribe=One-Click",
        "choice=everything",
        "lang=en&choice=undo",
        "_method=POST",
    ):
        assert reader.get(f"{mailing.path('unsubscribe')}?{query}").status_code == 200

    assert mailing.suppressed() is None


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        (FORM, b""),
        (FORM, b"List-Unsubscribe"),
        (FORM, b"\xff\x00"),
        (FORM, b"list-unsubscribe=one-click&choice=letters"),
        (FORM, b"LIST-UNSUBSCRIBE=One-Click&choice=undo"),
        (FORM, b"choice=letters&choice=undo"),
        (FORM, b"choice=undo&choice=undo"),
        (FORM, b"choice=Undo"),
        (FORM, b"choice=undo%00"),
        (FORM, b"choice=" + b"u" * 8000),
        (FORM, b"&".join(b"a" for _ in range(4000)) + b"&choice=undo"),
        (f"{FORM}; charset=utf-16", "List-Unsubscribe=One-Click".encode("utf-16")),
        ("", b"List-Unsubscribe=One-Click"),
        ("text/plain", b"List-Unsubscribe=One-Click"),
        ("application/json", b'{"choice": "undo"}'),
        ("MULTIPART/Form-Data; BOUNDARY=b", MULTIPART),
        ('multipart/form-data; boundary="b"; charset=iso-8859-1', MULTIPART),
        ("multipart/form-data", MULTIPART),
        ("multipart/form-data; boundary=other", MULTIPART),
        ("multipart/form-data; boundary=b", MULTIPART[:-20]),
        ("multipart/form-data; boundary=b; charset=nothing-we-know", MULTIPART),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\n\r\n--b\r\n"),
        ("multipart/form-data; boundary=" + "b" * 300, b"\x00"),
    ],
)
def test_whatever_else_is_posted_means_everything(
    reader: Reader, mailing: Mailing, content_type: str, content: bytes
) -> None:
    response = reader.post(
        mailing.path("unsubscribe"), content=content, headers={"Content-Type": content_type}
    )

    assert response.status_code == 200
    found = mailing.suppressed()
    assert found is not None
    assert found.scope is SuppressionScope.EVERYTHING


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content_type=st.one_of(
        st.sampled_from([FORM, "multipart/form-data; boundary=b", "multipart/form-data; boundary="]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    ),
    content=st.one_of(
        st.binary(max_size=400),
        st.lists(
            st.sampled_from([b"--b", b"\r\n", b"name=", b'"choice"', b"undo", b"=", b"&", b";", b":"])
        ).map(b"".join),
    ),
)
def test_no_body_makes_the_answer_anything_but_yes(
    reader: Reader, mailing: Mailing, content_type: str, content: bytes
) -> None:
    response = reader.post(
        mailing.path("unsubscribe"), content=content, headers={"Content-Type": content_type}
    )

    assert response.status_code in {200, 429}  # so many from one letter are more than a reader does


def test_too_large_a_body_is_refused_and_does_nothing(reader: Reader, mailing: Mailing) -> None:
    body = urlencode(ONE_CLICK | {"x": "y" * LARGEST_BODY})

    assert reader.post(mailing.path("unsubscribe"), content=body).status_code == 413
    assert mailing.suppressed() is None


def test_the_page_asks_once_and_confirms(reader: Reader, mailing: Mailing) -> None:
    before = reader.get(mailing.path("unsubscribe")).text
    for choice in ("letters", "everything"):
        assert f'name="choice" value="{choice}"' in before
    assert 'value="undo"' not in before

    after = reader.post(mailing.path("unsubscribe"), data={"choice": "everything"}).text
    assert "Du får ikke mere fra os" in after
    assert 'name="choice" value="undo"' in after


def test_the_page_speaks_the_recipients_language(reader: Reader, mailing: Mailing) -> None:
    page = reader.get(mailing.path("unsubscribe", position=2)).text

    assert '<html lang="en">' in page
    assert "No more letters" in page
    assert 'action="?lang=en"' in page
    assert 'href="?lang=da"' in page


def test_a_reader_may_choose_the_language(reader: Reader, mailing: Mailing) -> None:
    path = mailing.path("unsubscribe")

    assert 'href="?lang=en"' in reader.get(path).text
    assert '<html lang="en">' in reader.get(f"{path}?lang=en").text
    assert '<html lang="da">' in reader.get(f"{path}?lang=de").text
    said = reader.post(f"{path}?lang=en", data={"choice": "letters"}).text
    assert "You will get no more letters" in said


@pytest.mark.parametrize(
    ("accepts", "language"),
    [
        ("en-GB,en;q=0.9", "en"),
        ("de,en;q=0.8,da;q=0.5", "en"),
        ("en;q=0.5, da", "da"),
        ("en;q=0", "da"),
        ("da; q=0.1, en ; Q=0.9", "en"),
        ("", "da"),
        ("x" * 3000 + ",;;q=q,en;q=nan", "da"),
    ],
)
def test_with_the_database_away_the_browser_says_the_language(
    mailing: Mailing, accepts: str, language: str
) -> None:
    with outage(mailing.runtime.database), open_reader(mailing.runtime) as reader:
        page = reader.get(mailing.path("unsubscribe"), headers={"Accept-Language": accepts})

    assert f'<html lang="{language}">' in page.text


def test_the_page_tells_no_name_and_no_address(reader: Reader, mailing: Mailing) -> None:
    for page in (
        reader.get(mailing.path("unsubscribe")),
        reader.post(mailing.path("unsubscribe")),
        reader.post(mailing.path("unsubscribe"), data={"choice": "undo"}),
    ):
        assert "eksempelkommune" not in page.text
        assert "Sørensen" not in page.text
