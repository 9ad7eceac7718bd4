"""Every position of SPEC section 4, as absolute numbers worked out from its table, never from the code.

Layout used in the tests of the encoder: issue 0, history 1052 (slots of 332), action space 3708, universe defaults
3740, system state 3754, end 3779. Inside a slot: job type 0, domain 3, swarm 6, candidates 9, minutes 13, iterations
19, status 24, fail codes 27, gates 283, duration 315, cost 321, recency 327, filled 331.
Buckets come from `printf %s NAME | sha256sum`.
"""

from __future__ import annotations

from planner_core.encoder import PlannerInputEncoder

# P0, low, XS, 0 attempts, no hint | all 2+4+6+5 entries of the default action space | no default swarm, no objective
ISSUE = {0, 4, 8, 13, 27}
ACTION_SPACE = {3708, 3709, 3716, 3717, 3718, 3719, *range(3724, 3730), *range(3732, 3737)}
UNIVERSE = {3742, 3753}
MINIMAL = ISSUE | ACTION_SPACE | UNIVERSE

# One run in slot 0: job type code, domain code, swarm null, NA, NA, NA, success, <1 minute, cost null, <1 day, filled
RUN = {1052, 1055, 1060, 1064, 1070, 1075, 1076, 1367, 1378, 1379, 1383}

NOW_MS = 1_740_830_400_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000


def on(document, config=None):
    return set(PlannerInputEncoder(config).encode_indices(document).tolist())


def with_group(before, first, last, positions):
    """`before` with what stands in first..last replaced: proof that the other features did not move."""
    assert positions <= set(range(first, last + 1))
    return {i for i in before if not first <= i <= last} | positions
