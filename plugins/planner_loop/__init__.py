"""The loop from decision to the next model: what came of the decisions (``planner watch``), and what takes over."""
