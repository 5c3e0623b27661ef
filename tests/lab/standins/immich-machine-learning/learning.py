# SPDX-License-Identifier: MIT
"""Stand-in for ghcr.io/immich-app/immich-machine-learning:v3.1.0: alive, but without models."""

from __future__ import annotations

import os
from typing import Any

from standin import App, Reply, Request, require_mount, require_writable

NAME = "immich-machine-learning"
app = App(NAME)
app.missing = lambda request: Reply(404, {"detail": "Not Found"})


@app.route("GET", "/")
def root(request: Request) -> Any:
    return {"message": "Immich ML"}


@app.route("GET", "/ping")
def ping(request: Request) -> Any:
    return "pong"


@app.route("POST", "/predict")
def predict(request: Request) -> Any:
    """No network, so no model: the real one fails to download it and answers 500."""
    try:
        parts = request.parts()
    except ValueError:
        parts = {}
    if "entries" not in parts:
        return Reply(422, {"detail": [{"type": "missing", "loc": ["body", "entries"], "msg": "Field required"}]})
    return Reply(500, "Internal Server Error")


def main() -> None:
    folder = os.environ.get("MACHINE_LEARNING_CACHE_FOLDER", "/cache")
    require_mount(NAME, folder)
    require_writable(NAME, folder)
    app.serve(int(os.environ.get("IMMICH_PORT", "3003")), "ghcr.io/immich-app/immich-machine-learning:v3.1.0")


if __name__ == "__main__":
    main()
