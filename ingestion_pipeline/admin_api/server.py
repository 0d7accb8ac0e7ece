"""The server under the admin API.

Belongs here: how uvicorn is set up. Does not belong here: the application (`app.py`), and words for
a person (`cli/main.py`).
"""

import uvicorn
from fastapi import FastAPI


def build_server(app: FastAPI, *, host: str, port: int) -> uvicorn.Server:
    """Make the server; `run` serves until the process is told to stop.

    It logs by the standard library's loggers `uvicorn.error` and `uvicorn.access`, as the process
    has set them up: method, path and status of each request, and never a header.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        # The other parser puts no limit to the size of headers.
        http="h11",
        ws="none",
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    return uvicorn.Server(config)
