"""What all pages share: the runtime, the templates, the pack, and short ways to the database."""

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.types import Scope

from mailer.rendering.bytecode import KeptBytecode
from mailer.runtime import Runtime, template_folders
from mailer.tracking.journals import LINKS_COPY, web_folder
from mailer.tracking.links import LinkTable
from mailer.tracking.models import TrackingKind
from mailer.tracking.networks import Networks
from mailer.tracking.sightings import NOBODY, Sighting, read_manner, read_user_agent
from mailer.web.days import LocalDays
from mailer.web.limits import Limits, Load
from mailer.web.origin import Origins
from mailer.web.recording import Recorder
from mailer.web.tally import Tally

LANGUAGES = ("da", "en")
_PAGES_AT_THE_DATABASE = 10
"""Fewer than the engine's pool holds, so that a page waits here and not for a connection."""
_BYTECODE = KeptBytecode()
_MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages use; its address carries the version, so it may be kept for long."""

    content: bytes
    media_type: str
    version: str


@dataclass(frozen=True, slots=True)
class Site:
    """Everything a page needs to answer."""

    runtime: Runtime
    templates: Environment
    assets: Mapping[str, Asset]
    packs: Mapping[str, Mapping[str, Any]]
    """The pack's text, by language."""
    pack_pdf: bytes
    links: LinkTable
    recorder: Recorder
    limiter: CapacityLimiter
    origins: Origins
    networks: Networks
    limits: Limits
    """How often the links of one letter may be used."""
    load: Load
    """How much the process takes on."""
    tally: Tally
    days: LocalDays

    async def read(
        self, question: Callable[[Session], Answer], *, limiter: CapacityLimiter | None = None
    ) -> Answer:
        """Ask the database, in a thread.

        Args:
            limiter: of one's own, for who must not wait behind pages; default: the pages'.

        Raises:
            DatabaseUnavailable: it cannot be reached.
        """

        def ask() -> Answer:
            with self.runtime.database.read() as db:
                return question(db)

        return await anyio.to_thread.run_sync(
            ask, limiter=limiter or self.limiter, abandon_on_cancel=True
        )

    async def write(self, deed: Callable[[Session], Answer]) -> Answer:
        """Do something in the database, in a thread; it is committed when this returns.

        Raises:
            DatabaseUnavailable: it cannot be reached; nothing was changed.
        """

        def do() -> Answer:
            with self.runtime.database.write() as db:
                return deed(db)

        return await anyio.to_thread.run_sync(do, limiter=self.limiter)

    def see(
        self,
        request: Request,
        kind: TrackingKind,
        *,
        campaign_id: int | None = None,
        position: int = NOBODY,
        link_number: int | None = None,
        subject: str | None = None,
        scope: str | None = None,
    ) -> Sighting:
        """What somebody did with this request."""
        now, headers = self.runtime.clock.now(), request.scope["headers"]
        return Sighting(
            kind,
            now,
            campaign_id=campaign_id,
            position=position,
            link_number=link_number,
            subject=subject,
            manner=read_manner(request.method, headers),
            user_agent=read_user_agent(headers),
            network=self.network_of(request.scope, now),
            scope=scope,
        )

    def note(
        self,
        request: Request,
        kind: TrackingKind,
        *,
        campaign_id: int | None = None,
        position: int = NOBODY,
        link_number: int | None = None,
        subject: str | None = None,
    ) -> None:
        """Keep in the journal that somebody saw a page."""
        self.recorder.note(
            self.see(
                request,
                kind,
                campaign_id=campaign_id,
                position=position,
                link_number=link_number,
                subject=subject,
            )
        )

    def network_of(self, scope: Scope, now: datetime) -> str | None:
        """What stands for the reader's network that day."""
        return self.networks.pseudonym(self.origins.address(scope), self.days.day_of(now))

    def page(
        self, template: str, *, status: int = 200, language: str = "da", **values: object
    ) -> HTMLResponse:
        """A page of ours."""
        english = language == "en"
        html = self.templates.get_template(f"web/{template}").render(
            lang="en" if english else "da",
            say=lambda danish, translated: translated if english else danish,
            **values,
        )
        return HTMLResponse(html, status_code=status, headers={"Content-Language": language})

    def error_page(self, status: int) -> HTMLResponse:
        """A page that says what is the matter, and nothing about anybody.

        A token that is unknown, forged or too old for us gives the same page as an address that
        never was.
        """
        response = self.page("error.html", status=status, problem=status)
        if status == 503:
            response.headers["Retry-After"] = "60"
        return response


def open_site(runtime: Runtime) -> Site:
    """Read templates, styles and the pack once; nothing is asked of the database yet."""
    folders, folder = template_folders(runtime.settings), web_folder(runtime.settings.state_dir)
    templates = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_BYTECODE,
    )
    assets = _read_assets(folders)
    templates.globals["asset"] = lambda name: f"/static/{name}?v={assets[name].version}"
    templates.globals["sender"] = runtime.settings.sender_name
    return Site(
        runtime,
        templates,
        assets,
        {
            "da": _read_pack(folders, "pack/startpakke.toml"),
            "en": _read_pack(folders, "pack/startpakke.en.toml"),
        },
        _find(folders, "pack/startpakke.pdf").read_bytes(),
        LinkTable(runtime.settings.public_url, path=folder / LINKS_COPY),
        Recorder(folder),
        CapacityLimiter(_PAGES_AT_THE_DATABASE),
        Origins(runtime.settings.proxies),
        Networks(runtime.settings.signing_keys[0]),
        Limits(),
        Load(runtime.settings.web_requests_per_second),
        Tally(),
        LocalDays(runtime.settings.zone),
    )


def _find(folders: list[Path], name: str) -> Path:
    """The file in the first folder that has it; the last folder is ours and has all."""
    return next((found for base in folders if (found := base / name).is_file()), folders[-1] / name)


def _read_pack(folders: list[Path], name: str) -> Mapping[str, Any]:
    return tomllib.loads(_find(folders, name).read_text(encoding="utf-8"))


def _read_assets(folders: list[Path]) -> dict[str, Asset]:
    assets = {}
    for base in reversed(folders):  # an earlier folder's file wins
        for path in sorted((base / "web" / "static").glob("*")):
            if path.suffix in _MEDIA_TYPES:
                content = path.read_bytes()
                version = hashlib.blake2b(content, digest_size=6).hexdigest()
                assets[path.name] = Asset(content, _MEDIA_TYPES[path.suffix], version)
    return assets
