"""What a campaign waits for, told in the office's own time; and what wants attention."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from mailer.campaigns.attention import find_alarms, unended_campaigns
from mailer.campaigns.ledger import Outcome, finalise_batch
from mailer.campaigns.models import Batch, Campaign, CampaignState, DeliveryState
from mailer.campaigns.progress import Waiting, kind_of, look_at
from mailer.campaigns.timetable import Plan, Timetable, parse_span, plan_parts
from tests.campaigns.making import claim, finalise, sending
from tests.conftest import NOW
from tests.making import make_campaign

ZONE = ZoneInfo("Europe/Copenhagen")
MINUTE = timedelta(minutes=1)


def waiting_for(
    db: Session, campaign: Campaign, *, now: datetime = NOW, shown: datetime = NOW
) -> str | None:
    """In words, each of which is of a kind that programs know."""
    db.flush()
    told = look_at(db, campaign, now=now, shown=shown, zone=ZONE).waiting_for
    assert told is None or kind_of(told) is not Waiting.OTHER
    return told


def alarms(db: Session, *, now: datetime = NOW, shown: datetime = NOW, most: int = 50) -> list[str]:
    db.flush()
    return [str(alarm) for alarm in find_alarms(db, now=now, shown=shown, uncertain_alarm=most)]


def test_a_scheduled_campaign_tells_its_time_in_the_offices_zone(db: Session) -> None:
    campaign = make_campaign(db, name="brev")
    campaign.state, campaign.due_at = CampaignState.SCHEDULED, NOW + timedelta(days=3)
    assert waiting_for(db, campaign) == "its time, Mon 10 March 09:00"


def test_a_paused_campaign_waits_for_somebody(db: Session) -> None:
    assert waiting_for(db, sending(db, 1, state=CampaignState.PAUSED)) == "somebody to resume it"


def test_a_relay_in_trouble_is_named(db: Session) -> None:
    campaign = sending(db, 1, waiting_for="relay mail.example:587: connection refused")
    assert waiting_for(db, campaign) == "relay mail.example:587: connection refused"


def test_a_spread_campaign_tells_when_its_next_part_is_due(db: Session) -> None:
    def spread(letters: int) -> Plan:
        return plan_parts(Timetable(ZONE), NOW + MINUTE, parse_span("1h"), letters=letters, most=9)

    campaign = sending(db, 3, spread=spread)
    assert waiting_for(db, campaign) == "the next part, Fri 7 March 09:01"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"hours": "8:30-16", "workdays": True},
            "its hours, 8:30-16 on working days: it goes on Mon 10 March 08:30",
        ),
        ({"hours": "8:30-16"}, "its hours, 8:30-16: it goes on Sat 8 March 08:30"),
        ({"workdays": True}, "a working day: it goes on Mon 10 March 00:00"),
    ],
)
def test_outside_its_hours_a_campaign_tells_when_it_goes_on(
    db: Session, values: dict[str, Any], words: str
) -> None:
    campaign = sending(db, 1, **values)
    evening = NOW + timedelta(hours=8 if "hours" in values else 24)
    assert waiting_for(db, campaign, shown=evening) == words
    assert waiting_for(db, campaign, shown=NOW) is None


def test_letters_nobody_takes_wait_for_a_worker(db: Session) -> None:
    campaign = sending(db, 1)
    assert waiting_for(db, campaign) is None
    words = waiting_for(db, campaign, now=NOW + MINUTE)
    assert words is not None
    assert words.startswith("a worker")
    claim(db, campaign)
    assert waiting_for(db, campaign, now=NOW + MINUTE) is None


def test_deferred_letters_tell_their_next_attempt(db: Session) -> None:
    campaign = sending(db, 2)
    finalise(db, campaign, {1: DeliveryState.DEFERRED})
    told = "letters that were refused for now; the next attempt is at 09:00:00"
    assert waiting_for(db, campaign) == told


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("its time, Mon 10 March 09:00", "timetable"),
        ("its hours, 8-16: it goes on Mon 10 March 08:00", "timetable"),
        ("a working day: it goes on Mon 10 March 08:00", "timetable"),
        ("the next part, Fri 7 March 09:01", "timetable"),
        ("relay mail.example:587: it refuses everybody", "relay"),
        ("no relay is set", "relay"),
        ("another relay: the letter is too long for it", "relay"),
        ("the pace at which letters are taken at kommune.example and 3 more", "pace"),
        ("a worker: letters are ready and nobody takes them (is  mailer up  running?)", "worker"),
        ("somebody to mend a fault: the work on some letters has broken off 3 times", "fault"),
        ("somebody to resume it", "resume"),
        ("letters that were refused for now; the next attempt is soon", "retry"),
        ("relays", "other"),
        ("", "other"),
    ],
)
def test_what_is_waited_for_is_of_a_kind(told: str, kind: str) -> None:
    assert kind_of(told) == kind


def test_a_finished_campaign_waits_for_nothing(db: Session) -> None:
    assert waiting_for(db, sending(db, 1, state=CampaignState.FINISHED)) is None


def test_too_many_uncertain_letters_are_an_alarm_also_when_all_is_over(db: Session) -> None:
    campaign = sending(db, 3)
    finalise(db, campaign, dict.fromkeys((1, 2), DeliveryState.UNCERTAIN))
    campaign.state = CampaignState.FINISHED
    assert alarms(db, most=3) == []
    (alarm,) = alarms(db, most=2)
    assert alarm.startswith("brev: 2 letters are uncertain")


def test_a_campaign_that_stands_still_is_an_alarm(db: Session) -> None:
    campaign = sending(db, 20, size=10)
    assert alarms(db, now=NOW + 9 * MINUTE) == []
    assert alarms(db, now=NOW + 11 * MINUTE) == ["brev: is sending, and nothing has moved yet"]
    finalise(db, campaign, {}, real=NOW + 11 * MINUTE)
    assert alarms(db, now=NOW + 12 * MINUTE) == []
    assert alarms(db, now=NOW + 23 * MINUTE) == [
        "brev: is sending, and nothing has moved for 12 minutes"
    ]


def test_a_campaign_whose_relays_hand_all_back_is_an_alarm_though_its_batches_are_new(
    db: Session,
) -> None:
    sending(db, 5, started_at=NOW, waiting_for="relay mail.example:587: connection refused")
    later = NOW + 11 * MINUTE
    db.execute(update(Batch).values(due_at=later))
    assert alarms(db, now=later) == ["brev: is sending, and nothing has moved for 11 minutes"]


def test_parts_that_are_not_due_and_closed_hours_are_no_alarm(db: Session) -> None:
    campaign = sending(db, 5)
    db.execute(update(Batch).values(due_at=None, planned_at=NOW))
    assert alarms(db, now=NOW + 60 * MINUTE) == []
    db.execute(update(Batch).values(due_at=NOW))
    campaign.opens_at, campaign.closes_at = NOW - MINUTE, NOW
    assert alarms(db, now=NOW + 60 * MINUTE, shown=NOW + 60 * MINUTE) == []


def test_a_claim_nobody_recovers_is_an_alarm(db: Session) -> None:
    campaign = sending(db, 5)
    campaign.progressed_at = NOW + 2 * MINUTE
    claim(db, campaign)
    assert alarms(db, now=NOW) == []
    assert alarms(db, now=NOW + MINUTE) == ["1 batches are claimed by workers that give no sign of life"]


def test_work_that_breaks_off_on_the_same_letters_again_and_again_is_an_alarm(db: Session) -> None:
    campaign = sending(db, 5)

    def break_off() -> None:
        batch = claim(db, campaign)
        batch.fence += 1  # as whoever takes the lost claim over moves it on
        done = [Outcome(position, DeliveryState.SENT) for position in left[:1]]
        finalise_batch(
            *(db, batch, done), handed_back=left[1:], now=NOW, back_at=NOW, real=NOW, broken_off=True
        )
        del left[0]
        db.expire_all()

    left = [1, 2, 3, 4, 5]
    for _ in range(2):
        break_off()
    assert alarms(db) == []
    assert waiting_for(db, campaign) is None
    break_off()
    told = ["brev: the work on some letters has broken off 3 times; the log of the workers says why"]
    assert alarms(db) == told
    words = "somebody to mend a fault: the work on some letters has broken off 3 times"
    assert waiting_for(db, campaign) == words
    claim(db, campaign)
    assert alarms(db) == told
    assert waiting_for(db, campaign) == words
    campaign.waiting_for = "relay mail.example:587: connection refused"
    assert waiting_for(db, campaign) == campaign.waiting_for

    campaign.state = CampaignState.CANCELLED
    assert alarms(db) == []


def test_what_is_handed_back_by_a_worker_that_lives_has_not_broken_off(db: Session) -> None:
    campaign = sending(db, 5)
    for _ in range(9):
        batch = claim(db, campaign)
        finalise_batch(db, batch, (), handed_back=range(1, 6), now=NOW, back_at=NOW, real=NOW)
    assert alarms(db) == []
    assert waiting_for(db, campaign) is None


def test_drafts_and_what_is_over_are_not_under_way(db: Session) -> None:
    for state in CampaignState:
        make_campaign(db, name=str(state)).state = state
    db.flush()
    names = [campaign.name for campaign in unended_campaigns(db)]
    assert names == ["scheduled", "sending", "paused"]
