"""The act of sending: claims, batches, outcomes, recovery."""
