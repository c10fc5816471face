"""What all pages share: the runtime, the templates, the pack, and short ways to the database."""

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import HTMLResponse

from mailer.runtime import Runtime, template_folders
from mailer.tracking.labels import judge_request
from mailer.tracking.links import LinkTable
from mailer.tracking.log import Sighting
from mailer.tracking.models import TrackingKind
from mailer.web.recording import EventRecorder

LANGUAGES = ("da", "en")
_PAGES_AT_THE_DATABASE = 10
"""Fewer than the engine's pool holds, so that a page waits here and not for a connection."""
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
    pack: Mapping[str, Any]
    pack_pdf: bytes
    links: LinkTable
    recorder: EventRecorder
    limiter: CapacityLimiter

    async def read(self, question: Callable[[Session], Answer]) -> Answer:
        """Ask the database, in a thread.

        Raises:
            DatabaseUnavailable: it cannot be reached.
        """

        def ask() -> Answer:
            with self.runtime.database.read() as db:
                return question(db)

        return await anyio.to_thread.run_sync(ask, limiter=self.limiter)

    async def write(self, deed: Callable[[Session], Answer]) -> Answer:
        """Do something in the database, in a thread; it is committed when this returns.

        Raises:
            DatabaseUnavailable: it cannot be reached; nothing was changed.
        """

        def do() -> Answer:
            with self.runtime.database.write() as db:
                return deed(db)

        return await anyio.to_thread.run_sync(do, limiter=self.limiter)

    async def note(
        self,
        request: Request,
        kind: TrackingKind,
        *,
        campaign_id: int | None = None,
        position: int = 0,
        subject: str | None = None,
    ) -> None:
        """Keep in the event log that somebody saw a page."""
        await self.recorder.note(
            Sighting(
                kind,
                self.runtime.clock.now(),
                judge_request(request.method, request.headers),
                campaign_id=campaign_id,
                position=position,
                subject=subject,
            )
        )

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
    folders = template_folders(runtime.settings)
    templates = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    assets = _read_assets(folders)
    templates.globals["asset"] = lambda name: f"/static/{name}?v={assets[name].version}"
    templates.globals["sender"] = runtime.settings.sender_name
    return Site(
        runtime,
        templates,
        assets,
        tomllib.loads(_find(folders, "pack/startpakke.toml").read_text(encoding="utf-8")),
        _find(folders, "pack/startpakke.pdf").read_bytes(),
        LinkTable(runtime.settings.public_url),
        EventRecorder(runtime.database),
        CapacityLimiter(_PAGES_AT_THE_DATABASE),
    )


def _find(folders: list[Path], name: str) -> Path:
    """The file in the first folder that has it; the last folder is ours and has all."""
    return next((found for base in folders if (found := base / name).is_file()), folders[-1] / name)


def _read_assets(folders: list[Path]) -> dict[str, Asset]:
    assets = {}
    for base in reversed(folders):  # an earlier folder's file wins
        for path in sorted((base / "web" / "static").glob("*")):
            if path.suffix in _MEDIA_TYPES:
                content = path.read_bytes()
                version = hashlib.blake2b(content, digest_size=6).hexdigest()
                assets[path.name] = Asset(content, _MEDIA_TYPES[path.suffix], version)
    return assets
