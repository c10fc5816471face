"""People and machines by what they say of themselves."""

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from mailer.tracking.labels import explain, judge_sighting, judge_user_agent
from mailer.tracking.models import Label, Manner, TrackingEvent, TrackingKind

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
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0 OneOutlook/1.2024.1203.100"
        ),
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like"
            " Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/490.0.0;FBDV/iPhone15,2]"
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like"
            " Gecko) Mobile/15E148 [Pinterest/iOS]"
        ),
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
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 SafeLinks/1.0", "Microsoft Defender"),
        (
            "Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like Gecko) BingPreview/1.0b",
            "Microsoft Defender",
        ),
        ("BarracudaCentral", "Barracuda"),
        ("Proofpoint URL Defense", "Proofpoint"),
        ("Mimecast-URL-Scanner/1.0", "Mimecast"),
        (
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
                " Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0"
            ),
            "Gmail, fetching ahead",
        ),
        ("Microsoft Office Existence Discovery", "Microsoft Defender"),
        ("Barracuda Sentinel (EE)", "Barracuda"),
        ("Mozilla/5.0 (compatible; Symantec Email Security)", "Symantec"),
        ("Mozilla/5.0 (compatible; TMES URL check)", "Trend Micro"),
        ("CiscoSecureEmail/15.0", "Cisco"),
        ("Sophos Time-of-Click", "Sophos"),
        ("FortiMail/7.4", "Fortinet"),
        ("Mozilla/5.0 (compatible; Hornetsecurity)", "security scanner"),
        ("Slack-ImgProxy (+https://api.slack.com/robots)", "link preview"),
        ("Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", "link preview"),
        ("facebookexternalhit/1.1 Facebot Twitterbot/1.0", "link preview"),
        ("Mozilla/5.0; compatible; ChatGPT-User/1.0; +https://openai.com/", "robot"),
        ("Amazon CloudFront", "robot"),
        ("HubSpot Connect", "robot"),
        ("AHC/2.1", "program"),
        ("lua-resty-http/0.10 (Lua) ngx_lua/10019", "program"),
        ("node-fetch/1.0 (+https://github.com/bitinn/node-fetch)", "program"),
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
        "Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8)",
        "Mail/3826.300 CFNetwork/3826.400.120 Darwin/24.3.0",
        "okhttp/4.10.0",
    ],
)
def test_what_may_be_either_is_unsure(user_agent: str) -> None:
    assert judge_user_agent(user_agent).label is Label.UNSURE


def test_of_two_thousand_real_robots_hardly_one_passes_for_a_person() -> None:
    seen = [agent for known in CRAWLER_USER_AGENTS_DATA for agent in known["instances"]]
    assert len(seen) > 2_000
    passing = [agent for agent in seen if judge_user_agent(agent).label is Label.PERSON]
    assert len(passing) < len(seen) / 100, passing


@pytest.mark.parametrize("manner", [Manner.HEAD, Manner.AHEAD])
def test_asking_for_the_head_or_ahead_of_time_is_a_machine(manner: Manner) -> None:
    assert judge_sighting(TrackingKind.CLICK, manner, FIREFOX).label is Label.MACHINE


def test_a_form_is_sent_by_a_person_whatever_program_sends_it() -> None:
    assert judge_sighting(TrackingKind.UNSUBSCRIBE, Manner.POST, "curl/8").label is Label.PERSON


def test_the_hidden_link_is_followed_by_machines_only() -> None:
    for manner in Manner:
        assert judge_sighting(TrackingKind.TRAP, manner, FIREFOX).label is Label.MACHINE


def test_whatever_else_is_judged_by_what_the_program_says() -> None:
    for kind in (TrackingKind.OPEN, TrackingKind.CLICK, TrackingKind.VIEW, TrackingKind.VISIT):
        for agent in (FIREFOX, "curl/8", ""):
            assert judge_sighting(kind, Manner.GET, agent) == judge_user_agent(agent)


@pytest.mark.parametrize("piece", ["(", "Mozilla/5.0 (", "bot", "chrome/42.0.2311.135 ", " edge/"])
def test_an_endless_user_agent_is_judged_by_its_beginning(piece: str) -> None:
    endless = piece * 100_000

    assert judge_user_agent(endless) == judge_user_agent(endless[:500])


def test_every_reason_fits_its_column_and_is_explained() -> None:
    longest = TrackingEvent.__table__.c.reason.type.length

    for user_agent in (
        FIREFOX,
        "",
        "x",
        "Mozilla/5.0",
        "curl/8",
        "Sophos",
        "okhttp/4",
        "YahooMailProxy",
    ):
        reason = judge_user_agent(user_agent).reason
        assert len(reason) <= longest
        assert explain(reason)
