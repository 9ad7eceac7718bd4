"""``planner serve``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner_core.cli.console import JsonFlag, out

if TYPE_CHECKING:
    import socket

    from planner_core import Planner

LOOPBACK = "127.0.0.1"
PORT = 8337


def serve(
    bundle: Annotated[Path, typer.Option("--from", help="Bundle that decides; one that changes is loaded anew.")],
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help=f"Port to listen on [{PORT}]; 0 takes any free one.")
    ] = None,
    socket_path: Annotated[
        Path | None, typer.Option("--socket", help="Unix socket to make and listen on, instead of a port.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Name or address to listen on.")] = LOOPBACK,
    allow_anyone: Annotated[
        bool, typer.Option("--allow-anyone", help="Needed with a --host that others reach: nobody is asked who he is.")
    ] = False,
    mode: Annotated[
        str,
        typer.Option("--mode", help="off, log, enforce or enforce_reductions: whether the model's decision counts."),
    ] = "enforce",
    threshold: Annotated[
        float | None, typer.Option("--threshold", min=0.0, max=1.0, help="Confidence below which the rules decide.")
    ] = None,
    max_candidates: Annotated[int | None, typer.Option("--max-candidates", min=1, help="Cap on candidates.")] = None,
    max_minutes: Annotated[int | None, typer.Option("--max-minutes", min=1, help="Cap on minutes.")] = None,
    max_iterations: Annotated[int | None, typer.Option("--max-iterations", min=1, help="Cap on iterations.")] = None,
    share: Annotated[
        float, typer.Option("--share", min=0.0, max=1.0, help="Share of the issues that are the model's; 0: none.")
    ] = 1.0,
    explore: Annotated[
        float, typer.Option("--explore", min=0.0, max=1.0, help="Share of those that explore among good actions.")
    ] = 0.0,
    salt: Annotated[
        str, typer.Option("--salt", help="Name of the experiment; who is in which arm depends on it.")
    ] = "",
    log: Annotated[Path | None, typer.Option("--log", help="File to add a line to for every decision.")] = None,
    fallback: Annotated[
        bool,
        typer.Option("--fallback", help="Let the rules decide where the bundle is missing or broken at the start."),
    ] = False,
    max_requests: Annotated[
        int, typer.Option("--max-requests", min=1, help="Requests in flight; more are told to come again.")
    ] = 64,
    reload_every: Annotated[
        float, typer.Option("--reload-every", min=0.0, help="Seconds between looks at the bundle; 0: none.")
    ] = 1.0,
    grace: Annotated[
        float, typer.Option("--grace", min=0.0, help="Seconds that requests in flight get when the server is ended.")
    ] = 10.0,
    json: JsonFlag = False,
) -> None:
    """Decide over HTTP, for kernels that are not Python: POST /v1/decide, /v1/plan, /v1/decide_batch.

    /healthz, /metrics (Prometheus) and /openapi.json tell of the rest. Where it listens is said on standard output, its
    log are JSON lines on standard error. SIGTERM ends it when what is in flight is answered, with exit code 0.

    Example: planner serve --from bundles/mlp --port 8337
    """
    from planner_core import Caps, MissingExtra

    try:
        from planner_serve import app, listen, logs, server, serving
    except ModuleNotFoundError as problem:
        raise MissingExtra("planner serve", "serve", str(problem.name)) from None
    if socket_path is not None and (port is not None or host != LOOPBACK or allow_anyone):
        raise typer.BadParameter("--socket goes without --port, --host and --allow-anyone")
    if socket_path is None and not allow_anyone and not listen.is_loopback(host):
        raise typer.BadParameter(
            f"--host {host} is reached from other machines, and this server asks nobody who he is; "
            "say --allow-anyone too, or put a proxy that asks in front of a loopback port or a --socket"
        )
    place: AbstractContextManager[tuple[socket.socket, str]]
    if socket_path is not None:
        place = listen.listening_path(socket_path)
    else:
        place = listen.listening_port(host, PORT if port is None else port)
    with logs.json_log():
        seen = serving.look(bundle)  # before it is read: what changes meanwhile is loaded then
        planner = _planner(
            bundle,
            mode=mode,
            threshold=threshold,
            caps=Caps(max_candidates, max_minutes, max_iterations),
            share=share,
            explore=explore,
            salt=salt,
            log=log,
            strict=not fallback,
        )
        with place as (listener, where):
            answering = app.build_app(
                serving.Served(planner, bundle, seen), max_requests=max_requests, reload_every_s=reload_every
            )
            _say(planner, where, json)
            server.run(answering, listener, grace)


def _planner(bundle: Path, *, mode: str, **options: Any) -> Planner:
    try:
        return _kind().load(bundle, mode=mode, **options)  # type: ignore[arg-type]  # a mode is checked by it
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None


def _kind() -> type[Planner]:
    """The planner that tells OpenTelemetry what it decides, where that is installed: who runs us may have set it up."""
    from planner_core import Planner

    try:
        from planner_otel import TracedPlanner
    except ModuleNotFoundError:
        return Planner
    return TracedPlanner


def _say(planner: Planner, where: str, json: bool) -> None:
    """Where it listens and what decides: the one thing on standard output, and the sign that it can be asked."""
    import os
    import sys

    from planner_core import canonical

    if json:
        # On one line, as this stream stays open and who reads it must know when to stop.
        document = {"url": where, "pid": os.getpid(), "policy": planner.policy, "model": planner.model}
        sys.stdout.write(canonical(document).decode() + "\n")
    else:
        what = planner.policy or "the default rules (the bundle cannot be used)"
        out.print(f"{what} at {where}", soft_wrap=True)
    sys.stdout.flush()
