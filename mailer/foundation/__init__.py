"""The floor: settings, database, clock, log. It imports nothing of ours."""
