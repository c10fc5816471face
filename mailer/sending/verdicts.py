"""What is wrong with a campaign's letter; a preflight's verdict is kept for the launch."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

from sqlalchemy import BigInteger, cast, func
from sqlalchemy.orm import Session

from mailer.foundation.files import create_new
from mailer.foundation.settings import Settings
from mailer.sending.examining import Audience
from mailer.sending.findings import Finding, Gravity
from mailer.sending.frozen import CampaignLetter
from recipients.models import Recipient, TrackingChoice
from recipients.segments import select_segment
from recipients.versions import newest_version

_FOLDER = "preflight"
_UNWRITABLE = {"lacking", "letter", "address"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with the copies of a letter, all of them taken together."""

    findings: tuple[Finding, ...]
    writable: int
    """Copies that can be written."""

    @property
    def unwritable(self) -> tuple[Finding, ...]:
        """Findings about copies that cannot be written: those are ``failed``, and no other suffers."""
        return tuple(
            finding
            for finding in self.findings
            if finding.check in _UNWRITABLE and finding.recipients is not None
        )


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which letter was looked at, and as whose."""

    told: str
    """Changes as soon as a copy of anybody in the segment could read otherwise, or somebody joins it."""
    left_out: frozenset[int]
    """Ids of those in the segment whose copies were not looked at: they were suppressed."""

    def covers(self, now: "Stamp") -> bool:
        """Whether all copies there are now were looked at; whoever is suppressed since needs none."""
        return self.told == now.told and self.left_out <= now.left_out


def stamp_of(db: Session, settings: Settings, letter: CampaignLetter, audience: Audience) -> Stamp:
    """The letter, by its text and links, and a draft's readers as they are now.

    Args:
        db: a snapshot where copies are looked at as well, so that nobody comes or goes between.
    """
    number = cast(Recipient.id, BigInteger)
    objections = func.count().filter(Recipient.tracking == TrackingChoice.OBJECTION)
    readers = db.execute(
        select_segment(audience.rule).with_only_columns(
            func.count(), func.sum(number), func.max(Recipient.updated_at), objections
        )
    ).one()
    version = db.scalar(newest_version())  # of any change but an objection, whatever the clock says
    told = [
        letter.campaign_id,
        letter.tracking.value,
        letter.frozen,
        [asdict(link) for link in letter.links.values()],
        settings.public_url,
        audience.rule,
        [str(each) for each in (*readers, version)],
    ]
    written = json.dumps(told, sort_keys=True, default=str)
    digest = blake2b(written.encode("utf-8", "replace"), digest_size=16).hexdigest()
    return Stamp(digest, frozenset(db.scalars(audience.left_out())))


def keep_verdict(state_dir: Path, campaign_id: int, stamp: Stamp, verdict: Verdict) -> None:
    """Write a preflight's verdict down, in a file of its owner's; it names nobody but by id.

    Where it cannot be written, the launch finds none and asks for a preflight.
    """
    told = [asdict(finding) | {"examples": []} for finding in verdict.findings]
    path = _path(state_dir, campaign_id)
    beside = path.with_suffix(".new")
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(create_new(beside), "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            kept = {"stamp": stamp.told, "left_out": sorted(stamp.left_out)}
            json.dump({**kept, "writable": verdict.writable, "findings": told}, file)
        beside.replace(path)


def kept_verdict(state_dir: Path, campaign_id: int, stamp: Stamp) -> Verdict | None:
    """The verdict on this letter and all of its readers; None if no preflight has looked at them."""
    try:
        kept = json.loads(_path(state_dir, campaign_id).read_text(encoding="utf-8"))
        if not Stamp(kept["stamp"], frozenset(kept["left_out"])).covers(stamp):
            return None
        findings = [
            Finding(one["check"], Gravity(one["gravity"]), one["detail"], one["recipients"])
            for one in kept["findings"]
        ]
        return Verdict(tuple(findings), kept["writable"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _path(state_dir: Path, campaign_id: int) -> Path:
    return state_dir / _FOLDER / f"{campaign_id}.json"
