"""The one function that starts a campaign, reminders too."""


class LaunchRefused(Exception):
    """The campaign cannot be launched as it is; nothing was changed."""
