"""What can go wrong with mailboxes; what was not applied is still in them."""


class BadMailbox(ValueError):
    """A mailbox's URL makes no sense; the message does not repeat it, since it holds a password."""


class MailboxUnavailable(Exception):
    """A mailbox cannot be read (on); the message names it and never repeats what stands in it."""


class AlreadyPolling(Exception):
    """Another process reads the mailboxes at this moment; nothing was read."""
