"""The kit's own tests share two modules: an honest policy, and the broken ones made from it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
