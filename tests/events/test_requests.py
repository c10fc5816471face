from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailer.events.errors import EventNotFound
from mailer.events.models import ReminderRequest
from mailer.events.requests import request_reminder, withdraw_request
from mailer.foundation.database import Database
from tests.events.making import NOW, make_event, make_recipient


def test_asking_twice_is_asking_once(db: Session) -> None:
    make_event(db, "kolding")
    recipient = make_recipient(db)

    assert request_reminder(db, "kolding", recipient.id, now=NOW)
    assert not request_reminder(db, "kolding", recipient.id, now=NOW + timedelta(days=9))

    assert [asked.asked_at for asked in db.scalars(select(ReminderRequest))] == [NOW]


def test_an_unknown_event_cannot_be_asked_for(db: Session) -> None:
    with pytest.raises(EventNotFound):
        request_reminder(db, "kolding", make_recipient(db).id, now=NOW)


def test_a_recipient_who_is_gone_is_a_fault_of_the_caller(db: Session) -> None:
    make_event(db, "kolding")
    with pytest.raises(IntegrityError):
        request_reminder(db, "kolding", 4711, now=NOW)


def test_a_double_click_at_the_same_moment_stores_one_request(database: Database) -> None:
    with database.write() as db:
        make_event(db, "kolding")
        recipient_id = make_recipient(db).id
    ready, answers = Barrier(4), []

    def ask() -> None:
        ready.wait()
        with database.write() as db:
            answers.append(request_reminder(db, "kolding", recipient_id, now=NOW))

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False, False, False, True]


def test_a_request_can_be_withdrawn_and_made_again(db: Session) -> None:
    make_event(db, "kolding")
    recipient = make_recipient(db)
    request_reminder(db, "kolding", recipient.id, now=NOW)

    assert withdraw_request(db, "kolding", recipient.id, now=NOW)
    assert not withdraw_request(db, "kolding", recipient.id, now=NOW)
    assert not withdraw_request(db, "nowhere", recipient.id, now=NOW)
    assert request_reminder(db, "kolding", recipient.id, now=NOW)


def test_a_request_made_after_a_withdrawal_stays(db: Session) -> None:
    make_event(db, "kolding")
    recipient = make_recipient(db)
    request_reminder(db, "kolding", recipient.id, now=NOW)

    assert not withdraw_request(db, "kolding", recipient.id, now=NOW - timedelta(seconds=1))
