"""The provider behind the gateway under test: remembers what it got and says what the suite tells it to, or echoes."""

import gzip
import json
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Upstream:
    """Listens inside a `with`."""

    def __init__(self, listen):
        host, _, port = listen.rpartition(":")
        self.server = Server((host or "127.0.0.1", int(port)), type("Handler", (Handler,), {"upstream": self}))
        self.lock = threading.Lock()
        self.received = []
        self.script = None

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self):
        host, port = self.server.server_address[:2]
        return f"http://{host}:{port}/v1"

    def expect(self, script=None):
        """From now on says this, or echoes; forgets what it got."""
        with self.lock:
            self.script, self.received = script, []

    def take(self):
        """The bodies it got since."""
        with self.lock:
            return list(self.received)


class Server(ThreadingHTTPServer):
    """Gateways close connections as they please: that is no news."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.say(200, "application/json", [json.dumps({"object": "list", "data": [{"id": "echo", "object": "model"}]}).encode()])

    def do_POST(self):
        body = self.read_body()
        decode = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(self.headers.get("content-encoding"), bytes)
        body = decode(body)
        with self.upstream.lock:
            self.upstream.received.append(body)
            script = self.upstream.script
        if script is None:
            self.say(200, *echo(self.path, body))
        else:
            self.say(script.status, script.media, script.pieces, script.headers)

    def read_body(self):
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def say(self, status, media, pieces, headers=None):
        self.send_response(status)
        if media:
            self.send_header("content-type", media)
        self.send_header("transfer-encoding", "chunked")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for piece in filter(None, pieces):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # The gateway has heard enough.

    def log_message(self, *_):
        pass


def echo(path, body):
    """An answer in the form of the endpoint that repeats the request."""
    try:
        request = json.loads(body)
    except ValueError:
        request = {}
    text = body.decode(errors="replace")[:10_000]
    base = {"id": "c1", "created": 1, "model": "echo"}
    if path.endswith("/embeddings"):
        data = [{"object": "embedding", "index": 0, "embedding": [0.0]}]
        answer = {"object": "list", "model": "echo", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    elif not path.endswith("/chat/completions"):
        answer = {**base, "object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}
    elif isinstance(request, dict) and request.get("stream") is True:
        choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        chunk = json.dumps({**base, "object": "chat.completion.chunk", "choices": [choice]})
        return "text/event-stream", [f"data: {chunk}\n\ndata: [DONE]\n\n".encode()]
    else:
        message = {"role": "assistant", "content": text}
        answer = {**base, "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return "application/json", [json.dumps(answer).encode()]
