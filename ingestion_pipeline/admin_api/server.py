"""The uvicorn server of the admin API."""

import uvicorn
from fastapi import FastAPI


def build_server(app: FastAPI, *, host: str, port: int) -> uvicorn.Server:
    """Return the server; `run` serves until a signal stops the process.

    It logs method, path and status of each request, and no headers, to `uvicorn.error` and
    `uvicorn.access`.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        # httptools does not limit the size of headers.
        http="h11",
        ws="none",
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    return uvicorn.Server(config)
