"""What one letter costs the sender's CPU: compiled, against Jinja2 with EmailMessage, in one run.

Run it with ``make bench``. Machines drift from minute to minute: read the ratios, not the microseconds.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr
from pathlib import Path

from sqlalchemy import select

from mailer.campaigns.audience import freeze_audience
from mailer.campaigns.lifecycle import create_campaign
from mailer.campaigns.models import Delivery
from mailer.embedded.population import write_population_csv
from mailer.events.importing import import_events
from mailer.foundation.clock import Clock, parse_clock
from mailer.foundation.database import Database, open_database
from mailer.foundation.settings import Settings, load_settings
from mailer.migrations.upgrading import upgrade_schema
from mailer.rendering.message import CommonFields
from mailer.sending.addressees import EVERYTHING, Addressee, Needs, addressees, read_addressee
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import LetterTools, common_fields, letter_values, personal_fields
from mailer.sending.preparing import prepare_letter
from mailer.sending.writer import LetterWriter
from mailer.tracking.tokens import Tokens
from recipients.importing import ImportOptions, import_files
from recipients.models import Recipient

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
SEED = 2014
BATCH_SIZE = 2_000
SPRING = "2014-03-07T09:00+01:00"


def main() -> None:
    """Print what a letter costs either way, and the ratio, medians and spread of several rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--letters", type=int, default=10_000, help="compiled letters a round")
    parser.add_argument("--plain", type=int, default=100, help="plain letters a round")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tools, letter, people = prepare(Path(folder), asked.letters)
        writer = LetterWriter(tools, letter)
        common = common_fields(tools, letter)
        for to in people:
            writer.write(to)  # every variant is compiled before the clock starts
        few, different = few_names(people), different_names(people)
        ratios, against, read = [], [], []
        for number in range(1, asked.rounds + 1):
            compiled = cpu_per_letter(writer.write, people)
            plain = cpu_per_letter(lambda to: naive(tools, letter, common, to), people[: asked.plain])
            same, other = (cpu_per_letter(writer.write, audience) for audience in (few, different))
            read.append(cpu_per_row(tools.settings, letter.campaign_id, writer.needs, len(people)))
            ratios.append(plain / compiled)
            against.append(same / other)
            say(
                f"round {number}: compiled {compiled * 1e6:.1f} µs a letter, plain {plain * 1e6:,.0f};"
                f" few names {same * 1e6:.1f} µs, all different {other * 1e6:.1f} µs;"
                f" reading {read[-1] * 1e6:.1f} µs a row"
            )
        size = statistics.mean(len(writer.write(to).data) for to in people[:500])
        say(
            f"compiled against Jinja2 + EmailMessage: {statistics.median(ratios):.0f} ×"
            f" (from {min(ratios):.0f} to {max(ratios):.0f}), {size:,.0f} bytes a letter,"
            f" {len(people):,} recipients, seed {SEED}"
        )
        say(
            f"all names different and not ASCII: {statistics.median(against):.2f} of the rate"
            f" with few names (from {min(against):.2f} to {max(against):.2f})"
        )
        say(f"reading a recipient, SQLite's part included: {statistics.median(read) * 1e6:.1f} µs")


def prepare(folder: Path, size: int) -> tuple[LetterTools, CampaignLetter, list[Addressee]]:
    """The shipped letter with tracking on, and recipients of the generated population."""
    settings = load_settings(
        state_dir=folder,
        database_url=f"sqlite:///{folder / 'bench.sqlite'}",  # whatever stands in the environment
        secret_key="bench" * 8,
        suppression_key="bench" * 8,
        sender="Center for Offentlig Innovation <brev@coi.example>",
    )
    database = open_database(settings.database)
    upgrade_schema(database)
    tools = LetterTools(settings, Tokens(settings.signing_keys), (TEMPLATES,))
    now, _ = parse_clock(SPRING)
    write_population_csv(folder / "list.csv", size, SEED)
    options = ImportOptions(rejects_folder=folder)
    import_files(
        database, [folder / "list.csv"], hash_key=settings.address_key, clock=Clock(), options=options
    )
    with database.write() as db:
        import_events(db, TEMPLATES / "letters/startpakke/events.toml", now)
        campaign = create_campaign(
            db,
            "bench",
            letter="startpakke",
            segment=None,
            tracking="personal",
            legal_basis="a benchmark",
            now=now,
        )
        letter = prepare_letter(tools, db, campaign, now=now)
        freeze_audience(
            db,
            campaign,
            select(Recipient.id),
            batch_size=BATCH_SIZE,
            allowed=None,
            now=now,
            due_at=now,
        )
    people = [
        to
        for batch in read_batches(database, letter.campaign_id, EVERYTHING, audience=campaign.audience)
        for to in batch
    ]
    database.dispose()
    return tools, letter, people


def read_batches(
    database: Database, campaign_id: int, needs: Needs, *, audience: int
) -> Iterator[list[Addressee]]:
    """The audience as the sender reads it."""
    for first in range(1, audience + 1, BATCH_SIZE):
        asked = (
            addressees(needs)
            .where(
                Delivery.campaign_id == campaign_id,
                Delivery.position.between(first, first + BATCH_SIZE - 1),
            )
            .order_by(Delivery.position)
        )
        with database.read() as db:
            yield [read_addressee(row) for row in db.execute(asked)]


def few_names(people: Sequence[Addressee]) -> list[Addressee]:
    """The same audience with a hundred names in ASCII between them."""
    return [
        replace(to, values=replace(to.values, name=f"Anna Hansen {to.position % 100}")) for to in people
    ]


def different_names(people: Sequence[Addressee]) -> list[Addressee]:
    """The same audience with a name of its own for everybody, none of them ASCII."""
    return [
        replace(to, values=replace(to.values, name=f"Åse Bjørnsdóttir-{to.position} Sørensen"))
        for to in people
    ]


def naive(tools: LetterTools, letter: CampaignLetter, common: CommonFields, to: Addressee) -> bytes:
    """The letter as most teams write it: templates parsed once, the rest by the standard library."""
    subject, text, html = letter.letter.render_parts(letter_values(tools, letter, to, to.position))
    personal = personal_fields(tools, letter, to)
    message = EmailMessage(policy=SMTP)
    message["From"] = formataddr((common.from_name, common.from_address))
    message["To"] = formataddr((personal.to_name, personal.to_address))
    message["Subject"] = subject.strip()
    message["Date"] = format_datetime(common.date)
    message["Message-ID"] = f"<{personal.message_id}>"
    message["List-Id"] = f"<{common.list_id}>"
    message["List-Unsubscribe"] = f"<{personal.unsubscribe_url}>, <{personal.unsubscribe_mailto}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    return message.as_bytes()


def cpu_per_letter(write: Callable[[Addressee], object], people: Sequence[Addressee]) -> float:
    """Seconds of CPU a letter costs."""
    began = time.process_time()
    for to in people:
        write(to)
    return (time.process_time() - began) / len(people)


def cpu_per_row(settings: Settings, campaign_id: int, needs: Needs, audience: int) -> float:
    """Seconds of CPU that reading one recipient costs."""
    database = open_database(settings.database)
    began = time.process_time()
    count = sum(map(len, read_batches(database, campaign_id, needs, audience=audience)))
    spent = time.process_time() - began
    database.dispose()
    return spent / count


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
