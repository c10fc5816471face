"""People and machines by what they say of themselves."""

import pytest

from mailer.tracking.labels import judge_request, judge_user_agent
from mailer.tracking.models import Label, TrackingEvent

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


@pytest.mark.parametrize(
    "user_agent",
    [
        FIREFOX,
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0"
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15"
            " (KHTML, like Gecko) Mobile/15E148"
        ),
        (
            "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Chrome/120.0.0.0 Mobile Safari/537.36"
        ),
        "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)",
        "Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko",
        "Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.16",
        "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.4.0",
    ],
)
def test_browsers_and_mail_programs_are_people(user_agent: str) -> None:
    assert judge_user_agent(user_agent).label is Label.PERSON


@pytest.mark.parametrize(
    ("user_agent", "reason"),
    [
        ("Mozilla/5.0", "Apple's privacy proxy"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 SafeLinks/1.0", "Outlook Safe Links"),
        (
            "Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like Gecko) BingPreview/1.0b",
            "Outlook Safe Links",
        ),
        ("BarracudaCentral", "Barracuda"),
        ("Proofpoint URL Defense", "Proofpoint"),
        ("Mimecast-URL-Scanner/1.0", "Mimecast"),
        ("Mozilla/5.0 (compatible; Symantec Email Security)", "security scanner"),
        ("WhatsApp/2.23.20.0", "link preview"),
        ("facebookexternalhit/1.1", "link preview"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "robot"),
        ("Mozilla/5.0 (compatible; Yahoo! Slurp)", "robot"),
        ("Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/142.0", "robot"),
        ("curl/8.5.0", "program"),
        ("python-requests/2.32.3", "program"),
        ("Go-http-client/2.0", "program"),
        ("Java/17.0.2", "program"),
    ],
)
def test_scanners_previews_and_programs_are_machines(user_agent: str, reason: str) -> None:
    judgement = judge_user_agent(user_agent)

    assert (judgement.label, judgement.reason) == (Label.MACHINE, reason)


@pytest.mark.parametrize(
    "user_agent",
    [
        "",
        "   ",
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
        "Noget helt andet",
    ],
)
def test_what_may_be_either_is_unsure(user_agent: str) -> None:
    assert judge_user_agent(user_agent).label is Label.UNSURE


def test_asking_for_the_head_only_is_a_machine() -> None:
    assert judge_request("HEAD", {"user-agent": FIREFOX}).label is Label.MACHINE


@pytest.mark.parametrize(
    "header",
    [
        {"purpose": "prefetch"},
        {"sec-purpose": "prefetch;prerender"},
        {"x-purpose": "preview"},
        {"x-moz": "prefetch"},
    ],
)
def test_fetching_ahead_is_a_machine(header: dict[str, str]) -> None:
    judgement = judge_request("GET", {"user-agent": FIREFOX, **header})

    assert (judgement.label, judgement.reason) == (Label.MACHINE, "fetched ahead")


def test_an_endless_user_agent_is_judged_at_once() -> None:
    judge_user_agent("Mozilla/5.0 (" + "(" * 100_000)


def test_every_reason_fits_its_column() -> None:
    longest = TrackingEvent.__table__.c.reason.type.length

    for user_agent in (FIREFOX, "", "x", "Mozilla/5.0", "curl/8"):
        assert len(judge_user_agent(user_agent).reason) <= longest
