"""One rehearsal clock, shared by all processes of a state folder."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailer.foundation.clock import BadClock, Clock, open_clock, parse_clock, real_now, set_rehearsal

SPRING = datetime(2014, 3, 7, 8, 0, tzinfo=UTC)


def test_without_a_setting_it_tells_real_time(tmp_path: Path) -> None:
    assert abs(open_clock(tmp_path, None).now() - real_now()) < timedelta(seconds=5)


def test_it_starts_when_the_state_folder_first_sees_the_setting_and_goes_on(tmp_path: Path) -> None:
    first = open_clock(tmp_path, "2014-03-07T09:00+01:00 x60")
    started = real_now()
    again = open_clock(tmp_path, "2014-03-07T09:00+01:00 x60")
    later = Clock(tmp_path, real=lambda: started + timedelta(minutes=1))
    assert timedelta() <= first.now() - SPRING < timedelta(minutes=30)
    assert again.now() >= SPRING
    assert timedelta(minutes=59) < later.now() - SPRING < timedelta(minutes=65)


def test_every_process_follows_when_it_is_turned(tmp_path: Path) -> None:
    clock = open_clock(tmp_path, "2014-03-07T09:00+01:00")
    set_rehearsal(tmp_path, SPRING + timedelta(days=10))
    assert clock.now() - SPRING >= timedelta(days=10)


@pytest.mark.parametrize("spec", ["7 March", "2014-03-07T09:00", "2014-03-07T09:00+01:00 x0", ""])
def test_a_clock_that_cannot_be_read_is_refused(spec: str) -> None:
    with pytest.raises(BadClock):
        parse_clock(spec)


def test_a_damaged_clock_is_named(tmp_path: Path) -> None:
    (tmp_path / "clock.json").write_text("{")
    with pytest.raises(BadClock, match="damaged"):
        Clock(tmp_path).now()
