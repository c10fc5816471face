"""Whom we may write to. It knows nothing of campaigns."""
