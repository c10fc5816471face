"""The plan of reminders is one: staff see on their page what the command line tells scripts."""

import re
from datetime import UTC, date, datetime, time, timedelta
from html import unescape
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailer.events.audiences import AudienceRule
from mailer.events.catalogue import find_event
from mailer.events.changes import update_event
from mailer.events.models import EventState, Reminder, ReminderRequest, ReminderState
from mailer.foundation.settings import Settings
from mailer.reports import danish
from mailer.web.staff.event_words import RULES, audience
from tests.cli.calling import Caller
from tests.conftest import NOW
from tests.web.conftest import Mailing, add_event, add_recipient
from tests.web.staffing import Staff, opened, quick, signed_in, staff

__all__ = ["opened", "quick", "signed_in", "staff"]

_WORDS = {
    "planned": {"planlagt"},
    "due": {"går nu", "skulle være gået"},
    "blocked": {"holdt op"},
    "missed": {"ikke sendt", "bortfaldet"},
    "sent": {"sendt", "sendt for sent"},
    "cancelled": {"aflyst", "sendes ikke"},
}
_ITEM = re.compile(
    r'<time datetime="(?P<at>[^"]+)">.*?<h3><a href="/staff/events/(?P<event>[^"]+)">[^<]*</a>,'
    r" (?P<lead>[^<]+)</h3>(?P<rows>.*?)</ul>",
    re.DOTALL,
)
_ROW = re.compile(
    r'<span class="plan-who">(?P<who>[^<]+): <b>(?P<audience>[^<]+)</b>.*?'
    r'brev</span> (?:<a href="/staff/campaigns/(?P<campaign>\d+)">)?(?P<letter>[^<]+)<.*?'
    r'<span class="state is-[a-z]+">(?P<state>[^<]+)</span>(?P<why>.*?)</span>\s*</li>',
    re.DOTALL,
)


def gone(db: Session, slug: str, lead: str, state: ReminderState, **more: Any) -> None:
    """A reminder that went or was called off."""
    event = find_event(db, slug)
    days = timedelta(days=int(lead.split(maxsplit=1)[0]))
    values = {"event_date": event.date, "rule": AudienceRule.ASKED, "audience": 12, **more}
    due_at = datetime.combine(values["event_date"] - days, time(8), UTC)
    db.add(Reminder(event_id=event.id, lead=lead, state=state, due_at=due_at, at=due_at, **values))


def as_shown(text: str) -> list[tuple[object, ...]]:
    """Each row: event, moment, lead, whom, how many, letter, campaign, state, whether it says why."""
    rows = []
    for item in _ITEM.finditer(text):
        for row in _ROW.finditer(item["rows"]):
            letter = unescape(row["letter"])
            rows.append(
                (
                    item["event"],
                    datetime.fromisoformat(item["at"]),
                    item["lead"],
                    row["who"],
                    row["audience"],
                    None if letter in {"–", "udsendelsen"} else letter,
                    int(row["campaign"]) if row["campaign"] else None,
                    next(state for state, words in _WORDS.items() if row["state"] in words),
                    "plan-why" in row["why"],
                )
            )
    return rows


def as_told(rows: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    """The same of what the command line tells."""
    return [
        (
            row["event"],
            datetime.fromisoformat(row["local_time"]),
            danish.lead(row["lead"]),
            RULES[AudienceRule(row["rule"])],
            audience(AudienceRule(row["rule"]), row["audience"]),
            row["letter"],
            row["campaign_id"],
            row["state"],
            row["reason"] is not None,
        )
        for row in rows
    ]


@pytest.mark.parametrize("moment", [None, "2014-03-31T09:30", "2014-09-01T09:00"])
def test_the_page_and_the_command_line_tell_the_same_reminders(
    signed_in: Staff,
    mailing: Mailing,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    moment: str | None,
) -> None:
    sent, cancelled = ReminderState.SENT, ReminderState.CANCELLED
    with mailing.runtime.database.write() as db:
        asking = [add_recipient(db, mailing.runtime, f"asks{n}@midt.example") for n in range(7)]
        event = find_event(db, "midtjylland")
        for recipient in asking:
            db.add(ReminderRequest(event_id=event.id, recipient_id=recipient.id, asked_at=NOW))
        gone(db, "midtjylland", "14 days", sent, campaign_id=mailing.campaign_id)
        gone(db, "forrige", "14 days", sent, late=True)
        moved = add_event(db, "flyttet", date(2014, 3, 26), place="Rådhuset", time=time(10))
        gone(db, "flyttet", "14 days", sent, campaign_id=mailing.campaign_id)
        gone(db, "flyttet", "7 days", cancelled, rule=AudienceRule.REGION)
        update_event(db, "flyttet", {"date": "2014-05-07"}, now=NOW)
        gone(db, "flyttet", "10 days", cancelled)  # a lead it does not have any more
        assert moved.state is EventState.MOVED
    capsys.readouterr()
    mailer = Caller(settings, monkeypatch, capsys)
    mailer.set("CLOCK", "2014-03-07T09:00+01:00")

    text = signed_in.get("/staff/reminders" + (f"?now={moment}" if moment else "")).text
    told = mailer("reminder", "plan", "--json", *(["--now", moment] if moment else [])).data["reminders"]

    shown = as_shown(text)
    assert sorted(shown, key=str) == sorted(as_told(told), key=str)
    left_over = [(row["event_date"], row["lead"]) for row in told if row["event"] == "flyttet"]
    for former in (("2014-03-26", "14 days"), ("2014-03-26", "7 days"), ("2014-05-07", "10 days")):
        assert left_over.count(former) == 1
    wanted = {"sent", "cancelled", "missed"} | (set() if moment == "2014-09-01T09:00" else {"blocked"})
    assert {row["state"] for row in told} >= wanted
