"""Credentials: Basic and Bearer, where they come from, and that none ever goes to another host than its own."""

import base64
import json
import os
import shutil

import pytest

from imagelib import Failed, Image, digest_of, file

USERS = {"me": ("secret", {"*": {"pull", "push"}}), None: ("", {"open": {"pull"}})}
SECRET = base64.b64encode(b"me:secret").decode()


@pytest.fixture
def image():
    return Image([file("a", "x" * 100000)], [file("b")])


def docker_config(lab, **content):
    folder = lab.path("docker")
    with open(f"{folder}/config.json", "w", encoding="utf-8") as out:
        json.dump(content, out)
    return folder


def auths(lab, host, user="me", password="secret"):
    return docker_config(lab, auths={host: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}})


def helper(folder, name, script):
    """A credential helper docker-credential-NAME in a folder for PATH."""
    path = f"{folder}/docker-credential-{name}"
    with open(path, "w", encoding="utf-8") as out:
        out.write("#!/bin/sh\n" + script)
    os.chmod(path, 0o755)
    return folder


# -------------------------------------------------------------------------------------------------------------- Basic


def test_basic(lab, store, image):
    registry = lab.registry(htpasswd={"me": "secret"})
    reference = registry.push("x", image)
    store.run("pull", "--docker-config", auths(lab, registry.host), reference)
    store.run("tag", reference, f"{registry.host}/y")
    store.run("push", "--docker-config", auths(lab, registry.host), f"{registry.host}/y")
    assert registry.tags("y") == ["latest"]


def test_without_and_with_wrong_credentials(lab, store, image):
    registry = lab.registry(htpasswd={"me": "secret"})
    reference = registry.push("x", image)
    for config in (docker_config(lab), auths(lab, registry.host, password="wrong")):
        with pytest.raises(Failed) as error:
            store.run("pull", "--docker-config", config, reference)
        assert "secret" not in error.value.text and "wrong" not in error.value.text
    assert store.images() == {}


@pytest.mark.parametrize("form", ["{}", "http://{}", "https://{}", "https://{}/v2/", "https://{}/v1/"], ids=["bare", "http", "https", "v2", "v1"])
def test_spellings_of_the_host(lab, store, image, form):
    registry = lab.registry(htpasswd={"me": "secret"})
    reference = registry.push("x", image)
    store.run("pull", "--docker-config", auths(lab, form.format(registry.host)), reference)


def test_user_and_password_members(lab, store, image):
    registry = lab.registry(htpasswd={"me": "secret"})
    reference = registry.push("x", image)
    config = docker_config(lab, auths={registry.host: {"username": "me", "password": "secret"}})
    store.run("pull", "--docker-config", config, reference)


def test_credential_helpers(lab, stores, image):
    registry = lab.registry(htpasswd={"me": "secret"})
    reference = registry.push("x", image)
    answer = 'read -r host; echo "$1 $host" >> "$(dirname "$0")/log"; echo \'{"ServerURL":"x","Username":"me","Secret":"secret"}\'\n'
    folder = helper(lab.path("bin"), "test", answer)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}"}
    for content in ({"credHelpers": {registry.host: "test"}}, {"credsStore": "test"}):
        stores(**environment).run("pull", "--docker-config", docker_config(lab, **content), reference)
    with open(f"{folder}/log", encoding="utf-8") as log:
        assert set(log.read().split("\n")) == {f"get {registry.host}", ""}


def test_failing_helper(lab, stores, image):
    registry = lab.registry()
    reference = registry.push("x", image)
    folder = helper(lab.path("bin"), "test", "echo 'credentials not found in native keychain'; exit 1\n")
    store = stores(PATH=f"{folder}:{os.environ['PATH']}")
    store.run("pull", "--docker-config", docker_config(lab, credsStore="test"), reference)  # open to all


def test_damaged_docker_config(lab, store, image):
    """Docker warns and goes on without credentials; whichever, it does not crash and sends none."""
    reference = lab.registry(htpasswd={"me": "secret"}).push("x", image)
    folder = lab.path("docker")
    with open(f"{folder}/config.json", "w", encoding="utf-8") as out:
        out.write('{"auths": [')
    with pytest.raises(Failed) as error:
        store.run("pull", "--docker-config", folder, reference)
    assert error.value.code == 1


# ------------------------------------------------------------------------------------------------------------- Bearer


@pytest.fixture
def guarded(lab):
    issuer = lab.issuer(USERS)
    return issuer, lab.registry(issuer=issuer)


def test_token_for_nobody(store, guarded, image):
    issuer, registry = guarded
    store.run("pull", registry.push("open", image))
    assert all(not request["authorization"] for request in issuer.requests)
    with pytest.raises(Failed):
        store.run("pull", registry.push("closed", image))


