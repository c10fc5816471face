"""Numbers of people in words that do not name the few: on pages that are read side by side."""

from dataclasses import replace

from mailer.reports.danish import number
from mailer.reports.hiding import FEWEST
from mailer.reports.report import CampaignReport

NO_GROUPS = (
    "Brevet er gået af sig selv, og hvem der fik det, afhang af, hvad de havde gjort. Derfor er det ikke"
    " delt op i grupper: de ville vise, hvem det var."
)
"""Why a letter is not broken down by what its recipients are."""
FEW_HIDDEN = f"ikke vist: færre end {FEWEST}, eller det ville røbe dem"
"""Why a count of an anonymous letter is not told."""
_TWO_DIGITS_FROM = 100


def people(count: int) -> str:
    """A number of people; not which, where they are so few that it would nearly name them."""
    if 0 < count < FEWEST:
        return f"færre end {FEWEST}"
    return number(count)


def roughly(count: int) -> str:
    """A number of people which, with a known one subtracted, would tell of a few: rounded down."""
    return people(count) if count < FEWEST else f"ca. {number(rounded_down(count))}"


def rounded_down(count: int) -> int:
    """To fives; from a hundred on to two digits."""
    step = FEWEST if count < _TWO_DIGITS_FROM else 10 ** (len(str(count)) - 2)
    return count // step * step


def without_few_registered(report: CampaignReport) -> CampaignReport:
    """The report without its sums of registrations, where few are registered for one of its events.

    Those of the other events, or of the groups, subtracted from the whole would tell of these few.
    """
    if not any(0 < event.registered < FEWEST for event in report.events):
        return report
    untold = replace(report.engagement.registrations, recipients=None, total=0)
    return replace(report, engagement=replace(report.engagement, registrations=untold))
