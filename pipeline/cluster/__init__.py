"""Sweeps, and one model on several workers. Ray does the scheduling, the retries and the transport."""
