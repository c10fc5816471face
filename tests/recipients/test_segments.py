from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from recipients.errors import BadRule, SegmentExists, SegmentNotFound
from recipients.models import Confederation, Recipient, RecipientSource, Region, Role, Sector
from recipients.segments import create_segment, find_segment, list_segments, select_segment
from tests.conftest import NOW


def add(db: Session, email: str, *sources: str, **values: Any) -> None:
    recipient = Recipient(
        email=email,
        email_key=email,
        address_hash=email[:32],
        domain=email.partition("@")[2],
        created_at=NOW,
        updated_at=NOW,
        **values,
    )
    db.add(recipient)
    db.flush()
    db.add_all(RecipientSource(recipient_id=recipient.id, source=source) for source in sources)
    db.flush()


@pytest.fixture
def people(db: Session) -> Session:
    add(db, "minister@fm.example", role=Role.MINISTER, sector=Sector.STATE, region=Region.HOVEDSTADEN)
    add(
        db,
        "mayor@sorø.example",
        "KL",
        role=Role.MAYOR,
        sector=Sector.MUNICIPALITY,
        region=Region.SJAELLAND,
        organisation="Sorø Kommune",
        name="Åse O'Hara",
    )
    add(
        db,
        "tr@aarhus.example",
        "KL",
        "FTF",
        role=Role.UNION_REPRESENTATIVE,
        organisation="Aarhus Kommune",
        confederation=Confederation.FTF,
        attributes={"Køn": "kvinde", "MED udvalg": "ja"},
        language="en",
    )
    add(db, "kontor@foa.example", role=Role.UNION, organisation="FOA")
    return db


def chosen(db: Session, rule: str | None) -> set[str]:
    ids = select_segment(rule)
    found = db.scalars(select(Recipient.email).where(Recipient.id.in_(ids)))
    return {email.partition("@")[0] for email in found}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, {"minister", "mayor", "tr", "kontor"}),
        ("role in (minister, borgmester) and region = Sjælland", {"mayor"}),
        ("ROLE IN (Minister, mayor)", {"minister", "mayor"}),
        ("role = TR", {"tr"}),
        ("region = zealand or region = 'Region Hovedstaden'", {"minister", "mayor"}),
        ("region != Sjælland", {"minister", "tr", "kontor"}),
        ("not region = Sjælland", {"minister", "tr", "kontor"}),
        ('region = ""', {"tr", "kontor"}),
        ("region not in (Sjælland, Hovedstaden)", {"tr", "kontor"}),
        ("organisation = Aarhus Kommune and role != minister", {"tr"}),
        ('name = "Åse O\'Hara"', {"mayor"}),
        ('name = ""', {"minister", "tr", "kontor"}),
        ("not (role = minister or role = borgmester) and sector = none", {"tr", "kontor"}),
        ("role = minister or role = borgmester and region = Sjælland", {"minister", "mayor"}),
        ("(role = minister or role = borgmester) and region = Sjælland", {"mayor"}),
        ("source = KL", {"mayor", "tr"}),
        ("source = KL and source != FTF", {"mayor"}),
        ('source = ""', {"minister", "kontor"}),
        ('source in (FTF, "")', {"minister", "tr", "kontor"}),
        ("attributes.Køn = kvinde", {"tr"}),
        ("attributes.Køn != kvinde", {"minister", "mayor", "kontor"}),
        ('attributes."MED udvalg" = ja', {"tr"}),
        ("confederation = ftf", {"tr"}),
        ("language = english", {"tr"}),
        ("email = MINISTER@fm.example", {"minister"}),
        ("domain in (fm.example, FOA.example)", {"minister", "kontor"}),
        ('organisation = "\'; DROP TABLE recipients; --"', set()),
    ],
)
def test_a_rule_selects(people: Session, rule: str | None, expected: set[str]) -> None:
    assert chosen(people, rule) == expected


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("", "empty"),
        ("role", "position 5: expected =, !=, in or not in"),
        ("rol = minister", "position 1: no such field 'rol'; did you mean 'role'"),
        ("role = konge", "position 8: 'konge' is none of minister, borgmester"),
        ("role in (minister", "position 18: expected ',' or '\\)', found the end"),
        ("role = minister region = Fyn", "position 8: 'minister region' is none of"),
        ("(role = minister", "position 17: expected '\\)'"),
        ("role = minister)", "position 16: expected 'and', 'or' or the end"),
        ("role = 'minister", 'position 8: "\'" cannot stand here'),
        ("role in ()", "position 10: expected a value"),
        ("role = minister and", "position 20: expected a field"),
        ("email = ikke-en-adresse", "position 9: An email address must have"),
        ("attributes. = x", "position 12: not an attribute"),
        ("attributes.'a\"b' = x", "position 12: not an attribute"),
        ("not " * 60 + "role = minister", "nested more than"),
        ("role = " + "x" * 2000, "longer than 2000"),
    ],
)
def test_a_bad_rule_says_where(rule: str, message: str) -> None:
    with pytest.raises(BadRule, match=message):
        select_segment(rule)


_PIECES = ["role", "region", "=", "!=", "in", "not", "and", "or", "(", ")", ","]
_PIECES += ["minister", "'x'", '"', "attributes.a", " ", "ø"]


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(_PIECES)).map(" ".join))
def test_any_text_is_a_rule_or_a_bad_rule(rule: str) -> None:
    try:
        select_segment(rule)
    except BadRule:
        return


def test_a_segment_is_kept_under_its_name_once(db: Session) -> None:
    create_segment(db, "ministre", "role = minister", NOW)

    assert find_segment(db, "ministre").rule == "role = minister"
    assert [segment.name for segment in list_segments(db)] == ["ministre"]
    with pytest.raises(SegmentExists):
        create_segment(db, "ministre", "role = borgmester", NOW)
    with pytest.raises(SegmentNotFound, match="there are: ministre"):
        find_segment(db, "borgmestre")


def test_a_segment_with_a_bad_rule_or_name_is_not_kept(db: Session) -> None:
    for name, rule in (("konger", "role = konge"), ("", "role = minister"), ("a\nb", "role = minister")):
        with pytest.raises(BadRule):
            create_segment(db, name, rule, NOW)
    assert list_segments(db) == []
