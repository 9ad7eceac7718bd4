"""``planner bench serve``: what a decision over HTTP costs, beside the same server answering a constant."""
