"""The addresses that letters carry and the web answers: one token per purpose and delivery."""

from dataclasses import dataclass

from mailer.tracking.links import TRAP_LINK
from mailer.tracking.tokens import Purpose, Tokens


@dataclass(frozen=True, slots=True)
class TrackedAddresses:
    """Builds every address of ours that stands in a letter.

    ``position`` is the delivery within its campaign; 0 is nobody's, for anonymous tracking.
    """

    public_url: str
    """Without a slash at the end."""
    tokens: Tokens

    def open_pixel(self, campaign_id: int, position: int) -> str:
        """The address of the pixel that tells of an open."""
        return f"{self.public_url}/o/{self.tokens.sign(Purpose.OPEN, campaign_id, position)}"

    def click(self, campaign_id: int, position: int, link_number: int) -> str:
        """The address of a tracked link; the link's number stands beside the token, unsigned."""
        token = self.tokens.sign(Purpose.CLICK, campaign_id, position)
        return f"{self.public_url}/c/{token}/{link_number}"

    def trap(self, campaign_id: int, position: int) -> str:
        """The link that no reader can see: whoever follows it follows every link."""
        return self.click(campaign_id, position, TRAP_LINK)

    def unsubscribe(self, campaign_id: int, position: int) -> str:
        """The address to say no at (RFC 8058 for the one-click POST)."""
        token = self.tokens.sign(Purpose.UNSUBSCRIBE, campaign_id, position)
        return f"{self.public_url}/u/{token}"

    def view(self, campaign_id: int, position: int) -> str:
        """The personal letter in a browser."""
        return f"{self.public_url}/v/{self.tokens.sign(Purpose.VIEW, campaign_id, position)}"

    def pass_on(self, campaign_id: int, variant: int) -> str:
        """The letter to pass on: names the campaign and a variant, never a delivery."""
        return f"{self.public_url}/p/{self.tokens.sign(Purpose.PASS_ON, campaign_id, variant)}"

    def remind(self, campaign_id: int, position: int, event_slug: str) -> str:
        """The page behind "remind me of this event"."""
        token = self.tokens.sign(Purpose.REMIND, campaign_id, position)
        return f"{self.public_url}/r/{token}/{event_slug}"

    def register(self, campaign_id: int, position: int, event_slug: str) -> str:
        """The page to register for a hosted event on."""
        token = self.tokens.sign(Purpose.REGISTER, campaign_id, position)
        return f"{self.public_url}/t/{token}/{event_slug}"

    def attend(self, campaign_id: int, position: int, event_slug: str) -> str:
        """The page to give a seat at a hosted event back on."""
        token = self.tokens.sign(Purpose.ATTEND, campaign_id, position)
        return f"{self.public_url}/a/{token}/{event_slug}"

    def page(self, path: str) -> str:
        """A public page of ours, such as ``/startpakke``."""
        return self.public_url + path
