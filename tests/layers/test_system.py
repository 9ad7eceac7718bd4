"""One package knows operating systems; nothing else imports what only some of them have, or reads ``/proc``."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
THE_ONE = ROOT / "planner_core" / "system"
TOPS = ("planner_core", "plugins", "export", "bench", "examples", "docs")
MODULES = {"resource", "fcntl", "msvcrt", "ctypes", "pwd", "grp", "termios", "winreg", "_winapi"}
LACKED = {
    "os": {
        *("fork", "getuid", "geteuid", "pread", "pwrite", "fchmod", "fchown", "set_blocking", "sched_getaffinity"),
        *("uname", "killpg", "setsid", "nice", "getloadavg", "mkfifo", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK"),
        *("O_CLOEXEC", "O_NOCTTY", "O_BINARY", "name"),
    },
    "signal": {"SIGHUP", "SIGKILL", "SIGALRM", "setitimer", "alarm", "SIGBREAK"},
    "select": {"poll", "epoll"},
    "sys": {"platform"},
}
"""Attributes that not every system has, or that ask which one it is."""
ALLOWED = {
    # The C interface of LightGBM's own library, which is what this measures.
    ("bench/planner_bench/peers/lightgbm_rows.py", "ctypes"),
    # Asked for with hasattr where it is used; an extra figure that need not be there.
    ("bench/planner_bench/environment.py", "os.getloadavg"),
}


def of_one_system(source: str) -> set[str]:
    """What a module has of the systems: modules, attributes, and texts that name ``/proc``."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name for alias in node.names if (name := alias.name.split(".")[0]) in MODULES}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {name for name in (node.module.split(".")[0],) if name in MODULES}
            lacked = LACKED.get(node.module, set())
            found |= {f"{node.module}.{alias.name}" for alias in node.names if alias.name in lacked}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in LACKED.get(node.value.id, ()):
                found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("/proc"):
            found.add("/proc")
    return found


def sources() -> list[Path]:
    files = [path for top in TOPS for path in sorted((ROOT / top).rglob("*.py"))]
    return [path for path in files if "tests" not in path.parts and THE_ONE not in path.parents]


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_only_one_package_knows_the_system(path):
    name = path.relative_to(ROOT).as_posix()
    assert of_one_system(path.read_text("utf-8")) - {what for where, what in ALLOWED if where == name} == set()


def test_what_is_of_one_system_is_seen():
    """Else the test above would show nothing; the one package has it all."""
    one = set().union(*(of_one_system(path.read_text("utf-8")) for path in THE_ONE.glob("*.py")))
    assert {"fcntl", "resource", "msvcrt", "ctypes", "/proc", "sys.platform", "os.pread", "select.poll"} <= one
    assert of_one_system("from os import fork\nimport ctypes.util") == {"os.fork", "ctypes"}
    assert of_one_system("import os\nos.replace('a', 'b')") == set()
    assert len(sources()) > 200


def test_no_exception_is_idle():
    for name, what in ALLOWED:
        assert what in of_one_system((ROOT / name).read_text("utf-8")), name
