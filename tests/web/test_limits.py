"""A token has its limit, whoever shares an address with its reader has none."""

import sys
from dataclasses import replace

import pytest

from mailer.tracking.models import TrackingKind
from mailer.tracking.tokens import Purpose, Tokens
from mailer.web.limits import (
    AT_ONCE,
    DEEDS_AT_ONCE,
    PER_HOUR,
    UNDOS_AT_ONCE,
    UNDOS_PER_HOUR,
    Limits,
    Load,
    is_somebodys,
)
from tests.conftest import SECRET_KEY
from tests.web.conftest import Mailing, Reader, stamp_in


class Watch:
    """A clock that is wound by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough: these are rules of HTTP."""
    return sqlite_url


def test_one_reader_may_fetch_every_link_of_a_letter_several_times() -> None:
    limits = Limits(ticking=Watch())
    assert all(limits.allow("token") for _ in range(AT_ONCE))
    assert AT_ONCE >= 4 * 50
    assert not limits.allow("token")


def test_a_token_at_its_limit_is_allowed_again_bit_by_bit() -> None:
    watch = Watch()
    limits = Limits(ticking=watch)
    while limits.allow("token"):
        pass
    watch.now += limits.retry_seconds
    assert limits.allow("token")
    assert not limits.allow("token")
    watch.now += 10 * 3600 / PER_HOUR
    assert [limits.allow("token") for _ in range(11)] == [True] * 10 + [False]
    watch.now += 86_400
    assert all(limits.allow("token") for _ in range(AT_ONCE))
    assert not limits.allow("token")


def test_what_was_refused_does_not_count() -> None:
    watch = Watch()
    limits = Limits(ticking=watch)
    for _ in range(AT_ONCE * 10):
        limits.allow("token")
    watch.now += limits.retry_seconds
    assert limits.allow("token")


def test_the_hour_is_kept_however_requests_are_spread() -> None:
    watch = Watch()
    limits = Limits(ticking=watch)
    allowed = 0
    for _ in range(36_000):
        watch.now += 0.1
        allowed += limits.allow("token")
    assert allowed <= AT_ONCE + PER_HOUR + 1


def test_one_tokens_excess_is_no_others() -> None:
    limits = Limits(ticking=Watch())
    for number in range(50):
        while limits.allow(f"scanned-{number}"):
            pass
    assert sum(not limits.allow(f"reader-{number}") for number in range(20_000)) == 0


def test_a_million_tokens_take_no_more_memory_than_one() -> None:
    limits = Limits(ticking=Watch())
    before = sys.getsizeof(limits._levels)
    refused = sum(not limits.allow(b"%x" % number) for number in range(1_000_000))
    assert sys.getsizeof(limits._levels) == before < 1_100_000
    assert refused == 0


def test_a_costly_request_counts_for_several() -> None:
    limits = Limits(10, 600, ticking=Watch())
    assert limits.allow("token", cost=10)
    assert not limits.allow("token")
    assert not limits.allow("other", cost=11)


def test_a_bucket_that_no_byte_holds_is_refused() -> None:
    for size in (0, 256):
        with pytest.raises(ValueError, match="1 to 255"):
            Limits(size)


def test_a_process_takes_on_so_many_a_second() -> None:
    watch = Watch()
    load = Load(3, ticking=watch)
    assert [load.take() for _ in range(4)] == [True, True, True, False]
    watch.now += 1
    assert load.take()


@pytest.mark.parametrize("number", [0, 1, 16, 0xF0, 800_000])
def test_a_token_tells_whether_it_is_somebodys(number: int) -> None:
    token = Tokens([SECRET_KEY.encode()]).sign(Purpose.UNSUBSCRIBE, 7, number)
    assert is_somebodys(token) == (number != 0)


@pytest.mark.parametrize("purpose", ["unsubscribe", "view"])
def test_a_page_over_its_limit_says_when_to_come_again(
    reader: Reader, mailing: Mailing, purpose: str
) -> None:
    path = mailing.path(purpose)
    while reader.site.limits.allow(path.split("/")[2]):
        pass
    response = reader.get(path)
    assert response.status_code == 429
    assert response.headers["retry-after"] == str(reader.site.limits.retry_seconds)
    assert response.headers["cache-control"] == "no-store"
    assert "Vent lidt" in response.text
    assert reader.get(mailing.path(purpose, position=2)).status_code != 429


def test_forged_tokens_are_limited_as_genuine_ones_are(reader: Reader, mailing: Mailing) -> None:
    path = mailing.path("unsubscribe")[:-1] + "!"
    while reader.site.limits.allow(path.split("/")[2]):
        pass
    assert reader.get(path).status_code == 429


