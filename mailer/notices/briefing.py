"""The letter with which the report of progress goes to the staff before each meeting of the parties."""

import base64
from datetime import datetime

from sqlalchemy import CursorResult, update
from sqlalchemy.orm import Session

from mailer.campaigns.errors import LaunchRefused
from mailer.events.models import ReminderState
from mailer.foundation.database import Database
from mailer.foundation.log import get_log
from mailer.launch import Notice, launch_notice, require_sending_settings
from mailer.rendering.enclosures import MOST_BYTES, Enclosure
from mailer.reports import danish
from mailer.reports.briefing import PlannedReport, plan_reports, report_to, select_staff
from mailer.reports.meetings import BadMeetings, PlannedMeeting, add_row
from mailer.reports.models import Meeting
from mailer.reports.progress import ProgressReport
from mailer.reports.progress_forms import render, write_workbook
from mailer.sending.tools import LaunchTools

LETTER = "statusrapport"
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

_log = get_log(__name__)


class _NotToBeSent(Exception):
    """Another tick was faster, or nobody is to get the report; nothing was changed."""


def launch_report(tools: LaunchTools, database: Database, *, now: datetime) -> list[int]:
    """Start the letter with the report that is due; harmless when repeated or doubled.

    The meeting's row decides: it is marked in the transaction that launches the letter, so that of two
    ticks at once one wins.

    Args:
        now: the clock people see.

    Returns:
        The letter's campaign; none where no report was due.

    Raises:
        SettingsError: there is no sender or relay; the report stays due.
        LetterNotFound, LetterError, LaunchRefused: the letter cannot be written, or the file of meetings
            not be read; the report stays due.
    """
    settings, folders = tools.settings, tools.letters.folders
    try:
        with database.snapshot() as db:
            plan = plan_reports(db, settings, folders, now=now)
            due = next((one for one in plan if one.state is ReminderState.DUE), None)
            if due is None:
                return []
            require_sending_settings(tools)
            report = report_to(db, settings, folders, due.meeting, now=now)
        notice = _write_notice(tools, report, due.meeting)
        with database.write() as db:
            return [_launch(tools, db, due, notice, now=now)]
    except _NotToBeSent as why:
        _log.info("report was not launched", reason=str(why))
        return []
    except BadMeetings as error:
        raise LaunchRefused(str(error)) from error


def _write_notice(tools: LaunchTools, report: ProgressReport, meeting: PlannedMeeting) -> Notice:
    """The letter with the figures in it: what is counted now is what every copy tells."""
    folders = tools.letters.folders
    workbook = write_workbook(report, folders)
    if len(workbook) > MOST_BYTES:
        raise LaunchRefused(
            f"the spreadsheet has {len(workbook):,} bytes; a letter takes {MOST_BYTES:,}"
        )
    return Notice(
        name=f"{LETTER}-{meeting.held_on}",
        letter=LETTER,
        event_slug=None,
        enclosures=(
            Enclosure(
                f"{LETTER}-{meeting.held_on}.xlsx", _XLSX, base64.b64encode(workbook).decode("ascii")
            ),
        ),
        files={
            "meeting.txt": danish.day(meeting.held_on),
            "figures.txt": _as_template(render("report/letter.txt", report, folders).strip()),
            "figures.html": _as_template(render("report/letter.html", report, folders)),
        },
        segment=tools.settings.report_segment,
    )


def _as_template(text: str) -> str:
    """A template that writes the text as it is, whatever stands in it."""
    return text.replace("{", '{{ "{" }}')


def _launch(
    tools: LaunchTools, db: Session, due: PlannedReport, notice: Notice, *, now: datetime
) -> int:
    held_on = due.meeting.held_on
    add_row(db, held_on)
    marked = db.execute(
        update(Meeting)
        .where(Meeting.held_on == held_on, Meeting.sent_at.is_(None))
        .values(sent_at=now, late=due.late)
    )
    assert isinstance(marked, CursorResult)
    if marked.rowcount == 0:
        raise _NotToBeSent("another tick was faster")
    assert notice.segment is not None
    launched = launch_notice(tools, db, notice, select_staff(db, notice.segment), now=now)
    if launched is None:
        raise _NotToBeSent("nobody is to get it any more")
    db.execute(
        update(Meeting).where(Meeting.held_on == held_on).values(campaign_id=launched.campaign_id)
    )
    return launched.campaign_id
