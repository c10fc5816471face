"""A token opens one kind of door; at every other it is as good as made up."""

import pytest

from mailer.tracking.tokens import Purpose
from tests.web.conftest import Mailing, Reader

DOORS = {
    Purpose.CLICK: ("GET", "/c/{}/1"),
    Purpose.UNSUBSCRIBE: ("POST", "/u/{}"),
    Purpose.VIEW: ("GET", "/v/{}"),
    Purpose.PASS_ON: ("GET", "/p/{}"),
    Purpose.REMIND: ("POST", "/r/{}/midtjylland"),
    Purpose.REGISTER: ("POST", "/t/{}/midtjylland"),
    Purpose.ATTEND: ("POST", "/a/{}/midtjylland"),
}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: tokens are told apart before it is asked."""
    return sqlite_url


@pytest.mark.parametrize("door", DOORS)
def test_every_other_purpose_is_refused(reader: Reader, mailing: Mailing, door: Purpose) -> None:
    method, path = DOORS[door]
    for purpose in set(Purpose) - {door}:
        token = mailing.runtime.tokens.sign(purpose, mailing.campaign_id, 1)
        assert reader.request(method, path.format(token)).status_code == 404

    assert mailing.seen() == []
    assert mailing.suppressed() is None


def test_a_pixel_counts_only_its_own_purpose(reader: Reader, mailing: Mailing) -> None:
    for purpose in set(Purpose) - {Purpose.OPEN}:
        reader.get(f"/o/{mailing.runtime.tokens.sign(purpose, mailing.campaign_id, 1)}")

    assert mailing.seen() == []


@pytest.mark.parametrize(
    "path",
    [
        *("/c/{}/1", "/u/{}", "/v/{}", "/p/{}"),
        *("/r/{}/midtjylland", "/t/{}/midtjylland", "/a/{}/midtjylland"),
    ],
)
def test_unknown_and_forged_look_alike(reader: Reader, mailing: Mailing, path: str) -> None:
    genuine = mailing.path("unsubscribe").rpartition("/")[2]
    changed = ("B" if genuine[0] != "B" else "C") + genuine[1:]
    unknown = mailing.runtime.tokens.sign(Purpose.VIEW, 999, 1)
    pages = [reader.get(path.format(token)) for token in ("x", changed, unknown, genuine + "=", "%00")]
    if path.startswith(("/u", "/v")):
        pages = pages[:2] + pages[3:]

    assert {page.status_code for page in pages} == {404}
    assert len({page.text for page in pages}) == 1


def test_an_error_page_repeats_nothing_of_the_address(reader: Reader, mailing: Mailing) -> None:
    page = reader.get("/u/tr.jensen@eksempelkommune.example<script>")

    assert "jensen" not in page.text
    assert "<script" not in page.text
