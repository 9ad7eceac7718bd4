"""What differs between operating systems, and the only place that knows: Linux, macOS and Windows behind one face.

No other module imports ``fcntl``, ``resource``, ``msvcrt`` or ``ctypes`` for the system's sake, or reads ``/proc``.
What a system lacks is found when it is asked for, so that every module imports everywhere.
"""

from planner_core.system.names import leads_inside, reserved
from planner_core.system.opening import (
    DIRECTORY_LOCK,
    NO_LINK,
    NO_WAIT,
    PIPE_WAIT_S,
    PLAIN,
    Directory,
    append,
    is_at,
    kind_of,
    make_blocking,
    open_input,
    open_to_lock,
    opened_directory,
    path_of,
    read_part,
    release,
    require_regular,
    rewrite,
    try_lock,
)
from planner_core.system.process import (
    END_SIGNALS,
    OUTPUT_ENCODING,
    peak_memory_mib,
    processor_name,
    usable_cpus,
    user_name,
)
from planner_core.system.replacing import (
    OPEN_FILES_MOVE,
    exchange,
    rename,
    replace,
    sync_directory,
    sync_tree,
    take_owner_and_mode,
    take_place,
)

__all__ = [
    "DIRECTORY_LOCK",
    "END_SIGNALS",
    "NO_LINK",
    "NO_WAIT",
    "OPEN_FILES_MOVE",
    "OUTPUT_ENCODING",
    "PIPE_WAIT_S",
    "PLAIN",
    "Directory",
    "append",
    "exchange",
    "is_at",
    "kind_of",
    "leads_inside",
    "make_blocking",
    "open_input",
    "open_to_lock",
    "opened_directory",
    "path_of",
    "peak_memory_mib",
    "processor_name",
    "read_part",
    "release",
    "rename",
    "replace",
    "require_regular",
    "reserved",
    "rewrite",
    "sync_directory",
    "sync_tree",
    "take_owner_and_mode",
    "take_place",
    "try_lock",
    "usable_cpus",
    "user_name",
]
