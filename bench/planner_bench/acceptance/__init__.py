"""``planner bench acceptance``: the criteria that the design set, each with its figure and the command behind it."""