def test_token_for_a_user(lab, store, guarded, image):
    issuer, registry = guarded
    reference = registry.push("closed", image)
    store.run("pull", "--docker-config", auths(lab, registry.host), reference)
    own = [request for request in issuer.requests if request["user"] == "me"]
    assert own and all(request["scopes"] == ["repository:closed:pull"] for request in own)
    assert len(own) == 1, "the token of one scope is kept"
    assert own[0]["query"]["service"] == ["test registry"]


def test_push_asks_for_both_actions(lab, store, guarded, image):
    issuer, registry = guarded
    config = auths(lab, registry.host)
    store.run("pull", "--docker-config", config, registry.push("closed", image))
    store.run("tag", f"{registry.host}/closed", f"{registry.host}/new")
    issuer.requests.clear()
    store.run("push", "--docker-config", config, f"{registry.host}/new")
    scopes = {scope for request in issuer.requests for scope in request["scopes"]}
    assert "repository:new:pull,push" in scopes
    assert scopes <= {"repository:new:pull,push", "repository:new:pull", "repository:closed:pull"}
    assert digest_of(registry.manifest("new", "latest")[0]) == image.digest


def test_tokens_that_end_soon(lab, store, image):
    """A token that ends in the middle of a pull is got again."""
    issuer = lab.issuer(USERS, lifetime=3)
    registry = lab.registry(issuer=issuer)
    registry.push("closed", image)
    proxy = lab.proxy(registry)
    proxy.add(f"GET .*{image.layers[0].digest}", delay=5)
    store.run("pull", "--docker-config", auths(lab, proxy.host), f"{proxy.host}/closed")
    # The registry forgives 60 seconds; what counts is that a refusal in the middle is answered by a new token.
    proxy.add("GET .*blobs", times=1, status=401,
              headers={"WWW-Authenticate": f'Bearer realm="{issuer.realm}",service="{issuer.service}",scope="repository:closed:pull"'})  # fmt: skip
    store.run("rm", "-f", f"{proxy.host}/closed")
    store.run("gc")
    before = len(issuer.requests)
    store.run("pull", "--docker-config", auths(lab, proxy.host), f"{proxy.host}/closed")
    assert len(issuer.requests) >= before + 2


def test_identity_token(lab, store, guarded, image):
    issuer, registry = guarded
    issuer.refresh_tokens["longlived"] = "me"
    config = docker_config(lab, auths={registry.host: {"identitytoken": "longlived"}})
    store.run("pull", "--docker-config", config, registry.push("closed", image))
    assert any(request["method"] == "POST" for request in issuer.requests)


def test_wrong_password_is_an_error(lab, store, guarded, image):
    issuer, registry = guarded
    reference = registry.push("closed", image)
    with pytest.raises(Failed) as error:
        store.run("pull", "--docker-config", auths(lab, registry.host, password="wrong"), reference)
    assert "wrong" not in error.value.text
    assert len(issuer.requests) < 10


CHALLENGES = {
    "bare": "Bearer", "no_value": "Bearer realm=", "open_quote": 'Bearer realm="', "gopher": 'Bearer realm="gopher://x"', "unknown": "Nonsense",
    "relative": 'Bearer realm="/relative"', "nobody_there": 'Bearer realm="http://127.0.0.1:1/token"', "basic": "Basic",
    "long": 'Bearer realm="' + "x" * 20000 + '"', "negotiate": "Negotiate, Bearer",
}  # fmt: skip


@pytest.mark.parametrize("name", CHALLENGES)
def test_odd_challenges(lab, store, name):
    challenge = CHALLENGES[name]
    host = lab.server(lambda request: (401, {"WWW-Authenticate": challenge}, b""))
    with pytest.raises(Failed):
        store.run("pull", "--docker-config", auths(lab, host), f"{host}/x", timeout=60)


TOKENS = {
    "empty": b"", "no_token": b"{}", "list": b"[]", "number": b'{"token":1}', "line_end": b'{"token":"a\\nb: c"}',
    "huge": b'{"token":"' + b"x" * 5000000 + b'"}', "html": b"<html>",
}  # fmt: skip


@pytest.mark.parametrize("name", TOKENS)
def test_odd_tokens(lab, store, name):
    realm = lab.server(lambda request: (200, {"Content-Type": "application/json"}, TOKENS[name]))
    host = lab.server(lambda request: (401, {"WWW-Authenticate": f'Bearer realm="http://{realm}/token",service="s"'}, b""))
    with pytest.raises(Failed):
        store.run("pull", f"{host}/x", timeout=60)


# --------------------------------------------------------------------------------------------- who sees which secret


def test_a_redirect_drops_the_credentials(lab, store, image):
    """Blobs that a storage host serves: it sees neither password nor token."""
    registry = lab.registry(htpasswd={"me": "secret"})
    registry.push("x", image)
    seen = []

    def storage(request):
        seen.append({name.lower(): value for name, value in request.headers.items()})
        return 200, {}, registry.blob("x", request.path.rsplit("/", 1)[-1])

    other = lab.server(storage)
    proxy = lab.proxy(registry)
    for blob in image.blobs():
        proxy.add(f"GET .*{digest_of(blob)}", times=100, status=307, headers={"Location": f"http://{other}/{digest_of(blob)}"})
    store.run("pull", "--docker-config", auths(lab, proxy.host), f"{proxy.host}/x")
    assert seen and all("authorization" not in headers and SECRET not in str(headers) for headers in seen)
    assert any(entry["headers"].get("authorization") for entry in proxy.requests)


