"""The worker: ``celery -A worker worker``."""

from mailer.tasks.app import app

__all__ = ["app"]
