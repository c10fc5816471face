"""A letter sent to a few addresses of the sending office, outside any campaign's ledger."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mailer.campaigns.ledger import Outcome
from mailer.sending.addressees import Addressee
from mailer.sending.dispatch import Dispatcher
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import LetterTools, render_letter, write_message


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What became of one test letter."""

    address: str
    outcome: Outcome


def send_trial(
    tools: LetterTools,
    dispatcher: Dispatcher,
    letter: CampaignLetter,
    addressees: Sequence[Addressee],
    *,
    now: datetime,
) -> list[TrialResult]:
    """Send the letter to each, marked as a test; its links name nobody.

    Raises:
        RelayUnavailable: no relay can be used.
        RecipientValueError, LetterError: the letter cannot be rendered.
    """
    results = []
    for to in addressees:
        rendered = render_letter(tools, letter, to)
        marked = replace(rendered, subject=f"[Test] {rendered.subject}")
        message = write_message(tools, letter, to, marked)
        outcome = dispatcher.offer(message, to, before_dot=lambda _relay: None, now=now)
        results.append(TrialResult(to.email, outcome))
    return results
