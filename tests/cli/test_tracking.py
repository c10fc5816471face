"""`mailer tracking`: what is kept of one person's doings, and judging everything anew."""

import pytest
from sqlalchemy import update

from mailer.campaigns.models import Delivery
from mailer.foundation.database import Database
from mailer.foundation.settings import Settings
from mailer.tracking.models import Label, TrackingEvent, TrackingKind
from tests.cli.calling import Caller
from tests.reports.factories import make_recipient
from tests.tracking.sighted import CURL, make_letters


@pytest.fixture
def call(
    settings: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Caller:
    with database.write() as db:
        letters = make_letters(db, count=2)
        aase, bo = make_recipient(db, "aase@a.example"), make_recipient(db, "bo@b.example")
        make_recipient(db, "uden@brev.example")
        for position, person in ((1, aase), (2, bo)):
            db.execute(
                update(Delivery).where(Delivery.position == position).values(recipient_id=person.id)
            )
        letters.see(100, position=1, agent=CURL)
        letters.see(200, position=1, kind=TrackingKind.TRAP)
        letters.see(300, position=2, agent="another's program")
    return Caller(settings, monkeypatch, capsys)


def test_every_event_of_one_person_is_explained(call: Caller) -> None:
    told = call("tracking", "show", "brev", "AASE@a.example", "--json").data

    assert [(each["kind"], each["label"]) for each in told["events"]] == [
        ("click", "machine"),
        ("trap", "machine"),
    ]
    assert "no reader can see" in told["events"][1]["explained"]
    assert told["events"][0]["user_agent"] == CURL
    assert all(each["at"].endswith("+00:00") for each in told["events"])

    shown = call("tracking", "show", "brev", "aase@a.example")
    assert shown.code == 0
    assert "machine so far" in shown.stdout
    assert "another's program" not in shown.stdout


@pytest.mark.parametrize(
    "names", [("intet", "aase@a.example"), ("brev", "ukendt@a.example"), ("brev", "uden@brev.example")]
)
def test_who_or_what_is_not_there_is_not_found(call: Caller, names: tuple[str, str]) -> None:
    assert call("tracking", "show", *names).code == 4


def test_judging_anew_tells_what_it_changed(call: Caller, database: Database) -> None:
    with database.write() as db:
        db.execute(update(TrackingEvent).values(label=Label.PERSON, reason="a rule of old"))

    told = call("tracking", "relabel", "brev", "--json").data

    assert told["events"] == 3
    assert told["before"] == {"person": 3, "machine": 0, "unsure": 0}
    assert told["after"] == {"person": 0, "machine": 2, "unsure": 1}
    assert call("tracking", "relabel").code == 0
    assert call("tracking", "relabel", "intet").code == 4
