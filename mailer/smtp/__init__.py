"""The mail protocol, and nothing of the domain."""
