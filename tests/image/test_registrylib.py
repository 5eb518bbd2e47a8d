"""The test registries themselves, checked with skopeo: what the other files of this folder rely on."""

import json
import shutil
import subprocess
import time

import pytest

from imagelib import Image, Index, digest_of, file, folder, write_docker_archive, write_layout, write_oci_archive

pytestmark = pytest.mark.without_program


def inspect(skopeo, reference, *words):
    return json.loads(skopeo("inspect", "--raw", *words, f"docker://{reference}"))


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_plain(registry, skopeo, compression):
    image = Image([folder("a"), file("a/b", "text")], compression=compression)
    reference = registry.push("some/name", image)
    assert digest_of(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{reference}")) == image.digest
    assert registry.tags("some/name") == ["latest"]
    assert registry.blob("some/name", image.id) == image.config


def test_index(registry, skopeo):
    index = Index(Image([file("a")]), Image([file("b")], platform=("linux", "arm64", "v8")), attest=True)
    reference = registry.push("x", index, "multi")
    assert len(inspect(skopeo, reference, "--tls-verify=false")["manifests"]) == 4


def test_tls_with_a_test_authority(lab, skopeo):
    authority = lab.authority()
    registry = lab.registry(tls=authority.issue("server"))
    reference = registry.push("x", Image([file("a")]))
    certificates = lab.path("certs")
    shutil.copy(authority.certificate, f"{certificates}/ca.crt")
    assert inspect(skopeo, reference, f"--cert-dir={certificates}")["schemaVersion"] == 2
    failed = subprocess.run(["skopeo", "inspect", "--raw", f"docker://{reference}"], capture_output=True, check=False)
    assert failed.returncode != 0


def test_client_certificates(lab, skopeo):
    authority = lab.authority()
    registry = lab.registry(tls=authority.issue("server"), client_ca=authority.certificate)
    certificate, key = authority.issue("client", "clientAuth")
    certificates = lab.path("certs")
    for source, name in ((authority.certificate, "ca.crt"), (certificate, "client.cert"), (key, "client.key")):
        shutil.copy(source, f"{certificates}/{name}")
    layout = write_layout(lab.path("layout"), (Image([file("a")]), "x:1"))
    skopeo("copy", f"--dest-cert-dir={certificates}", f"oci:{layout}:1", f"docker://{registry.host}/x:1")
    assert inspect(skopeo, f"{registry.host}/x:1", f"--cert-dir={certificates}")["schemaVersion"] == 2


def test_htpasswd(lab, skopeo):
    registry = lab.registry(htpasswd={"me": "secret"})
    reference = registry.push("x", Image([file("a")]))
    assert inspect(skopeo, reference, "--tls-verify=false", "--creds=me:secret")["schemaVersion"] == 2
    wrong = subprocess.run(["skopeo", "inspect", "--tls-verify=false", "--creds=me:wrong", f"docker://{reference}"],
                           capture_output=True, check=False)  # fmt: skip
    assert wrong.returncode != 0


def test_tokens(lab, skopeo):
    issuer = lab.issuer({"me": ("secret", {"*": {"pull", "push"}}), None: ("", {"open": {"pull"}})})
    registry = lab.registry(issuer=issuer)
    for name in ("open", "closed"):
        registry.push(name, Image([file("a")]))
    assert inspect(skopeo, f"{registry.host}/open", "--tls-verify=false")["schemaVersion"] == 2
    assert inspect(skopeo, f"{registry.host}/closed", "--tls-verify=false", "--creds=me:secret")["schemaVersion"] == 2
    assert any("repository:closed:pull" in request["scopes"] for request in issuer.requests)
    denied = subprocess.run(["skopeo", "inspect", "--tls-verify=false", f"docker://{registry.host}/closed"],
                            capture_output=True, check=False)  # fmt: skip
    assert denied.returncode != 0


def test_proxy_forwards_and_makes_faults(lab, registry, skopeo):
    reference = registry.push("x", Image([file("a", b"\1" * 100000)]))
    proxy = lab.proxy(registry)
    there = reference.replace(registry.host, proxy.host)
    assert inspect(skopeo, there, "--tls-verify=false")["schemaVersion"] == 2
    fault = proxy.add("GET .*/manifests/", status=429, headers={"Retry-After": "1"})
    begun = time.monotonic()
    inspect(skopeo, there, "--tls-verify=false")
    assert fault.hits == 1 and time.monotonic() - begun > 0.9
    assert proxy.seen("GET /v2/x/manifests/latest")


def test_archives(lab, skopeo):
    image = Image([folder("d"), file("d/f", "x")], [file("g")])
    docker = write_docker_archive(lab.path("a") + "/docker.tar", (image, ["name:1"]))
    oci = write_oci_archive(lab.path("a") + "/oci.tar", (image, "name:1"))
    assert json.loads(skopeo("inspect", "--config", f"docker-archive:{docker}"))["architecture"] == "amd64"
    assert digest_of(skopeo("inspect", "--raw", f"oci-archive:{oci}")) == image.digest
