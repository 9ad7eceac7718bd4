"""Lines of session files, as Claude Code and Codex write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def at(minute: float) -> str:
    moment = START + timedelta(minutes=minute)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def prompt(minute: float, session: str = "s-1", branch: str = "main", **more: Any) -> dict[str, Any]:
    return {
        "parentUuid": None,
        "isSidechain": False,
        "sessionId": session,
        "gitBranch": branch,
        "type": "user",
        "message": {"role": "user", "content": "Do it."},
        "uuid": f"{session}-u{minute}",
        "timestamp": at(minute),
        **more,
    }


def answer(minute: float, message: str, request: str = "", *, tokens: int = 100, **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 200}
    session = more.get("sessionId", "s-1")
    return {
        "parentUuid": "x",
        "isSidechain": False,
        "sessionId": session,
        "gitBranch": "main",
        "type": "assistant",
        "requestId": request or f"req-{message}",
        "uuid": f"{session}-{message}-{minute}",
        "timestamp": at(minute),
        "message": {
            "id": message,
            "role": "assistant",
            "model": "m-1",
            "content": [{"type": "text", "text": "."}],
            "usage": usage | {"output_tokens": tokens},
        },
        **more,
    }


def tool_result(minute: float, **more: Any) -> dict[str, Any]:
    content = [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]
    return prompt(minute, message={"role": "user", "content": content}, uuid=f"r{minute}", **more)


def issue(name: str, session: str | None = None, status: str = "closed", **more: Any) -> dict[str, Any]:
    row = {"_type": "issue", "id": name, "title": "T", "status": status, "priority": 2, "issue_type": "task"}
    closed = {"closed_at": at(600)} if status == "closed" else {}
    return row | closed | ({"closed_by_session": session} if session else {}) | more


def event(minute: float, kind: str, **payload: Any) -> dict[str, Any]:
    return {"timestamp": at(minute), "type": "event_msg", "payload": {"type": kind, **payload}}


def total(minute: float, sent: int, cached: int, out: int) -> dict[str, Any]:
    usage = {"input_tokens": sent, "cached_input_tokens": cached, "output_tokens": out, "total_tokens": sent + out}
    return event(minute, "token_count", info={"total_token_usage": usage, "last_token_usage": usage})


def meta(name: str, branch: str = "main", minute: float = 0, **more: Any) -> dict[str, Any]:
    payload = {
        "id": name,
        "cwd": "/w",
        "originator": "codex_cli_rs",
        "source": "cli",
        "git": {"branch": branch},
        **more,
    }
    return {"timestamp": at(minute), "type": "session_meta", "payload": payload}


def turn(minute: float, model: str = "g-1") -> dict[str, Any]:
    return {"timestamp": at(minute), "type": "turn_context", "payload": {"cwd": "/w", "model": model}}
