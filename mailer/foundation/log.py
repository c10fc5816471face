"""Structured logs on stderr: a constant message, ids in fields, never an address, a name or a token."""

import logging
import sys

import structlog


def configure_log(log_format: str = "console") -> None:
    """Send everything, ours and the libraries', to stderr in one format (console or json)."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for chatty in ("uvicorn.access", "alembic", "kombu", "amqp"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def get_log(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return log
