from pathlib import Path

import pytest

from mailer.events.entries import EventEntry, RefusedEntry
from mailer.events.errors import BadEventFile, EventFileNotFound
from mailer.events.files import read_event_file
from tests.events.making import toml_entry, write_file

ENDLESS = f"0x{'f' * 5_000}"
"""A number that can be read and not be written out in tens."""


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"slug": '"Kolding By"'}, "slug must be a-z"),
        ({"slug": '"../kolding"'}, "slug must be a-z"),
        ({"slug": f'"{"a" * 65}"'}, "slug must be a-z"),
        ({"slug": "7"}, "slug must be a-z"),
        ({"title": '" "'}, "title is missing"),
        ({"title": r'"Møde\r\nBcc: x"'}, "title must be one line"),
        ({"title": f'"{"a" * 301}"'}, "title is too long"),
        ({"date": "2014-05-12T09:00:00"}, "date must be a day"),
        ({"date": '"12. maj"'}, "date must be a day"),
        ({"time": '"25:00"'}, "time must be a time of day"),
        ({"time": "9"}, "time must be a time of day"),
        ({"region": '"Bornholm"'}, "region must be one of Hovedstaden"),
        ({"programme_url": '"javascript:alert(1)"'}, "programme_url must be an http"),
        ({"programme_url": '"/events"'}, "programme_url must be an http"),
        ({"registration_url": '"ftp://x.example"'}, "registration_url must be an http"),
        ({"registration_url": '"https://"'}, "registration_url must be an http"),
        ({"registration_url": r'"https://x.example/\r\nX: y"'}, "registration_url must be an"),
        ({"registration_url": '"https://a:b@x.example/"'}, "registration_url must not carry"),
        ({"registration_url": '"https://x.example:99999/"'}, "registration_url must be an"),
        ({"capacity": "0"}, "capacity must be a whole number"),
        ({"capacity": "true"}, "capacity must be a whole number"),
        ({"capacity": ENDLESS}, "not int too large to show"),
        ({"slug": ENDLESS}, "slug must be a-z"),
        ({"title": ENDLESS}, "title must be text"),
        ({"date": ENDLESS}, "date must be a day"),
        ({"time": ENDLESS}, "time must be a time of day"),
        ({"registration_url": ENDLESS}, "registration_url must be an http"),
        ({"hosted": ENDLESS}, "hosted must be true or false"),
        ({"reminders": ENDLESS}, "reminders must be text"),
        ({f"slug{'.a' * 5_000}": "1", "slug": None}, "slug must be a-z"),
        ({"slug": f'"{"a" * 1_000_000}"'}, "slug must be a-z"),
        ({"reminders": f'"{"7 days, " * 1_000}"'}, "reminders is too long"),
        ({"a" * 1_000_000: "1"}, "is no field of an event"),
        ({"slug": r'"\u001b[2J"'}, "slug must be a-z"),
        ({"programme": '"https://x.example"'}, "programme is no field of an event"),
    ],
)
def test_a_bad_entry_is_named_while_the_rest_goes_in(
    tmp_path: Path, fields: dict[str, str | None], reason: str
) -> None:
    good = toml_entry(slug='"vejle"')
    given = {name: value for name, value in fields.items() if value is not None}
    bad = toml_entry(**given)
    if len(given) < len(fields):
        bad = "\n".join(line for line in bad.splitlines() if not line.startswith("slug ="))
    path = write_file(tmp_path, f"# Møder\n\n{good}\n{bad}\n")

    taken, refused = read_event_file(path).entries

    assert isinstance(taken, EventEntry)
    assert isinstance(refused, RefusedEntry)
    assert (refused.number, refused.line) == (2, 8)
    assert reason in str(refused)
    assert len(str(refused)) < 400
    assert str(refused).isprintable()


@pytest.mark.parametrize("missing", ["slug", "title", "date"])
def test_an_event_needs_slug_title_and_date(tmp_path: Path, missing: str) -> None:
    text = "\n".join(line for line in toml_entry().splitlines() if not line.startswith(missing))
    (refused,) = read_event_file(write_file(tmp_path, text)).entries
    assert isinstance(refused, RefusedEntry)
    assert refused.reason == f"{missing} is missing"


def test_a_slug_that_stands_twice_is_refused_the_second_time(tmp_path: Path) -> None:
    text = toml_entry() + toml_entry(title='"Andet"')
    taken, refused = read_event_file(write_file(tmp_path, text)).entries
    assert isinstance(taken, EventEntry)
    assert taken.fields["title"] == "Kolding"
    assert str(refused) == "entry 2 (line 5, kolding): slug stands already in entry 1"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[event]\n", "events.toml: "),
        ("[[events]]\nslug = 'x'\n", r"holds \[\[event\]\] entries and no more; found: events"),
        ("", r"holds \[\[event\]\] entries"),
        ("event = 3\n", r"holds \[\[event\]\] entries"),
        (f"event = [{{ capacity = {'9' * 5_000} }}]", "a number of more digits"),
        ("[event.a.a.a]", r"holds \[\[event\]\] entries"),
    ],
)
def test_a_file_that_holds_no_events_is_refused_whole(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadEventFile, match=reason):
        read_event_file(write_file(tmp_path, text))


def test_a_file_in_another_encoding_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "events.toml"
    path.write_bytes(toml_entry(title='"Møde"').encode("cp1252"))
    with pytest.raises(BadEventFile, match="save it as UTF-8"):
        read_event_file(path)


def test_a_missing_file_is_told_from_a_bad_one(tmp_path: Path) -> None:
    with pytest.raises(EventFileNotFound, match=r"no such file: .*nothing\.toml"):
        read_event_file(tmp_path / "nothing.toml")


@pytest.mark.parametrize("name", ["events.toml", "events.csv", "events.ics"])
def test_a_file_larger_than_events_ever_are_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(BadEventFile, match="larger than 4 MB"):
        read_event_file(path)


def test_what_is_no_entry_is_named_however_large(tmp_path: Path) -> None:
    (refused,) = read_event_file(write_file(tmp_path, f"event = [{ENDLESS}]")).entries

    assert str(refused) == "entry 1: event must be a table of fields, not int too large to show"


@pytest.mark.parametrize(
    ("name", "before", "entry", "after"),
    [
        ("e.csv", "slug;titel;dato\n", "m{};Møde;2014-05-12\n", ""),
        (
            "e.ics",
            "BEGIN:VCALENDAR\n",
            "BEGIN:VEVENT\nUID:m{}\nSUMMARY:M{}\nDTSTART:20140512\nEND:VEVENT\n",
            "END:VCALENDAR\n",
        ),
    ],
)
def test_a_file_holds_five_hundred_events_at_most(
    tmp_path: Path, name: str, before: str, entry: str, after: str
) -> None:
    path = tmp_path / name
    path.write_text(before + "".join(entry.format(*[i] * 2) for i in range(500)) + after)
    assert len(read_event_file(path).entries) == 500

    path.write_text(before + "".join(entry.format(*[i] * 2) for i in range(501)) + after)
    with pytest.raises(BadEventFile, match="more than 500 events"):
        read_event_file(path)


def test_lists_within_lists_are_refused_and_break_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadEventFile):
        read_event_file(write_file(tmp_path, f"event = {'[' * 100_000}"))
