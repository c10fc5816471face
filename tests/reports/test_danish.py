"""Numbers and names as Danish readers expect them."""

from datetime import UTC, datetime, timedelta

import pytest

from mailer.reports import danish
from mailer.reports.charts import Bar, bar_chart
from mailer.reports.report import Moment


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (1987, 2000, "99,4 %"),
        (2000, 2000, "100 %"),
        (0, 2000, "0 %"),
        (1, 4000, "under 0,1 %"),
        (799_999, 800_000, "99,9 %"),
        (11, 2000, "0,6 %"),
        (1220, 2000, "61 %"),
        (None, 2000, "–"),
        (1, 0, "–"),
    ],
)
def test_a_share_never_claims_nought_or_all_that_is_not(
    part: int | None, whole: int, words: str
) -> None:
    assert danish.percent(part, whole).replace("\u00a0", " ") == words


def test_numbers_and_days_are_danish() -> None:
    moment = datetime(2014, 3, 7, 9, 5, tzinfo=UTC)

    assert danish.number(1234567) == "1.234.567"
    assert danish.number(None) == "–"
    assert danish.moment(moment).replace("\u00a0", " ") == "7. marts 2014 kl. 9.05"
    assert danish.weekday(moment).replace("\u00a0", " ") == "fredag den 7. marts"
    assert danish.lead("14 days").replace("\u00a0", " ") == "14 dage før"
    assert danish.lead("2 hours").replace("\u00a0", " ") == "2 timer før"
    assert danish.lead("sometime") == "sometime"


def test_a_link_is_called_what_it_leads_to() -> None:
    assert danish.link_name("pack", []) == "Startpakken som PDF"
    assert danish.link_name("events.registration/odense", []) == "Tilmelding: odense"
    assert danish.link_name("https://maal.example/a", []) == "https://maal.example/a"


def test_a_small_share_is_still_seen() -> None:
    drawn = bar_chart("a", "title", "words", [Bar("label", "1", [(0.00001, "c-open")])])

    assert 'width="0.4000%"' in drawn


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ([(3, 20), (9, 2), (0, 90)], "Flest på én dag: 9 åbninger lørdag den 8. marts."),
        ([(0, 20), (0, 2), (0, 90)], "Flest på én dag: 90 klik søndag den 9. marts."),
        ([(None, 20), (None, 2), (None, 90)], "Flest på én dag: 90 klik søndag den 9. marts."),
        ([(20, 20), (None, 2), (None, 90)], ""),
        ([(0, 20), (0, None), (0, None)], ""),
        ([(None, None)], ""),
        ([], ""),
    ],
)
def test_the_busiest_day_is_told_where_every_day_is(
    days: list[tuple[int | None, int | None]], words: str
) -> None:
    first = datetime(2014, 3, 7, tzinfo=UTC)
    moments = [
        Moment(first + timedelta(days=nth), opens, clicks, 0) for nth, (opens, clicks) in enumerate(days)
    ]

    assert danish.busiest(moments, "day").replace("\u00a0", " ") == words
