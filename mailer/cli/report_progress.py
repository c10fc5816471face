"""`mailer report progress` and `challenges`: the half-year report, and what staff write for it."""

import io
import sys
from datetime import date
from pathlib import Path
from typing import Any

import click

from mailer.cli.output import json_option, json_text, print_json, print_table, runtime_of, say
from mailer.cli.report_output import choose_format, format_option, hand_out, output_option
from mailer.events.errors import BadEventValue
from mailer.events.fields import read_field
from mailer.events.models import ReminderState
from mailer.reports.briefing import PlannedReport, plan_reports, report_on
from mailer.reports.hiding import REST
from mailer.reports.meetings import (
    BadText,
    PlannedMeeting,
    clean_text,
    coming_meeting,
    find_meeting,
    read_challenges,
    read_meetings,
    store_challenges,
)
from mailer.reports.progress import DOINGS, FEW_LEFT_OUT, STATES, LetterFigures, Period, ProgressReport
from mailer.reports.progress_events import sum_told
from mailer.reports.progress_forms import as_data, write_flat, write_page, write_workbook
from mailer.runtime import Runtime, template_folders
from recipients.errors import InputNotFound


class Day(click.ParamType[date]):
    """A day, written as in an event."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day."""
        try:
            day = read_field("date", value)
        except BadEventValue as error:
            self.fail(error.reason, param, ctx)
        assert isinstance(day, date)
        return day


_DAY = Day()


