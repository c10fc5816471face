"""Addresses nobody was ever given: a plain answer, on both databases, and nothing in the log."""

import pytest

from tests.web.conftest import Mailing, Reader


@pytest.mark.parametrize(
    "slug", ["%00", "a%00b", "%0d%0aX-Injected:%20y", "%ff%fe", "%ed%a0%80", "%c2%85"]
)
def test_what_is_no_name_is_not_found(reader: Reader, mailing: Mailing, slug: str) -> None:
    for path in (f"/events/{slug}", f"/events/{slug}.ics", mailing.path("remind", slug), f"/{slug}"):
        response = reader.get(path)
        assert response.status_code == 404
        assert "x-injected" not in response.headers
        assert response.headers["cache-control"] == "no-store"
    assert reader.post(mailing.path("remind", slug)).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/static/..%2f..%2fmailer.toml",
        "/static/%2e%2e/mailer.toml",
        "/%2fond.example",
        "/%5cond.example",
    ],
)
def test_no_address_leads_out_of_the_house(reader: Reader, mailing: Mailing, path: str) -> None:
    response = reader.get(path)

    assert response.status_code == 404
    assert "location" not in response.headers
