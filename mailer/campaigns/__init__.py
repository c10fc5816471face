"""What is sent to whom, and where each letter stands."""
