"""Faults on purpose, and what is left of the account afterwards."""
