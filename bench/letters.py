"""What one letter costs the sender's CPU: compiled, against Jinja2 with EmailMessage, in one run.

Run it with ``make bench``. Machines drift from minute to minute: read the ratios, not the microseconds.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr
from itertools import islice
from pathlib import Path

from sqlalchemy import select

from mailer.campaigns.lifecycle import create_campaign
from mailer.embedded.population import write_population_csv
from mailer.events.catalogue import import_events
from mailer.foundation.clock import Clock, parse_clock
from mailer.foundation.database import open_database
from mailer.foundation.settings import load_settings
from mailer.rendering.message import CommonFields
from mailer.runtime import Runtime, template_folders
from mailer.schema import upgrade_schema
from mailer.sending.addressees import Addressee, sample_addressee
from mailer.sending.frozen import CampaignLetter
from mailer.sending.letters import LetterTools, common_fields, letter_values, personal_fields
from mailer.sending.preparing import prepare_letter
from mailer.sending.writer import LetterWriter
from mailer.tracking.tokens import Tokens
from recipients.importing import ImportOptions, import_files
from recipients.models import Recipient

SEED = 2014
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
        ratios = []
        for number in range(1, asked.rounds + 1):
            compiled = cpu_per_letter(writer.write, people)
            plain = cpu_per_letter(lambda to: naive(tools, letter, common, to), people[: asked.plain])
            ratios.append(plain / compiled)
            say(
                f"round {number}: compiled {compiled * 1e6:.0f} µs, plain {plain * 1e6:,.0f} µs a letter"
            )
        size = statistics.mean(len(writer.write(to).data) for to in people[:500])
        say(
            f"compiled against Jinja2 + EmailMessage: {statistics.median(ratios):.0f} ×"
            f" (from {min(ratios):.0f} to {max(ratios):.0f}), {size:,.0f} bytes a letter,"
            f" {len(people):,} recipients, seed {SEED}"
        )


def prepare(folder: Path, size: int) -> tuple[LetterTools, CampaignLetter, list[Addressee]]:
    """The shipped letter with tracking on, and recipients of the generated population."""
    settings = load_settings(
        state_dir=folder,
        secret_key="bench" * 8,
        suppression_key="bench" * 8,
        sender="Center for Offentlig Innovation <brev@coi.example>",
    )
    database = open_database(settings.database)
    upgrade_schema(database)
    runtime = Runtime(settings, database, Clock(), Tokens(settings.signing_keys))
    now, _ = parse_clock(SPRING)
    write_population_csv(folder / "list.csv", size, SEED)
    options = ImportOptions(rejects_folder=folder)
    import_files(
        database, [folder / "list.csv"], hash_key=settings.address_key, clock=Clock(), options=options
    )
    with database.write() as db:
        import_events(db, template_folders(settings)[-1] / "letters/startpakke/events.toml", now)
        campaign = create_campaign(
            db,
            "bench",
            letter="startpakke",
            segment=None,
            tracking="personal",
            legal_basis="a benchmark",
            now=now,
        )
        letter = prepare_letter(runtime.letter_tools, db, campaign, now=now)
        rows = db.scalars(select(Recipient).order_by(Recipient.id))
        people = [
            replace(sample_addressee(db, row), position=position)
            for position, row in enumerate(islice(rows, size), start=1)
        ]
    database.dispose()
    return runtime.letter_tools, letter, people


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


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
