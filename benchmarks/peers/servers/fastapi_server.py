"""FastAPI on uvicorn: an `async` endpoint, the raw floats as its body, the model in line.

python fastapi_server.py PORT
"""

# mypy: ignore-errors
# What it imports is in its peer's environment, not in ours.
from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI, Request, Response
from model import image_of, new_session  # beside this file

app = FastAPI()
session = new_session()


@app.post("/predict")
async def predict(request: Request) -> Response:
    scores = session.run(None, {"image": image_of(await request.body())})[0]
    return Response(scores.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False,
        log_level="warning",
    )  # fmt: skip
