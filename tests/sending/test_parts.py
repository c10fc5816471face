"""A spread campaign through the real sweep and a real relay: parts leave as people's clock goes on."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from mailer.campaigns.account import reconcile
from mailer.campaigns.ledger import is_deferred
from mailer.campaigns.lifecycle import find_campaign
from mailer.campaigns.models import Delivery
from mailer.campaigns.timetable import Wishes, parse_hours, parse_span
from mailer.foundation.clock import Clock, real_now, set_rehearsal
from mailer.launch import launch_campaign
from mailer.runtime import Runtime
from mailer.sending.tools import SendingTools
from mailer.sending.work import send_batches, sweep
from recipients.models import Recipient
from tests.conftest import NOW
from tests.making import ScriptedRelay, make_campaign, make_recipients, relay_running, with_relay


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    with relay_running(ScriptedRelay()) as running:
        yield running


@pytest.fixture
def rehearsal(runtime: Runtime, relay: ScriptedRelay) -> Runtime:
    """A service whose clock is the test's to set, while leases and back-off run on real time."""
    clock = Clock(runtime.settings.state_dir)
    return replace(with_relay(runtime, relay.port, retry_after="1s"), clock=clock)


def launch(runtime: Runtime, count: int, wishes: Wishes) -> int:
    with runtime.database.write() as db:
        make_recipients(db, count)
        campaign = make_campaign(db, name="brev")
        return launch_campaign(runtime.launch_tools, db, campaign, now=NOW, wishes=wishes).campaign_id


def at(runtime: Runtime, tools: SendingTools, campaign_id: int, *, after: timedelta) -> None:
    """What scheduler and worker do when people's clock shows so long after the launch."""
    set_rehearsal(runtime.settings.state_dir, NOW + after)
    for ringing in sweep(tools, workers=1):
        send_batches(tools, campaign_id=ringing)
    send_batches(tools, campaign_id=campaign_id)  # a late or doubled bell


def test_parts_leave_one_after_the_other_and_the_campaign_ends(
    rehearsal: Runtime, relay: ScriptedRelay
) -> None:
    campaign_id = launch(rehearsal, 4, Wishes(span=parse_span("2h")))
    left = []
    with rehearsal.sending_tools() as tools:
        for minutes in (0, 29, 31, 61, 91):
            at(rehearsal, tools, campaign_id, after=timedelta(minutes=minutes))
            left.append(len(relay.recipients))

    assert left == [1, 1, 2, 3, 4]
    assert len(set(relay.recipients)) == 4
    with rehearsal.database.read() as db:
        campaign = find_campaign(db, "brev")
        assert campaign.state == "finished"
        assert reconcile(db, campaign).complete


def test_outside_its_hours_nothing_leaves_not_even_what_was_refused_for_now(
    rehearsal: Runtime, relay: ScriptedRelay
) -> None:
    campaign_id = launch(rehearsal, 2, Wishes(hours=parse_hours("8-16"), workdays=True))
    with rehearsal.database.read() as db:
        first, second = db.scalars(select(Recipient.email).order_by(Recipient.id))
    relay.rcpt[first] = "451 4.7.1 later"
    evening, saturday, monday = (timedelta(hours=hours) for hours in (8, 26, 72))
    with rehearsal.sending_tools() as tools:
        at(rehearsal, tools, campaign_id, after=timedelta())
        assert relay.recipients == [second]
        relay.rcpt.clear()
        with rehearsal.database.write() as db:
            db.execute(update(Delivery).where(is_deferred()).values(due_at=real_now()))
        for closed in (evening, saturday):
            at(rehearsal, tools, campaign_id, after=closed)
            assert relay.recipients == [second]
        at(rehearsal, tools, campaign_id, after=monday)

    assert relay.recipients == [second, first]
