"""An invented population of any size with the shape of the Danish public sector.

Municipalities, regions, ministries and unions have their real names; persons are made up, and every
address ends in ``.example`` (RFC 2606) but for the few that are broken on purpose.
"""

import csv
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from pathlib import Path
from typing import NamedTuple, TypeVar

HEADINGS = (
    "E-mail",
    "Navn",
    "Stilling",
    "Sektor",
    "Kommune",
    "Organisation",
    "Arbejdsplads",
    "Hovedorganisation",
    "Region",
    "Sprog",
)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_H, _S, _SD, _M, _N = "Hovedstaden", "Sjælland", "Syddanmark", "Midtjylland", "Nordjylland"
_MUNICIPALITIES: dict[str, str] = {
    _H: (
        "København 570, Frederiksberg 103, Ballerup 48, Brøndby 35, Dragør 14, Gentofte 74, Gladsaxe 67,"
        " Glostrup 22, Herlev 28, Albertslund 28, Hvidovre 52, Høje-Taastrup 49, Lyngby-Taarbæk 55,"
        " Rødovre 37, Ishøj 22, Tårnby 42, Vallensbæk 15, Furesø 39, Allerød 24, Fredensborg 40,"
        " Helsingør 62, Hillerød 49, Hørsholm 25, Rudersdal 55, Egedal 42, Frederikssund 44,"
        " Halsnæs 31, Gribskov 41, Bornholm 40"
    ),
    _S: (
        "Greve 48, Køge 58, Lejre 27, Roskilde 84, Solrød 21, Odsherred 32, Holbæk 69, Faxe 35,"
        " Kalundborg 48, Ringsted 33, Slagelse 77, Stevns 22, Sorø 29, Lolland 44, Næstved 81,"
        " Guldborgsund 61, Vordingborg 45"
    ),
    _SD: (
        "Middelfart 38, Assens 41, Faaborg-Midtfyn 51, Kerteminde 24, Nyborg 31, Odense 196,"
        " Svendborg 58, Nordfyns 29, Langeland 13, Ærø 7, Haderslev 56, Billund 26, Sønderborg 75,"
        " Tønder 39, Esbjerg 115, Fanø 3, Varde 50, Vejen 43, Aabenraa 59, Fredericia 50, Kolding 90,"
        " Vejle 109"
    ),
    _M: (
        "Horsens 86, Herning 87, Holstebro 57, Lemvig 21, Struer 22, Syddjurs 42, Norddjurs 38,"
        " Favrskov 47, Odder 22, Randers 96, Silkeborg 89, Samsø 4, Skanderborg 59, Aarhus 324,"
        " Ikast-Brande 41, Ringkøbing-Skjern 57, Hedensted 46, Skive 47, Viborg 95"
    ),
    _N: (
        "Morsø 21, Thisted 44, Brønderslev 36, Frederikshavn 60, Vesthimmerlands 37, Læsø 2, Rebild 29,"
        " Mariagerfjord 42, Jammerbugt 38, Aalborg 206, Hjørring 65"
    ),
}
_REGIONS = (
    (
        _H,
        "regionh",
        39,
        ("Rigshospitalet", "Herlev Hospital", "Bispebjerg Hospital", "Nordsjællands Hospital"),
    ),
    (
        _S,
        "regionsjaelland",
        15,
        ("Roskilde Sygehus", "Næstved Sygehus", "Holbæk Sygehus", "Slagelse Sygehus"),
    ),
    (
        _SD,
        "rsyd",
        24,
        (
            "Odense Universitetshospital",
            "Kolding Sygehus",
            "Sydvestjysk Sygehus",
            "Sygehus Sønderjylland",
        ),
    ),
    (
        _M,
        "rm",
        27,
        (
            "Aarhus Universitetshospital",
            "Regionshospitalet Viborg",
            "Regionshospitalet Randers",
            "Hospitalsenheden Horsens",
        ),
    ),
    (_N, "rn", 14, ("Aalborg Universitetshospital", "Sygehus Vendsyssel", "Sygehus Himmerland")),
)
_WARDS = (
    "Akutafdelingen",
    "Børneafdelingen",
    "Fødeafdelingen",
    "Intensivafsnittet",
    "Kirurgisk afdeling",
    "Kardiologisk afdeling",
    "Medicinsk afdeling",
    "Neurologisk afdeling",
    "Onkologisk afdeling",
    "Ortopædkirurgisk afdeling",
    "Psykiatrisk afdeling",
    "Røntgenafdelingen",
)
_MINISTRIES = (
    ("Statsministeriet", "stm", ("Departementet",)),
    ("Finansministeriet", "fm", ("Departementet", "Moderniseringsstyrelsen")),
    ("Økonomi- og Indenrigsministeriet", "oim", ("Departementet", "Danmarks Statistik")),
    ("Udenrigsministeriet", "um", ("Departementet",)),
    (
        "Justitsministeriet",
        "jm",
        ("Kriminalforsorgen", "Københavns Politi", "Østjyllands Politi", "Statsfængslet i Nyborg"),
    ),
    ("Forsvarsministeriet", "fmn", ("Forsvarskommandoen", "Beredskabsstyrelsen")),
    ("Skatteministeriet", "skm", ("SKAT København", "SKAT Aalborg", "SKAT Odense")),
    ("Beskæftigelsesministeriet", "bm", ("Arbejdstilsynet", "Arbejdsskadestyrelsen")),
    (
        "Undervisningsministeriet",
        "uvm",
        ("Departementet", "Aarhus Katedralskole", "Kolding Gymnasium", "Nørresundby Gymnasium"),
    ),
    (
        "Uddannelses- og Forskningsministeriet",
        "ufm",
        ("Københavns Universitet", "Aarhus Universitet", "Aalborg Universitet", "Syddansk Universitet"),
    ),
    ("Ministeriet for Sundhed og Forebyggelse", "sum", ("Sundhedsstyrelsen", "Statens Serum Institut")),
    (
        "Børne-, Ligestillings-, Integrations- og Socialministeriet",
        "sm",
        ("Socialstyrelsen", "Ankestyrelsen"),
    ),
    ("Klima-, Energi- og Bygningsministeriet", "kebmin", ("Energistyrelsen", "DMI")),
    ("Miljøministeriet", "mim", ("Naturstyrelsen", "Miljøstyrelsen")),
    ("Fødevareministeriet", "fvm", ("Fødevarestyrelsen", "NaturErhvervstyrelsen")),
    ("Transportministeriet", "trm", ("Vejdirektoratet", "Trafikstyrelsen", "Banedanmark")),
    ("Erhvervs- og Vækstministeriet", "evm", ("Erhvervsstyrelsen", "Søfartsstyrelsen")),
    (
        "Kulturministeriet",
        "kum",
        ("Det Kongelige Bibliotek", "Nationalmuseet", "Det Danske Filminstitut"),
    ),
    ("Ministeriet for Ligestilling og Kirke", "km", ("Departementet",)),
    ("Ministeriet for By, Bolig og Landdistrikter", "mbbl", ("Departementet",)),
)
_UNIONS = (
    ("Danmarks Lærerforening", "dlf", "FTF"),
    ("Dansk Sygeplejeråd", "dsr", "FTF"),
    ("BUPL", "bupl", "FTF"),
    ("Dansk Socialrådgiverforening", "socialraadgiverne", "FTF"),
    ("Politiforbundet", "politiforbundet", "FTF"),
    ("FOA", "foa", "OAO"),
    ("HK Kommunal", "hkkommunal", "OAO"),
    ("HK Stat", "hkstat", "OAO"),
    ("3F Offentlig", "3f", "OAO"),
    ("Socialpædagogerne", "sl", "OAO"),
    ("Djøf", "djoef", "Akademikerne"),
    ("Dansk Magisterforening", "dm", "Akademikerne"),
    ("Gymnasieskolernes Lærerforening", "gl", "Akademikerne"),
    ("Yngre Læger", "yl", "Akademikerne"),
    ("IDA", "ida", "Akademikerne"),
)
_WORKPLACES = _words(
    "Skole Børnehave Plejecenter Hjemmepleje Jobcenter Bibliotek Rådhus Ungdomsskole "
    "Sundhedscenter Vuggestue"
)
_PLACE_ENDINGS = ("by", "bro", "gård", "holt", "lund", "strup")
_PLACES = _words("Sønder Nørre Vester Øster Skov Bakke Å Kirke Mølle Eng Birke Lilje Sø Strand Skød")
_FIRST_NAMES = _words(
    "Anne Åse Kirsten Mette Hanne Søren Jørgen Lærke Bjørn Øjvind Peter Lars Jens Maria "
    "Susanne Aage Kåre Signe Ida Mikkel Fatima Mehmet Sofie Frederik Birgit Thomas Inger "
    "Niels Camilla Rasmus Ellen Asger Dorthe Jesper Gitte Malthe"
)
_MIDDLE_NAMES = ("Bjørnsdóttir", "Lund", "Holm", "Skov", "Dahl", "Ravn", "Vestergård", "Bech")
_LAST_NAMES = _words(
    "Jensen Nielsen Hansen Pedersen Andersen Christensen Larsen Sørensen Rasmussen Jørgensen "
    "Petersen Madsen Kristensen Olsen Thomsen Møller Poulsen Østergaard Aagaard Krøyer Bæk "
    "Nørgaard Yılmaz Ahmed Schrøder Bang Dall"
)
_STAFF_ROLES = (
    ("Tillidsrepræsentant", 44),
    ("Arbejdsmiljørepræsentant", 20),
    ("Medarbejderrepræsentant", 9),
    ("Leder", 9),
    ("Medarbejder", 12),
    ("Sygeplejerske", 2),
    ("Pædagog", 2),
    ("Socialrådgiver", 2),
)
_MUNICIPAL_SHARE, _REGIONAL_SHARE, _STATE_SHARE = 62, 16, 22
_UNION_SHARE, _POLITICIAN_SHARE = 0.015, 0.02
_NAMELESS_SHARE, _NAMELESS_OFFICE_SHARE, _MIDDLE_NAME_SHARE, _ENGLISH_SHARE = 0.04, 0.6, 0.2, 0.02
_CONFEDERATIONS = ("FTF", "OAO", "Akademikerne", "")
_CONFEDERATION_STEPS = (35, 75, 95, 100)
_BROKEN = (
    "mangler-snabel-a.example",
    "to@@snabler.example",
    "navn@skole.test",
    "navn@kontor.invalid",
    "uden.punktum@kommune",
    "mellem rum@kommune.example",
    "",
)
_INTERNATIONAL = ("københavn.example", "rødovre.example", "ærø.example", "tårnby.example")
_SPELLED_OUT = str.maketrans({"æ": "ae", "ø": "oe", "å": "aa", "ı": "i", "ö": "o", "ó": "o", " ": "."})
_BROKEN_EVERY, _REPEATED_EVERY, _INTERNATIONAL_EVERY = 250, 90, 400
_NAMED_CELL_EVERY, _TRAILING_BLANK_EVERY = 150, 60
_OFFICE_AT_MOST_EVERY = 8
"""Rows per office in a population too small to have all of them."""
_REMEMBERED = 50


