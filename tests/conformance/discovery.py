"""Judges recorded HTTP exchanges by Google's discovery documents.

The documents come with google-api-python-client. They name every method, path, query parameter and field of the public
APIs, with types and enums; whatever an exchange has that they do not is a problem, whoever said it. What they do not
tell (which fields proto JSON leaves out, what errors look like) stands in this file.

    python discovery.py PATH…     lists the problems; exits with 1 if there are any, or no exchanges

A path is a file of exchanges, one a line, or a directory of such files that end in `.jsonl`.

What an emulator writes down itself and what `recorder.py` hears have the same form.
"""

from __future__ import annotations

import base64
import binascii
import functools
import importlib.resources
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

DOCUMENTS = ("run.v1", "run.v2", "storage.v1", "secretmanager.v1")
# APIs whose paths are alike are found under a prefix each.
PREFIXED = {
    "ar": "artifactregistry.v1",
    "crm": "cloudresourcemanager.v1",
    "iam": "iam.v1",
    "sm": "secretmanager.v1",
    "su": "serviceusage.v1",
}
# What stands in a google.protobuf.Any, and how the documents call the schemas of it.
MESSAGES = {
    "google.cloud.run.v2.": "GoogleCloudRunV2",
    "google.api.serviceusage.v1.": "",
    "google.devtools.artifactregistry.v1.": "",
    "google.protobuf.Empty": "Empty",
}

# System parameters that every Google API takes and that no document lists.
SYSTEM_PARAMETERS = {"$alt": {"type": "string"}}

# Fields of messages that only travel inside a google.protobuf.Any.
DETAIL = re.compile(r"^type\.googleapis\.com/google\.rpc\.\w+$")

# What an operation is about: its metadata and its response.
OPERATION_ABOUT = {
    "run.projects.locations.jobs.create": "Job",
    "run.projects.locations.jobs.patch": "Job",
    "run.projects.locations.jobs.delete": "Job",
    "run.projects.locations.jobs.run": "Execution",
    "run.projects.locations.jobs.executions.cancel": "Execution",
    "run.projects.locations.jobs.executions.delete": "Execution",
}

