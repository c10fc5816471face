"""The one-machine default: supervisor, mail sink, generated population, demo."""
