"""What can be wrong with a request about a campaign; each says what is true afterwards."""


class CampaignNotFound(Exception):
    """There is no campaign of that name."""


class NotAllowedNow(Exception):
    """The campaign's state does not allow this; nothing was changed."""


class LaunchRefused(Exception):
    """The campaign cannot be launched as it is; nothing was changed."""


class LinkNotFound(Exception):
    """The campaign has no such link."""
