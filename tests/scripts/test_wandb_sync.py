"""W&B online, and `wandb sync`, with the real client against a stand-in server that keeps what it is sent."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.command import ponder, rows, runs
from tests.scripts.test_wandb import GIVEN, check_anytime, check_running, check_summary, made_rows, offline, recorded

OWNER = {"id": "e", "name": "us"}
PROJECT = {"id": "p", "internalId": "1", "name": "ponder", "entity": OWNER}
SERVER = {"cliVersionInfo": {"max_cli_version": "9.9.9", "min_cli_version": "0.1"}, "features": []}


class Kept:
    """What a stand-in server was sent of one run."""

    def __init__(self) -> None:
        self.url = ""
        self.history: list[str] = []
        self.summary, self.config = "{}", "{}"
        self.run: dict[str, Any] = {}
        self.artifacts: list[dict[str, Any]] = []

    def points(self, name: str) -> list[dict[str, Any]]:
        """The points of the history that have a metric."""
        return [point for point in map(json.loads, self.history) if name in point]

    def answer(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        """The answer to a GraphQL query."""
        upload = {"uploadUrl": f"{self.url}/upload", "uploadHeaders": []}
        bucket = {"id": "b", "name": given.get("name"), "displayName": given.get("name"), "config": self.config}
        if "upsertBucket" in query:
            new, self.run = not self.run, {**self.run, **{k: v for k, v in given.items() if v is not None}}
            self.config = given.get("config") or self.config
            bucket |= {"project": PROJECT, "historyLineCount": len(self.history)}
            return {"upsertBucket": {"bucket": bucket, "inserted": new}}
        if "historyTail" in query:
            bucket |= {"summaryMetrics": self.summary, "historyLineCount": len(self.history), "logLineCount": 0}
            bucket |= {"eventsLineCount": 0, "eventsTail": "[]", "tags": [], "wandbConfig": '{"t":1}'}
            bucket |= {"historyTail": json.dumps(self.history[-1:])}
            return {"model": {**PROJECT, "bucket": bucket if self.run else None}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload"} for name in given["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if "createArtifactManifest" in query:
            manifest = {"id": "m", "file": {"id": "f", "name": "m", "displayName": "m", **upload}}
            return {"createArtifactManifest": {"artifactManifest": manifest}}
        if "createArtifact(" in query:
            self.artifacts.append(given["input"])
            found = {"id": "a", "state": "COMMITTED", "artifactSequence": {"id": "s", "latestArtifact": None}}
            return {"createArtifact": {"artifact": found}}
        if "artifactType" in query:
            return {"project": {"artifact": None}}
        if "viewer" in query:
            who = {"id": "u", "entity": "us", "username": "us", "email": "us@here", "flags": "{}"}
            return {"viewer": {**who, "teams": {"edges": []}}, "serverInfo": SERVER}
        return {"serverInfo": SERVER, "entity": {"organization": {"coreWeaveOrganizationId": None}}}

    def stream(self, told: dict[str, Any]) -> None:
        """Takes a piece of the history and the summary in."""
        for name, piece in (told.get("files") or {}).items():
            if name == "wandb-history.jsonl":
                at = piece["offset"]
                self.history[at : at + len(piece["content"])] = piece["content"]
            if name == "wandb-summary.json":
                self.summary = piece["content"][-1]


@pytest.fixture
def server() -> Iterator[Kept]:
    """A stand-in for W&B on this machine."""
    kept = Kept()

    class Answers(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

        def _read(self) -> bytes:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return gzip.decompress(sent) if self.headers.get("Content-Encoding") == "gzip" else sent

        def _say(self, answer: dict[str, Any]) -> None:
            said = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def do_GET(self) -> None:
            self._say({})

        def do_PUT(self) -> None:
            self._read()
            self._say({})

        def do_POST(self) -> None:
            sent = self._read()
            if self.path.endswith("/graphql"):
                asked = json.loads(sent)
                self._say({"data": kept.answer(asked["query"], asked.get("variables") or {})})
            elif "file_stream" in self.path:
                kept.stream(json.loads(sent))
                self._say({"limits": {}})
            else:
                self._say({})

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as listening:
        kept.url = f"http://127.0.0.1:{listening.server_address[1]}"
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield kept
        listening.shutdown()


def account(server: Kept) -> dict[str, str]:
    """The environment of somebody with an account at a server."""
    return {**offline(), "WANDB_BASE_URL": server.url, "WANDB_API_KEY": "a" * 40}


def test_online_sends_what_the_rows_hold(server: Kept, tmp_path: Path) -> None:
    done = ponder(tmp_path, *GIVEN, env={**account(server), "WANDB_MODE": "online"}).well()
    assert "W&B" not in done.err
    (run,) = runs(tmp_path / "runs")
    stored = rows(run)
    assert (server.run["name"], server.run["groupName"]) == (run.name, "arithmetic")
    assert json.loads(server.config)["search"]["value"]["name"] == "best_of_n"
    assert [point["questions"] for point in server.points("failed")] == [1, 2, 3, 4, 5]
    for point in server.points("failed"):
        check_running(point, stored[: point["questions"]])
    check_summary(json.loads(server.summary), stored)
    assert "rows" in {artifact["artifactTypeName"] for artifact in server.artifacts}


def test_sync_joins_the_parts_of_a_resumed_run(server: Kept, tmp_path: Path) -> None:
    found = made_rows("particle_filtering", "weighted_vote", questions=8)
    recorded(tmp_path, found, [], found[:5], "particle_filtering")
    recorded(tmp_path, found, found[:5], found[5:], "particle_filtering")
    recorded(tmp_path, found, found, [], "particle_filtering")
    wandb = str(Path(sys.executable).with_name("wandb"))
    done = subprocess.run(
        [wandb, "sync", "--yes"], cwd=tmp_path, env=account(server), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall("Finished syncing", done.stderr + done.stdout)) == 3
    assert [point["_step"] for point in map(json.loads, server.history)] == [*range(len(server.history))]
    assert [point["questions"] for point in server.points("failed")] == [1, 2, 3, 4, 5, 6, 7, 8]
    for point in server.points("failed"):
        check_running(point, found[: point["questions"]])
    check_anytime(server.points("anytime/accuracy"), found)
    summary = json.loads(server.summary)
    check_summary(summary, found)
    assert summary["rows"]["nrows"] == 8
