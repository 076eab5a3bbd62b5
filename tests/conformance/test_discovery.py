"""The judge must be able to say no: wrong exchanges, one at a time, and a proxy that hides nothing."""

from __future__ import annotations

import copy
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import discovery
import pytest
import requests
from recorder import Recorder

JOBS = "/v2/projects/p/locations/r/jobs"
EXECUTION = {
    "@type": "type.googleapis.com/google.cloud.run.v2.Execution",
    "name": "projects/p/locations/r/jobs/j/executions/j-abcde",
    "createTime": "2026-11-24T10:00:00.123Z",
    "generation": "1",
    "taskCount": 1,
    "template": {"timeout": "600s", "containers": [{"image": "x", "env": [{"name": "A", "value": "b"}]}]},
    "conditions": [{"type": "Completed", "state": "CONDITION_PENDING"}],
}
RUN = {
    "method": "POST",
    "url": f"{JOBS}/j:run?%24alt=json",
    "request_body": {"overrides": {"taskCount": 2, "timeout": "60s", "containerOverrides": [{"env": [{"name": "A"}]}]}},
    "status": 200,
    "response_body": {"name": "projects/p/locations/r/operations/o", "metadata": EXECUTION},
}
INSERT = {
    "method": "POST",
    "url": "/upload/storage/v1/b/bucket/o?uploadType=multipart&ifGenerationMatch=0&fields=name",
    "request_body": {"name": "a/b", "md5Hash": "rL0Y20zC+Fzt72VPzMSk2A==", "customTime": "2026-11-24T10:00:00Z"},
    "status": 200,
    "response_body": {"kind": "storage#object", "name": "a/b", "size": "3", "metadata": {"sha256": "x"}},
}
LIST = {
    "method": "GET",
    "url": "/storage/v1/b/bucket/o?prefix=a&maxResults=2&projection=noAcl",
    "request_body": None,
    "status": 200,
    "response_body": {"kind": "storage#objects", "items": [{"name": "a", "generation": "1"}]},
}
REFUSED = {
    "method": "POST",
    "url": f"{JOBS}?jobId=j",
    "request_body": {"template": {"template": {"maxRetries": 0}}},
    "status": 409,
    "response_body": {"error": {"code": 409, "message": "there is one", "status": "ALREADY_EXISTS"}},
}
MISSING = {
    "method": "GET",
    "url": "/storage/v1/b/bucket/o/a%2Fb",
    "request_body": None,
    "status": 404,
    "response_body": {
        "error": {
            "code": 404,
            "message": "No such object",
            "errors": [{"message": "No such object", "domain": "global", "reason": "notFound"}],
        }
    },
}
START = {
    "method": "POST",
    "url": "/upload/storage/v1/b/bucket/o?uploadType=resumable&name=a",
    "request_body": {"metadata": {"a": "b"}},
    "status": 200,
    "response_headers": {"location": "http://127.0.0.1:1/upload/storage/v1/b/bucket/o?upload_id=hidden"},
    "response_body": None,
}
CHUNK = {
    "method": "PUT",
    "url": "/upload/storage/v1/b/bucket/o?uploadType=resumable&upload_id=hidden",
    "request_headers": {"content-range": "bytes 0-262143/*"},
    "request_body": None,
    "status": 308,
    "response_body": None,
}
RIGHT = {"run": RUN, "insert": INSERT, "list": LIST, "refused": REFUSED, "missing": MISSING, "start": START, "chunk": CHUNK}


@pytest.mark.parametrize("exchange", RIGHT.values(), ids=RIGHT.keys())
def test_what_is_right_is_no_problem(exchange: dict) -> None:
    assert discovery.problems(exchange) == []


