"""Web sites by HTTPS on the loopback device: a browser that maps every name to it meets pages of any origin."""

import contextlib
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Sites(dict):
    """HTML by host and path, ``huggingface.co/spaces/org/board``.

    Attributes:
        port: of the server.
        asked: host and path of each request.
    """

    port = 0

    def __init__(self):
        super().__init__()
        self.asked = []


@contextlib.contextmanager
def serving(folder):
    """Serves `Sites` under a certificate that is made in the folder."""
    sites = Sites()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            place = f"{self.headers['Host']}{self.path.partition('?')[0]}"
            sites.asked.append(place)
            body = sites.get(place, "").encode()
            self.send_response(200 if body else 204)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-subj", "/CN=localhost", "-days", "2", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    sites.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield sites
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
