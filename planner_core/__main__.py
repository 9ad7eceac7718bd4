"""``python -m planner_core``: the command line where its script is not on the path."""

from planner_core.cli.app import main

main()
