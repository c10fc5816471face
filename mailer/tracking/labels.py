"""People or machines: who a request probably came from, by what it says of itself.

Nothing is dropped for its label. A proxy that fetches for everybody, asked or not, is a machine;
one that fetches when somebody reads is ``unsure``, since it may also fetch ahead.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mailer.tracking.models import Label

RULES_OF = "2026-11"
"""When these rules were last gone through."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A label and the rule that gave it."""

    label: Label
    reason: str


POSTED = Judgement(Label.PERSON, "sent a form")
"""Scanners follow links, they do not press buttons (RFC 8058 §1)."""

_AHEAD = ("purpose", "sec-purpose", "x-purpose", "x-moz")
_AHEAD_WORDS = re.compile(r"prefetch|preview|prerender", re.IGNORECASE)

_LOOKED_AT = 500
"""Characters of a user agent; real ones are shorter."""

# Apple's mail privacy proxy fetches every picture of every letter and says no more than this.
_APPLE_PRIVACY_PROXY = "Mozilla/5.0"


def _rule(label: Label, reason: str, *patterns: str) -> tuple[re.Pattern[str], Judgement]:
    return re.compile("|".join(patterns), re.IGNORECASE), Judgement(label, reason)


# The first that fits decides.
_RULES = (
    _rule(Label.UNSURE, "Gmail's image proxy", r"googleimageproxy", r"via ggpht\.com"),
    _rule(Label.UNSURE, "Yahoo's image proxy", r"yahoomailproxy"),
    _rule(
        Label.MACHINE,
        "Outlook Safe Links",
        r"safe ?links|microsoft-atp|bingpreview|office existence discovery",
    ),
    _rule(Label.MACHINE, "Barracuda", r"barracuda"),
    _rule(Label.MACHINE, "Proofpoint", r"proofpoint|urldefense"),
    _rule(Label.MACHINE, "Mimecast", r"mimecast"),
    _rule(
        Label.MACHINE,
        "security scanner",
        r"symantec|messagelabs|trend ?micro|forti(?:mail|guard|net)|ironport|sophos|kaspersky",
        r"forcepoint|zscaler|cloudmark|hornetsecurity|fireeye|trellix|virustotal|urlscan",
        r"check ?point|cyren|vade ?secure|with ?secure|heimdal",
    ),
    _rule(
        Label.MACHINE,
        "link preview",
        r"facebookexternalhit|slackbot|twitterbot|whatsapp|linkedinbot|telegrambot|discordbot",
        r"skypeuripreview|microsoft preview|embedly|pinterest|mastodon",
    ),
    _rule(
        Label.MACHINE,
        "robot",
        r"(?<!cu)bot(?![a-z])",  # Cubot makes telephones
        r"crawl|spider|slurp|scanner|archiver|monitor|headless|phantomjs|lighthouse|preview",
        r"link ?check|uptime|validator",
    ),
    _rule(
        Label.MACHINE,
        "program",
        r"^(?:curl|wget|python|aiohttp|httpx|go-http-client|java|libwww|lwp|okhttp|axios)\b",
        r"^(?:node|ruby|php|perl|guzzle|apache-httpclient|postman|insomnia|dart|winhttp)\b",
        r"python-(?:requests|urllib|httpx)|scrapy",
    ),
    _rule(
        Label.PERSON,
        "mail program",
        r"ms-?office|microsoft outlook|outlook-(?:ios|android)|thunderbird|applemail",
    ),
    _rule(
        Label.PERSON,
        "browser",
        r"^(?:mozilla|opera)/\d[^(]*\([^)]+\).*(?:gecko|applewebkit|trident|presto|khtml)",
        r"^mozilla/\d\.\d \([^)]*(?:msie|trident)",
    ),
)


def judge_request(method: str, headers: Mapping[str, str]) -> Judgement:
    """Who a request probably came from.

    Args:
        headers: names in lower case.
    """
    if method == "HEAD":
        return Judgement(Label.MACHINE, "asked for the head only")
    if any(_AHEAD_WORDS.search(headers.get(name, "")) for name in _AHEAD):
        return Judgement(Label.MACHINE, "fetched ahead")
    return judge_user_agent(headers.get("user-agent", ""))


def judge_user_agent(user_agent: str) -> Judgement:
    """Who such a user agent probably is."""
    stripped = user_agent[:_LOOKED_AT].strip()
    if not stripped:
        return Judgement(Label.UNSURE, "no user agent")
    if stripped == _APPLE_PRIVACY_PROXY:
        return Judgement(Label.MACHINE, "Apple's privacy proxy")
    for pattern, judgement in _RULES:
        if pattern.search(stripped):
            return judgement
    return Judgement(Label.UNSURE, "unknown user agent")
