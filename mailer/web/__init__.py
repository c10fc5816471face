"""Tracked links, public pages and health, over HTTP."""