STATUS_NAMES = {
    400: {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"},
    401: {"UNAUTHENTICATED"},
    403: {"PERMISSION_DENIED"},
    404: {"NOT_FOUND"},
    409: {"ALREADY_EXISTS", "ABORTED"},
    429: {"RESOURCE_EXHAUSTED"},
    499: {"CANCELLED"},
    500: {"INTERNAL", "UNKNOWN", "DATA_LOSS"},
    501: {"UNIMPLEMENTED"},
    503: {"UNAVAILABLE"},
    504: {"DEADLINE_EXCEEDED"},
}

# Members of a oneof: they are said even when they are zero or empty.
SAID_ALWAYS = {"maxRetries", "value"}

# What differs from run to run in a path: identities of runs, packs, operations, executions.
RANDOM = re.compile(
    r"(?:(?<=%2F)|(?<![0-9A-Za-z]))"
    r"(?:[0-9A-HJKMNP-TV-Z]{26}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{12,64}(?:-[a-z0-9]{5})?)"
    r"(?![0-9A-Za-z])"
)

DATE_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$")
FORMATS = {
    "int64": re.compile(r"^-?\d{1,19}$"),
    "uint64": re.compile(r"^\d{1,20}$"),
    "date-time": DATE_TIME,
    "google-datetime": DATE_TIME,
    "google-duration": re.compile(r"^-?\d{1,12}(\.\d{1,9})?s$"),
    "google-fieldmask": re.compile(r"^[\w.,*]*$"),
    "date": re.compile(r"^\d{4}-\d\d-\d\d$"),
}


@dataclass
class Method:
    """One method of one API, on one of the paths that it answers."""

    api: "Api"
    id: str
    verb: str
    path: re.Pattern[str]
    parameters: dict[str, Any]
    request: str | None
    response: str | None
    upload: bool = False


@dataclass
class Api:
    """One discovery document."""

    name: str
    schemas: dict[str, Any]
    methods: list[Method] = field(default_factory=list)

    @property
    def is_storage(self) -> bool:
        return self.name == "storage"


@functools.cache
def api(document: str) -> Api:
    folder = importlib.resources.files("googleapiclient") / "discovery_cache" / "documents"
    return read_document(json.loads((folder / f"{document}.json").read_text()))


def methods_at(path: str) -> list[Method]:
    """All that a path may mean."""
    _, prefix, rest = (path.split("/", 2) + ["", ""])[:3]
    if prefix in PREFIXED:
        documents, path = [PREFIXED[prefix]], f"/{rest}"
    else:
        documents = list(DOCUMENTS)
    return [method for document in documents for method in api(document).methods if method.path.match(path)]


def read_document(document: dict[str, Any]) -> Api:
    api = Api(document["name"], document["schemas"])
    base = urlsplit(document["baseUrl"]).path
    common = document["parameters"] | SYSTEM_PARAMETERS
    for method in methods_of(document):
        parameters = common | {
            name: rule for name, rule in method.get("parameters", {}).items() if rule["location"] == "query"
        }
        paths = [(base + method.get("flatPath", method["path"]), False)]
        paths += [(protocol["path"], True) for protocol in method.get("mediaUpload", {}).get("protocols", {}).values()]
        if method.get("supportsMediaDownload"):
            paths.append(("/download" + base + method["path"], False))
        for path, upload in paths:
            api.methods.append(
                Method(
                    api,
                    method["id"],
                    method["httpMethod"],
                    path_pattern(path, api.is_storage),
                    parameters,
                    method.get("request", {}).get("$ref"),
                    method.get("response", {}).get("$ref"),
                    upload,
                )
            )
    return api


def methods_of(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from methods_of(inner)


def path_pattern(path: str, is_storage: bool) -> re.Pattern[str]:
    """`v2/jobs/{jobsId}:run`: each parameter is one segment, as it is encoded on the wire."""
    segment = r"[^/]+" if is_storage else r"[^/:]+"
    parts = re.split(r"(\{[^}]*\})", path)
    return re.compile("".join(segment if part.startswith("{") else re.escape(part) for part in parts) + "$")


def problems(exchange: dict[str, Any]) -> list[str]:
    """Everything in an exchange that the documents do not know, one sentence each."""
    url = urlsplit(exchange["url"])
    where = f"{exchange.get('side', '?')}: {exchange['method']} {url.path} -> {exchange['status']}"
    return [f"{where}: {problem}" for problem in find_problems(exchange)]


def find_problems(exchange: dict[str, Any]) -> Iterator[str]:
    url = urlsplit(exchange["url"])
    query = parse_qsl(url.query, keep_blank_values=True)
    session = any(name == "upload_id" for name, _ in query)
    verb = "POST" if session and exchange["method"] in ("PUT", "DELETE") else exchange["method"]
    candidates = methods_at(url.path)
    method = next((method for method in candidates if method.verb == verb), None)
    if method is None:
        yield "no such path" if not candidates else f"the path takes {' or '.join(sorted({m.verb for m in candidates}))}"
        return
    yield from query_problems(method, query)
    names = dict(query)
    judge = Judge(method.api, "enum-encoding=int" in names.get("$alt", ""))
    if session:
        yield from session_problems(exchange)
    else:
        yield from request_problems(judge, method, exchange, names)
    yield from response_problems(judge, method, exchange, names, session)


def query_problems(method: Method, query: list[tuple[str, str]]) -> Iterator[str]:
    seen: set[str] = set()
    for name, value in query:
        if name == "upload_id" and method.upload:
            continue
        rule = method.parameters.get(name)
        if rule is None:
            yield f"query parameter `{name}` is unknown"
            continue
        if name in seen and not rule.get("repeated"):
            yield f"query parameter `{name}` is repeated"
        seen.add(name)
        yield from parameter_problems(name, value, rule)
    for name, rule in method.parameters.items():
        if rule.get("required") and name not in seen:
            yield f"query parameter `{name}` is missing"


def parameter_problems(name: str, value: str, rule: dict[str, Any]) -> Iterator[str]:
    kind, form = rule.get("type"), FORMATS.get(rule.get("format", ""))
    if kind == "integer" and not re.fullmatch(r"-?\d+", value):
        yield f"query parameter `{name}` is no integer"
    # The command line writes `True`, and Google takes it.
    if kind == "boolean" and value.lower() not in ("true", "false"):
        yield f"query parameter `{name}` is no boolean"
    if form and not form.match(value):
        yield f"query parameter `{name}` is no {rule['format']}"
    if "enum" in rule and name != "alt" and value not in rule["enum"]:
        yield f"query parameter `{name}` has the unknown value `{value}`"
    if name == "alt" and value not in ("json", "media", "proto"):
        yield f"query parameter `alt` has the unknown value `{value}`"


def session_problems(exchange: dict[str, Any]) -> Iterator[str]:
    if isinstance(exchange.get("request_body"), (dict, list)):
        yield "a JSON body in an upload session"
    if exchange["method"] == "PUT" and exchange["status"] in (200, 308):
        headers = exchange.get("request_headers", {})
        form = r"bytes (\*|\d+-\d+)/(\*|\d+)"
        if "content-range" in headers and not re.fullmatch(form, headers["content-range"]):
            yield f"`Content-Range: {headers['content-range']}` is malformed"


def request_problems(judge: Judge, method: Method, exchange: dict, names: dict[str, str]) -> Iterator[str]:
    body = exchange.get("request_body")
    if method.upload and names.get("uploadType") == "media":
        if "name" not in names:
            yield "a media upload without `name`"
        return
    if method.upload and names.get("uploadType") not in ("multipart", "resumable"):
        yield "an upload without its type"
    if body is None or body == "":
        return
    if not isinstance(body, dict):
        yield "the request's body is no JSON object"
    elif method.request is None:
        if body:
            yield "a body where none is taken"
    else:
        yield from judge.value({"$ref": method.request}, body, "request", method.verb == "PATCH")
    if method.upload and "name" not in names and "name" not in (body if isinstance(body, dict) else {}):
        yield "an upload without `name`"


def response_problems(
    judge: Judge, method: Method, exchange: dict, names: dict[str, str], session: bool
) -> Iterator[str]:
    status, body = exchange["status"], exchange.get("response_body")
    media = names.get("alt") == "media" or urlsplit(exchange["url"]).path.startswith("/download/")
    if status in (304, 308) or (session and status == 499):
        if body not in (None, ""):
            yield f"a {status} with a body"
    elif status >= 400:
        if not media:
            yield from error_problems(method.api, status, body)
    elif media:
        return
    elif method.upload and not session and names.get("uploadType") == "resumable":
        if "upload_id=" not in exchange.get("response_headers", {}).get("location", ""):
            yield "a session without its location"
    elif status == 204 or method.response is None:
        if method.response is not None:
            yield "204 where an answer is due"
        if body not in (None, ""):
            yield "a body where none is due"
    elif not isinstance(body, dict):
        yield "the answer is no JSON object"
    else:
        yield from judge.value({"$ref": method.response}, body, "response", False)
        yield from operation_problems(method, body)


def operation_problems(method: Method, body: dict[str, Any]) -> Iterator[str]:
    about = OPERATION_ABOUT.get(method.id)
    for part in ("metadata", "response"):
        kind = body.get(part, {}).get("@type", "") if about else ""
        if kind and kind != f"type.googleapis.com/google.cloud.run.v2.{about}":
            yield f"{part} of {method.id} is a `{kind}`"
    if about and "response" in body and "error" in body:
        yield "an operation with both a response and an error"
    if about and ("response" in body or "error" in body) and body.get("done") is not True:
        yield "an operation with an outcome that is not done"


def error_problems(api: Api, status: int, body: Any) -> Iterator[str]:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict) or set(body) != {"error"}:
        yield "the error is not `{\"error\": …}`"
        return
    if error.get("code") != status:
        yield f"error.code is {error.get('code')!r}"
    if not isinstance(error.get("message"), str) or not error["message"]:
        yield "error.message is missing"
    known = {"code", "message", "errors"} if api.is_storage else {"code", "message", "status", "details"}
    for name in sorted(set(error) - known):
        yield f"error.{name} is unknown"
    if api.is_storage:
        yield from storage_error_problems(error.get("errors"))
    elif error.get("status") not in STATUS_NAMES.get(status, set()):
        yield f"error.status is {error.get('status')!r}"


def storage_error_problems(errors: Any) -> Iterator[str]:
    if not isinstance(errors, list) or not errors:
        yield "error.errors is missing"
        return
    for one in errors:
        for name in ("message", "domain", "reason"):
            if not isinstance(one.get(name), str):
                yield f"error.errors[].{name} is missing"
        for name in sorted(set(one) - {"message", "domain", "reason", "location", "locationType", "extendedHelp"}):
            yield f"error.errors[].{name} is unknown"


@dataclass
class Judge:
    """Compares JSON values with one document's schemas."""

    api: Api
    numbers_for_enums: bool

    def value(self, schema: dict, value: Any, path: str, may_clear: bool) -> Iterator[str]:
        if "$ref" in schema:
            schema = self.api.schemas[schema["$ref"]]
        if value is None:
            if not may_clear:
                yield f"{path} is null"
            return
        kind = schema.get("type", "any")
        if kind == "object":
            yield from self.object(schema, value, path, may_clear)
        elif kind == "array":
            yield from self.array(schema, value, path, may_clear)
        elif kind == "string":
            yield from self.string(schema, value, path)
        elif kind != "any":
            yield from self.scalar(schema, value, path)

    def object(self, schema: dict, value: Any, path: str, may_clear: bool) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path} is no object"
            return
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        if others is not None and others.get("type") == "any" and not properties:
            yield from self.any_message(value, path)
            return
        for name, inner in value.items():
            rule = properties.get(name, others)
            if rule is None:
                yield f"{path}.{name} is unknown"
                continue
            yield from self.value(rule, inner, f"{path}.{name}", may_clear)
            if name in properties and name not in SAID_ALWAYS and self.is_left_out(rule, inner, path):
                yield f"{path}.{name} is {json.dumps(inner)}, which Google leaves out"

    def is_left_out(self, rule: dict, value: Any, path: str) -> bool:
        """Proto JSON has no zero, no false and nothing empty; the older storage API has them."""
        scalar_or_list = "$ref" not in rule and rule.get("type") != "object"
        return path.startswith("response") and not self.api.is_storage and scalar_or_list and value in (0, False, "", [])

    def any_message(self, value: dict, path: str) -> Iterator[str]:
        kind = value.get("@type")
        if not isinstance(kind, str):
            yield f"{path} has no `@type`"
            return
        known = (prefix for prefix in MESSAGES if kind.startswith("type.googleapis.com/" + prefix))
        prefix = next(known, None)
        name = MESSAGES.get(prefix or "", "") + (kind.rpartition(".")[2] if prefix != "google.protobuf.Empty" else "")
        if prefix and name in self.api.schemas:
            rest = {key: inner for key, inner in value.items() if key != "@type"}
            yield from self.value({"$ref": name}, rest, path, False)
        elif not DETAIL.match(kind):
            yield f"{path} has the unknown `@type` `{kind}`"

    def array(self, schema: dict, value: Any, path: str, may_clear: bool) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{path} is no list"
            return
        for number, inner in enumerate(value):
            yield from self.value(schema["items"], inner, f"{path}[{number}]", may_clear)

    def string(self, schema: dict, value: Any, path: str) -> Iterator[str]:
        if "enum" in schema and self.numbers_for_enums and is_integer(value):
            return
        # Google takes a 64-bit number either way, and answers with text.
        if schema.get("format") in ("int64", "uint64") and is_integer(value) and path.startswith("request"):
            return
        if not isinstance(value, str):
            yield f"{path} is no string"
        elif "enum" in schema and value not in schema["enum"]:
            yield f"{path} has the unknown value `{value}`"
        elif schema.get("format") == "byte" and not is_base64(value):
            yield f"{path} is no base64"
        elif schema.get("format") in FORMATS and not FORMATS[schema["format"]].match(value):
            yield f"{path} is no {schema['format']}: `{value}`"

    def scalar(self, schema: dict, value: Any, path: str) -> Iterator[str]:
        kind = schema["type"]
        right = {
            "boolean": isinstance(value, bool),
            "integer": is_integer(value) and -(2**31) <= value < 2**32,
            "number": is_integer(value) or isinstance(value, float),
        }
        if not right[kind]:
            yield f"{path} is no {kind}"


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_base64(value: str) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error:
        return False
    return True


def files(paths: list[str]) -> Iterator[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            yield from sorted(path.glob("*.jsonl"))
        else:
            yield path


def judge_files(paths: list[str]) -> tuple[int, dict[str, int]]:
    """How many exchanges there are, and how often each problem."""
    heard, found = 0, dict[str, int]()
    for path in files(paths):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                heard += 1
                for problem in problems(json.loads(line)):
                    # A thousand runs have one problem, not a thousand.
                    problem = RANDOM.sub("…", problem)
                    found[problem] = found.get(problem, 0) + 1
    return heard, found


def main(paths: list[str]) -> int:
    heard, found = judge_files(paths)
    for problem, times in sorted(found.items()):
        print(f"{problem} ({times} times)" if times > 1 else problem)
    print(f"{heard} exchanges, {len(found)} problems")
    # Nothing heard is nothing judged.
    return 1 if found or not heard else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
