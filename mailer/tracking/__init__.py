"""The tokens and links both ends share, the event log, people and machines."""
