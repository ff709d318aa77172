"""A registry that says what a test tells it to, however odd."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mlops.adapters.registry import Registry

OK = (200, {}, b"{}")


class Strange:
    """Answers each request by the next of `answers`: (status, headers, body); the last stays.

    A `Content-Length` among the headers is told as it is, and None is not told."""

    def __init__(self, *answers, hangs=0):
        """`hangs`: after so many bytes of a body it says nothing for long, then the rest."""
        self.answers, self.seen = list(answers), []
        self.ended = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.seen.append((self.command, self.path, dict(self.headers)))
                answers = outer.answers
                status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
                self.send_response(status)
                for name, value in headers.items():
                    if value is not None:
                        self.send_header(name, value.replace("@", outer.host))
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body[:hangs])
                    if hangs:
                        outer.ended.wait(10)
                    self.wfile.write(body[hangs:])

            def do_HEAD(self):
                self.do_GET()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def host(self):
        return f"127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def images(self):
        return Registry(f"{self.host}/ml/spam")
