"""Letters that go by themselves: reminders, news of what changed, answers to who registered, reports."""
