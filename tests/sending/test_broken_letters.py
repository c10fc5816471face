"""A letter that breaks at one recipient: nobody else suffers for it, whatever is wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from mailer.campaigns.account import count_states, reconcile
from mailer.campaigns.attention import Trouble, find_alarms
from mailer.campaigns.errors import LaunchRefused
from mailer.campaigns.lifecycle import find_campaign
from mailer.campaigns.models import Delivery
from mailer.foundation.clock import real_now
from mailer.launch import Launched, launch_campaign
from mailer.runtime import Runtime
from mailer.sending.addressees import Addressee
from mailer.sending.frozen import open_letter
from mailer.sending.letters import Message
from mailer.sending.work import send_batches
from mailer.sending.writer import LetterWriter
from recipients.models import Recipient
from tests.conftest import NOW
from tests.making import ScriptedRelay, make_campaign, make_recipient, relay_running, with_relay


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    with relay_running(ScriptedRelay()) as running:
        yield running


def launch(runtime: Runtime, *addresses: str, **values: object) -> Launched:
    with runtime.database.write() as db:
        for address in addresses:
            make_recipient(db, address=address)
        campaign = make_campaign(db, name="brev", **values)
        return launch_campaign(runtime.launch_tools, db, campaign, now=NOW)


def work(runtime: Runtime, launched: Launched) -> bool:
    with runtime.sending_tools() as tools:
        return send_batches(tools, campaign_id=launched.campaign_id)


def states(runtime: Runtime) -> dict[str, str]:
    with runtime.database.read() as db:
        rows = db.execute(
            select(Recipient.email, Delivery.state).join(Delivery, Delivery.recipient_id == Recipient.id)
        ).all()
    return {email: state.value for email, state in rows}


def own_letter(folder: Path, text: str) -> Path:
    letter = folder / "letters" / "egen"
    letter.mkdir(parents=True)
    (letter / "subject.txt").write_text("Emne", encoding="utf-8")
    (letter / "body.txt").write_text(text, encoding="utf-8")
    (letter / "body.html").write_text(f"<body><p>{text}</p></body>", encoding="utf-8")
    return folder


def test_who_lacks_what_the_letter_needs_fails_alone(
    runtime: Runtime, relay: ScriptedRelay, tmp_path: Path
) -> None:
    folder = own_letter(tmp_path, "{{ recipient.attributes.nummer }}")
    runtime = with_relay(runtime, relay.port, templates_dir=folder)
    with runtime.database.write() as db:
        make_recipient(db, address="a@kommune.example", attributes={"nummer": "7"}, role="leder")
        make_recipient(db, address="b@kommune.example")
    launched = launch(runtime, letter="egen")

    work(runtime, launched)

    assert states(runtime) == {"a@kommune.example": "sent", "b@kommune.example": "failed"}


def poisoned(runtime: Runtime, count: int) -> Launched:
    """A launched letter that one recipient in the middle, as they are since, makes fail."""
    with runtime.database.write() as db:
        for number in range(count):
            make_recipient(db, address=f"p{number}@d{number % 7}.example", workplace="Skødstrup Skole")
    launched = launch(runtime, letter="egen")
    with runtime.database.write() as db:
        one = Recipient.email == f"p{count // 2}@d{count // 2 % 7}.example"
        db.execute(update(Recipient).where(one).values(workplace=None))
    return launched


@pytest.mark.parametrize(
    "wrong", ["wordwrap(4)", "long_date", "truncate(2)", "dictsort", "format(1, 2)"]
)
def test_one_recipient_at_whose_values_a_filter_breaks_fails_alone(
    runtime: Runtime, relay: ScriptedRelay, tmp_path: Path, wrong: str
) -> None:
    relay.delay_dot_seconds = 0.002
    text = f"{{{{ recipient.workplace or (recipient.workplace|{wrong}) }}}}"
    runtime = with_relay(runtime, relay.port, templates_dir=own_letter(tmp_path, text))
    launched = poisoned(runtime, 63)

    work(runtime, launched)

    came_to = states(runtime)
    assert came_to.pop("p31@d3.example") == "failed"
    assert set(came_to.values()) == {"sent"}
    assert sorted(relay.recipients) == sorted(came_to)
    with runtime.database.read() as db:
        (failed,) = db.scalars(select(Delivery).where(Delivery.state == "failed"))
        assert failed.reason is not None
        assert failed.reason.startswith("not rendered: letter egen/body.txt:1: ")
        assert find_campaign(db, "brev").state == "finished"
        assert reconcile(db, find_campaign(db, "brev")).complete


def test_the_reason_of_a_letter_that_was_not_written_names_nobody(
    runtime: Runtime, relay: ScriptedRelay, tmp_path: Path
) -> None:
    folder = own_letter(tmp_path, "{{ 'Hej' if recipient.workplace else {}[recipient.name].x }}")
    runtime = with_relay(runtime, relay.port, templates_dir=folder)
    launched = poisoned(runtime, 3)
    with runtime.database.write() as db:
        db.execute(update(Recipient).values(name="Åse Ørsted"))

    work(runtime, launched)

    with runtime.database.read() as db:
        reason = db.scalar(select(Delivery.reason).where(Delivery.state == "failed"))
    assert reason is not None
    assert "body.txt:1" in reason
    assert "Åse" not in reason
    assert "Ørsted" not in reason


@pytest.mark.parametrize("character", [r"\ud800", r"\x00", r"\n", r"\x85", r"\u2028", "x" * 9_000])
def test_a_reason_that_no_file_or_database_takes_makes_nobody_else_uncertain(
    runtime: Runtime, relay: ScriptedRelay, tmp_path: Path, character: str
) -> None:
    relay.delay_dot_seconds = 0.002
    missing = f'{{% include "a" ~ "{character}" ~ "b" %}}'
    text = f"{{{{ recipient.name }}}}{{% if not recipient.workplace %}}{missing}{{% endif %}}"
    runtime = with_relay(runtime, relay.port, templates_dir=own_letter(tmp_path, text))
    launched = poisoned(runtime, 63)

    work(runtime, launched)

    came_to = states(runtime)
    assert came_to.pop("p31@d3.example") == "failed"
    assert set(came_to.values()) == {"sent"}
    assert sorted(relay.recipients) == sorted(came_to)
    with runtime.database.read() as db:
        reason = db.scalar(select(Delivery.reason).where(Delivery.state == "failed"))
        assert reconcile(db, find_campaign(db, "brev")).complete
    assert reason is not None
    assert reason.startswith("not rendered: ")
    assert reason.isprintable()
    assert len(reason) <= 300


def test_for_want_of_memory_nobody_fails_and_the_letter_is_handed_back(
    runtime: Runtime, relay: ScriptedRelay, tmp_path: Path
) -> None:
    text = "Hej{% if not recipient.workplace %}{{ 'x' * 10 ** 15 }}{% endif %}"
    runtime = with_relay(runtime, relay.port, templates_dir=own_letter(tmp_path, text))
    launched = poisoned(runtime, 21)

    with pytest.raises(MemoryError):
        work(runtime, launched)

    came_to = states(runtime)
    assert came_to["p10@d3.example"] == "pending"
    assert set(came_to.values()) <= {"sent", "pending"}
    with runtime.database.read() as db:
        assert count_states(db, launched.campaign_id)["claimed"] == 0


class FaultyWriter(LetterWriter):
    """Has a fault of its own that shows at one recipient."""

    def write(self, to: Addressee) -> Message:
        if to.values.workplace is None:
            raise ZeroDivisionError
        return super().write(to)


def test_a_fault_of_ours_at_one_recipient_lets_all_others_go_out_and_is_an_alarm(
    runtime: Runtime, relay: ScriptedRelay, tmp_path: Path
) -> None:
    relay.delay_dot_seconds = 0.005
    folder = own_letter(tmp_path, "{{ recipient.workplace }}")
    runtime = with_relay(runtime, relay.port, templates_dir=folder)
    launched = poisoned(runtime, 120)
    with runtime.sending_tools() as tools:
        with runtime.database.read() as db:
            letter = open_letter(db, find_campaign(db, "brev"))
        tools.writers[launched.campaign_id] = FaultyWriter(tools.letters, letter)
        for broke_off in range(1, 40):
            with pytest.raises(ZeroDivisionError):
                send_batches(tools, campaign_id=launched.campaign_id)
            with runtime.database.read() as db:
                counts = count_states(db, launched.campaign_id)
                alarms = list(find_alarms(db, now=real_now(), shown=NOW, uncertain_alarm=50))
                assert reconcile(db, find_campaign(db, "brev")).ok
            assert counts["claimed"] == counts["uncertain"] == 0
            assert [alarm.trouble for alarm in alarms] == [Trouble.BROKEN] * (broke_off >= 3)
            assert not alarms or alarms[0].count == broke_off
            if counts["sent"] == 119 and alarms:
                break
        assert counts["sent"] == len(relay.recipients) == len(set(relay.recipients)) == 119
        assert states(runtime)["p60@d4.example"] == "pending"

        tools.writers.clear()  # as a mended program begins
        send_batches(tools, campaign_id=launched.campaign_id)
    assert set(states(runtime).values()) == {"sent"}
    with runtime.database.read() as db:
        assert not list(find_alarms(db, now=real_now(), shown=NOW, uncertain_alarm=50))
        assert reconcile(db, find_campaign(db, "brev")).complete


def test_a_letter_that_nobody_can_get_is_refused_at_the_launch(
    runtime: Runtime, relay: ScriptedRelay, tmp_path: Path
) -> None:
    folder = own_letter(tmp_path, "{{ recipient.attributes.numer }}")
    runtime = with_relay(runtime, relay.port, templates_dir=folder)
    with pytest.raises(LaunchRefused, match="no attribute 'numer'"):
        launch(runtime, "a@kommune.example", letter="egen")
