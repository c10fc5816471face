"""What people register for: events, calendar files, and which reminders are due to whom."""
