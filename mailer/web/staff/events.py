"""The staff pages about events and their reminders: how they stand, and what goes out when."""

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from mailer.campaigns.timetable import BadTimetable, parse_moment
from mailer.staff.sessions import Visitor
from mailer.web.staff.event_figures import StaffEventFigures
from mailer.web.staff.event_views import view_event, view_events
from mailer.web.staff.reminder_views import view_plan
from mailer.web.staff.shell import PREFIX, Page, Shell

_EVENTS, _REMINDERS = "events", "reminders"
_YEARS = range(2000, 2100)
"""So far from now that every lead still has a date."""


class EventPages:
    """Events and reminders; nobody who is registered is named."""

    def __init__(self, shell: Shell, figures: StaffEventFigures) -> None:
        self._shell = shell
        self._figures = figures
        self._runtime = shell.site.runtime
        self._zone = self._runtime.settings.zone

    def pages(self) -> Mapping[str, Page]:
        """Path → page."""
        return {
            f"{PREFIX}/events": self.events,
            f"{PREFIX}/events/{{slug}}": self.event,
            f"{PREFIX}/reminders": self.reminders,
        }

    async def events(self, request: Request, visitor: Visitor) -> Response:
        """All events."""
        del request
        standings, plan = await self._figures.standings(), await self._figures.plan()
        view = view_events(standings, plan)
        return self._shell.page("events.html", visitor, here=_EVENTS, view=view)

    async def event(self, request: Request, visitor: Visitor) -> Response:
        """One event."""
        look = await self._figures.event(request.path_params["slug"])
        if look is None:
            return self._shell.problem(visitor, 404)
        view = view_event(look, await self._figures.plan(), self._zone)
        return self._shell.page("event.html", visitor, here=_EVENTS, view=view)

    async def reminders(self, request: Request, visitor: Visitor) -> Response:
        """The plan, as of now or, with ``?now=``, of a day that is rehearsed."""
        asked = request.query_params.get("now", "").strip()
        moment, is_bad = None, False
        try:
            moment = read_moment(asked, self._zone) if asked else None
        except BadTimetable:
            is_bad = True
        plan = await self._figures.plan(moment)
        return self._shell.page(
            "reminders.html",
            visitor,
            status=400 if is_bad else 200,
            here=_REMINDERS,
            view=view_plan(plan, self._zone, is_rehearsal=moment is not None),
            is_bad=is_bad,
        )


def read_moment(text: str, zone: ZoneInfo) -> datetime:
    """The moment a text such as ``2014-03-21T09:00`` names, to the minute; local where it has no offset.

    Raises:
        BadTimetable: it names none, or one too far away.
    """
    moment = parse_moment(text, zone)
    if moment.year not in _YEARS:
        raise BadTimetable(f"{text!r} is too far from now")
    return moment.replace(second=0, microsecond=0)
