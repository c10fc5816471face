"""Nobody can work out what was hidden, however they add and subtract what is shown."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import compress, product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from mailer.campaigns.models import Campaign, DeliveryState
from mailer.reports.hiding import _ABOUT_THE_GROUP, FEWEST, REST, hide_small_groups
from mailer.reports.nesting import Kinds, find_kinds
from mailer.reports.report import Dimension, Group
from mailer.tracking.models import TrackingKind
from recipients.models import Region, Role, TrackingChoice
from tests.reports.factories import (
    act,
    campaign_report,
    deliver,
    make_campaign,
    make_event,
    make_link,
    make_recipient,
    register,
)

COLUMNS = ("opened", "clicked", "downloaded", "registration_clicked", "registered", "clicks")
Kind = tuple[str, ...]
"""What one kind of person is called in each table."""


@dataclass(frozen=True)
class People:
    """So many of each kind, of whom so many clicked."""

    dimensions: Sequence[Dimension]
    sizes: Mapping[Kind, int]
    clicked: Mapping[Kind, int]

    def tables(self) -> dict[Dimension, list[Group]]:
        tables = {}
        for place, dimension in enumerate(self.dimensions):
            audience, clicked = Counter[str](), Counter[str]()
            for kind, size in self.sizes.items():
                audience[kind[place]] += size
                clicked[kind[place]] += self.clicked[kind]
            tables[dimension] = [
                Group(value, size, size, 0, 0, clicked[value], 0, 0, clicked[value], registered=0)
                for value, size in sorted(audience.items())
            ]
        return tables

    def kinds(self) -> Kinds:
        return Kinds([dimension.value for dimension in self.dimensions], dict(self.sizes))


@dataclass(frozen=True)
class Sum:
    """What an attacker knows: so many of these kinds of people clicked."""

    kinds: frozenset[Kind]
    total: int


def known_sums(people: People, shown: Mapping[Dimension, Sequence[Group]]) -> list[Sum]:
    """Everything that is shown, as sums over kinds of people, the grand total among it."""
    known = [Sum(frozenset(people.sizes), sum(people.clicked.values()))]
    known += [
        Sum(kinds, row.clicked) for _, kinds, row in rows_of(people, shown) if row.clicked is not None
    ]
    return known


def rows_of(
    people: People, shown: Mapping[Dimension, Sequence[Group]]
) -> Iterator[tuple[Dimension, frozenset[Kind], Group]]:
    """Every shown row with the kinds of people in it."""
    for place, dimension in enumerate(people.dimensions):
        own = {row.value for row in shown[dimension] if row.groups == 1}
        for row in shown[dimension]:
            yield (
                dimension,
                frozenset(
                    kind
                    for kind in people.sizes
                    if (kind[place] == row.value if row.groups == 1 else kind[place] not in own)
                ),
                row,
            )


def is_certain(people: People, known: Sequence[Sum], kinds: frozenset[Kind]) -> bool:
    """Whether only one number of clicks of these people agrees with what is known.

    Looks at everything that differs from the truth by a few clicks in each kind of people.
    """
    return not any(_other_truths(people, known, kinds, most) for most in (1, 4))


def _other_truths(people: People, known: Sequence[Sum], kinds: frozenset[Kind], most: int) -> bool:
    every = list(people.sizes)
    steps = [
        range(
            max(-most, -people.clicked[kind]), min(most, people.sizes[kind] - people.clicked[kind]) + 1
        )
        for kind in every
    ]
    masks = {tuple(kind in each.kinds for kind in every) for each in known}
    asked = [kind in kinds for kind in every]
    return any(
        sum(compress(step, asked)) and not any(sum(compress(step, mask)) for mask in masks)
        for step in product(*steps)
    )


def hidden_but_certain(people: People) -> list[tuple[Dimension, str | None]]:
    """The hidden figures that can be worked out although totals alone do not tell them."""
    shown = hide_small_groups(people.tables(), people.kinds())
    known = known_sums(people, shown)
    totals = known[:1]
    return [
        (dimension, row.value)
        for dimension, kinds, row in rows_of(people, shown)
        if row.clicked is None
        and is_certain(people, known, kinds)
        and not is_certain(people, totals, kinds)
    ]


@st.composite
def populations(draw: st.DrawFn, tables: int) -> People:
    dimensions = [Dimension.REGION, Dimension.ORGANISATION, Dimension.DOMAIN][:tables]
    names = [["nord", "syd", "vest"], ["a", "b", "c", "d", "e"], ["p", "q", "r"]][:tables]
    kinds = draw(
        st.lists(
            st.tuples(*[st.sampled_from(each) for each in names]), min_size=2, max_size=5, unique=True
        )
    )
    sizes = {kind: draw(st.integers(1, 14)) for kind in kinds}
    return People(dimensions, sizes, {kind: draw(st.integers(0, size)) for kind, size in sizes.items()})


@settings(max_examples=300)
@given(populations(1))
def test_no_hidden_figure_of_one_table_can_be_worked_out(people: People) -> None:
    assert hidden_but_certain(people) == []


@settings(max_examples=300)
@given(populations(2))
def test_no_hidden_figure_of_two_tables_can_be_worked_out(people: People) -> None:
    assert hidden_but_certain(people) == []


NO_HALVES = People(
    [Dimension.REGION, Dimension.ORGANISATION, Dimension.DOMAIN],
    {
        ("nord", "a", "q"): 2,
        ("nord", "b", "p"): 7,
        ("syd", "a", "p"): 7,
        ("syd", "c", "q"): 8,
        ("nord", "a", "p"): 1,
    },
    {
        ("nord", "a", "q"): 0,
        ("nord", "b", "p"): 5,
        ("syd", "a", "p"): 5,
        ("syd", "c", "q"): 5,
        ("nord", "a", "p"): 0,
    },
)
"""Twice the first and once the last make nought together."""


@example(NO_HALVES)
@settings(max_examples=300)
@given(populations(3))
def test_no_hidden_figure_of_three_tables_can_be_worked_out(people: People) -> None:
    assert hidden_but_certain(people) == []


@settings(max_examples=300)
@given(populations(3))
def test_every_shown_row_is_of_five_or_more_and_every_shown_figure_too(people: People) -> None:
    everybody = sum(people.sizes.values())
    shown = hide_small_groups(people.tables(), people.kinds())
    for rows in shown.values():
        assert sum(row.audience for row in rows) == everybody
        for row in rows:
            assert row.audience >= min(FEWEST, everybody)
            if row.clicked and row.audience < everybody:
                assert FEWEST <= row.clicked <= row.sent - FEWEST


def group(value: str | None, audience: int, clicked: int, **more: int) -> Group:
    downloaded = more.get("downloaded", 0)
    clicks = more.get("clicks", clicked)
    return Group(value, audience, audience, 0, 0, clicked, downloaded, 0, clicks, registered=0)


def hide(**tables: Sequence[Group]) -> dict[str, list[Group]]:
    groups = {Dimension(name): rows for name, rows in tables.items()}
    return {each.value: rows for each, rows in hide_small_groups(groups).items()}


def test_small_groups_are_put_together_with_others_until_they_are_five_and_two() -> None:
    rows = hide(role=[group("minister", 1, 1), group("borgmester", 40, 10), group("leder", 90, 30)])[
        "role"
    ]

    assert [(row.value, row.groups, row.audience, row.clicked) for row in rows] == [
        ("leder", 1, 90, 30),
        (REST, 2, 41, 11),
    ]


def test_what_few_did_is_hidden_with_another_row_beside_it() -> None:
    rows = hide(role=[group("leder", 50, 2), group("borgmester", 60, 20), group("medarbejder", 90, 30)])[
        "role"
    ]

    assert [row.clicked for row in rows] == [None, None, 30]
    assert [row.audience for row in rows] == [50, 60, 90]


def test_what_nearly_all_did_is_hidden_too() -> None:
    rows = hide(
        role=[group("leder", 50, 48), group("borgmester", 60, 20), group("medarbejder", 90, 30)]
    )["role"]

    assert [row.clicked for row in rows] == [None, None, 30]


def test_clicks_are_hidden_where_those_who_clicked_are() -> None:
    rows = hide(
        role=[
            group("leder", 50, 2, clicks=7),
            group("borgmester", 60, 20, clicks=21),
            group("medarbejder", 90, 30, clicks=30),
        ]
    )["role"]

    assert [row.clicks for row in rows] == [None, None, 30]


def test_what_nobody_did_is_shown() -> None:
    rows = hide(role=[group("leder", 50, 0), group("medarbejder", 90, 0)])["role"]

    assert [row.clicked for row in rows] == [0, 0]


def test_a_table_with_everybody_in_one_row_tells_what_the_totals_tell() -> None:
    assert hide(region=[group("Sjælland", 20, 2)])["region"][0].clicked == 2


def test_a_campaign_to_fewer_than_five_has_no_groups_to_show() -> None:
    (row,) = hide(role=[group("minister", 1, 1), group("leder", 2, 0)])["role"]

    assert (row.value, row.groups, row.audience, row.clicked) == (REST, 2, 3, None)


def test_an_organisation_cannot_be_worked_out_from_its_mail_domain() -> None:
    sizes = {("a", "a.example"): 30, ("b", "b.example"): 40, ("c", "c.example"): 50}
    clicked = dict(zip(sizes, [2, 20, 25], strict=True))
    people = People([Dimension.ORGANISATION, Dimension.DOMAIN], sizes, clicked)

    assert hidden_but_certain(people) == []


def test_tables_that_tell_a_figure_only_together_do_not() -> None:
    sizes = {("nord", "a", "p"): 10, ("syd", "a", "q"): 12, ("syd", "b", "p"): 12}
    people = People(
        [Dimension.REGION, Dimension.ORGANISATION, Dimension.DOMAIN],
        sizes,
        dict(zip(sizes, [2, 6, 6], strict=True)),
    )

    assert hidden_but_certain(people) == []


def test_what_nobody_did_in_other_tables_does_not_tell_a_hidden_figure() -> None:
    sizes = {
        ("nord", "a", "q"): 1,
        ("nord", "a", "r"): 1,
        ("nord", "b", "p"): 1,
        ("syd", "b", "q"): 9,
        ("nord", "a", "p"): 3,
    }
    people = People(
        [Dimension.REGION, Dimension.ORGANISATION, Dimension.DOMAIN],
        sizes,
        dict(zip(sizes, [0, 0, 0, 5, 0], strict=True)),
    )

    assert hidden_but_certain(people) == []


def test_a_sum_that_can_only_be_reached_in_one_way_does_not_tell_a_hidden_figure() -> None:
    sizes = {
        ("nord", "a", "p"): 10,
        ("nord", "a", "q"): 1,
        ("nord", "b", "p"): 5,
        ("nord", "c", "q"): 10,
        ("nord", "a", "r"): 1,
    }
    people = People(
        [Dimension.REGION, Dimension.ORGANISATION, Dimension.DOMAIN],
        sizes,
        dict(zip(sizes, [5, 0, 5, 5, 0], strict=True)),
    )

    assert hidden_but_certain(people) == []


@pytest.mark.parametrize(
    ("tracking", "others", "expected"),
    [
        ("consent", None, None),
        ("consent", TrackingChoice.CONSENT, 6),
        ("personal", None, 6),
        ("personal", TrackingChoice.OBJECTION, None),
    ],
)
def test_who_did_is_compared_with_those_who_can_be_known(
    db: Session, tracking: str, others: TrackingChoice | None, expected: int | None
) -> None:
    campaign = make_campaign(db, tracking=tracking)
    for role in (Role.MAYOR, Role.EMPLOYEE):
        for number in range(20):
            recipient = make_recipient(db, f"{number}@{role.name}.example".lower(), role=role)
            recipient.tracking = TrackingChoice.CONSENT if number < 6 else others
            position = deliver(db, campaign, recipient)
            if number < 6:
                act(db, campaign, TrackingKind.OPEN, position)

    rows = campaign_report(db, campaign).by[Dimension.ROLE]

    assert [row.opened for row in rows] == [expected, expected]


def test_who_is_registered_is_compared_with_everybody_in_the_group(db: Session) -> None:
    campaign = make_campaign(db, tracking="consent")
    event = make_event(db, "odense", "Møde i Odense")
    make_link(db, campaign, "events.registration/odense", kind="registration", event="odense")
    for role, seats in ((Role.MAYOR, 6), (Role.EMPLOYEE, 17), (Role.MANAGER, 3), (Role.UNION, 8)):
        for number in range(20):
            recipient = make_recipient(db, f"{number}@{role.name}.example".lower(), role=role)
            deliver(db, campaign, recipient, DeliveryState.BOUNCED)
            if number < seats:
                register(db, event, recipient)

    rows = {row.value: row.registered for row in campaign_report(db, campaign).by[Dimension.ROLE]}

    assert rows == {"borgmester": 6, "medarbejder": None, "leder": None, "fagforening": 8}


def test_every_column_of_a_group_is_about_it_or_protected() -> None:
    assert {field.name for field in fields(Group)} == {*_ABOUT_THE_GROUP, *COLUMNS}


def test_thousands_of_organisations_are_soon_hidden() -> None:
    sizes = {
        (f"region {number % 5}", f"org {number}", f"{number}.example"): 3 + number % 60
        for number in range(2000)
    }
    clicked = {kind: size // (1 + size % 7) if size % 3 else 0 for kind, size in sizes.items()}
    people = People([Dimension.REGION, Dimension.ORGANISATION, Dimension.DOMAIN], sizes, clicked)

    shown = hide_small_groups(people.tables(), people.kinds())

    assert [row.clicked for row in shown[Dimension.REGION]].count(None) == 0
    assert sum(row.clicked is not None for row in shown[Dimension.ORGANISATION]) > 500


def make_small_campaign(db: Session) -> Campaign:
    campaign = make_campaign(db)
    pack = make_link(db, campaign, "pack", kind="download")
    for number in range(30):
        minister = number < 2
        recipient = make_recipient(
            db,
            f"{number}@{'ministerium' if minister else 'kommune'}.example",
            role=Role.MINISTER if minister else Role.MAYOR if number < 15 else Role.EMPLOYEE,
            region=Region.NORDJYLLAND if number % 2 else Region.MIDTJYLLAND,
            organisation="Ministeriet" if minister else "Kommunen",
        )
        position = deliver(db, campaign, recipient)
        if minister or number % 3 == 0:
            act(db, campaign, TrackingKind.CLICK, position, link=pack)
    return campaign


def test_a_report_does_not_tell_what_two_ministers_did(db: Session) -> None:
    figures = campaign_report(db, make_small_campaign(db))

    for dimension in (Dimension.ROLE, Dimension.ORGANISATION, Dimension.DOMAIN):
        rows = figures.by[dimension]
        assert not any("minister" in (row.value or "").casefold() for row in rows)
        assert sum(row.audience for row in rows) == 30
        assert all(row.audience >= FEWEST for row in rows)


def test_what_is_hidden_does_not_depend_on_what_was_asked_for(db: Session) -> None:
    make_small_campaign(db)
    campaign = make_campaign(db, "other")
    position = [deliver(db, campaign, make_recipient(db, f"x{n}@x.example")) for n in range(12)]
    act(db, campaign, TrackingKind.OPEN, position[0])

    whole = campaign_report(db, campaign)
    for dimension in Dimension:
        alone = campaign_report(db, campaign, [dimension])
        assert alone.by == {dimension: whole.by[dimension]}


def test_the_database_knows_what_lies_within_what(db: Session) -> None:
    make_small_campaign(db)

    homes = find_kinds(db, 1, ["role", "region", "organisation", "domain"]).homes()

    assert homes["organisation"]["Ministeriet"] == {
        "role": {"minister"},
        "domain": {"ministerium.example"},
        "region": {"Midtjylland", "Nordjylland"},
    }
    assert homes["domain"]["kommune.example"]["organisation"] == {"Kommunen"}
    assert homes["region"]["Nordjylland"]["role"] == {"minister", "borgmester", "medarbejder"}