def test_a_token_whose_bucket_is_emptied_begins_anew_and_no_other_does() -> None:
    limits = Limits(ticking=Watch())
    for token in ("taken back", "another"):
        while limits.allow(token):
            pass
    limits.forget("taken back")
    assert sum(limits.allow("taken back") for _ in range(AT_ONCE + 1)) == AT_ONCE
    assert not limits.allow("another")


def test_deeds_have_a_lower_limit_and_looking_goes_on(reader: Reader, mailing: Mailing) -> None:
    path = mailing.path("remind", "midtjylland")
    codes = [reader.post(path).status_code for _ in range(DEEDS_AT_ONCE + 1)]
    assert codes == [200] * DEEDS_AT_ONCE + [429]
    assert reader.get(path).status_code == 200
    assert DEEDS_AT_ONCE < AT_ONCE


def test_asking_for_events_that_are_not_there_comes_to_an_end(reader: Reader, mailing: Mailing) -> None:
    codes = {reader.post(mailing.path("remind", f"no-{n}")).status_code for n in range(AT_ONCE)}
    assert codes == {404}
    assert reader.post(mailing.path("remind", "midtjylland")).status_code == 429


def test_no_number_of_undos_keeps_a_recipient_from_saying_no(reader: Reader, mailing: Mailing) -> None:
    path = mailing.path("unsubscribe")
    undo = {"choice": "undo", "stamp": stamp_in(reader.get(path))}
    codes = [reader.post(path, data=undo).status_code for _ in range(DEEDS_AT_ONCE + 5)]
    assert codes == [200] * UNDOS_AT_ONCE + [429] * (len(codes) - UNDOS_AT_ONCE)
    refused = reader.post(path, data=undo)
    assert int(refused.headers["retry-after"]) * UNDOS_PER_HOUR == 3600
    assert refused.headers["cache-control"] == "no-store"

    assert reader.post(path, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert reader.post(path, data={"choice": "letters"}).status_code == 200
    assert mailing.suppressed() is not None


def test_who_knows_a_letters_address_alone_uses_none_of_its_undos_up(
    reader: Reader, mailing: Mailing
) -> None:
    path = mailing.path("unsubscribe")
    said = reader.post(path, data={"choice": "everything"})
    for stamp in ("", "forged"):
        codes = {
            reader.post(path, data={"choice": "undo", "stamp": stamp}).status_code
            for _ in range(UNDOS_AT_ONCE + 1)
        }
        assert codes == {200}
    assert mailing.suppressed() is not None

    assert reader.post(path, data={"choice": "undo", "stamp": stamp_in(said)}).status_code == 200
    assert mailing.suppressed() is None


def test_a_reminder_taken_back_over_and_over_can_still_be_asked_for(
    reader: Reader, mailing: Mailing
) -> None:
    path = mailing.path("remind", "midtjylland")
    codes = [reader.post(path, data={"choice": "undo"}).status_code for _ in range(UNDOS_AT_ONCE + 1)]
    assert codes == [200] * UNDOS_AT_ONCE + [429]
    assert reader.post(path).status_code == 200


def test_pages_of_nobody_in_particular_have_no_limit_of_their_own(
    reader: Reader, mailing: Mailing
) -> None:
    nobodys = mailing.path("remind", "nowhere", position=0)
    for path in (nobodys, mailing.path("pass_on"), "/startpakke"):
        codes = {reader.get(path).status_code for _ in range(AT_ONCE + 5)}
        assert 429 not in codes


def test_a_click_over_the_limit_leads_on_and_is_left_out_of_the_log(
    reader: Reader, mailing: Mailing
) -> None:
    for path in (mailing.path("click", 2), mailing.path("open_pixel")):
        while reader.site.limits.allow(path.split("/")[2]):
            pass
    assert reader.get(mailing.path("click", 2)).status_code == 302
    assert reader.get(mailing.path("open_pixel")).status_code == 200
    assert mailing.seen(TrackingKind.CLICK) == []
    assert reader.site.tally.unnoted == 2


def test_over_the_whole_limit_only_health_answers(reader: Reader, mailing: Mailing) -> None:
    busy = Reader(replace(reader.site, load=Load(1, ticking=Watch())), reader.portal)
    assert busy.get("/startpakke").status_code == 200
    for path in ("/startpakke", mailing.path("unsubscribe"), mailing.path("click", 2)):
        response = busy.get(path)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert busy.get("/health").status_code == 200
    assert mailing.seen(TrackingKind.CLICK) == []