# Where to put what, and what has to be said about it.
WRONG: list[tuple[str, str, Any, str]] = [
    ("run", "url", f"{JOBS}/j:launch", "no such path"),
    ("run", "url", f"{JOBS}/j/run", "no such path"),
    ("run", "method", "PUT", "the path takes POST"),
    ("run", "url", f"{JOBS}/j:run?taskCount=2", "query parameter `taskCount` is unknown"),
    ("run", "request_body.overrides.tasks", 2, "request.overrides.tasks is unknown"),
    ("run", "request_body.overrides.taskCount", "2", "request.overrides.taskCount is no integer"),
    ("run", "request_body.overrides.taskCount", True, "request.overrides.taskCount is no integer"),
    ("run", "request_body.overrides.timeout", "60", "request.overrides.timeout is no google-duration"),
    ("run", "request_body.overrides.timeout", None, "request.overrides.timeout is null"),
    ("run", "request_body.overrides.containerOverrides", {}, "request.overrides.containerOverrides is no list"),
    ("run", "request_body.overrides.containerOverrides.0.env.0.val", "x", "containerOverrides[0].env[0].val is unknown"),
    ("run", "request_body", "not json", "the request's body is no JSON object"),
    ("run", "response_body.metadata.state", "x", "response.metadata.state is unknown"),
    ("run", "response_body.metadata.generation", 1, "response.metadata.generation is no string"),
    ("run", "response_body.metadata.createTime", "yesterday", "response.metadata.createTime is no google-datetime"),
    ("run", "response_body.metadata.conditions.0.state", "DONE", "has the unknown value `DONE`"),
    ("run", "response_body.metadata.conditions.0.state", 1, "conditions[0].state is no string"),
    ("run", "response_body.metadata.failedCount", 0, "response.metadata.failedCount is 0, which Google leaves out"),
    ("run", "response_body.metadata.reconciling", False, "reconciling is false, which Google leaves out"),
    ("run", "response_body.metadata.@type", "type.googleapis.com/google.cloud.run.v2.Run", "the unknown `@type`"),
    ("run", "response_body.metadata.@type", "type.googleapis.com/google.cloud.run.v2.Job", "metadata of run.projects"),
    ("run", "response_body.metadata", {"name": "x"}, "response.metadata has no `@type`"),
    ("run", "response_body.response", EXECUTION, "an operation with an outcome that is not done"),
    ("run", "response_body", None, "the answer is no JSON object"),
    ("run", "status", 204, "204 where an answer is due"),
    ("insert", "url", "/upload/storage/v1/b/bucket/objects?uploadType=multipart", "no such path"),
    ("insert", "url", "/upload/storage/v1/b/bucket/o", "an upload without its type"),
    ("insert", "url", "/upload/storage/v1/b/bucket/o?uploadType=multipart&ifGeneration=0", "`ifGeneration` is unknown"),
    ("insert", "url", "/upload/storage/v1/b/bucket/o?uploadType=multipart&ifGenerationMatch=no", "is no int64"),
    ("insert", "url", "/upload/storage/v1/b/bucket/o?uploadType=media", "a media upload without `name`"),
    ("insert", "request_body.md5", "x", "request.md5 is unknown"),
    ("insert", "request_body.md5Hash", 5, "request.md5Hash is no string"),
    ("insert", "request_body.customTime", "2026-11-24", "request.customTime is no date-time"),
    ("insert", "request_body.metadata", {"a": 1}, "request.metadata.a is no string"),
    ("insert", "request_body", {"contentType": "x"}, "an upload without `name`"),
    ("insert", "response_body.size", 3, "response.size is no string"),
    ("insert", "response_body.sha256", "x", "response.sha256 is unknown"),
    ("list", "url", "/storage/v1/b/bucket/o?prefix=a&prefix=b", "query parameter `prefix` is repeated"),
    ("list", "url", "/storage/v1/b/bucket/o?maxResults=few", "query parameter `maxResults` is no integer"),
    ("list", "url", "/storage/v1/b/bucket/o?versions=1", "query parameter `versions` is no boolean"),
    ("list", "url", "/storage/v1/b/bucket/o?projection=all", "query parameter `projection` has the unknown value"),
    ("list", "response_body.items.0.generation", 1, "response.items[0].generation is no string"),
    ("list", "response_body.objects", [], "response.objects is unknown"),
    ("refused", "response_body.error.code", 6, "error.code is 6"),
    ("refused", "response_body.error.status", "CONFLICT", "error.status is 'CONFLICT'"),
    ("refused", "response_body.error.errors", [], "error.errors is unknown"),
    ("refused", "response_body", "already there", "the error is not"),
    ("missing", "response_body.error.errors", None, "error.errors is missing"),
    ("missing", "response_body.error.status", "NOT_FOUND", "error.status is unknown"),
    ("missing", "response_body.error.errors.0.reason", None, "error.errors[].reason is missing"),
    ("missing", "response_body.error.message", "", "error.message is missing"),
    ("start", "response_headers", {}, "a session without its location"),
    ("start", "url", "/upload/storage/v1/b/bucket/o?uploadType=resumable", "an upload without `name`"),
    ("chunk", "request_headers.content-range", "bytes=0-1", "is malformed"),
    ("chunk", "request_body", {"name": "a"}, "a JSON body in an upload session"),
    ("chunk", "response_body", {"name": "a"}, "a 308 with a body"),
]


@pytest.mark.parametrize("base, place, value, said", WRONG, ids=[f"{wrong[0]}-{wrong[3]}" for wrong in WRONG])
def test_what_is_wrong_is_said(base: str, place: str, value: Any, said: str) -> None:
    exchange = changed(RIGHT[base], place.split("."), value)
    assert any(said in problem for problem in discovery.problems(exchange)), discovery.problems(exchange)


def test_a_patch_may_clear_a_field_with_null() -> None:
    patch = {"method": "PATCH", "url": "/storage/v1/b/b/o/x", "request_body": {"metadata": {"a": None}}, "status": 200}
    answered = patch | {"response_body": {"name": "x"}}
    assert discovery.problems(answered) == []


