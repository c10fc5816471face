"""People or machines: who was probably behind one sighting, by what it says of itself.

Nothing is dropped for its label. A proxy that fetches for everybody, asked or not, is a machine; one
that fetches when somebody reads is ``unsure``, since it may also fetch ahead. What can only be seen
beside other sightings is judged later, in ``revising``.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from mailer.tracking.models import Label, Manner, TrackingKind

RULES_OF = "2026-11"
"""When these rules were last gone through."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A label and the rule that gave it."""

    label: Label
    reason: str


POSTED = Judgement(Label.PERSON, "sent a form")
"""Scanners follow links, they do not press buttons (RFC 8058 §1)."""
MAILED = Judgement(Label.PERSON, "sent a mail")
TRAPPED = Judgement(Label.MACHINE, "followed the hidden link")
HEAD_ONLY = Judgement(Label.MACHINE, "asked for the head only")
FETCHED_AHEAD = Judgement(Label.MACHINE, "fetched ahead")
SILENT = Judgement(Label.UNSURE, "no user agent")
UNKNOWN = Judgement(Label.UNSURE, "unknown user agent")
APPLE = Judgement(Label.MACHINE, "Apple's privacy proxy")

_LOOKED_AT = 500
"""Characters of a user agent; real ones are shorter."""
_REMEMBERED = 4_096
"""Texts whose judgement is kept in memory; a reader can make up any number of them."""

# Apple's mail privacy proxy fetches every picture of every letter and says no more than this.
_APPLE_PRIVACY_PROXY = "Mozilla/5.0"


def _rule(label: Label, reason: str, *patterns: str) -> tuple[re.Pattern[str], Judgement]:
    return re.compile("|".join(patterns), re.IGNORECASE), Judgement(label, reason)


# The first that fits decides.
_RULES = (
    _rule(Label.UNSURE, "Gmail's image proxy", r"googleimageproxy", r"via ggpht\.com"),
    _rule(Label.UNSURE, "Yahoo's image proxy", r"yahoomailproxy"),
    _rule(Label.UNSURE, "image proxy", r"image ?proxy|mail ?proxy"),
    _rule(
        Label.MACHINE, "Gmail, fetching ahead", r"chrome/42\.0\.2311\.135 .*edge/12\.246 mozilla/5\.0$"
    ),
    _rule(
        Label.MACHINE,
        "Microsoft Defender",
        r"safe ?links|microsoft-atp|ms-?defender|microsoft defender|bingpreview",
        r"office existence discovery|microsoft exchange|microsoft url (?:control|preview)",
    ),
    _rule(Label.MACHINE, "Barracuda", r"barracuda|cudasvc"),
    _rule(Label.MACHINE, "Proofpoint", r"proofpoint|urldefense"),
    _rule(Label.MACHINE, "Mimecast", r"mimecast"),
    _rule(Label.MACHINE, "Trend Micro", r"trend ?micro|\btm(?:es|ufe|ase)\b"),
    _rule(Label.MACHINE, "Cisco", r"\bcisco|ironport|talos ?intelligence"),
    _rule(Label.MACHINE, "Symantec", r"symantec|messagelabs|broadcom|blue ?coat"),
    _rule(Label.MACHINE, "Sophos", r"sophos"),
    _rule(Label.MACHINE, "Fortinet", r"forti(?:mail|guard|net|gate|sandbox)"),
    _rule(
        Label.MACHINE,
        "security scanner",
        r"kaspersky|forcepoint|websense|zscaler|cloudmark|hornetsecurity|fireeye|trellix|mcafee",
        r"skyhigh|virustotal|urlscan|urlvoid|check ?point|avanan|cyren|vade ?secure|with ?secure",
        r"f-secure|heimdal|bitdefender|\beset\b|webroot|darktrace|ironscales|perception ?point",
        r"palo ?alto|\bcortex/|netskope|spamtitan|libraesva|retarus|spamassassin|rspamd|mailscanner",
        r"censys|zgrab|\bexpanse\b",
    ),
    _rule(
        Label.MACHINE,
        "link preview",
        r"facebookexternal|facebookcatalog|meta-external|slack-?imgproxy|slackbot|twitterbot",
        r"whatsapp|linkedinbot|telegrambot|discordbot|skypeuripreview|microsoft preview|viber",
        r"url preview|embedly|pinterest(?:bot|/0)|mastodon|iframely",
        r"google-(?:pagerenderer|inspectiontool)|googlemessages|snap url",
    ),
    _rule(
        Label.MACHINE,
        "robot",
        r"(?<!cu)bot(?![a-z])",  # Cubot makes telephones
        r"crawl|spider|slurp|scanner|archiver|monitor|headless|phantomjs|lighthouse|preview",
        r"link ?check|uptime|validator|puppeteer|playwright|selenium|webdriver|hubspot connect",
        r"(?:chatgpt|claude|perplexity|mistralai|gemini|duckassist)-user|google-(?:read-aloud|safety)",
        r"amazon cloudfront|mediapartners|feedfetcher|dataprovider",
    ),
    _rule(
        Label.MACHINE,
        "program",
        r"^(?:curl|wget|python|aiohttp|httpx|go-http-client|java|libwww|lwp|axios|got|reqwest)\b",
        r"^(?:node|undici|deno|bun|ruby|php|perl|guzzle|faraday|apache-httpclient|apachebench)\b",
        r"^(?:postman|insomnia|dart|winhttp|powershell|ahc|jetty|lua-resty-http|restsharp|httpie)\b",
        r"python-(?:requests|urllib|httpx)|scrapy|jakarta commons|apache-http|windowspowershell",
    ),
    _rule(
        Label.MACHINE,
        "service",
        r"synthetics|pingdom|ptst/|gtmetrix|dareboost|thousandeyes|silktide|ghost inspector|appinsights",
        r"brandverity|datanyze|hardenize|collapsify|hotjar|linktiger|marketgoo|foregenix|sindup|turingos",
        r"ips-agent|luminator|google favicon|nitro-optimi[sz]er|cookiehub|newsai/|manus-user|dlc/\d",
        r"screaming frog|browsershot|cutycapt|wkhtmlto|website-?checker|pageanalyzer|dead ?link|sitemap",
    ),
    _rule(
        Label.PERSON,
        "mail program",
        r"ms-?office|microsoft (?:office|outlook)|macoutlook|outlook-(?:ios|android)|oneoutlook",
        r"thunderbird|betterbird|applemail|evolution/|k-?mail|airmail|lotus-notes|hcl-notes",
    ),
    # Browsers name no address of their own; none after Internet Explorer is "compatible".
    _rule(
        Label.MACHINE,
        "program with an address",
        r"https?:|www\.|\w@\w|\b[a-z0-9-]+\.(?:com|org|net|io|ai|co|eu|de|gov)(?![\w.])",
    ),
    _rule(Label.MACHINE, "no browser", r"compatible[;)](?! ?(?:msie|konqueror))|; ?compatible"),
    _rule(
        Label.PERSON,
        "browser",
        r"^(?:mozilla|opera)/\d[^(]*\([^)]+\).*(?:gecko|applewebkit|trident|presto|khtml)",
        r"^mozilla/\d\.\d \([^)]*(?:msie|trident)",
    ),
    # Frameworks in which both mail programs and robots are written.
    _rule(Label.UNSURE, "some app", r"^dalvik/|cfnetwork/|okhttp/|dataaccessd/|^webkit"),
)

