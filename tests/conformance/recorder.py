"""A proxy on loopback that keeps what is said between a client and the emulator.

Bodies go through as they come, of any size. JSON bodies are kept whole; of an upload only the metadata; media is not
kept at all. Neither are tokens. The emulator's own address in its answers (media links, upload sessions) is replaced by
the proxy's, so that what follows comes through here as well.
"""

from __future__ import annotations

import email.parser
import email.policy
import http.client
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, Iterator
from urllib.parse import urlsplit

PIECE = 256 * 1024
# More than any JSON body of these APIs, and than the metadata at the start of an upload.
KEPT = 4 * 1024 * 1024
KEPT_REQUEST_HEADERS = {"content-type", "content-range", "content-length", "range", "x-goog-hash", "user-agent"}
KEPT_RESPONSE_HEADERS = {"content-type", "location", "range", "content-range"}
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


class Recorder:
    """Listens on a free port until it is closed. `side` is written into each exchange: set it to who is talking."""

    def __init__(self, target: str) -> None:
        self.target = target.rstrip("/")
        self.side = "?"
        self._exchanges: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.recorder = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def add(self, exchange: dict[str, Any]) -> None:
        with self._lock:
            self._exchanges.append(exchange)

    def take(self) -> list[dict[str, Any]]:
        """What was said since the last call."""
        with self._lock:
            taken, self._exchanges = self._exchanges, []
        return taken

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are separate writes; together with delayed acknowledgement that costs 40 ms each.
    disable_nagle_algorithm = True

    def _proxy(self) -> None:
        recorder: Recorder = self.server.recorder  # type: ignore[attr-defined]
        target = urlsplit(recorder.target)
        upstream = http.client.HTTPConnection(target.hostname or "", target.port, timeout=120)
        try:
            kept_request = self._send_request(upstream, target.netloc)
            answer = upstream.getresponse()
            words = answer.headers.get_content_type() in ("application/json", "multipart/mixed")
            body = answer.read() if words else None
            # Kept before it is passed on: whoever has the answer finds it here.
            for exchange in exchanges_of(self, recorder.side, kept_request, answer, body):
                recorder.add(exchange)
            self._send_answer(answer, body, recorder)
        finally:
            upstream.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _proxy

    def _send_request(self, upstream: http.client.HTTPConnection, host: str) -> bytes:
        chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        # The emulator answers to loopback names only, and must not take the proxy for somebody else. A client that has us
        # for its proxy names a host in the path itself, which goes on as it came.
        upstream.putheader("Host", host)
        for name, value in self.headers.items():
            if name.lower() not in HOP_BY_HOP | {"host", "expect"}:
                upstream.putheader(name, value)
        if chunked:
            upstream.putheader("Transfer-Encoding", "chunked")
        upstream.endheaders()
        kept = bytearray()
        heard = True
        for piece in self._request_body(chunked):
            heard = heard and sent(upstream, b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if len(kept) < KEPT:
                kept += piece
        if chunked and heard:
            sent(upstream, b"0\r\n\r\n")
        return bytes(kept)

    def _request_body(self, chunked: bool) -> Iterator[bytes]:
        if not chunked:
            yield from pieces(self.rfile, int(self.headers.get("content-length", 0)))
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield from pieces(self.rfile, size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _send_answer(self, answer: http.client.HTTPResponse, body: bytes | None, recorder: Recorder) -> None:
        if body is not None:
            body = body.replace(recorder.target.encode(), recorder.url.encode())
        length = str(len(body)) if body is not None else answer.headers.get("content-length")
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value.replace(recorder.target, recorder.url))
        bodiless = self.command == "HEAD" or answer.status in (204, 304)
        if length is not None:
            self.send_header("Content-Length", length)
        elif not bodiless:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if body is not None:
            if not bodiless:
                self.wfile.write(body)
        else:
            self._stream(answer, chunked=length is None and not bodiless)

    def _stream(self, answer: http.client.HTTPResponse, chunked: bool) -> None:
        while piece := answer.read(PIECE):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        """Tests have their own words."""


def sent(upstream: http.client.HTTPConnection, piece: bytes) -> bool:
    """Whether the other side still listens: it may have refused the request by its headers alone."""
    try:
        upstream.send(piece)
    except ConnectionError:
        return False
    return True


def pieces(source: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (piece := source.read(min(PIECE, size))):
        size -= len(piece)
        yield piece


def exchanges_of(
    request: BaseHTTPRequestHandler, side: str, body: bytes, answer: http.client.HTTPResponse, answered: bytes | None
) -> Iterator[dict[str, Any]]:
    """One exchange; for a batch, each call in it."""
    kind = request.headers.get_content_type() if "content-type" in request.headers else ""
    if kind == "multipart/mixed" and answered is not None:
        calls = zip(parts(request.headers["content-type"], body), parts(answer.headers["content-type"], answered))
        yield from (batched(side, call, reply) for (_, call), (_, reply) in calls)
        return
    yield {
        "side": side,
        "method": request.command,
        "url": re.sub(r"(?<=upload_id=)[^&]+", "hidden", path_of(request.path)),
        "request_headers": kept_headers(request.headers.items(), KEPT_REQUEST_HEADERS),
        "request_body": spoken(kind, request.headers.get("content-type", ""), body),
        "status": answer.status,
        "response_headers": kept_headers(answer.headers.items(), KEPT_RESPONSE_HEADERS),
        "response_body": parsed(answered) if answered else None,
    }


def path_of(target: str) -> str:
    return urlsplit(target)._replace(scheme="", netloc="").geturl()


def kept_headers(headers: Any, names: set[str]) -> dict[str, str]:
    found = {name.lower(): value for name, value in headers if name.lower() in names}
    return {name: re.sub(r"(?<=upload_id=)[^&]+", "hidden", value) for name, value in found.items()}


def spoken(kind: str, content_type: str, body: bytes) -> Any:
    """The JSON of a request: its body, or the first part of an upload."""
    if kind == "application/json":
        return parsed(body)
    if kind == "multipart/related":
        (_, first), *_ = parts(content_type, body)
        return parsed(first)
    return None


def parsed(body: bytes) -> Any:
    """What is no JSON stays text, for the judge to see."""
    try:
        return json.loads(body) if body.strip() else None
    except ValueError:
        return body.decode(errors="replace")


def parts(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """The parts of a multipart body, each with its headers."""
    boundary = re.search(r"""boundary=(?:"([^"]*)"|'([^']*)'|([^;\s]+))""", content_type)
    if boundary is None:
        return []
    marker = re.escape(next(name for name in boundary.groups() if name).encode())
    found = []
    for part in re.split(rb"\r?\n?--" + marker + rb"(?:--)?[ \t]*\r?\n?", body):
        head, gap, rest = re.match(rb"(?s)(.*?)(\r?\n\r?\n|\Z)(.*)", part).groups()  # type: ignore[union-attr]
        if gap:
            found.append((head.decode(errors="replace"), rest))
    return found


def batched(side: str, call: bytes, reply: bytes) -> dict[str, Any]:
    """One call of a batch: a request and an answer written out as text."""
    first, headers, body = http_text(call)
    method, url = first.split()[:2]
    answer, answer_headers, answered = http_text(reply)
    return {
        "side": side,
        "method": method,
        "url": path_of(url),
        "request_headers": kept_headers(headers, KEPT_REQUEST_HEADERS),
        "request_body": parsed(body),
        "status": int(answer.split()[1]),
        "response_headers": kept_headers(answer_headers, KEPT_RESPONSE_HEADERS),
        "response_body": parsed(answered),
    }


def http_text(text: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
    first, _, rest = text.lstrip().partition(b"\n")
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(rest)
    payload = message.get_payload(decode=True)
    return first.decode().strip(), list(message.items()), payload if isinstance(payload, bytes) else b""
