"""What the copy to pass on is written for: language, sector and region, never a person."""

from mailer.rendering.values import Attributes, RecipientValues
from recipients.models import Confederation, Region, Role, Sector

_LANGUAGES = ("da", "en")


_SECTORS = tuple(Sector)


_REGIONS = (None, *Region)


def variant_of(values: RecipientValues) -> int:
    """The number of the variant a recipient passes on: language, sector and region, no person."""
    language = _LANGUAGES.index(values.language) if values.language in _LANGUAGES else 0
    sector = _SECTORS.index(Sector(values.sector))
    region = _REGIONS.index(Region(values.region) if values.region else None)
    return (language * len(_SECTORS) + sector) * len(_REGIONS) + region


def variant_reader(variant: int) -> RecipientValues | None:
    """Whom a variant is written for; None if there is no such variant."""
    rest, region = divmod(variant, len(_REGIONS))
    language, sector = divmod(rest, len(_SECTORS))
    if not 0 <= language < len(_LANGUAGES):
        return None
    return RecipientValues(
        name=None,
        role=Role.OTHER.value,
        sector=_SECTORS[sector].value,
        organisation=None,
        workplace=None,
        confederation=Confederation.NONE.value,
        region=_REGIONS[region],
        language=_LANGUAGES[language],
        attributes=Attributes(),
    )
