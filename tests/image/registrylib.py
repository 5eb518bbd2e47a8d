"""Registries for tests: docker-registry on a free loopback port, plain, with TLS, htpasswd or tokens, and a proxy that
makes faults. Every one lives in a temporary folder and ends with the `with` block it was made in.
"""

import base64
import contextlib
import ctypes
import hashlib
import http.client
import http.server
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse

PROGRAM = shutil.which("docker-registry") or shutil.which("registry")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, **options).stdout


# ------------------------------------------------------------------------------------------------------- certificates


class Authority:
    """A certificate authority of the test's own, and certificates signed by it (the openssl program)."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.certificate, self.key = f"{folder}/ca.crt", f"{folder}/ca.key"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=test authority", "-addext", "basicConstraints=critical,CA:TRUE",
            "-keyout", self.key, "-out", self.certificate)  # fmt: skip

    def issue(self, name, usage="serverAuth", names="DNS:localhost,IP:127.0.0.1,IP:::1"):
        """Paths of the certificate and key for a server (or usage="clientAuth")."""
        key, request, certificate, extensions = (f"{self.folder}/{name}.{end}" for end in ("key", "csr", "crt", "ext"))
        with open(extensions, "w", encoding="utf-8") as file:
            file.write(f"subjectAltName={names}\nextendedKeyUsage={usage}\n")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", request)  # fmt: skip
        run("openssl", "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
            "-days", "2", "-extfile", extensions, "-out", certificate)  # fmt: skip
        return certificate, key


def bcrypt(password):
    """One hash as the registry's htpasswd files need it, by libcrypt (Python 3.13 has no crypt module)."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    return library.crypt(password.encode(), b"$2b$05$" + b"abcdefghijklmnopqrstuu").decode()


# ----------------------------------------------------------------------------------------------------- token issuing


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenIssuer:
    """The "realm" of a registry's Bearer authentication: GET with Basic, or POST with grant_type. Records what was asked.

    users: {name: (password, {repository: {"pull", "push"}})}; the name None is for those without credentials.
    """

    def __init__(self, folder, users, service="test registry", lifetime=300):
        self.folder, self.users, self.service, self.lifetime = folder, users, service, lifetime
        self.requests = []  # {"method", "user", "scopes", "authorization", "grant_type"}
        self.refresh_tokens = {}  # token -> user
        self.expires_in = None  # what the answer says, when not the lifetime
        self.key, self.certificate = f"{folder}/token.key", f"{folder}/token.crt"
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test issuer",
            "-keyout", self.key, "-out", self.certificate)  # fmt: skip
        der = run("openssl", "x509", "-in", self.certificate, "-outform", "DER")
        self.x5c = [base64.b64encode(der).decode()]
        self.server = serve(handler_of(self.answer))
        self.realm = f"http://127.0.0.1:{self.server.server_address[1]}/token"

    def close(self):
        stop(self.server)

    def sign(self, claims):
        header = base64url(json.dumps({"typ": "JWT", "alg": "RS256", "x5c": self.x5c}).encode())
        text = header + "." + base64url(json.dumps(claims).encode())
        signature = run("openssl", "dgst", "-sha256", "-sign", self.key, input=text.encode())
        return text + "." + base64url(signature)

    def token(self, user, scopes):
        allowed = self.users.get(user, (None, {}))[1]
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            granted = set(actions.split(",")) & (allowed.get(name, set()) | allowed.get("*", set()))
            if kind == "repository" and granted:
                access.append({"type": kind, "name": name, "actions": sorted(granted)})
        now = int(time.time())
        return self.sign({"iss": "test issuer", "sub": user or "", "aud": self.service, "nbf": now - 10, "iat": now,
                          "exp": now + self.lifetime, "jti": os.urandom(8).hex(), "access": access})  # fmt: skip

    def answer(self, request):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)
        form = urllib.parse.parse_qs(request.body.decode()) if request.command == "POST" else {}
        fields = form or query
        scopes = [scope for text in fields.get("scope", []) for scope in text.split(" ") if scope]
        user, ok = self.who(request, form)
        self.requests.append({"method": request.command, "user": user, "scopes": scopes, "query": fields,
                              "authorization": request.headers.get("Authorization", "")})  # fmt: skip
        if not ok:
            return 401, {"Content-Type": "application/json"}, b'{"details":"incorrect username or password"}'
        body = {"token": self.token(user, scopes), "expires_in": self.expires_in or self.lifetime}
        if form:
            body["access_token"] = body.pop("token")
        if "offline_token" in fields or fields.get("access_type") == ["offline"]:
            refresh = os.urandom(8).hex()
            self.refresh_tokens[refresh] = user
            body["refresh_token"] = refresh
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()

    def who(self, request, form):
        if form.get("grant_type") == ["refresh_token"]:
            user = self.refresh_tokens.get(form.get("refresh_token", [""])[0])
            return user, user is not None
        if form.get("grant_type") == ["password"]:
            user, password = form["username"][0], form["password"][0]
            return user, self.users.get(user, (None,))[0] == password
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None, None in self.users
        user, _, password = base64.b64decode(value).decode().partition(":")
        return user, self.users.get(user, (None,))[0] == password


