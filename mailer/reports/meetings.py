"""When the parties meet, what the report to each meeting covers, and what staff wrote for it."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TypeGuard
from zoneinfo import ZoneInfo

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from mailer.campaigns.timetable import resolve_local
from mailer.events.dates import SENDING_HOUR, working_days_before
from mailer.reports.models import Meeting

MEETINGS_FILE = "meetings.toml"
WORKING_DAYS_BEFORE = 10
"""So long before a meeting its report goes."""
LONGEST_TEXT = 20_000
"""Characters of what staff may write about challenges."""

_ONE_DAY = timedelta(days=1)
_HEADING = re.compile(r"^[ \t]*\[\[[ \t]*meeting[ \t]*\]\]", re.MULTILINE)
_UNPRINTABLE = re.compile(r"[^\S\n]|[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class BadMeetings(Exception):
    """The file of meetings cannot be used; the message names the place and the reason."""


class MeetingNotFound(Exception):
    """There is no meeting on that day."""


class BadText(Exception):
    """A text that cannot be kept; nothing was changed."""


@dataclass(frozen=True, slots=True)
class PlannedMeeting:
    """A meeting of the parties, and the report that goes before it."""

    held_on: date
    since: date
    """The first day the report covers: no day is in two reports, and none in no report."""
    report_on: date
    """The day on which the report goes."""

    @property
    def until(self) -> date:
        """The last day the report covers."""
        return self.report_on - _ONE_DAY

    def repeats(self, other: "PlannedMeeting") -> bool:
        """Whether most of the days it covers are in the other's report."""
        shared = min(self.report_on, other.report_on) - max(self.since, other.since)
        return shared * 2 > self.report_on - self.since

    def due_at(self, zone: ZoneInfo) -> datetime:
        """The moment, in UTC, at which the report goes."""
        return resolve_local(self.report_on, SENDING_HOUR, zone)


def read_meetings(folders: Sequence[Path]) -> list[PlannedMeeting]:
    """The meetings, in order, out of the first of the template folders that tells of any.

    Raises:
        BadMeetings: there is no such file, or something in it makes no sense.
    """
    path = next((found for base in folders if (found := base / MEETINGS_FILE).is_file()), None)
    if path is None:
        raise BadMeetings(f"there is no {MEETINGS_FILE} in {' or '.join(map(str, folders))}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise BadMeetings(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except OSError as error:
        raise BadMeetings(f"{path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadMeetings(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise BadMeetings(f"{path}: longer numbers or deeper lists than meetings ever have") from error
    strangers = sorted(set(content) - {"agreed", "meeting"})
    if strangers:
        raise BadMeetings(f"{path}: {', '.join(strangers)} is no field; there are: agreed, [[meeting]]")
    agreed = content.get("agreed")
    if not _is_day(agreed):
        raise BadMeetings(f"{path}: agreed is the day reports begin at, such as  agreed = 2013-10-25")
    entries = content.get("meeting")
    if not isinstance(entries, list) or not entries:
        raise BadMeetings(f"{path}: there is no [[meeting]]")
    lines = [text.count("\n", 0, match.start()) + 1 for match in _HEADING.finditer(text)]
    return list(_plan(path, agreed, entries, lines))


def _plan(
    path: Path, agreed: date, entries: Sequence[object], lines: Sequence[int]
) -> Iterator[PlannedMeeting]:
    since, before = agreed, agreed
    for number, entry in enumerate(entries, start=1):
        line = f" (line {lines[number - 1]})" if len(lines) == len(entries) else ""
        where = f"{path}: meeting {number}{line}"
        held_on = entry.get("date") if isinstance(entry, dict) and set(entry) <= {"date"} else None
        if not _is_day(held_on):
            raise BadMeetings(f"{where}: a meeting has a day and no more, such as  date = 2014-04-25")
        if held_on <= before:
            raise BadMeetings(f"{where}: {held_on} does not come after {before}, which stands before it")
        report_on = working_days_before(held_on, WORKING_DAYS_BEFORE)
        if report_on <= since:
            raise BadMeetings(
                f"{where}: its report would go on {report_on} and cover no day, for the days"
                f" before {since} are not its own"
            )
        yield PlannedMeeting(held_on, since, report_on)
        since, before = report_on, held_on


def _is_day(value: object) -> TypeGuard[date]:
    return isinstance(value, date) and not isinstance(value, datetime)


def coming_meeting(meetings: Sequence[PlannedMeeting], day: date) -> PlannedMeeting | None:
    """The first meeting that is not over before the day; None after the last."""
    return next((meeting for meeting in meetings if meeting.held_on >= day), None)


def find_meeting(meetings: Sequence[PlannedMeeting], held_on: date) -> PlannedMeeting:
    """The meeting on that day.

    Raises:
        MeetingNotFound: there is none.
    """
    for meeting in meetings:
        if meeting.held_on == held_on:
            return meeting
    known = ", ".join(str(meeting.held_on) for meeting in meetings)
    raise MeetingNotFound(f"no meeting on {held_on}; there are: {known}")


def reported_elsewhere(db: Session, meetings: Sequence[PlannedMeeting]) -> list[PlannedMeeting]:
    """The meetings, in order, whose report has gone and that the file no longer tells of."""
    sent = select(Meeting.held_on).where(Meeting.sent_at.is_not(None)).order_by(Meeting.held_on)
    told = {meeting.held_on for meeting in meetings}
    since, found = meetings[0].since, []
    for held_on in db.scalars(sent):
        report_on = working_days_before(held_on, WORKING_DAYS_BEFORE)
        if held_on not in told:
            found.append(PlannedMeeting(held_on, since, report_on))
        since = max(since, report_on)
    return found


def read_challenges(db: Session, held_on: date) -> str | None:
    """What staff wrote about challenges for that meeting; None where they wrote nothing."""
    kept = db.get(Meeting, held_on)
    return kept.challenges if kept else None


def store_challenges(db: Session, held_on: date, text: str) -> str | None:
    """Keep what staff write about challenges for that meeting, in place of what stood there.

    Returns:
        What is kept; None for an empty text.

    Raises:
        BadText: it is too long.
    """
    cleaned = clean_text(text) or None
    add_row(db, held_on)
    db.execute(update(Meeting).where(Meeting.held_on == held_on).values(challenges=cleaned))
    return cleaned


def add_row(db: Session, held_on: date) -> None:
    """Give the meeting a row in the database; nothing changes where it has one."""
    on_postgres = db.get_bind().dialect.name == "postgresql"
    insert = postgresql.insert if on_postgres else sqlite.insert
    db.execute(insert(Meeting).values(held_on=held_on, late=False).on_conflict_do_nothing())


def clean_text(text: str) -> str:
    """The text with its paragraphs: lines end alike, and nothing is left that cannot be seen.

    Raises:
        BadText: it is too long.
    """
    lines = _UNPRINTABLE.sub(" ", "\n".join(text.splitlines())).split("\n")
    cleaned = re.sub(r"\n{3,}", "\n\n", "\n".join(line.strip() for line in lines)).strip()
    if len(cleaned) > LONGEST_TEXT:
        raise BadText(f"the text has {len(cleaned):,} characters; there is room for {LONGEST_TEXT:,}")
    return cleaned
