"""Letters that an event causes by itself: reminders, news of what changed, answers to who registered."""