# ------------------------------------------------------------------------------------------------------- the registry


class Registry:
    """docker-registry with its own folder. host: "127.0.0.1:PORT"."""

    def __init__(self, folder, tls=None, htpasswd=None, issuer=None, client_ca=None, host="127.0.0.1", **http_options):
        self.folder, self.tls, self.process = folder, tls, None
        os.makedirs(folder, exist_ok=True)
        self.credentials = htpasswd and next(iter(htpasswd.items()))
        self.issuer = issuer
        auth = {}
        if htpasswd:
            with open(f"{folder}/htpasswd", "w", encoding="utf-8") as file:
                file.writelines(f"{user}:{bcrypt(password)}\n" for user, password in htpasswd.items())
            auth = {"auth": {"htpasswd": {"realm": "test", "path": f"{folder}/htpasswd"}}}
        if issuer:
            auth = {"auth": {"token": {"realm": issuer.realm, "service": issuer.service, "issuer": "test issuer",
                                       "rootcertbundle": issuer.certificate}}}  # fmt: skip
        for _ in range(5):  # another process may take the free port first
            self.port = free_port()
            self.host = f"{host}:{self.port}"
            http_section = {"addr": f"127.0.0.1:{self.port}", "secret": "x", **http_options}
            if tls:
                http_section["tls"] = {"certificate": tls[0], "key": tls[1], **({"clientcas": [client_ca]} if client_ca else {})}
            # JSON is YAML too.
            config = {"version": "0.1", "log": {"level": "warn", "accesslog": {"disabled": True}}, "http": http_section, **auth,
                      "storage": {"filesystem": {"rootdirectory": f"{folder}/data"}, "delete": {"enabled": True},
                                  "maintenance": {"uploadpurging": {"enabled": False}}}}  # fmt: skip
            with open(f"{folder}/config.yml", "w", encoding="utf-8") as file:
                json.dump(config, file)
            if self.start():
                return
        raise RuntimeError("docker-registry did not start: " + open(f"{folder}/log", encoding="utf-8").read()[-500:])

    def start(self):
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen([PROGRAM, "serve", f"{self.folder}/config.yml"], stdout=log, stderr=log)
        end = time.monotonic() + 10
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            time.sleep(0.02)
        self.close()
        return False

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    # What follows talks plain distribution protocol, with as little in between as possible: it prepares and checks.

    def request(self, method, path, body=None, headers=None, scope=None):
        """(status, headers, body); authenticated as the first user."""
        headers = dict(headers or {})
        if self.credentials:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(self.credentials).encode()).decode()
        if self.issuer:
            admin = next(user for user in self.issuer.users if user)
            headers["Authorization"] = "Bearer " + self.issuer.token(admin, [scope] if scope else [])
        if self.tls:
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=30)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()

    def put_blob(self, name, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        scope = f"repository:{name}:pull,push"
        if self.request("HEAD", f"/v2/{name}/blobs/{digest}", scope=scope)[0] == 200:
            return digest
        status, headers, body = self.request("POST", f"/v2/{name}/blobs/uploads/", scope=scope)
        assert status == 202, (status, body)
        where = urllib.parse.urlsplit(headers["Location"])
        path = f"{where.path}?{where.query}&digest={digest}"
        status, _, body = self.request("PUT", path, data, {"Content-Type": "application/octet-stream"}, scope)
        assert status == 201, (status, body)
        return digest

    def put_manifest(self, name, tag, data, media_type):
        scope = f"repository:{name}:pull,push"
        status, _, body = self.request("PUT", f"/v2/{name}/manifests/{tag}", data, {"Content-Type": media_type}, scope)
        assert status == 201, (status, body)

    def push(self, name, image, tag="latest"):
        """An imagelib.Image or Index; returns the reference."""
        for part in image.images():
            for blob in part.blobs():
                self.put_blob(name, blob)
        for data, media_type in image.inner_manifests():
            self.put_manifest(name, "sha256:" + hashlib.sha256(data).hexdigest(), data, media_type)
        self.put_manifest(name, tag, image.manifest, image.media_type)
        return f"{self.host}/{name}:{tag}"

    def manifest(self, name, tag, accept="*/*"):
        """The manifest's bytes and media type, or None."""
        accept = accept if accept != "*/*" else ", ".join([
            "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json"])  # fmt: skip
        status, headers, body = self.request("GET", f"/v2/{name}/manifests/{tag}", headers={"Accept": accept},
                                             scope=f"repository:{name}:pull")  # fmt: skip
        return (body, headers["Content-Type"]) if status == 200 else None

    def blob(self, name, digest):
        status, _, body = self.request("GET", f"/v2/{name}/blobs/{digest}", scope=f"repository:{name}:pull")
        return body if status == 200 else None

    def tags(self, name):
        status, _, body = self.request("GET", f"/v2/{name}/tags/list", scope=f"repository:{name}:pull")
        return sorted(json.loads(body).get("tags") or []) if status == 200 else []

    def stored_blob_path(self, digest):
        return f"{self.folder}/data/docker/registry/v2/blobs/sha256/{digest[7:9]}/{digest[7:]}/data"


# --------------------------------------------------------------------------------------------- small HTTP servers


class QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # the client ended the connection; that is what these tests do


def serve(handler, tls=None):
    server = QuietServer(("127.0.0.1", 0), handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


def stop(server):
    server.shutdown()
    server.server_close()


def handler_of(answer):
    """A request handler that calls answer(request) -> (status, headers, body)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def handle_any(self):
            self.body = self.read_body()
            result = answer(self)
            if result is None:  # answered, or cut, by answer itself
                return
            status, headers, body = result
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def read_body(self):
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    return Handler


class Fault:
    """One thing that goes wrong, `times` times, for requests whose "METHOD path" matches the pattern.

    cut_after: the answer's body ends after so many bytes with the connection; status: answered instead (with headers, body);
    ignore_range: the Range header is dropped; delay: seconds before the answer; slow: bytes per second; corrupt: a byte
    of the body is changed; drop: the connection is closed without an answer.
    """

    def __init__(self, pattern, times=1, **what):
        self.pattern, self.times, self.what, self.hits = re.compile(pattern), times, what, 0

    def __getattr__(self, name):
        return self.__dict__.get("what", {}).get(name)


class Proxy:
    """In front of a registry (or any host and port): forwards, records each request, and makes the faults it was given."""

    def __init__(self, upstream, faults=(), tls=None):
        self.upstream, self.faults, self.requests = upstream, list(faults), []
        self.lock = threading.Lock()
        self.server = serve(handler_of(self.answer), tls)
        self.port = self.server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"

    def close(self):
        stop(self.server)

    def add(self, pattern, times=1, **what):
        fault = Fault(pattern, times, **what)
        with self.lock:
            self.faults.append(fault)
        return fault

    def seen(self, pattern):
        return [entry for entry in self.requests if re.search(pattern, entry["line"])]

    def pick(self, line):
        with self.lock:
            for fault in self.faults:
                if fault.hits < fault.times and fault.pattern.search(line):
                    fault.hits += 1
                    return fault
        return Fault("")

    def answer(self, request):
        line = f"{request.command} {request.path}"
        self.requests.append({"line": line, "headers": {name.lower(): ", ".join(request.headers.get_all(name)) for name in request.headers}, "time": time.monotonic()})
        fault = self.pick(line)
        if fault.delay:
            time.sleep(fault.delay)
        if fault.drop:
            request.close_connection = True
            return None
        if fault.status:
            return fault.status, fault.headers or {}, fault.body or b""
        return self.forward(request, fault)

    def forward(self, request, fault):
        dropped = {"transfer-encoding", "connection", "content-length"} | ({"range"} if fault.ignore_range else set())
        host, _, port = self.upstream.rpartition(":")
        with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=60)) as connection:
            # Header by header: a client may send several lines of one name (Accept).
            connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name.lower() not in dropped:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body or None)
            response = connection.getresponse()
            body = response.read()
            request.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "date"):
                    request.send_header(name, value)
            if "content-length" not in {name.lower() for name, _ in response.getheaders()}:
                request.send_header("Content-Length", str(len(body)))
            request.end_headers()
        if request.command != "HEAD":
            self.send_body(request, body, fault)
        return None

    def send_body(self, request, body, fault):
        if fault.corrupt and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        if fault.cut_after is not None:
            request.wfile.write(body[: fault.cut_after])
            request.wfile.flush()
            request.close_connection = True
            return
        if fault.slow:
            piece = max(1, fault.slow // 50)
            for start in range(0, len(body), piece):
                request.wfile.write(body[start : start + piece])
                request.wfile.flush()
                time.sleep(0.02)
            return
        request.wfile.write(body)


class Lab:
    """Makes registries, proxies, issuers and authorities, and ends them all: `with Lab() as lab: lab.registry()`."""

    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="davit-registry-"))
        self.count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stack.close()

    def path(self, name):
        self.count += 1
        path = f"{self.folder}/{name}{self.count}"
        os.makedirs(path)
        return path

    def keep(self, thing):
        self.stack.callback(thing.close)
        return thing

    def registry(self, **options):
        return self.keep(Registry(self.path("registry"), **options))

    def proxy(self, registry, **options):
        return self.keep(Proxy(getattr(registry, "host", registry), **options))

    def issuer(self, users, **options):
        return self.keep(TokenIssuer(self.path("issuer"), users, **options))

    def server(self, answer, tls=None):
        """A server of answer(request) -> (status, headers, body); returns "127.0.0.1:PORT"."""
        server = serve(handler_of(answer), tls)
        self.stack.callback(stop, server)
        return f"127.0.0.1:{server.server_address[1]}"

    def authority(self):
        return Authority(self.path("authority"))