@click.command()
@click.option(
    "--from", "first", type=_DAY, metavar="D", help="First day; default: since the last report."
)
@click.option("--to", "last", type=_DAY, metavar="D", help="Last day; default: today.")
@click.option(
    "--challenges",
    "text",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="What to say about challenges, instead of what is kept for the meeting; - for standard input.",
)
@format_option
@json_option
@output_option
@click.pass_context
def progress(
    ctx: click.Context,
    first: date | None,
    last: date | None,
    text: Path | None,
    form: str | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """The parties' half-year report: mail, events and registrations.

    By default on the days that the report to the next meeting covers, up to today. That report goes by
    itself ten working days before the meeting, to the segment that report_segment names.
    """
    form = choose_format(form, as_json=as_json, output=output)
    runtime = runtime_of(ctx)
    settings, now, folders = runtime.settings, runtime.clock.now(), template_folders(runtime.settings)
    meetings = read_meetings(folders)
    until = last or now.astimezone(settings.zone).date()
    meeting = coming_meeting(meetings, until)
    since = first or (meeting.since if meeting else meetings[-1].report_on)
    if since > until:
        raise click.UsageError(f"{since} comes after {until}")
    written = clean_text(_read_text(text)) if text is not None else None
    with runtime.database.snapshot() as db:
        kept = read_challenges(db, meeting.held_on) if meeting else None
        figures = report_on(
            db,
            settings,
            folders,
            Period(since, until, settings.zone),
            now=now,
            meeting=meeting.held_on if meeting else None,
            challenges=kept if written is None else written or None,
        )
    hand_out(
        form,
        output,
        show=lambda: _print_tables(figures),
        render=lambda form: _render(figures, form, folders),
    )


@click.command()
@click.argument("held_on", metavar="[MEETING]", type=_DAY, required=False)
@click.argument("text", required=False)
@click.option(
    "--file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="F",
    help="Read TEXT from F; - for standard input.",
)
@json_option
@click.pass_context
def challenges(
    ctx: click.Context,
    held_on: date | None,
    text: str | None,
    file: Path | None,
    as_json: bool,
) -> None:
    """Keep TEXT about challenges for a report, or show it.

    MEETING is the day of the meeting that the report goes to; without it, all meetings are shown, and
    how their reports stand. An empty line parts paragraphs; an empty TEXT takes back what is kept.
    """
    if text is not None and file is not None:
        raise click.UsageError("TEXT and --file are two different things")
    if file is not None and held_on is None:
        raise click.UsageError("name the meeting that --file is for")
    written = _read_text(file) if file is not None else text
    runtime = runtime_of(ctx)
    if held_on is None:
        _show_meetings(runtime, as_json=as_json)
        return
    meeting = find_meeting(read_meetings(template_folders(runtime.settings)), held_on)
    if written is None:
        with runtime.database.read() as db:
            kept = read_challenges(db, meeting.held_on)
    else:
        with runtime.database.write() as db:
            kept = store_challenges(db, meeting.held_on, written)
        if _has_gone(runtime, meeting):
            say("the report to this meeting has gone already: it does not have this text")
    if as_json:
        print_json({"meeting": meeting.held_on, "challenges": kept})
    elif kept is None:
        say(f"nothing is kept about challenges for the meeting of {meeting.held_on}")
    else:
        click.echo(kept)


def _read_text(path: Path) -> str:
    """What a file holds; of ``-``, what comes on standard input.

    Raises:
        InputNotFound: there is no such file.
        BadText: it is not UTF-8.
    """
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputNotFound(f"no such file: {path}") from error
    except UnicodeDecodeError as error:
        raise BadText(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error


def _plan(runtime: Runtime) -> list[PlannedReport]:
    settings = runtime.settings
    with runtime.database.read() as db:
        return plan_reports(db, settings, template_folders(settings), now=runtime.clock.now())


def _has_gone(runtime: Runtime, meeting: PlannedMeeting) -> bool:
    return any(one.meeting == meeting and one.state is ReminderState.SENT for one in _plan(runtime))


def _show_meetings(runtime: Runtime, *, as_json: bool) -> None:
    plan, zone = _plan(runtime), runtime.settings.zone
    if as_json:
        print_json(
            {
                "meetings": [
                    {
                        "meeting": one.meeting.held_on,
                        "from": one.meeting.since,
                        "to": one.meeting.until,
                        "due_at": one.due_at,
                        "local_time": one.due_at.astimezone(zone),
                        "state": one.state,
                        "late": one.late,
                        "reason": one.reason,
                        "challenges": one.has_challenges,
                    }
                    for one in plan
                ]
            }
        )
        return
    reasons = {one.reason for one in plan}
    shared = reasons.pop() if len(reasons) == 1 else None
    print_table(
        ["meeting", "covers", "report due", "state", "challenges", *([] if shared else ["reason"])],
        [
            [
                one.meeting.held_on,
                f"{one.meeting.since} to {one.meeting.until}",
                one.due_at,
                f"{one.state}, late" if one.late else one.state,
                "written" if one.has_challenges else None,
                *([] if shared else [one.reason]),
            ]
            for one in plan
        ],
        zone=zone,
    )
    if shared:
        say(f"all of them: {shared}")


def _render(figures: ProgressReport, form: str, folders: list[Path]) -> bytes:
    match form:
        case "json":
            return f"{json_text(as_data(figures))}\n".encode()
        case "html":
            return write_page(figures, folders).encode()
        case "xlsx":
            return write_workbook(figures, folders)
        case _:
            lines = io.StringIO(newline="")
            write_flat(figures, lines)
            return lines.getvalue().encode()


def _print_tables(figures: ProgressReport) -> None:
    period, totals = figures.period, figures.totals
    meeting = f", for the meeting of {figures.meeting}" if figures.meeting else ""
    print_table(
        ["letters", "campaigns", "letters", "sent", "bounced", "uncertain", "suppressed", "other"],
        [_letter_row(_name(letter), letter) for letter in figures.letters]
        + [
            _letter_row("in all", figures.invitations),
            _letter_row("in all, automatic", figures.automatic),
        ],
        title=f"From {period.first} to {period.last}{meeting}",
    )
    click.echo()
    print_table(
        ["", "letters", "total", "people", "machines", "unsure"],
        [
            [f"{doing.replace('_', ' ')}{sort}", e.recipients, e.total, e.people, e.machines, e.unsure]
            for sort, mail in (("", figures.invitations), (", automatic letters", figures.automatic))
            for doing in DOINGS
            for e in [mail.engagement[doing]]
            if e.total
        ],
        title="Engagement (opens are uncertain)",
    )
    click.echo()
    print_table(
        [
            "event",
            "date",
            "",
            "seated",
            "waiting",
            "registration clicks",
            "asked",
            "reminders",
            "letters",
        ],
        [
            [
                event.slug,
                event.date,
                f"{event.standing}, moved" if event.moved else event.standing,
                event.seated,
                event.waiting,
                f"{event.registration_clicks}+"
                if event.clicks_untold and event.registration_clicks
                else event.registration_clicks,
                event.asked,
                event.reminders_sent,
                event.reminded,
            ]
            for event in figures.events
        ],
        title=(
            f"Events: {totals.held} held, {totals.coming} to come, {totals.moved} moved,"
            f" {totals.cancelled} cancelled; reminders: {totals.reminders_sent} sent,"
            f" {totals.reminders_late} of them late, {totals.reminders_missed} missed"
        ),
    )
    _print_groups(figures)
    click.echo()
    print_table(
        ["", "count"],
        [["letter passed on", figures.reach.pass_on.total]]
        + [[f"visits: {page.page or 'other pages'}", page.total] for page in figures.reach.pages]
        + [[f"no more mail: {reason}", count] for reason, count in figures.suppressions.items()],
        title="Reach (anonymous), and who gets no more mail",
    )
    if figures.leaves_out:
        click.echo(f"\n{FEW_LEFT_OUT}")
    click.echo(f"\nChallenges\n{figures.challenges or '–'}")


def _print_groups(figures: ProgressReport) -> None:
    for dimension, groups in figures.by.items():
        if groups:
            click.echo()
            print_table(
                [dimension.value, "recipients", "sent", "bounced", "opened", "clicked", "downloaded"],
                [
                    [
                        group.value,
                        group.audience,
                        group.sent,
                        group.bounced,
                        group.opened,
                        group.clicked,
                        group.downloaded,
                    ]
                    for group in groups
                ],
                title=f"Recipients by {dimension}",
            )


def _name(letter: LetterFigures) -> str:
    name = f"{REST} ({letter.names})" if letter.name == REST else letter.name
    return f"{name}, automatic" if letter.automatic else name


def _letter_row(name: str, letter: LetterFigures) -> list[object]:
    counts, apart = letter.delivery, ("sent", "bounced", "uncertain", "suppressed")
    other = sum_told(counts[state] for state in STATES if state not in apart)
    return [name, letter.campaigns, counts["letters"], *[counts[state] for state in apart], other]
