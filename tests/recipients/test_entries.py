import json

import pytest

from recipients.columns import Column, recognise
from recipients.entries import Entry, RowRefused, combine_entries, read_entry
from recipients.errors import BadAddress, UnreadableFile
from recipients.models import Confederation, Region, Role, Sector, TrackingChoice


def entry(**cells: str) -> Entry:
    """The entry of a row whose headings are the names, ``_`` for a blank."""
    cells = {"E-mail": "a@x.example"} | {key.replace("_", " "): cell for key, cell in cells.items()}
    return read_entry(list(cells.values()), recognise(list(cells), {}))


def attributes(found: Entry) -> object:
    return json.loads(found.attributes or "{}")


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("Tillidsrepræsentant", Role.UNION_REPRESENTATIVE),
        ("TILLIDSREPRAESENTANT", Role.UNION_REPRESENTATIVE),
        ("shop steward", Role.UNION_REPRESENTATIVE),
        ("Mayor", Role.MAYOR),
        ("Regionsrådsformand", Role.REGIONAL_CHAIR),
        ("  trade  Union ", Role.UNION),
        ("employee", Role.EMPLOYEE),
    ],
)
def test_roles_are_known_in_danish_and_english_in_any_case(text: str, role: Role) -> None:
    found = entry(Stilling=text)

    assert found.role is role
    assert found.attributes is None


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("Pædagogisk leder", Role.OTHER),
        ("Viceborgmester", Role.OTHER),
        ("Eksminister", Role.OTHER),
        ("Tidligere minister", Role.OTHER),
        ("Økonomi- og indenrigsminister", Role.MINISTER),
        ("Minister for ligestilling", Role.MINISTER),
    ],
)
def test_a_title_that_says_more_than_the_role_is_kept(text: str, role: Role) -> None:
    found = entry(Stilling=text)

    assert found.role is role
    assert attributes(found) == {"Stilling": text}


@pytest.mark.parametrize(
    ("text", "organisation"),
    [
        ("Aarhus", "Aarhus Kommune"),
        ("Aarhus Kommune", "Aarhus Kommune"),
        ("København", "Københavns Kommune"),
        ("Bornholms Regionskommune", "Bornholms Regionskommune"),
    ],
)
def test_a_municipality_fills_organisation_and_sector(text: str, organisation: str) -> None:
    found = entry(Kommune=text)

    assert (found.organisation, found.sector) == (organisation, Sector.MUNICIPALITY)


@pytest.mark.parametrize("text", ["Region Sjælland", "sjælland", "Zealand", "SJAELLAND"])
def test_a_region_is_its_bare_name(text: str) -> None:
    assert entry(Region=text).region is Region.SJAELLAND


def test_words_nobody_knows_are_kept_among_the_attributes() -> None:
    found = entry(Region="Skåne", Sektor="NGO", Forbund="DLF", Sprog="svensk", Lokale="B 12")

    assert (found.region, found.sector, found.confederation, found.language) == (None,) * 4
    assert attributes(found) == {
        "Region": "Skåne",
        "Sektor": "NGO",
        "Forbund": "DLF",
        "Sprog": "svensk",
        "Lokale": "B 12",
    }


def test_cells_are_on_one_line_composed_and_without_unseen_characters() -> None:
    found = entry(
        Navn="  A\u030ase\r\nBj\x00\u00f8rn\u200b\u202e ", Arbejdsplads="Skødstrup\u00a0 Skole"
    )

    assert (found.name, found.workplace) == ("Åse Bjørn", "Skødstrup Skole")


def test_a_name_comes_from_two_columns_or_from_the_address_cell() -> None:
    assert entry(Fornavn="Åse", Efternavn="Holm").name == "Åse Holm"
    named = read_entry(["Åse <a@x.example>"], recognise(["E-mail"], {}))
    assert (named.name, named.email) == ("Åse", "a@x.example")


def test_a_row_that_does_not_fit_is_refused() -> None:
    layout = recognise(["E-mail", "Navn"], {})

    with pytest.raises(RowRefused, match="3 cells under 2 headings"):
        read_entry(["a@x.example", "Jens", "Hansen"], layout)
    with pytest.raises(RowRefused, match="name: longer than 300"):
        read_entry(["a@x.example", "x" * 301], layout)
    with pytest.raises(RowRefused, match="longer than 2000"):
        read_entry(["a@x.example", "x" * 2001], layout)
    with pytest.raises(BadAddress, match="no address"):
        read_entry(["", "Jens"], layout)
    assert read_entry(["a@x.example", "Jens", "", " "], layout).name == "Jens"
    assert read_entry(["a@x.example"], layout).name is None


def test_a_heading_can_be_named() -> None:
    headings = ["Kontakt", "E-mail", "Hvem"]
    layout = recognise(headings, {Column.EMAIL: "kontakt", Column.NAME: "Hvem"})

    found = read_entry(["a@x.example", "privat", "Åse"], layout)

    assert (found.email, found.name) == ("a@x.example", "Åse")
    assert attributes(found) == {"E-mail": "privat"}
    with pytest.raises(UnreadableFile, match="no heading 'Mobil'; the headings are: Kontakt"):
        recognise(headings, {Column.EMAIL: "Mobil"})


