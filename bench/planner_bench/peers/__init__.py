"""Other learners on the same features and splits, beside ours: ``planner bench peers``."""
