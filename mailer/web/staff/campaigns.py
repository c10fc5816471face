"""The staff pages about campaigns: all of them, one, and why letters of one did not get through."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from mailer.reports.danish import clean
from mailer.reports.small_numbers import NO_GROUPS
from mailer.staff.sessions import Visitor
from mailer.web.staff.door import HOME, UNATTENDED
from mailer.web.staff.event_figures import StaffEventFigures
from mailer.web.staff.figures import StaffFigures
from mailer.web.staff.shell import PREFIX, Page, Shell
from mailer.web.staff.views import view_automatic, view_campaign, view_overview, view_reasons

_CAMPAIGNS = "campaigns"
_SECONDS_BETWEEN_LOOKS = 5
_STILL = "stille"
"""In the query of a page that does not look again by itself."""
_TOO_LARGE = 2**31
"""No campaign has such a number, and PostgreSQL no such integer."""


class CampaignPages:
    """Campaigns and their figures."""

    def __init__(self, shell: Shell, figures: StaffFigures, events: StaffEventFigures) -> None:
        self._shell = shell
        self._figures = figures
        self._events = events
        self._zone = shell.site.runtime.settings.zone

    def pages(self) -> Mapping[str, Page]:
        """Path → page."""
        return {
            HOME: self.overview,
            f"{PREFIX}/campaigns/{{id:int}}": self.campaign,
            f"{PREFIX}/campaigns/{{id:int}}/reasons": self.reasons,
        }

    async def overview(self, request: Request, visitor: Visitor) -> Response:
        """All campaigns, and what is wrong."""
        reminders = await self._events.alarms()
        view = view_overview(await self._figures.overview(), len(reminders), self._zone)
        refresh = _refresh(request, HOME, is_live=view.is_live)
        return self._shell.page("overview.html", visitor, here=_CAMPAIGNS, view=view, refresh=refresh)

    async def campaign(self, request: Request, visitor: Visitor) -> Response:
        """One campaign."""
        campaign_id: int = request.path_params["id"]
        look = await self._figures.campaign(campaign_id) if campaign_id < _TOO_LARGE else None
        if look is None:
            return self._shell.problem(visitor, 404)
        proof = await self._figures.proof(campaign_id)
        refresh = _refresh(request, f"{PREFIX}/campaigns/{campaign_id}", is_live=look.is_live)
        if look.report.about.automatic:
            return self._shell.page(
                "automatic.html",
                visitor,
                here=_CAMPAIGNS,
                view=view_automatic(look, proof, self._zone),
                no_groups=NO_GROUPS,
                refresh=refresh,
            )
        groups = await self._figures.groups(campaign_id)
        view = view_campaign(look, groups, proof, self._zone)
        return self._shell.page("campaign.html", visitor, here=_CAMPAIGNS, view=view, refresh=refresh)

    async def reasons(self, request: Request, visitor: Visitor) -> Response:
        """Why letters of one campaign did not get through; for administrators."""
        campaign_id: int = request.path_params["id"]
        if not visitor.is_admin:
            return self._shell.problem(visitor, 403)
        look = await self._figures.campaign(campaign_id) if campaign_id < _TOO_LARGE else None
        if look is None:
            return self._shell.problem(visitor, 404)
        return self._shell.page(
            "reasons.html",
            visitor,
            here=_CAMPAIGNS,
            look=look,
            name=clean(look.report.about.name),
            reasons=view_reasons(await self._figures.reasons(campaign_id)),
        )


def _refresh(request: Request, path: str, *, is_live: bool) -> str | None:
    """What the page's head says about looking again, unless the reader wants peace (WCAG 2.2.2)."""
    wanted = is_live and _STILL not in request.query_params
    return f"{_SECONDS_BETWEEN_LOOKS}; url={path}?{UNATTENDED}" if wanted else None
