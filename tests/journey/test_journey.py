"""One letter from a row of a CSV file to a row of the report, through every real part."""

import csv
import io
import os
import re
import signal
from collections import Counter
from email import message_from_bytes
from email.policy import default
from html import unescape
from pathlib import Path

from mailer.embedded.population import write_population_csv
from tests.journey.service import Service, children_of, running_service, wait_for

EVENTS = Path(__file__).parents[2] / "templates" / "letters" / "startpakke" / "events.toml"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
LIST = """E-mail;Navn;Stilling;Kommune;Region
aase@aarhus.example;Åse Bjørnsdóttir Sørensen;Tillidsrepræsentant;Aarhus;Region Midtjylland
borgmester@skanderborg.example;;Borgmester;Skanderborg;Region Midtjylland
ukendt@aarhus.example;Bo Ukendt;Medarbejder;Aarhus;Region Midtjylland
ikke en adresse;;;;
"""
FAULTS = """
[[fault]]
recipient = "^ukendt@"
reply = "550 5.1.1 No such person here"
at = "rcpt"
"""
BRIEF = ["--letter", "startpakke", "--tracking", "personal", "--legal-basis", "a public task"]


def test_one_letter_from_a_csv_row_to_the_report(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "liste.csv").write_bytes(LIST.encode("cp1252", "replace"))
    with running_service(tmp_path, database_url, faults=FAULTS) as service:
        imported = service.read("recipient", "import", "liste.csv", "--source", "KL", code=3)
        assert (imported["rows"], imported["imported"], imported["rejected"]) == (4, 3, 1)
        service.run("event", "import", str(EVENTS))
        service.run("campaign", "create", "brev", *BRIEF)
        queued = service.read("campaign", "queue", "brev", "--yes")
        assert (queued["audience"], queued["rung"]) == (3, True)

        status = service.wait_until_finished("brev")

        assert (status["deliveries"]["sent"], status["deliveries"]["bounced"]) == (2, 1)
        kept = {letter.recipient: letter for letter in service.kept()}
        assert set(kept) == {"aase@aarhus.example", "borgmester@skanderborg.example"}
        ledger = list(csv.DictReader(io.StringIO(service.run("campaign", "ledger", "brev"))))
        sent = {row["recipient"]: row["message_id"] for row in ledger if row["state"] == "sent"}
        assert sent == {to: letter.message_id.strip("<>") for to, letter in kept.items()}

        file = tmp_path / "sink" / kept["aase@aarhus.example"].file
        message = message_from_bytes(file.read_bytes(), policy=default)
        assert message["To"].addresses[0].addr_spec == "aase@aarhus.example"
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        html = message.get_body(("html",)).get_content()  # type: ignore[union-attr]
        links = [unescape(link) for link in re.findall(r'(?:href|src)="(http[^"]+)"', html)]
        assert all(link.startswith(service.public_url) for link in links)
        pixel = next(link for link in links if "/o/" in link)
        remind = next(link for link in links if "/r/" in link and link.endswith("hovedstaden"))
        unsubscribe = re.search(r"<(http[^>]+/u/[^>]+)>", message["List-Unsubscribe"])
        assert unsubscribe is not None

        service.get(pixel, agent=FIREFOX)
        assert "Filminstitut" in service.get(remind, agent=FIREFOX)
        assert service.post(remind, "") == 200
        for link in {link for link in links if "/c/" in link and link.endswith(("/1", "/2"))}:
            service.get(link, agent=FIREFOX)
        assert service.post(unsubscribe[1], "List-Unsubscribe=One-Click") == 200

        report = wait_for(
            lambda: (
                (seen := service.read("report", "campaign", "brev"))["engagement"]["unsubscribes"][
                    "total"
                ]
                and seen
            )
        )
        assert report["engagement"]["opens"]["recipients"] == 1
        assert report["engagement"]["downloads"]["recipients"] == 1
        shown = service.read("recipient", "show", "aase@aarhus.example")
        assert shown["suppressed"] == "unsubscribed"
        assert "tillidsrepræsentant" not in [row["value"] for row in report["by"]["role"]]  # one alone
        proof = service.read("campaign", "reconcile", "brev")
        assert proof["ok"]
        assert proof["complete"]


def find_workers(service: Service) -> list[int]:
    found = children_of(service.supervisor.pid)
    return [pid for pid, words in found if "celery" in words and " worker" in words]


def test_a_killed_worker_is_replaced_and_every_letter_accounted_for(
    tmp_path: Path, database_url: str
) -> None:
    write_population_csv(tmp_path / "liste.csv", 900, 7)
    slow = '[[fault]]\nat = "dot"\ndelay = 0.004\n'
    with running_service(tmp_path, database_url, faults=slow) as service:
        service.run("recipient", "import", "liste.csv", code=3)
        service.run("event", "import", str(EVENTS))
        service.run("campaign", "create", "brev", *BRIEF)
        audience = service.read("campaign", "queue", "brev", "--yes")["audience"]

        killed = 0
        for target in (100, 300):
            wait_for(lambda target=target: len(service.kept()) >= target)
            workers = wait_for(lambda: find_workers(service))  # those of the last time may just be gone
            assert len(service.kept()) < audience, "the kill must fall while letters leave"
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            killed += len(workers)

        service.wait_until_finished("brev")
        proof = service.read("campaign", "reconcile", "brev")
        ledger = list(csv.DictReader(io.StringIO(service.run("campaign", "ledger", "brev"))))

    assert killed >= 4
    assert proof["ok"]
    assert proof["complete"]
    got = Counter(letter.recipient.casefold() for letter in service.kept())
    assert max(got.values()) == 1
    states = Counter(row["state"] for row in ledger)
    assert set(states) <= {"sent", "uncertain"}
    kills, connections = 2, 8
    assert states["uncertain"] <= kills * connections, Counter(row["reason"] for row in ledger)
    assert states["sent"] + states["uncertain"] == audience
    assert states["sent"] <= len(got) <= audience