def test_the_more_usual_heading_wins() -> None:
    found = entry(Forbund="FOA", Hovedorganisation="OAO")

    assert found.confederation is Confederation.OAO
    assert attributes(found) == {"Forbund": "FOA"}


def test_the_highest_office_wins_and_an_empty_cell_never_erases() -> None:
    tr = entry(Navn="Åse", Stilling="TR", Arbejdsplads="Skødstrup Skole", Lokale="1")
    mayor = entry(Navn="", Stilling="Borgmester", Kommune="Aarhus", Lokale="2", Mobil="3")

    found = combine_entries([tr, mayor])

    assert (found.role, found.name, found.workplace) == (Role.MAYOR, "Åse", "Skødstrup Skole")
    assert found.organisation == "Aarhus Kommune"
    assert attributes(found) == {"Lokale": "2", "Mobil": "3"}
    assert not found.shared


def test_between_equals_the_first_row_wins_and_different_names_are_remembered() -> None:
    rows = [entry(Navn="Åse", Stilling="TR"), entry(Navn="Bo", Stilling="TR", Region="Midt")]

    found = combine_entries(rows)

    assert (found.name, found.region, found.shared) == ("Åse", Region.MIDTJYLLAND, True)


def test_the_columns_of_a_rejects_file_are_no_attributes() -> None:
    headings = ["rejected file", "rejected line", "rejected reason", "E-mail", "Lokale"]
    found = read_entry(["x.csv", "2", "no", "a@x.example", "1"], recognise(headings, {}))

    assert attributes(found) == {"Lokale": "1"}


@pytest.mark.parametrize("heading", ["Sporing", "Samtykke til sporing", "Tracking", "TRACKING CONSENT"])
@pytest.mark.parametrize(
    ("text", "choice"),
    [
        (" JA ", TrackingChoice.CONSENT),
        ("yes", TrackingChoice.CONSENT),
        ("consent", TrackingChoice.CONSENT),
        ("Nej tak", TrackingChoice.OBJECTION),
        ("objection", TrackingChoice.OBJECTION),
        ("Trukket tilbage", TrackingChoice.OBJECTION),
        ("ikke oplyst", None),
        ("unsaid", None),
        ("", None),
    ],
)
def test_a_list_may_say_who_consents_and_who_objects(
    heading: str, text: str, choice: TrackingChoice | None
) -> None:
    found = entry(**{heading: text})

    assert found.tracking == choice
    assert found.attributes is None


@pytest.mark.parametrize("heading", ["Samtykke", "CONSENT"])
def test_consent_to_nobody_says_what_is_none_to_being_tracked(heading: str) -> None:
    """In most lists it is consent to being written to; who says no to that is not tracked either."""
    yes, no, unsaid = (entry(**{heading: text}) for text in ("ja tak", "Nej", "ikke oplyst"))

    assert yes.tracking is unsaid.tracking is None
    assert attributes(yes) == {heading: "ja tak"}
    assert no.tracking is TrackingChoice.OBJECTION
    layout = recognise(["E-mail", heading], {})
    assert layout.uncertain == heading
    for sure in (
        recognise(["E-mail", heading], {Column.TRACKING: heading}),
        recognise(["E-mail", heading, "Sporing"], {}),
    ):
        assert sure.uncertain is None
    mapped = recognise(["E-mail", heading], {Column.TRACKING: heading})
    assert read_entry(["a@x.example", "ja"], mapped).tracking is TrackingChoice.CONSENT


@pytest.mark.parametrize("text", ["x", "måske", "ja?nej", "2014-03-07", "-", "ja og nej", "jaja"])
def test_no_consent_is_guessed_at(text: str) -> None:
    with pytest.raises(RowRefused, match=r"^tracking: neither yes \(consent\) nor no \(objection\)$"):
        entry(Samtykke=text)


def test_of_two_columns_about_tracking_the_plainer_is_read() -> None:
    found = entry(Samtykke="ja", Sporing="nej")

    assert found.tracking is TrackingChoice.OBJECTION
    assert attributes(found) == {"Samtykke": "ja"}


@pytest.mark.parametrize("texts", [("ja", "nej", ""), ("", "nej", "ja"), ("nej", "ja", "ja")])
def test_whichever_row_objects_the_address_does(texts: tuple[str, ...]) -> None:
    rows = [entry(Stilling="Borgmester" if text == "ja" else "leder", Sporing=text) for text in texts]

    assert combine_entries(rows).tracking is TrackingChoice.OBJECTION
    assert combine_entries([rows[0], entry(Navn="Bo")]).tracking == rows[0].tracking


def test_one_persons_consent_is_none_of_those_who_share_an_address() -> None:
    consenting = entry(Navn="Åse", Stilling="TR", Sporing="ja")
    for other in (entry(Navn="Bo", Stilling="Borgmester"), entry(Navn="Bo")):
        found = combine_entries([consenting, other])
        assert (found.tracking, found.shared) == (None, True)
    objecting = entry(Navn="Bo", Sporing="nej")
    assert combine_entries([consenting, objecting]).tracking is TrackingChoice.OBJECTION
    same = combine_entries([entry(Navn="Åse", Stilling="Borgmester"), consenting])
    assert (same.tracking, same.shared) == (TrackingChoice.CONSENT, False)
