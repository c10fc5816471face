"""What can go wrong with the services of one machine; each says what is true afterwards."""


class AlreadyRunning(Exception):
    """Another `mailer up` serves this state folder; nothing was started."""


class ProgramMissing(Exception):
    """A program that is needed is not on this machine; nothing was started."""


class ServiceFailed(Exception):
    """A service could not be started; those already started were stopped again."""


class FaultsNotFound(Exception):
    """There is no such fault file; nothing was started."""


class BadFaults(Exception):
    """The sink's fault file cannot be used; the message names file, rule and reason."""


class DemoFailed(Exception):
    """A step did not come out as told; everything was stopped, the demo's folder is kept."""
