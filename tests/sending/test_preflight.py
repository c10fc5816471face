"""Preflight looks at every letter, and says what a reader, a relay or the database would meet."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from mailer.campaigns.errors import LaunchRefused
from mailer.campaigns.lifecycle import find_campaign
from mailer.campaigns.models import CampaignState, Delivery
from mailer.events.importing import import_events
from mailer.foundation.settings import SettingsError
from mailer.launch import Proof, ProofOutdated, launch_campaign, prove_launch
from mailer.runtime import Runtime, template_folders
from mailer.sending.findings import Finding, Flaw, Gravity
from mailer.sending.preflight import Looking, Preflight, preflight
from recipients.addresses import hash_address
from recipients.models import Import, ImportState, Recipient, SuppressionReason
from recipients.segments import create_segment
from recipients.suppression import suppress, unsuppress
from tests.conftest import NOW, SUPPRESSION_KEY
from tests.making import make_campaign, make_recipient, make_recipients

RELAY = "smtp://127.0.0.1:2525?starttls=never&rate=10&domain_rate=2&connections=3"
BODY = "<html><body><p>Kære {{ recipient.name or 'kollega' }}</p>HTML</body></html>"


WriteLetter = Callable[..., None]
Look = Callable[..., Preflight]


on_both_databases = pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)],
    indirect=True,
)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """SQLite, but where a test asks for both kinds."""
    url: str = request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_url")
    return url


@pytest.fixture
def runtime(runtime: Runtime, tmp_path: Path) -> Runtime:
    """A runtime that lacks nothing, with a template folder of its own."""
    changed = runtime.settings.model_copy(
        update={"smtp_relays": SecretStr(RELAY), "templates_dir": tmp_path / "own"}
    )
    return replace(runtime, settings=changed)


@pytest.fixture
def write_letter(runtime: Runtime) -> WriteLetter:
    """Writes the letter ``egen``; what is not given is harmless."""

    def write(html: str = "", *, text: str = "Hej\n", subject: str = "Emne") -> None:
        assert runtime.settings.templates_dir
        folder = runtime.settings.templates_dir / "letters" / "egen"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "subject.txt").write_text(subject)
        (folder / "body.txt").write_text(text)
        (folder / "body.html").write_text(BODY.replace("HTML", html))

    return write


@pytest.fixture
def look(runtime: Runtime) -> Look:
    """Preflight of the campaign ``brev``, in this process."""

    def look(*, name: str = "brev", looking: Looking | None = None, **settings: Any) -> Preflight:
        changed = runtime.settings.model_copy(update=settings)
        tools = replace(runtime, settings=changed).launch_tools
        looking = looking or Looking(processes=1)
        return preflight(tools.letters, tools.relays, runtime.database, name, now=NOW, looking=looking)

    return look


def draft(runtime: Runtime, *people: dict[str, Any], letter: str = "egen", **values: Any) -> None:
    """The campaign ``brev`` to these people."""
    with runtime.database.write() as db:
        for person in people or ({},):
            make_recipient(db, **person)
        make_campaign(db, name="brev", letter=letter, **values)


def checks(found: Preflight, gravity: Gravity | None = None) -> list[str]:
    return [finding.check for finding in found.findings if gravity is None or finding.gravity is gravity]


def only(found: Preflight, check: str) -> Finding:
    (finding,) = [finding for finding in found.findings if finding.check == check]
    return finding


def test_a_good_letter_to_good_recipients_has_nothing_wrong(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter('<p><a href="https://kl.example/side">Læs mere</a></p>')
    draft(runtime, {}, {"name": None}, {"name": "Åse Bjørnsdóttir d'Arc-Sørensen"})
    found = look()
    assert found.findings == ()
    assert found.ok
    assert (found.audience, found.writable, found.state) == (3, 3, CampaignState.DRAFT)
    assert found.variants == 2  # with and without a name
    assert found.per_recipient_because is None
    assert found.sizes
    assert 0 < found.sizes.smallest <= found.sizes.mean <= found.sizes.largest


@pytest.mark.parametrize("processes", [1, 2])
def test_values_only_printed_make_no_variants_in_however_many_processes(
    runtime: Runtime, write_letter: WriteLetter, look: Look, processes: int
) -> None:
    write_letter("{{ recipient.sector }} {{ recipient.region }} {{ links.pass_on }}")
    draft(runtime, {"sector": "stat"}, {"region": "Sjælland"}, {"sector": "kommune"}, {})
    assert look(looking=Looking(processes=processes, range_size=1)).variants == 1


def test_the_shipped_letter_has_nothing_wrong(runtime: Runtime, look: Look) -> None:
    events = Path(template_folders(runtime.settings)[-1]) / "letters/startpakke/events.toml"
    people = [
        {"role": role, "language": language, "name": name, "sector": sector}
        for role, sector in (("minister", "stat"), ("fagforening", "ingen"), ("leder", "kommune"))
        for language in ("da", "en")
        for name in ("Åse Sørensen", None)
    ]
    with runtime.database.write() as db:
        import_events(db, events, NOW)
    draft(runtime, *people, letter="startpakke")
    assert [finding for finding in look().findings if finding.gravity is Gravity.ERROR] == []


@on_both_databases
def test_looking_changes_nothing(runtime: Runtime, write_letter: WriteLetter, look: Look) -> None:
    write_letter()
    draft(runtime)
    look()
    with runtime.database.read() as db:
        assert db.scalar(select(func.count()).select_from(Delivery)) == 0


@on_both_databases
def test_who_lacks_what_the_letter_uses_is_counted_with_examples_that_name_nobody(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter(text="Nr. {{ recipient.attributes.nr }}\n")
    lacking = [{"address": f"person{number}@kommune.example"} for number in range(7)]
    draft(runtime, {"attributes": {"nr": "7"}}, *lacking)
    found = look()
    finding = only(found, "lacking")
    assert finding.gravity is Gravity.ERROR
    assert finding.recipients == 7
    assert "no attribute 'nr'" in finding.detail
    assert [example.address for example in finding.examples] == ["p…@kommune.example"] * 5
    assert (found.audience, found.writable, found.ok) == (8, 1, False)

    with runtime.database.read() as db:
        known = {row.id: row.email for row in db.scalars(select(Recipient))}
    shown = only(look(looking=Looking(processes=1, show_recipients=True)), "lacking").examples
    assert [example.address for example in shown] == [known[example.recipient] for example in shown]


def test_odd_values_are_counted_and_not_repeated(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter()
    draft(runtime, {"name": "Ã…SE SÃ¸rensen"}, {"name": "Ã¸"}, {})
    finding = only(look(), "odd")
    assert (finding.gravity, finding.recipients) == (Gravity.WARNING, 2)
    assert finding.detail == "name: letters read in the wrong encoding, such as Ã¸ for ø"


def test_a_field_the_letter_prints_without_asking_must_not_be_empty(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter(
        text="{{ recipient.workplace }}"
        " {% if recipient.organisation %}{{ recipient.organisation }}{% endif %}\n"
    )
    draft(runtime, {"workplace": None, "organisation": None}, {"workplace": "Skolen"})
    finding = only(look(), "empty")
    assert finding.detail == "workplace is empty, and the letter prints it"
    assert finding.recipients == 1


def test_only_fields_the_letter_uses_are_looked_at(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter()
    draft(runtime, {"workplace": "{{ x }}", "attributes": {"nr": "n/a"}})
    assert look().findings == ()
    write_letter(text="{{ recipient.workplace|upper }} {{ recipient.attributes.nr }}\n")
    found = look()
    assert sorted(finding.detail.partition(":")[0] for finding in found.findings) == [
        "attributes.nr",
        "workplace",
    ]
    assert found.per_recipient_because is not None
    assert found.variants is None


def test_addresses_few_relays_take_are_counted(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter()
    draft(runtime, {"address": "søren@kommune.example"}, {"address": "jorgen@københavn.example"})
    finding = only(look(), "smtputf8")
    assert (finding.gravity, finding.recipients) == (Gravity.WARNING, 1)


def test_letters_mail_clients_cut_off_are_counted(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter("{% if recipient.role == 'minister' %}<p>{{ 'ord ' * 5000 }}</p>{% endif %}")
    draft(runtime, {"role": "minister"}, {"role": "leder"})
    finding = only(look(largest_letter=15_000), "size")
    assert (finding.gravity, finding.recipients) == (Gravity.WARNING, 1)
    assert "15 KB" in finding.detail
    assert checks(look(largest_letter=100_000)) == []


def test_a_letter_most_servers_refuse_is_an_error(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter("<p>" + "ord " * 50_000 + "</p>")
    draft(runtime)
    assert only(look(), "size").gravity is Gravity.WARNING
    found = look(looking=Looking(too_large_bytes=150_000))
    assert only(found, "size").gravity is Gravity.ERROR


@pytest.mark.parametrize("asks", ["recipient.attributes.nr == '7'", "recipient.name|length == 7"])
def test_a_link_only_some_get_is_looked_at(
    runtime: Runtime, write_letter: WriteLetter, look: Look, asks: str
) -> None:
    write_letter("{% if ASKS %}<a href=''>her</a>{% endif %}".replace("ASKS", asks))
    people = [{"attributes": {"nr": str(number)}, "name": "Anna" + "a" * number} for number in range(9)]
    draft(runtime, *people)
    found = look()
    assert checks(found) == ["link-target"]
    assert (found.per_recipient_because is None) is asks.startswith("recipient.attributes")


def test_findings_repeat_nothing_personal(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter(
        '<a href="{{ recipient.attributes.side }}">{{ recipient.name|lower }}</a>'
        '<a href=\'x/{{ recipient.name|lower|replace(" ", "-") }}\'>b</a>'
    )
    draft(runtime, {"name": "Karoline Amalie", "attributes": {"side": "hemmelig/side"}})
    told = " ".join(finding.detail for finding in look().findings)
    assert "link" in told
    assert "hemmelig" not in told
    assert "karoline" not in told.lower()
    assert "amalie" not in told.lower()


@pytest.mark.parametrize("text", ["{{ nothing.here }}", "{% if %}", "{{ 1 / 0 }}"])
def test_a_letter_nobody_can_get_is_told_in_one_finding(
    runtime: Runtime, write_letter: WriteLetter, look: Look, text: str
) -> None:
    write_letter(text=text)
    draft(runtime, {}, {})
    found = look()
    assert checks(found) == ["letter"]
    assert found.writable == 0
    assert "egen/body.txt" in only(found, "letter").detail


@pytest.mark.parametrize(
    ("changed", "check", "gravity"),
    [
        ({"sender": None}, "sender", Gravity.ERROR),
        ({"smtp_relays": None}, "relay", Gravity.ERROR),
        ({"public_url": "http://post.coi.example"}, "public-url", Gravity.ERROR),
        ({"smtp_relays": SecretStr("smtp://relay.example")}, "public-url", Gravity.WARNING),
        ({"dkim": ["s:coi.example:/nowhere/key.pem"]}, "dkim", Gravity.ERROR),
        ({"allow_only": "andre.example"}, "trial", Gravity.WARNING),
    ],
)
def test_what_is_missing_around_the_letter_is_told_and_the_letters_are_looked_at_all_the_same(
    runtime: Runtime,
    write_letter: WriteLetter,
    look: Look,
    changed: dict[str, Any],
    check: str,
    gravity: Gravity,
) -> None:
    write_letter()
    draft(runtime)
    found = look(**changed)
    assert only(found, check).gravity is gravity
    assert found.writable == 1


def test_personal_tracking_needs_its_legal_basis(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter()
    draft(runtime, legal_basis=None)
    assert only(look(), "tracking").gravity is Gravity.ERROR


@on_both_databases
def test_trial_mode_says_how_many_are_inside(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter()
    draft(runtime, {"address": "a@kl.example"}, {"address": "b@kl.example"}, {})
    found = look(allow_only="kl.example")
    assert found.trial
    assert (found.trial.inside, found.trial.outside) == (2, 1)
    assert found.forecast
    assert found.forecast.letters == 2
    assert [domain.domain for domain in found.forecast.slowest_domains] == ["kl.example"]


@on_both_databases
def test_nobody_to_write_to_is_an_error(runtime: Runtime, write_letter: WriteLetter, look: Look) -> None:
    write_letter()
    draft(runtime, {"address": "gone@kommune.example"})
    key = hash_address(SUPPRESSION_KEY.encode(), "gone@kommune.example")
    with runtime.database.write() as db:
        suppress(db, key, SuppressionReason.UNSUBSCRIBED, now=NOW)
    found = look()
    assert only(found, "audience").gravity is Gravity.ERROR
    assert found.audience == 0
    assert found.forecast is None


def test_events_that_are_over_are_an_error_and_none_at_all_a_warning(
    runtime: Runtime, look: Look
) -> None:
    draft(runtime, letter="startpakke")
    assert only(look(), "events").gravity is Gravity.WARNING
    events = Path(template_folders(runtime.settings)[-1]) / "letters/startpakke/events.toml"
    with runtime.database.write() as db:
        import_events(db, events, NOW)
    assert checks(look(), Gravity.ERROR) == []
    tools = runtime.launch_tools
    late = preflight(
        tools.letters, tools.relays, runtime.database, "brev", now=NOW + timedelta(days=365)
    )
    assert only(late, "events").gravity is Gravity.ERROR


def test_an_import_that_still_runs_is_an_error(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter()
    draft(runtime)
    with runtime.database.write() as db:
        db.add(
            Import(
                file="liste.csv",
                state=ImportState.RUNNING,
                started_at=NOW,
                beat_at=NOW + timedelta(days=9999),
            )
        )
    assert only(look(), "import").gravity is Gravity.ERROR


@on_both_databases
def test_the_segment_decides_who_is_looked_at(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter(text="{{ recipient.attributes.nr }}\n")
    with runtime.database.write() as db:
        create_segment(db, "ministre", "role = minister", NOW)
    draft(runtime, {"role": "minister", "attributes": {"nr": "1"}}, {}, segment="ministre")
    found = look()
    assert (found.audience, found.findings) == (1, ())


@on_both_databases
def test_a_launched_campaign_is_looked_at_in_what_is_still_pending(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter(text="{{ recipient.attributes.nr }}\n")
    draft(runtime, {"attributes": {"nr": "1"}}, {"address": "b@kommune.example"})
    with runtime.database.write() as db:
        campaign = make_campaign(db, name="andet", letter="egen")
        launch_campaign(runtime.launch_tools, db, campaign, now=NOW)
    write_letter(text="changed since {{ nothing }}\n")
    found = look(name="andet")
    assert (found.audience, found.writable, found.state) == (2, 1, CampaignState.SENDING)
    assert only(found, "lacking").examples[0].address == "…@kommune.example"
    assert found.forecast
    assert found.forecast.database_megabytes == 0  # its deliveries are there already
    with runtime.database.write() as db:
        db.execute(Delivery.__table__.update().values(state="sent"))
    assert checks(look(name="andet")) == ["audience"]


def test_every_recipient_with_a_problem_is_told_to_whoever_asks(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter()
    draft(runtime, *[{"name": "TEST TEST"}] * 9, {})
    flaws: list[Flaw] = []
    done: list[tuple[int, int]] = []
    look(
        looking=Looking(
            processes=1, flaw=flaws.append, progress=lambda so_far, total: done.append((so_far, total))
        )
    )
    assert len({flaw.recipient for flaw in flaws}) == 9
    assert {flaw.check for flaw in flaws} == {"odd"}
    assert done[-1] == (10, 10)


@on_both_databases
def test_several_processes_find_what_one_finds(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter(
        "{% if recipient.role == 'minister' %}<a href=''>x</a>{% endif %}",
        text="{{ recipient.attributes.nr }}\n",
    )
    people: list[dict[str, Any]] = [
        {"attributes": {"nr": "1"} if number % 3 else {}, "name": "TEST X" if number % 5 else None}
        for number in range(40)
    ]
    draft(runtime, *people, {"role": "minister", "attributes": {"nr": "2"}})
    one, several = (look(looking=Looking(processes=count, range_size=7)) for count in (1, 2))
    assert one == several
    assert one.audience == 41
    assert set(checks(one)) == {"lacking", "odd", "link-target"}


@on_both_databases
def test_the_forecast_follows_the_relays_and_their_slowest_domain(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter()
    draft(runtime, {"address": "a@lille.example"})
    with runtime.database.write() as db:
        make_recipients(db, 40, domain="stor.example")
    foreseen = look().forecast
    assert foreseen
    assert (foreseen.letters, foreseen.connections, foreseen.letters_per_second) == (41, 3, 10.0)
    assert foreseen.rate_from == "relays"
    assert [(each.domain, each.letters, each.seconds) for each in foreseen.slowest_domains] == [
        ("stor.example", 40, 20.0),
        ("lille.example", 1, 0.5),
    ]
    assert foreseen.seconds == 20.0  # the domain takes longer than 41 letters at ten a second
    assert foreseen.ends_at == NOW + timedelta(seconds=20)
    assert foreseen.database_megabytes >= 0
    assert foreseen.bytes_measured is False


def test_without_a_rate_the_last_campaigns_tell_or_nobody_knows(
    runtime: Runtime, write_letter: WriteLetter, look: Look
) -> None:
    write_letter()
    draft(runtime)
    relay = SecretStr("smtp://127.0.0.1:2525?starttls=never")
    foreseen = look(smtp_relays=relay).forecast
    assert foreseen
    assert (foreseen.rate_from, foreseen.letters_per_second, foreseen.seconds) == ("unknown", None, None)
    with runtime.database.write() as db:
        last = make_campaign(db, name="sidste", letter="egen")
        last.state, last.audience = CampaignState.FINISHED, 1000
        last.started_at, last.finished_at = NOW, NOW + timedelta(seconds=4)
    foreseen = look(smtp_relays=relay).forecast
    assert foreseen
    assert (foreseen.rate_from, foreseen.letters_per_second) == ("campaigns", 250.0)


@pytest.mark.parametrize(
    ("html", "subject", "said"),
    [
        ("<a href='#'>her</a>", "Emne", "no address a reader could open"),
        ("", " ", "the subject is empty"),
        (
            "<a href='https://ond.example'>www.kl.dk</a>",
            "Emne",
            "says kl.dk and leads to ond.example",
        ),
    ],
)
def test_a_launch_refuses_what_a_reader_would_find_wrong(
    runtime: Runtime, write_letter: WriteLetter, html: str, subject: str, said: str
) -> None:
    write_letter(html, subject=subject)
    draft(runtime)
    with (
        pytest.raises(LaunchRefused, match="mailer campaign preflight andet") as refused,
        runtime.database.write() as db,
    ):
        launch_campaign(
            runtime.launch_tools, db, make_campaign(db, name="andet", letter="egen"), now=NOW
        )
    assert said in str(refused.value)
    with runtime.database.read() as db:
        assert db.scalar(select(func.count()).select_from(Delivery)) == 0


@on_both_databases
def test_a_launch_goes_on_with_warnings_and_tells_them(
    runtime: Runtime, write_letter: WriteLetter
) -> None:
    write_letter("<a href='http://kl.example/'>her</a>")
    draft(runtime)
    with runtime.database.write() as db:
        launched = launch_campaign(
            runtime.launch_tools, db, make_campaign(db, name="andet", letter="egen"), now=NOW
        )
    assert launched.notes == ("a link's target is not https: http://kl.example/",)


@on_both_databases
def test_a_launch_is_proved_while_others_write_and_takes_that_proof(
    runtime: Runtime, write_letter: WriteLetter
) -> None:
    write_letter()
    draft(runtime)
    tools = runtime.launch_tools
    with runtime.database.write(), runtime.database.read() as db:
        proof = prove_launch(tools, db, find_campaign(db, "brev"), now=NOW)
    assert proof.notes == ()
    with runtime.database.write() as db:
        known = replace(proof, notes=("known",))
        launched = launch_campaign(tools, db, find_campaign(db, "brev"), now=NOW, proof=known)
    assert launched.notes == ("known",)


@on_both_databases
def test_a_proof_is_of_the_letter_and_the_readers_it_was_made_with(
    runtime: Runtime, write_letter: WriteLetter
) -> None:
    elsewhere = '<a href="https://ond.example/">www.kl.dk</a>'
    write_letter(
        "{% if recipient.role == 'minister' %}ELSEWHERE{% endif %}".replace("ELSEWHERE", elsewhere)
    )
    draft(runtime)
    tools = runtime.launch_tools
    with runtime.database.read() as db:
        proof = prove_launch(tools, db, find_campaign(db, "brev"), now=NOW)
    with runtime.database.write() as db:
        make_recipient(db, role="minister")
    with pytest.raises(ProofOutdated), runtime.database.write() as db:
        launch_campaign(tools, db, find_campaign(db, "brev"), now=NOW, proof=proof)
    with pytest.raises(LaunchRefused, match="leads to ond"), runtime.database.write() as db:
        launch_campaign(tools, db, find_campaign(db, "brev"), now=NOW)

    with runtime.database.read() as db, pytest.raises(LaunchRefused, match="leads to ond"):
        prove_launch(tools, db, find_campaign(db, "brev"), now=NOW)


@on_both_databases
def test_a_proof_holds_for_fewer_and_for_nobody_who_was_left_out(
    runtime: Runtime, write_letter: WriteLetter
) -> None:
    write_letter()
    addresses = [f"p{number}@a.example" for number in range(4)]
    draft(runtime, *[{"address": address} for address in addresses])
    keys = [hash_address(SUPPRESSION_KEY.encode(), address) for address in addresses]
    tools = runtime.launch_tools

    def launch(proof: Proof) -> int:
        with runtime.database.write() as db:
            return launch_campaign(tools, db, find_campaign(db, "brev"), now=NOW, proof=proof).audience

    with runtime.database.write() as db:
        suppress(db, keys[0], SuppressionReason.UNSUBSCRIBED, now=NOW)
    with runtime.database.snapshot() as db:
        proof = prove_launch(tools, db, find_campaign(db, "brev"), now=NOW)
    with runtime.database.write() as db:
        suppress(db, keys[1], SuppressionReason.UNSUBSCRIBED, now=NOW)
        assert unsuppress(db, keys[0])
    with pytest.raises(ProofOutdated):
        launch(proof)
    with runtime.database.write() as db:
        suppress(db, keys[0], SuppressionReason.UNSUBSCRIBED, now=NOW)
    assert launch(proof) == 2


def test_a_launch_refuses_a_key_that_cannot_sign(runtime: Runtime, write_letter: WriteLetter) -> None:
    write_letter()
    draft(runtime)
    changed = runtime.settings.model_copy(update={"dkim": ["s:coi.example:/nowhere/key.pem"]})
    tools = replace(runtime, settings=changed).launch_tools
    with (
        pytest.raises(SettingsError, match="setting dkim: cannot read"),
        runtime.database.write() as db,
    ):
        launch_campaign(tools, db, make_campaign(db, name="andet", letter="egen"), now=NOW)
