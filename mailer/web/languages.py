"""Which language a page speaks: what the reader chose, else what is known of them, else Danish."""

from starlette.requests import Request

LANGUAGES = ("da", "en")
"""The first is spoken where nothing is known."""
_LOOKED_AT = 16
"""Languages of an Accept-Language header that are read; browsers send fewer."""


def chosen_language(request: Request) -> str | None:
    """What the reader chose with ``?lang=``; None if nothing, or no language of ours."""
    chosen = request.query_params.get("lang")
    return chosen if chosen in LANGUAGES else None


def accepted_language(request: Request) -> str:
    """The first of our languages in what the browser asks for (RFC 9110 §12.5.4)."""
    ranges = request.headers.get("accept-language", "").split(",")[:_LOOKED_AT]
    wanted = sorted(ranges, key=_weight, reverse=True)
    for each in wanted:
        language = each.partition(";")[0].strip().partition("-")[0].lower()
        if language in LANGUAGES and _weight(each) > 0:
            return language
    return LANGUAGES[0]


def _weight(language_range: str) -> float:
    name, _, weight = language_range.partition(";")[2].strip().partition("=")
    try:
        return float(weight) if name.lower() == "q" else 1.0
    except ValueError:
        return 0.0
