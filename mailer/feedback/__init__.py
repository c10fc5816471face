"""What comes back by mail: bounces, complaints, wishes to unsubscribe, and what follows from them."""
