"""Ray: sweeps on this machine or on a cluster. Ray does the scheduling, the retries and the transport."""
