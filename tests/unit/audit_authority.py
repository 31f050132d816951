"""A time stamp authority (RFC 3161) on loopback, by openssl."""

from __future__ import annotations

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONFIGURATION = """
[tsa]
default_tsa = it
[it]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ordering = no
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


class Authority:
    """One with a root, an intermediate certificate and its own, which alone is in its answers."""

    def __init__(self, folder: Path, kind: str = "EC") -> None:
        folder.mkdir(parents=True)
        self.folder, self.root = folder, folder / "roots.pem"
        options = ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "EC" else ["RSA"]
        for name in ("root", "middle", "tsa"):
            self._openssl("genpkey", "-algorithm", *options, "-out", f"{name}.key")
        self._openssl(
            "req", "-x509", "-new", "-key", "root.key", "-subj", "/CN=Root", "-days", "30", "-out", "root.pem"
        )
        self._issue("middle", "root", "basicConstraints=critical,CA:TRUE")
        self._issue("tsa", "middle", "extendedKeyUsage=critical,timeStamping\nbasicConstraints=CA:FALSE")
        self.root.write_bytes((folder / "root.pem").read_bytes() + (folder / "middle.pem").read_bytes())
        (folder / "openssl.cnf").write_text(CONFIGURATION)
        (folder / "serial").write_text("01\n")
        self.broken: str | None = None
        self.asked = 0
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                authority.asked += 1
                query = self.rfile.read(int(self.headers["Content-Length"]))
                data = authority.answer(query)
                self.send_response(500 if authority.broken == "status" else 200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/stamp"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _openssl(self, *arguments: str, data: bytes | None = None) -> bytes:
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, input=data, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def _issue(self, name: str, issuer: str, extensions: str) -> None:
        (self.folder / f"{name}.ext").write_text(extensions + "\n")
        request = self._openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}")
        by = ("-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial", "-days", "20")
        self._openssl("x509", "-req", *by, "-extfile", f"{name}.ext", "-out", f"{name}.pem", data=request)

    def answer(self, query: bytes) -> bytes:
        """What it says to a query."""
        if self.broken == "garbage":
            return b"no stamp"
        (self.folder / "query.tsq").write_bytes(query)
        found = self._openssl("ts", "-reply", "-config", "openssl.cnf", "-section", "it", "-queryfile", "query.tsq")
        return found[:-1] + bytes([found[-1] ^ 1]) if self.broken == "altered" else found

    def options(self) -> dict[str, object]:
        return {"url": self.url, "ca_files": [str(self.root)], "timeout": 60}