def test_a_64_bit_number_may_be_sent_as_a_number() -> None:
    compose = {
        "method": "POST",
        "url": "/storage/v1/b/b/o/x/compose",
        "request_body": {"sourceObjects": [{"name": "a", "generation": 1}]},
        "status": 200,
        "response_body": {"name": "x", "generation": "2"},
    }
    assert discovery.problems(compose) == []
    assert discovery.problems(changed(compose, ["response_body", "generation"], 2)) != []


def test_numbers_stand_for_enums_only_if_asked_for() -> None:
    numbered = changed(RUN, ["response_body", "metadata", "conditions", "0", "state"], 4)
    assert discovery.problems(numbered)
    asked = changed(numbered, ["url"], f"{JOBS}/j:run?%24alt=json%3Benum-encoding%3Dint")
    assert discovery.problems(asked) == []


def test_the_command_line_tells_by_its_exit_code(tmp_path: Path) -> None:
    for name, exchange, code in (("right", RUN, 0), ("wrong", changed(RUN, ["request_body", "x"], 1), 1)):
        file = tmp_path / name
        file.write_text(json.dumps(exchange) + "\n")
        ended = subprocess.run([sys.executable, discovery.__file__, str(file)], capture_output=True, text=True)
        assert (ended.returncode, "request.x is unknown" in ended.stdout) == (code, code == 1), ended
        assert ended.stdout.endswith(f"1 exchanges, {code} problems\n"), ended


def test_a_problem_of_many_runs_is_told_once_and_silence_is_no_proof(tmp_path: Path) -> None:
    file = tmp_path / "said.jsonl"
    runs = ("01M87CD03ANZWC88Q1J9M3S3NP", "01M87CD03ANZWC88Q1J9M3S3NQ")
    said = [INSERT | {"url": f"/upload/storage/v1/b/b/o/runs%2F{run}", "method": "GET"} for run in runs]
    file.write_text("".join(json.dumps(exchange) + "\n" for exchange in said))
    heard, found = discovery.judge_files([str(file)])
    assert (heard, list(found.values())) == (2, [2]), found
    assert discovery.judge_files([str(tmp_path)]) == (heard, found)
    file.write_text("")
    assert discovery.main([str(file)]) == 1
    assert discovery.main([str(tmp_path)]) == 1


def changed(exchange: dict, place: list[str], value: Any) -> dict:
    made = copy.deepcopy(exchange)
    inner: Any = made
    for step in place[:-1]:
        inner = inner[int(step)] if isinstance(inner, list) else inner[step]
    last: Any = int(place[-1]) if isinstance(inner, list) else place[-1]
    inner[last] = value
    return made


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what it was sent, and leads back to itself."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        if "content-length" in self.headers:
            body = self.rfile.read(int(self.headers["content-length"]))
        else:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.send_response(200)
        self.send_header("Content-Type", self.headers.get("x-answer", "application/octet-stream"))
        self.send_header("Location", f"http://{self.headers['host']}/upload?upload_id=secret")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def proxy() -> Iterator[Recorder]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    recorder = Recorder(f"http://127.0.0.1:{server.server_address[1]}")
    yield recorder
    recorder.close()
    server.shutdown()
    server.server_close()


def test_the_proxy_passes_bytes_and_keeps_words(proxy: Recorder) -> None:
    content = bytes(range(256)) * 20_000
    media = requests.post(proxy.url + "/media?upload_id=secret", content, timeout=30)
    streamed = requests.post(proxy.url + "/stream", iter([content, content]), timeout=30)
    headers = {"Authorization": "Bearer secret", "x-answer": "application/json"}
    words = requests.post(proxy.url + "/json", json={"link": proxy.target + "/x"}, headers=headers, timeout=30)
    assert (media.content, streamed.content) == (content, content + content)
    assert words.json() == {"link": proxy.url + "/x"}
    assert words.headers["location"] == proxy.url + "/upload?upload_id=secret"
    first, second, third = proxy.take()
    assert (first["request_body"], first["response_body"], second["request_body"]) == (None, None, None)
    assert third["request_body"] == {"link": proxy.target + "/x"} == third["response_body"]
    assert "secret" not in json.dumps([first, second, third])


def test_the_proxy_keeps_an_uploads_metadata_and_each_call_of_a_batch(proxy: Recorder) -> None:
    related = b'--=x\r\nContent-Type: application/json\r\n\r\n{"name": "a"}\r\n--=x\r\n\r\n\0\r\n--=x--\r\n'
    requests.post(proxy.url, related, headers={"Content-Type": "multipart/related; boundary='=x'"}, timeout=30)
    (upload,) = proxy.take()
    assert upload["request_body"] == {"name": "a"}

    # An echo makes a poor batch server: this is both a call and an answer.
    both = (
        b"--=y\r\nContent-Type: application/http\r\n\r\n"
        b"DELETE 404 HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{}\r\n--=y--\r\n"
    )
    kind = "multipart/mixed; boundary==y"
    requests.post(proxy.url + "/batch", both, headers={"Content-Type": kind, "x-answer": kind}, timeout=30)
    (call,) = proxy.take()
    assert (call["method"], call["url"], call["status"], call["request_body"]) == ("DELETE", "404", 404, {})
