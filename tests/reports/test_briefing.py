"""The report to the parties' meetings goes by itself: once, in time, and to the staff alone."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from threading import Barrier, Thread

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy import select

from mailer.campaigns.models import Campaign, Link
from mailer.foundation.settings import Settings
from mailer.launch import LaunchRefused
from mailer.notices.briefing import launch_report
from mailer.reports.briefing import find_report_alarms, plan_reports
from mailer.reports.meetings import store_challenges
from mailer.reports.models import Meeting
from mailer.runtime import Runtime, template_folders
from mailer.sending.work import send_batches
from mailer.tracking.models import TrackingKind
from recipients.models import SuppressionReason
from recipients.segments import create_segment
from recipients.suppression import suppress
from tests.conftest import NOW
from tests.making import ScriptedRelay, make_recipient, relay_running, with_relay
from tests.reports.factories import act, deliver, make_campaign, make_event

DUE = datetime(2014, 4, 8, 7, 0, tzinfo=UTC)
MEETING = date(2014, 4, 25)
GRACE = timedelta(hours=24)
STAFF = "anna@parterne.example"


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    with relay_running(ScriptedRelay()) as running:
        yield running


@pytest.fixture
def office(runtime: Runtime, relay: ScriptedRelay) -> Runtime:
    """A runtime with a relay, and staff in a segment of their own."""
    with runtime.database.write() as db:
        make_recipient(db, address=STAFF, name="Anna Holm", role="andet")
        create_segment(db, "sekretariater", "domain = parterne.example", NOW)
    return with_relay(runtime, relay.port, report_segment="sekretariater")


def launch(office: Runtime, now: datetime = DUE) -> list[int]:
    return launch_report(office.launch_tools, office.database, now=now)


def alarms(runtime: Runtime, now: datetime) -> list[str]:
    with runtime.database.read() as db:
        return find_report_alarms(db, runtime.settings, template_folders(runtime.settings), now=now)


def with_settings(runtime: Runtime, **changed: object) -> Runtime:
    settings: Settings = runtime.settings.model_copy(update=changed)
    return replace(runtime, settings=settings)


def test_the_report_reaches_the_staff_with_figures_text_and_spreadsheet(
    office: Runtime, relay: ScriptedRelay
) -> None:
    with office.database.write() as db:
        make_event(db, "skanderborg", "Møde <i> Skanderborg", days_ahead=31)
        campaign = make_campaign(db)
        for number in range(6):
            person = make_recipient(db, address=f"tr{number}@kommune.example")
            act(db, campaign, TrackingKind.OPEN, deliver(db, campaign, person))
        store_challenges(db, MEETING, "{{ recipient.name }} & <b>fed</b>\nto {% linjer\n\nNyt afsnit.")

    (campaign_id,) = launch(office)
    with office.sending_tools() as tools:
        send_batches(tools, campaign_id=campaign_id)

    assert relay.recipients == [STAFF]
    letter = relay.letter_to(STAFF)
    assert letter["Subject"] == "Statusrapport til parternes møde den 25. april 2014"
    assert letter["Auto-Submitted"] == "auto-generated"
    text, html = letter.get_body(("plain",)), letter.get_body(("html",))
    assert text is not None
    assert html is not None
    plain, marked = text.get_content().replace("\r\n", "\n"), html.get_content()
    assert "Kære Anna Holm" in plain
    assert "25.\u00a0oktober 2013 til 7.\u00a0april 2014" in plain
    assert "Breve modtaget: 6" in plain
    assert "{{ recipient.name }} & <b>fed</b>\nto {% linjer\n\nNyt afsnit." in plain
    assert "Møde &lt;i&gt; Skanderborg" in marked
    assert "{{ recipient.name }} &amp; &lt;b&gt;fed&lt;/b&gt;<br>to {% linjer</p>" in marked
    (file,) = letter.iter_attachments()
    assert file.get_filename() == "statusrapport-2014-04-25.xlsx"
    book = CalamineWorkbook.from_filelike(BytesIO(file.get_payload(decode=True)))
    overview = dict(book.get_sheet_by_name("Overblik").to_python())
    assert (overview["Breve modtaget af mailserveren"], overview["Møder holdt"]) == (6, 1)
    assert book.get_sheet_by_name("Udfordringer").to_python()[2] == ["Nyt afsnit."]
    assert "Efter region" in book.sheet_names


def test_the_report_goes_at_nine_ten_working_days_before_and_once(office: Runtime) -> None:
    with office.database.write() as db:  # a letter that is tracked, and has links about no event
        pack = make_campaign(db, tracking="personal")
        db.add(Link(campaign_id=pack.id, number=1, key="pack", kind="download", target="/startpakke"))
    assert launch(office, DUE - timedelta(seconds=1)) == []
    (campaign_id,) = launch(office)
    assert launch(office, DUE + timedelta(minutes=1)) == []

    with office.database.read() as db:
        meeting = db.get_one(Meeting, MEETING)
        assert (meeting.campaign_id, meeting.late, meeting.sent_at) == (campaign_id, False, DUE)
        campaign = db.get_one(Campaign, campaign_id)
        assert (campaign.name, campaign.segment) == ("statusrapport-2014-04-25", "sekretariater")
        assert (campaign.tracking, campaign.auto_submitted) == ("none", True)


def test_of_ticks_at_the_same_moment_one_sends(office: Runtime) -> None:
    ready, launched = Barrier(3), []

    def tick() -> None:
        ready.wait()
        launched.extend(launch(office))

    threads = [Thread(target=tick) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with office.database.read() as db:
        assert db.scalars(select(Campaign.id)).all() == launched
    assert len(launched) == 1


def test_a_report_is_late_within_the_grace_time_and_then_missed(office: Runtime) -> None:
    assert alarms(office, DUE + timedelta(minutes=5)) == []
    (told,) = alarms(office, DUE + GRACE)
    assert told == (
        "the report to the meeting of 2014-04-25 was due Tue 2014-04-08 09:00 and has not gone;"
        " is  mailer up  running?"
    )
    assert launch(office, DUE + GRACE + timedelta(seconds=1)) == []
    (told,) = alarms(office, DUE + GRACE + timedelta(seconds=1))
    assert told == (
        "the report to the meeting of 2014-04-25 was missed: more than 24 hours late; write it with"
        "  mailer report progress --from 2013-10-25 --to 2014-04-07 -o FILE.xlsx  and send it yourself"
    )
    assert len(launch(office, DUE + GRACE)) == 1
    with office.database.read() as db:
        assert db.get_one(Meeting, MEETING).late


def test_what_was_missed_is_told_until_the_meeting_is_over(office: Runtime) -> None:
    assert len(alarms(office, datetime(2014, 4, 25, 21, 59, tzinfo=UTC))) == 1
    assert alarms(office, datetime(2014, 4, 25, 22, 0, tzinfo=UTC)) == []


def test_a_report_to_nobody_is_blocked_and_told_in_good_time(
    runtime: Runtime, relay: ScriptedRelay
) -> None:
    runtime = with_relay(runtime, relay.port)
    warned = DUE - timedelta(days=7)

    assert alarms(runtime, warned - timedelta(seconds=1)) == []
    (told,) = alarms(runtime, warned)
    assert "is due Tue 2014-04-08 09:00 and blocked: nobody is to get it" in told
    assert launch(runtime) == []

    named = with_settings(runtime, report_segment="sekretariater")
    assert "no segment 'sekretariater'" in alarms(named, warned)[0]
    with runtime.database.write() as db:
        person = make_recipient(db, address=STAFF)
        create_segment(db, "sekretariater", "domain = parterne.example", NOW)
        suppress(db, person.address_hash, SuppressionReason.UNSUBSCRIBED, now=NOW)
    assert "has nobody who may be written to" in alarms(named, warned)[0]
    assert launch(named) == []
    with runtime.database.read() as db:
        assert db.scalars(select(Meeting)).all() == []


def test_a_meeting_that_is_over_gets_no_report_however_long_the_grace(office: Runtime) -> None:
    patient = with_settings(office, reminder_grace_hours=10_000)

    assert launch(patient, datetime(2014, 4, 26, 8, 0, tzinfo=UTC)) == []


def test_the_next_report_begins_where_the_last_one_ended(office: Runtime) -> None:
    with office.database.read() as db:
        plan = plan_reports(db, office.settings, template_folders(office.settings), now=DUE)

    assert [one.state for one in plan[:2]] == ["due", "planned"]
    assert plan[1].meeting.since == date(2014, 4, 8)


def test_a_meeting_put_off_after_its_report_gets_no_second_one(office: Runtime, tmp_path: Path) -> None:
    launch(office)
    (tmp_path / "meetings.toml").write_text(
        "agreed = 2013-10-25\n[[meeting]]\ndate = 2014-05-16\n[[meeting]]\ndate = 2014-10-24\n"
    )
    moved = with_settings(office, templates_dir=tmp_path)
    due = datetime(2014, 5, 2, 7, 0, tzinfo=UTC)

    (told,) = alarms(moved, DUE + timedelta(days=1))
    assert told == (
        "the report to the meeting of 2014-04-25 has gone, and that meeting is not in meetings.toml any"
        " more; if it is held on another day, tell those who got it"
    )
    assert [launch(moved, due + timedelta(hours=hours)) for hours in (0, 23, 48)] == [[], [], []]
    (told,) = alarms(moved, due + timedelta(hours=48))
    assert told == (
        "the report to the meeting of 2014-05-16 is due Fri 2014-05-02 09:00 and blocked: the report to"
        " the meeting of 2014-04-25 has gone and covers most of the same days; write the rest with"
        "  mailer report progress --from 2014-04-08 --to 2014-05-01 -o FILE.xlsx  and send it yourself"
    )
    assert alarms(moved, datetime(2014, 5, 16, 22, 0, tzinfo=UTC)) == []
    assert len(launch(moved, datetime(2014, 10, 10, 7, 0, tzinfo=UTC))) == 1


def test_a_meeting_that_shares_few_days_with_one_taken_out_gets_its_report(
    office: Runtime, tmp_path: Path
) -> None:
    launch(office)
    (tmp_path / "meetings.toml").write_text("agreed = 2013-10-25\n[[meeting]]\ndate = 2014-10-24\n")
    moved = with_settings(office, templates_dir=tmp_path)

    assert len(launch(moved, datetime(2014, 10, 10, 7, 0, tzinfo=UTC))) == 1


def test_meetings_that_make_no_sense_are_an_alarm_and_no_report(office: Runtime, tmp_path: Path) -> None:
    (tmp_path / "meetings.toml").write_text("agreed = 2013-10-25\n")
    broken = with_settings(office, templates_dir=tmp_path)

    (told,) = alarms(broken, NOW)
    assert told.startswith("no report of progress can go: ")
    with pytest.raises(LaunchRefused, match=r"there is no \[\[meeting\]\]"):
        launch(broken)
