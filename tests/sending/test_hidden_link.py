"""The link that no reader can see stands where clicks are personal, and nowhere else."""

from html.parser import HTMLParser

import pytest
from sqlalchemy import select

from mailer.campaigns.models import Campaign
from mailer.foundation.settings import TrackingMode
from mailer.rendering.values import Attributes, RecipientValues
from mailer.runtime import Runtime
from mailer.sending.addressees import Addressee
from mailer.sending.letters import render_letter
from mailer.sending.preparing import prepare_letter
from mailer.sending.writer import LetterWriter
from mailer.tracking.links import TRAP_KIND, LinkTable
from mailer.tracking.tokens import Purpose
from recipients.models import TrackingChoice
from tests.conftest import NOW


class _Hidden(HTMLParser):
    """Collects links, and whether each stands where nobody sees or hears it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[tuple[str, bool, dict[str, str | None]]] = []
        self._depth: list[bool] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        style = (told.get("style") or "").replace(" ", "")
        if tag == "div":
            self._depth.append("display:none" in style and told.get("aria-hidden") == "true")
        if tag == "a":
            self.links.append((told.get("href") or "", any(self._depth), told))

    def handle_endtag(self, tag: str) -> None:
        if tag == "div":
            self._depth.pop()


def somebody(choice: TrackingChoice | None) -> Addressee:
    values = RecipientValues(
        "Aase", "leder", "kommune", "Aarhus", None, "", "Midtjylland", "da", Attributes()
    )
    return Addressee(7, "aase@a.example", "a.example", values, tracking=choice, source=None)


@pytest.mark.parametrize(
    ("mode", "choice", "trapped"),
    [
        (TrackingMode.PERSONAL, None, True),
        (TrackingMode.PERSONAL, TrackingChoice.OBJECTION, False),
        (TrackingMode.CONSENT, TrackingChoice.CONSENT, True),
        (TrackingMode.CONSENT, None, False),
        (TrackingMode.ANONYMOUS, TrackingChoice.CONSENT, False),
        (TrackingMode.NONE, TrackingChoice.CONSENT, False),
    ],
)
def test_only_where_clicks_are_personal(
    runtime: Runtime, mode: TrackingMode, choice: TrackingChoice | None, trapped: bool
) -> None:
    tools = runtime.letter_tools
    with runtime.database.write() as db:
        db.add(Campaign(name="brev", letter="startpakke", tracking=mode, created_at=NOW))
        db.flush()
        letter = prepare_letter(tools, db, db.scalars(select(Campaign)).one(), now=NOW)
    to = somebody(choice)

    rendered = render_letter(tools, letter, to)

    ours = f"{tools.settings.public_url}/c/"
    traps = [
        one for one in _Hidden(rendered.html).links if one[0].startswith(ours) and one[0].endswith("/0")
    ]
    assert len(traps) == trapped
    assert not any(line.endswith("/0") for line in rendered.text.split())
    for address, hidden, attributes in traps:
        assert hidden
        assert attributes["tabindex"] == "-1"
        token = address.removeprefix(ours).removesuffix("/0")
        assert tools.tokens.verify(Purpose.CLICK, token).number == 7
    writer = LetterWriter(tools, letter)
    assert writer.write(to).data
    assert writer.per_recipient_because is None


def test_it_leads_home_in_every_campaign() -> None:
    table = LinkTable("https://post.eksempel.example")

    link = table.find(4711, 0)

    assert link is not None
    assert (link.location, link.kind) == ("https://post.eksempel.example/", TRAP_KIND)
    assert table.find(4711, 1) is None