_EXPLANATIONS = {
    POSTED.reason: "a form was sent: scanners follow links, they do not press buttons",
    MAILED.reason: "a mail was sent to the address for it, by hand or by the mail program's own button",
    TRAPPED.reason: "it followed the link that no reader can see",
    HEAD_ONLY.reason: "it asked for the head of the answer only, as programs do",
    FETCHED_AHEAD.reason: "the request says that it was made before anybody asked",
    SILENT.reason: "the program said nothing of itself",
    UNKNOWN.reason: "no rule knows what the program said of itself",
    APPLE.reason: "Apple's mail privacy proxy fetches the pictures of every letter, read or not",
    "Gmail's image proxy": "Google fetched the picture, mostly when the letter was opened",
    "Yahoo's image proxy": "Yahoo fetched the picture, mostly when the letter was opened",
    "image proxy": "a proxy fetched the picture, perhaps when the letter was opened",
    "Gmail, fetching ahead": "Google fetched the picture before the letter was opened",
    "link preview": "a chat or social service made a preview of the link",
    "robot": "the program says that it is a robot",
    "program": "a tool or a library for programs, no browser",
    "service": "a service that looks at pages for somebody",
    "program with an address": "the program names a web address of its own, which browsers do not",
    "no browser": "the program says that it is compatible with browsers, which browsers do not",
    "security scanner": "the program says that it looks for malicious links",
    "mail program": "the program says that it is a mail program",
    "browser": "the program says that it is a browser",
    "some app": "an app's own way to fetch: mail programs and robots both use it",
}


def judge_sighting(kind: TrackingKind, manner: Manner, user_agent: str) -> Judgement:
    """Who was probably behind one sighting, seen by itself."""
    if kind is TrackingKind.TRAP:
        return TRAPPED
    match manner:
        case Manner.POST:
            return POSTED
        case Manner.MAIL:
            return MAILED
        case Manner.HEAD:
            return HEAD_ONLY
        case Manner.AHEAD:
            return FETCHED_AHEAD
    return judge_user_agent(user_agent)


@lru_cache(maxsize=_REMEMBERED)
def judge_user_agent(user_agent: str) -> Judgement:
    """Who such a user agent probably is."""
    stripped = user_agent[:_LOOKED_AT].strip()
    if not stripped:
        return SILENT
    if stripped == _APPLE_PRIVACY_PROXY:
        return APPLE
    for pattern, judgement in _RULES:
        if pattern.search(stripped):
            return judgement
    return UNKNOWN


def explain(reason: str) -> str:
    """A rule's reason in words that somebody can be told."""
    return _EXPLANATIONS.get(reason, f"the program says that it is {reason}, which checks links")