def test_the_password_stays_away_from_other_registries(lab, store, image):
    mine, other = lab.registry(htpasswd={"me": "secret"}), lab.registry()
    other.push("x", image)
    proxy = lab.proxy(other)
    store.run("pull", "--docker-config", auths(lab, mine.host), f"{proxy.host}/x")
    assert all("authorization" not in entry["headers"] for entry in proxy.requests)


def test_a_token_stays_with_its_registry(lab, store, guarded, image):
    """The storage that a registry redirects to gets no token; the issuer gets no token of the registry."""
    issuer, registry = guarded
    registry.push("closed", image)
    seen = []

    def storage(request):
        seen.append(str(request.headers))
        digest = request.path.rsplit("/", 1)[-1]
        return 200, {}, registry.blob("closed", digest)

    other = lab.server(storage)
    proxy = lab.proxy(registry)
    proxy.add(f"GET .*{image.layers[0].digest}", times=10, status=302, headers={"Location": f"http://{other}/{image.layers[0].digest}"})
    store.run("pull", "--docker-config", auths(lab, proxy.host), f"{proxy.host}/closed")
    assert seen and all("Bearer" not in headers and "Basic" not in headers for headers in seen)
    assert all(not request["authorization"].startswith("Bearer") for request in issuer.requests)


# ---------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture
def authority(lab):
    return lab.authority()


def certificates(lab, host, **files):
    """A certs.d folder with HOST/NAME for each file."""
    folder = lab.path("certs.d")
    os.makedirs(f"{folder}/{host}")
    for name, source in files.items():
        shutil.copy(source, f"{folder}/{host}/{name.replace('_', '.')}")
    return folder


def test_a_test_authority(lab, store, authority, image):
    registry = lab.registry(tls=authority.issue("server"))
    reference = registry.push("x", image)
    store.run("pull", "--certs-dir", certificates(lab, registry.host, ca_crt=authority.certificate), reference)
    assert store.inspect(reference)["Id"] == image.id


def test_another_authority_is_refused(lab, store, authority, image):
    """Loopback is insecure by default, as in Docker; a certs.d folder for the host makes it strict."""
    registry = lab.registry(tls=authority.issue("server"))
    reference = registry.push("x", image)
    other = lab.authority()
    with pytest.raises(Failed) as error:
        store.run("pull", "--certs-dir", certificates(lab, registry.host, ca_crt=other.certificate), reference)
    assert "certificate" in error.value.text.lower()
    store.run("pull", "--insecure", registry.host, reference)


def test_name_of_the_certificate(lab, store, authority, image):
    registry = lab.registry(tls=authority.issue("server", names="DNS:elsewhere"))
    reference = registry.push("x", image)
    with pytest.raises(Failed):
        store.run("pull", "--certs-dir", certificates(lab, registry.host, ca_crt=authority.certificate), reference)


def test_client_certificate(lab, store, authority, image):
    plain = lab.registry()
    plain.push("x", image)
    registry = lab.registry(tls=authority.issue("server"), client_ca=authority.certificate)
    certificate, key = authority.issue("client", "clientAuth")
    folder = certificates(lab, registry.host, ca_crt=authority.certificate, client_cert=certificate, client_key=key)
    store.run("pull", f"{plain.host}/x")
    store.run("tag", f"{plain.host}/x", f"{registry.host}/x")
    store.run("push", "--certs-dir", folder, f"{registry.host}/x")
    without = certificates(lab, registry.host, ca_crt=authority.certificate)
    with pytest.raises(Failed):
        store.run("pull", "--certs-dir", without, f"{registry.host}/x")


def test_a_password_is_never_sent_in_clear_to_a_tls_host(lab, store, image):
    """A host that is not local and not named insecure is asked by TLS only: here it answers plain HTTP and gets no secret."""
    seen = []

    def answer(request):
        seen.append(str(request.headers))
        return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""

    port = lab.server(answer).rpartition(":")[2]
    name = f"{os.uname().nodename}.invalid:{port}"
    with pytest.raises(Failed):
        store.run("pull", "--docker-config", auths(lab, name), f"{name}/x", timeout=60)
    assert not any("Basic" in headers for headers in seen)


def test_secrets_are_not_in_the_store(lab, store, image):
    registry = lab.registry(htpasswd={"me": "secret"})
    store.run("pull", "--docker-config", auths(lab, registry.host), registry.push("x", image))
    for parent, _, files in os.walk(store.root):
        for name in files:
            with open(f"{parent}/{name}", "rb") as source:
                assert SECRET.encode() not in source.read()
