"""The Celery app, its settings, and one file of tasks per queue."""
