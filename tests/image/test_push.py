"""Push: what arrives is what skopeo and a second store read; nothing is sent twice; faults are survived."""

import json
import random

import pytest

from imagelib import Failed, Image, Index, digest_of, file, folder, symlink, tar_tree, write_docker_archive

MIB = 1 << 20


def random_bytes(size, seed=1):
    return random.Random(seed).randbytes(size)


@pytest.fixture
def here(store, registry):
    """An image that was pulled, and the registry it came from."""
    image = Image([folder("d"), file("d/large", random_bytes(2 * MIB)), symlink("s", "d")], [file("b", "text")])
    reference = registry.push("source", image)
    store.run("pull", reference)
    return reference, image


def test_a_pulled_image_arrives_unchanged(lab, store, here):
    target = lab.registry()
    store.run("tag", here[0], f"{target.host}/copy:v1")
    store.run("push", f"{target.host}/copy:v1")
    manifest, media_type = target.manifest("copy", "v1")
    assert digest_of(manifest) == here[1].digest and media_type == here[1].media_type


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_every_compression_arrives_unchanged(lab, stores, registry, compression):
    target, store = lab.registry(), stores()
    image = Image([file("a", random_bytes(MIB))], compression=compression)
    store.run("pull", registry.push("x", image))
    store.run("tag", f"{registry.host}/x", f"{target.host}/x")
    store.run("push", f"{target.host}/x")
    assert digest_of(target.manifest("x", "latest")[0]) == image.digest


def test_skopeo_reads_it(lab, store, here, skopeo, work):
    target = lab.registry()
    store.run("tag", here[0], f"{target.host}/copy")
    store.run("push", f"{target.host}/copy")
    skopeo("copy", "--src-tls-verify=false", f"docker://{target.host}/copy", f"oci:{work}/copy:x")
    assert json.loads(skopeo("inspect", "--raw", f"oci:{work}/copy:x"))["config"]["digest"] == here[1].id


def test_a_loaded_image(lab, store, work, registry, skopeo):
    """An archive has no compressed blobs: they are made, and are the same on every push."""
    image = Image([file("a", "a" * 3000000), file("b", random_bytes(1000))])
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["x:1"])))
    digests = []
    for _ in range(2):
        target = lab.registry()
        store.run("tag", "x:1", f"{target.host}/x:1")
        store.run("push", f"{target.host}/x:1")
        manifest = json.loads(target.manifest("x", "1")[0])
        assert manifest["config"]["digest"] == image.id
        assert sum(layer["size"] for layer in manifest["layers"]) < 200000
        digests.append(digest_of(target.manifest("x", "1")[0]))
        assert json.loads(skopeo("inspect", "--config", "--tls-verify=false", f"docker://{target.host}/x:1"))["rootfs"]["diff_ids"] == [
            layer.diff_id for layer in image.layers]  # fmt: skip
    assert digests[0] == digests[1]


def test_what_is_there_is_not_sent(lab, store, here):
    target = lab.registry()
    proxy = lab.proxy(target)
    for name in ("one:a", "one:b"):
        store.run("tag", here[0], f"{proxy.host}/{name}")
        store.run("push", f"{proxy.host}/{name}")
    sent = sum(int(entry["headers"].get("content-length", 0)) for entry in proxy.seen("PUT|PATCH"))
    assert sent < 1.2 * sum(len(blob) for blob in here[1].blobs())
    assert target.tags("one") == ["a", "b"]


def test_layers_of_another_repository_are_mounted(lab, store, here):
    target = lab.registry()
    proxy = lab.proxy(target)
    for name in ("first", "second"):
        store.run("tag", here[0], f"{proxy.host}/{name}")
        store.run("push", f"{proxy.host}/{name}")
    assert proxy.seen("POST /v2/second/blobs/uploads/.*mount=.*from=first")
    assert not [entry for entry in proxy.seen("(PUT|PATCH) /v2/second/blobs") if int(entry["headers"].get("content-length", 0)) > MIB]


def test_pull_of_the_pushed(lab, stores, here, store):
    target = lab.registry()
    store.run("tag", here[0], f"{target.host}/copy")
    store.run("push", f"{target.host}/copy")
    other = stores()
    other.run("pull", f"{target.host}/copy")
    assert other.inspect(f"{target.host}/copy")["Id"] == here[1].id
    assert tar_tree(other.export(f"{target.host}/copy")) == tar_tree(store.export(here[0]))


@pytest.mark.parametrize("what", [{"status": 503, "headers": {"Retry-After": "0"}}, {"status": 429, "headers": {"Retry-After": "1"}}, {"drop": True}],
                         ids=["503", "429", "drop"])  # fmt: skip
@pytest.mark.parametrize("pattern", ["POST .*uploads", "PUT|PATCH", "PUT .*/manifests/"], ids=["begin", "send", "manifest"])
def test_tries_again(lab, store, here, pattern, what):
    target = lab.registry()
    proxy = lab.proxy(target)
    fault = proxy.add(pattern, times=1, **what)
    store.run("tag", here[0], f"{proxy.host}/x")
    store.run("push", f"{proxy.host}/x")
    assert fault.hits == 1 and digest_of(target.manifest("x", "latest")[0]) == here[1].digest


def test_an_image_of_an_index(lab, stores, registry):
    """Only the platform that is here can be pushed; it arrives as what it was."""
    image = Image([file("a")])
    store, target = stores(), lab.registry()
    store.run("pull", "--platform", "linux/amd64", registry.push("multi", Index(image, Image([file("b")], platform=("linux", "arm64")))))
    store.run("tag", f"{registry.host}/multi", f"{target.host}/x")
    store.run("push", f"{target.host}/x")
    assert json.loads(target.manifest("x", "latest")[0])["config"]["digest"] == image.id


def test_events(lab, store, here):
    target = lab.registry()
    store.run("tag", here[0], f"{target.host}/x")
    events = store.events("push", f"{target.host}/x")
    assert any(event.get("total", 0) > MIB for event in events)
    assert any(here[1].digest in json.dumps(event) for event in events)


def test_what_is_not_here(store, registry):
    with pytest.raises(Failed) as error:
        store.run("push", f"{registry.host}/none")
    assert "none" in error.value.text


def test_registry_that_refuses(lab, store, here):
    target = lab.registry()
    proxy = lab.proxy(target)
    proxy.add("POST .*uploads", times=1000, status=403, headers={"Content-Type": "application/json"},
              body=b'{"errors":[{"code":"DENIED","message":"not for you"}]}')  # fmt: skip
    store.run("tag", here[0], f"{proxy.host}/x")
    with pytest.raises(Failed) as error:
        store.run("push", f"{proxy.host}/x")
    assert "not for you" in error.value.text