Option = TypeVar("Option")


class Person(NamedTuple):
    """One row, as an office would write it down."""

    email: str
    name: str
    role: str
    sector: str
    municipality: str = ""
    organisation: str = ""
    workplace: str = ""
    confederation: str = ""
    region: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class _Employer:
    name: str
    domain: str
    sector: str
    region: str
    workplaces: tuple[str, ...]
    weight: float

    def person(self, email: str, name: str, role: str, **more: str) -> Person:
        field = "municipality" if self.sector == "Kommune" else "organisation"
        more[field] = self.name
        return Person(email, name, role, self.sector, region=self.region, **more)


def generate_population(size: int, seed: int = 2014) -> Iterator[Person]:
    """Rows for a list of that size, the same for the same seed, one at a time.

    Every mayor, regional chair and minister stands in it once, unless it is too small; most rows are
    staff at few mail domains. Now and then a row is broken, or repeats an earlier address.
    """
    rng = random.Random(seed)  # noqa: S311 - invented people, no secrets
    employers = [*_municipalities(), *_hospital_owners(), *_ministries()]
    offices = _offices(rng, employers)
    offices = offices[: min(len(offices), size // _OFFICE_AT_MOST_EVERY)]
    yield from offices
    staff = _staff(rng, employers)
    recent: deque[Person] = deque(offices[:_REMEMBERED], maxlen=_REMEMBERED)
    for number in range(len(offices), size):
        if number % _BROKEN_EVERY == 1:
            yield next(staff)._replace(email=_pick(rng, _BROKEN))
        elif number % _REPEATED_EVERY == 2 and recent:
            yield _repeat(rng, _pick(rng, recent))
        else:
            person = next(staff)
            recent.append(person)
            yield _as_typed(rng, person, number)


def write_population_csv(path: Path, size: int, seed: int = 2014) -> None:
    """Write a population as a Danish Excel saves it: semicolons, UTF-8 with a byte order mark."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(HEADINGS)
        writer.writerows(generate_population(size, seed))


def mail_domain(name: str) -> str:
    """The mail domain of an authority, in ASCII: ``Høje-Taastrup`` as ``hoeje-taastrup.example``."""
    return f"{name.lower().translate(_SPELLED_OUT)}.example"


def _municipalities() -> Iterator[_Employer]:
    total = sum(int(entry.split()[-1]) for text in _MUNICIPALITIES.values() for entry in text.split(","))
    for region, text in _MUNICIPALITIES.items():
        for entry in text.split(", "):
            name, inhabitants = entry.split()
            weight = _MUNICIPAL_SHARE * int(inhabitants) / total
            yield _Employer(name, mail_domain(name), "Kommune", region, (), weight)


def _hospital_owners() -> Iterator[_Employer]:
    total = sum(size for _, _, size, _ in _REGIONS)
    for region, domain, size, hospitals in _REGIONS:
        wards = tuple(f"{hospital}, {ward}" for hospital in hospitals for ward in _WARDS)
        weight = _REGIONAL_SHARE * size / total
        yield _Employer(f"Region {region}", f"{domain}.example", "Region", region, wards, weight)


def _ministries() -> Iterator[_Employer]:
    total = sum(len(authorities) for _, _, authorities in _MINISTRIES)
    for name, domain, authorities in _MINISTRIES:
        weight = _STATE_SHARE * len(authorities) / total
        yield _Employer(name, f"{domain}.example", "Stat", "Hovedstaden", authorities, weight)


def _offices(rng: random.Random, employers: Sequence[_Employer]) -> list[Person]:
    """The head of every authority: one of each kind first, then the others in any order."""
    heads = {"Kommune": "Borgmester", "Region": "Regionsformand", "Stat": "Minister"}
    first: dict[str, Person] = {}
    others = []
    for employer in employers:
        role = heads[employer.sector]
        person = employer.person(f"{role.lower()}@{employer.domain}", _name(rng), role, language="da")
        if first.setdefault(role, person) is not person:
            others.append(person)
    rng.shuffle(others)
    return [*first.values(), *others]


def _staff(rng: random.Random, employers: Sequence[_Employer]) -> Iterator[Person]:
    """Endless: representatives, managers and employees, a politician or a union's office in between."""
    weights = list(accumulate(employer.weight for employer in employers))
    roles, role_weights = zip(*_STAFF_ROLES, strict=True)
    role_steps = list(accumulate(role_weights))
    for number in count(1):
        kind = rng.random()
        if kind < _UNION_SHARE:
            yield _union_office(rng, number)
            continue
        (employer,) = rng.choices(employers, cum_weights=weights)
        name = _name(rng)
        email = f"{_local_part(name)}{number}@{employer.domain}"
        language = "en" if rng.random() < _ENGLISH_SHARE else "da"
        if kind < _UNION_SHARE + _POLITICIAN_SHARE and employer.sector != "Stat":
            yield employer.person(email, name, "Politiker", language=language)
            continue
        yield employer.person(
            email,
            "" if rng.random() < _NAMELESS_SHARE else name,
            rng.choices(roles, cum_weights=role_steps)[0],
            workplace=_pick(rng, employer.workplaces) if employer.workplaces else _workplace(rng),
            confederation=rng.choices(_CONFEDERATIONS, cum_weights=_CONFEDERATION_STEPS)[0],
            language=language,
        )


def _union_office(rng: random.Random, number: int) -> Person:
    union, domain, confederation = _pick(rng, _UNIONS)
    region = _pick(rng, tuple(_MUNICIPALITIES))
    return Person(
        f"afdeling{number}@{domain}.example",
        "" if rng.random() < _NAMELESS_OFFICE_SHARE else _name(rng),
        "Fagforening",
        "Ingen",
        organisation=union,
        workplace=f"{union} {region}",
        confederation=confederation,
        region=region,
        language="da",
    )


def _repeat(rng: random.Random, person: Person) -> Person:
    """An earlier address once more, as lists from several parties have it."""
    email = person.email if "<" in person.email else person.email.upper()
    changed = rng.random()
    if changed < 0.4:
        return person._replace(email=email)
    if changed < 0.7:
        return person._replace(email=email, role="Medarbejder", workplace="")
    return person._replace(email=email, name=_name(rng))


def _as_typed(rng: random.Random, person: Person, number: int) -> Person:
    """What people leave in a cell: a name before the address, blanks behind it, a domain with an ø."""
    if number % _INTERNATIONAL_EVERY == 3:
        local = person.email.partition("@")[0]
        return person._replace(email=f"{local}@{_pick(rng, _INTERNATIONAL)}")
    if number % _NAMED_CELL_EVERY == 4 and person.name:
        return person._replace(email=f"{person.name} <{person.email}>")
    if number % _TRAILING_BLANK_EVERY == 5:
        return person._replace(email=f"{person.email} ")
    return person


def _pick(rng: random.Random, options: Sequence[Option]) -> Option:
    """One of the options, three times as fast as ``choice``."""
    return options[int(rng.random() * len(options))]


def _name(rng: random.Random) -> str:
    middle = f" {_pick(rng, _MIDDLE_NAMES)}" if rng.random() < _MIDDLE_NAME_SHARE else ""
    return f"{_pick(rng, _FIRST_NAMES)}{middle} {_pick(rng, _LAST_NAMES)}"


def _local_part(name: str) -> str:
    first, *_, last = name.lower().translate(_SPELLED_OUT).split(".")
    return f"{first}.{last}"


def _workplace(rng: random.Random) -> str:
    return f"{_pick(rng, _PLACES)}{_pick(rng, _PLACE_ENDINGS)} {_pick(rng, _WORKPLACES)}"
