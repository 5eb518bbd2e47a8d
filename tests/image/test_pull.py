"""Pull from a real registry: contents exact to the id, mode, xattr and nanosecond; platforms; interrupted and faulty transfers."""

import json
import os
import random
import signal
import stat
import subprocess
import tarfile
import time

import pytest

from imagelib import (
    Failed, Image, Index, Layer, compact, device, digest_of, fifo, file, folder, hardlink, opaque, symlink, tar, tree, whiteout,
)  # fmt: skip

MIB = 1 << 20


def random_bytes(size, seed=1):
    return random.Random(seed).randbytes(size)


@pytest.fixture
def pulled(store, registry, work):
    """pulled(image, name="x"): pulls it and gives the merged tree as a container sees it."""

    def get(image, name="x", *words):
        reference = registry.push(name, image)
        store.run("pull", *words, reference)
        with store.mounted(reference, f"{work}/merged-{len(os.listdir(work))}") as where:
            return tree(where)

    return get


# ------------------------------------------------------------------------------------------------------- what arrives


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_formats(store, registry, pulled, compression, docker):
    image = Image([folder("d"), file("d/f", "text", mode=0o4755, uid=3, gid=4)], [file("g", "1")], compression=compression, docker=docker)
    found = pulled(image)
    assert found["d/f"].content == b"text" and (found["d/f"].mode, found["d/f"].uid, found["d/f"].gid) == (0o4755, 3, 4)
    assert found["g"].content == b"1"
    facts = store.inspect(f"{registry.host}/x")
    assert facts["Id"] == image.id
    assert facts["RepoTags"] == [f"{registry.host}/x:latest"]
    assert facts["RepoDigests"] == [f"{registry.host}/x@{image.digest}"]


def test_every_kind_of_file(pulled):
    names = {"user.note": "hello", "trusted.mark": "x"}
    capability = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"  # cap_net_bind_service=ep
    found = pulled(Image([
        folder("d", mode=0o1777, mtime=1234567890.123456789), file("d/f", "x" * 10000, mtime=1600000000.987654321),
        file("empty"), symlink("link", "/nowhere/else", uid=5), hardlink("d/hard", "d/f"), fifo("pipe", mode=0o600),
        device("null", "c", 1, 3, mode=0o666), device("disk", "b", 7, 250), file("odd", mode=0o7000, uid=4000000, gid=70000),
        file("with xattr", "1", xattrs={**names, "security.capability": capability.decode("latin-1")}),
        file("l" * 200 + "ä ü\n\\", "long"),
    ]))  # fmt: skip
    assert (found["d"].kind, found["d"].mode) == (stat.S_IFDIR, 0o1777)
    assert abs(found["d"].mtime_ns - 1234567890123456789) < 1000 and abs(found["d/f"].mtime_ns - 1600000000987654321) < 1000
    assert found["d/hard"].links == 2 and found["d/hard"].content == b"x" * 10000
    assert found["link"].content == "/nowhere/else" and found["link"].uid == 5
    assert stat.S_ISFIFO(found["pipe"].kind) and found["null"].content == (1, 3) and found["disk"].content == (7, 250)
    assert (found["odd"].mode, found["odd"].uid, found["odd"].gid) == (0o7000, 4000000, 70000)
    assert found["with xattr"].xattrs["user.note"] == b"hello"
    assert found["l" * 200 + "ä ü\n\\"].content == b"long"


def test_file_capability(pulled):
    # Of the bytes above 0x7f none is in this value, so PAX text carries it unchanged.
    value = "\x01\x00\x00\x02\x00\x04" + "\x00" * 14
    found = pulled(Image([file("ping", "1", mode=0o755, xattrs={"security.capability": value})]))
    assert found["ping"].xattrs["security.capability"] == value.encode()


def test_upper_layers_hide_lower_ones(pulled):
    lower = [folder("d"), file("d/kept"), file("d/gone"), folder("o"), file("o/hidden"), file("f", "old"), folder("t"), file("t/x"),
             symlink("s", "d"), file("changed", "1")]  # fmt: skip
    upper = [whiteout("d/gone"), folder("o"), opaque("o"), file("o/new"), file("f", "new"), whiteout("t"), file("s", "was a link"),
             folder("changed")]  # fmt: skip
    found = pulled(Image(lower, upper))
    assert set(found) == {"d", "d/kept", "o", "o/new", "f", "s", "changed"}
    assert found["f"].content == b"new" and found["s"].content == b"was a link" and stat.S_ISDIR(found["changed"].kind)


def test_hidden_and_made_again(pulled):
    found = pulled(Image([folder("d"), file("d/a"), file("w")], [whiteout("d"), whiteout("w")], [folder("d"), file("d/b"), file("w", "2")]))
    assert set(found) == {"d", "d/b", "w"} and found["w"].content == b"2"


def test_duplicate_entries_last_wins(pulled):
    found = pulled(Image([file("a", "1"), folder("b"), file("b/x"), file("a", "2", mode=0o600), folder("c", mode=0o700), folder("c", mode=0o755)]))
    assert found["a"].content == b"2" and found["a"].mode == 0o600 and found["c"].mode == 0o755


def test_missing_parents_take_what_lies_below(pulled):
    found = pulled(Image([folder("d", mode=0o700, uid=7)], [file("d/x"), file("new/deep/y")]))
    assert (found["d"].mode, found["d"].uid) == (0o700, 7)
    assert stat.S_ISDIR(found["new/deep"].kind) and found["new"].mode == 0o755


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT], ids=["pax", "gnu", "ustar"])
def test_tar_dialects(pulled, form):
    name = "/".join(["n" * 50] * (4 if form == tarfile.USTAR_FORMAT else 10))
    entries = [folder("./"), folder("./a"), file("./a/b", "1"), file(name, "deep"), symlink("s", "t" * (90 if form == tarfile.USTAR_FORMAT else 500))]
    found = pulled(Image(tar(*entries, form=form)))
    assert found[name].content == b"deep" and found["a/b"].content == b"1" and "." not in found


def test_sparse_file(work, pulled):
    with open(f"{work}/sparse", "wb") as out:
        out.write(b"begin")
        out.truncate(5 * MIB)
        out.seek(3 * MIB)
        out.write(b"middle")
    for form in ("gnu", "pax"):
        data = subprocess.run(["tar", "-C", work, f"--format={form}", "-S", "-c", "sparse"], check=True, capture_output=True).stdout
        content = pulled(Image(data), form)["sparse"].content
        assert len(content) == 5 * MIB and content[:5] == b"begin" and content[3 * MIB :][:6] == b"middle" and content.count(b"\0") == 5 * MIB - 11


def test_image_without_layers(store, registry):
    image = Image()
    reference = registry.push("empty", image)
    store.run("pull", reference)
    assert store.inspect(reference)["Id"] == image.id


def test_hundred_layers(pulled):
    found = pulled(Image(*[[file(f"f{number}", str(number)), file("same", str(number))] for number in range(100)]))
    assert len(found) == 101 and found["same"].content == b"99"


def test_the_same_layer_twice(pulled):
    layer = Layer(tar(file("a")))
    assert set(pulled(Image(layer, [file("b")], layer))) == {"a", "b"}


def test_the_same_layer_twice_without_parents(store, registry):
    # It takes d's metadata from below, so it is another directory at each place.
    layer = Layer(tar(file("d/x", "1")))
    image = Image([folder("d", mode=0o700, uid=3)], layer, [folder("d", mode=0o711, uid=4)], layer)
    reference = registry.push("x", image)
    store.run("pull", reference)
    store.run("fsck")
    assert len(set(store.json("mount", reference))) == 4


def test_many_small_files(pulled):
    found = pulled(Image([folder("d")] + [file(f"d/{number}", str(number)) for number in range(5000)]))
    assert len(found) == 5001 and found["d/4999"].content == b"4999"


# ---------------------------------------------------------------------------------------------- names and platforms


def test_by_digest_and_by_tag(store, registry):
    image = Image([file("a")])
    registry.push("x", image, "v1")
    store.run("pull", f"{registry.host}/x@{image.digest}")
    facts = store.inspect(f"{registry.host}/x@{image.digest}")
    assert facts["Id"] == image.id and not facts["RepoTags"]
    store.run("pull", f"{registry.host}/x:v1")
    assert store.inspect(image.id)["RepoTags"] == [f"{registry.host}/x:v1"]


def test_a_moved_tag_leaves_the_old_image_without_name(store, registry):
    old, new = Image([file("a", "1")]), Image([file("a", "2")])
    for image in (old, new):
        store.run("pull", registry.push("x", image))
    assert store.inspect(f"{registry.host}/x")["Id"] == new.id
    assert not store.inspect(old.id)["RepoTags"]


def test_again_is_up_to_date_and_fetches_nothing(lab, store, registry):
    proxy = lab.proxy(registry)
    registry.push("x", Image([file("a")]))
    store.run("pull", f"{proxy.host}/x")
    before = len(proxy.seen("blobs"))
    store.run("pull", f"{proxy.host}/x")
    assert len(proxy.seen("blobs")) == before


def test_layers_that_are_here_are_not_fetched(lab, store, registry):
    proxy = lab.proxy(registry)
    base = Layer(tar(file("big", random_bytes(MIB))))
    registry.push("one", Image(base))
    registry.push("two", Image(base, [file("more")]))
    store.run("pull", f"{proxy.host}/one")
    store.run("pull", f"{proxy.host}/two")
    assert len(proxy.seen(f"GET .*blobs/{base.digest}")) == 1


PLATFORMS = {
    ("linux", "amd64"): "amd64", ("linux", "arm64", "v8"): "arm64", ("linux", "arm", "v7"): "armv7", ("linux", "arm", "v5"): "armv5",
}  # fmt: skip


@pytest.mark.parametrize("wanted, got", [("linux/amd64", "amd64"), ("linux/arm64", "arm64"), ("linux/arm64/v8", "arm64"),
                                         ("linux/arm/v7", "armv7"), ("linux/arm/v6", "armv5"), ("arm", "armv7"), ("linux/s390x", None)],
                         ids=range(7))  # fmt: skip
@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_platforms(stores, registry, wanted, got, docker):
    images = [Image([file("name", text)], platform=platform, docker=docker) for platform, text in PLATFORMS.items()]
    index = Index(*images, attest=not docker, docker=docker)
    reference = registry.push("multi", index)
    store = stores()
    if got is None:
        with pytest.raises(Failed) as error:
            store.run("pull", "--platform", wanted, reference)
        assert "linux/amd64" in error.value.text  # what there is
        assert store.images() == {}
        return
    store.run("pull", "--platform", wanted, reference)
    assert store.inspect(reference)["Id"] == images[list(PLATFORMS.values()).index(got)].id
    assert store.inspect(reference)["RepoDigests"] == [f"{registry.host}/multi@{index.digest}"]


def test_unknown_platform_word(store, registry):
    with pytest.raises(Failed) as error:
        store.run("pull", "--platform", "nonsense", f"{registry.host}/x")
    assert "nonsense" in error.value.text


@pytest.mark.parametrize("name", ["Upper", "http://x/y", "a b", "x:", "x@sha256:12", "a" * 64, ""], ids=range(7))
def test_bad_references(store, name):
    with pytest.raises(Failed) as error:
        store.run("pull", name)
    assert error.value.text.startswith("davit-image: ") and "\n" not in error.value.text


def test_what_is_not_there(store, registry):
    for name in ("nothing", "x:none"):
        registry.push("x", Image([file("a")]))
        with pytest.raises(Failed) as error:
            store.run("pull", f"{registry.host}/{name}")
        assert name.split(":")[0] in error.value.text


def test_nobody_listens(store, lab):
    registry = lab.registry()
    registry.close()
    with pytest.raises(Failed) as error:
        store.run("pull", f"{registry.host}/x", timeout=60)
    assert registry.host in error.value.text


# ----------------------------------------------------------------------------------------------------------- progress


def test_progress_events(store, registry):
    image = Image([file("a", random_bytes(2 * MIB))], [file("b", random_bytes(MIB, 2))])
    events = store.events("pull", registry.push("x", image))
    for layer in image.layers:
        own = [event for event in events if event.get("id") and layer.digest[7:].startswith(event["id"])]
        assert own, f"no event of {layer.digest}"
        assert any(event.get("total") == len(layer.blob) for event in own)
        amounts = [event["current"] for event in own if event.get("current")]
        assert all(amount <= len(layer.blob) for amount in amounts)


# ------------------------------------------------------------------------------------------------ what may go wrong


@pytest.fixture
def faulty(lab, registry):
    """(proxy, reference through it, image) of an image with one large layer."""
    image = Image([file("large", random_bytes(4 * MIB))], [file("small", "x")])
    registry.push("x", image)
    proxy = lab.proxy(registry)
    return proxy, f"{proxy.host}/x:latest", image


def large_blob(image):
    return f"GET .*/blobs/{image.layers[0].digest}"


def test_resumes_where_the_connection_broke(store, faulty):
    proxy, reference, image = faulty
    proxy.add(large_blob(image), times=2, cut_after=MIB)
    store.run("pull", reference)
    ranges = [entry["headers"].get("range") for entry in proxy.seen(large_blob(image))]
    assert any(text and not text.startswith("bytes=0-") for text in ranges), ranges
    assert store.inspect(reference)["Id"] == image.id


def test_a_server_that_ignores_ranges(store, faulty):
    proxy, reference, image = faulty
    proxy.add(large_blob(image), times=1, cut_after=MIB)
    proxy.add(large_blob(image), times=50, ignore_range=True)
    store.run("pull", reference)
    assert store.inspect(reference)["Id"] == image.id


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_tries_again_after_errors(store, faulty, status):
    proxy, reference, image = faulty
    fault = proxy.add(large_blob(image), times=1, status=status, headers={"Retry-After": "1"})
    begun = time.monotonic()
    store.run("pull", reference)
    assert fault.hits == 1
    if status in (429, 503):
        assert time.monotonic() - begun >= 0.9


def test_dropped_connections(store, faulty):
    proxy, reference, image = faulty
    proxy.add("GET", times=2, drop=True)
    store.run("pull", reference)
    assert store.inspect(reference)["Id"] == image.id


@pytest.mark.seconds(120)
def test_a_server_that_always_fails(store, faulty):
    proxy, reference, image = faulty
    proxy.add(large_blob(image), times=1000, status=500)
    with pytest.raises(Failed):
        store.run("pull", reference, timeout=110)
    assert store.images() == {}
    proxy.faults.clear()
    store.run("pull", reference)


@pytest.mark.parametrize("where", ["manifests", "blobs"])
def test_corrupt_answers(store, faulty, where):
    proxy, reference, image = faulty
    proxy.add(f"GET .*/{where}/", times=1000, corrupt=True)
    by_digest = reference.replace(":latest", f"@{image.digest}")
    with pytest.raises(Failed):
        store.run("pull", by_digest, timeout=60)
    assert store.images() == {}
    proxy.faults.clear()
    store.run("pull", by_digest)


def test_redirected_blobs(lab, store, registry):
    image = Image([file("a", random_bytes(MIB))])
    registry.push("x", image)
    seen = []

    def storage(request):
        seen.append(dict(request.headers))
        return 200, {"Content-Type": "application/octet-stream"}, registry.blob("x", request.path.rsplit("/", 1)[-1])

    host = lab.server(storage)
    proxy = lab.proxy(registry)
    for blob in image.blobs():
        proxy.add(f"GET .*/blobs/{digest_of(blob)}", times=100, status=307, headers={"Location": f"http://{host}/{digest_of(blob)}"})
    store.run("pull", f"{proxy.host}/x")
    assert store.inspect(f"{proxy.host}/x")["Id"] == image.id and seen


def test_redirect_loop_ends(lab, store):
    host = lab.server(lambda request: (307, {"Location": request.path}, b""))
    with pytest.raises(Failed):
        store.run("pull", f"{host}/x", timeout=60)


def test_slow_is_not_an_error(store, lab, registry):
    image = Image([file("a", random_bytes(200000))])
    registry.push("x", image)
    proxy = lab.proxy(registry)
    proxy.add(large_blob(image), times=10, slow=100000)
    store.run("pull", f"{proxy.host}/x")


def test_interrupted_by_the_user(stores, lab, registry):
    """SIGINT in the middle: nothing is listed, and the next pull goes on where this one ended."""
    image = Image([file("a", random_bytes(4 * MIB))])
    registry.push("x", image)
    proxy = lab.proxy(registry)
    proxy.add(large_blob(image), times=1, slow=MIB)
    store = stores()
    process = store.start("pull", f"{proxy.host}/x", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) != 0
    assert store.images() == {}
    store.run("pull", f"{proxy.host}/x")
    assert any(not entry["headers"].get("range", "bytes=0-").startswith("bytes=0-") for entry in proxy.seen(large_blob(image)))


def test_a_store_has_one_owner(stores, lab, registry):
    """A second process is told so at once, and harms nothing."""
    proxy = lab.proxy(registry)
    registry.push("x", Image([file("a", random_bytes(MIB))]))
    proxy.add("GET", times=1, delay=2)
    store = stores()
    first = store.start("pull", f"{proxy.host}/x", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.7)
    with pytest.raises(Failed) as error:
        store.images()
    assert store.root in error.value.text and "another process has it open" in error.value.text
    assert error.value.code == 1
    assert first.wait(30) == 0 and len(store.images()) == 1


# -------------------------------------------------------------------------------------------- what is not an image


@pytest.mark.parametrize("change, word", [
    (lambda m: m["config"].update(mediaType="application/vnd.cncf.helm.config.v1+json"), "application/vnd.cncf.helm.config.v1+json"),
    (lambda m: m["layers"][0].update(mediaType="application/vnd.in-toto+json"), "application/vnd.in-toto+json"),
], ids=["config", "layer"])  # fmt: skip
def test_artifacts_are_refused_by_name(store, registry, change, word):
    with pytest.raises(Failed) as error:
        store.run("pull", registry.push("x", Image([file("a")], change=change)))
    assert word in error.value.text
    assert store.images() == {}


def test_schema_1(lab, store):
    body = compact({"schemaVersion": 1, "name": "x", "tag": "latest", "architecture": "amd64", "fsLayers": [], "history": [], "signatures": []})
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    host = lab.server(lambda request: (200, {"Content-Type": kind, "Docker-Content-Digest": digest_of(body)}, body if "manifests" in request.path else b""))
    with pytest.raises(Failed) as error:
        store.run("pull", f"{host}/x")
    assert "schema 1" in error.value.text


def test_mirror_comes_first_and_may_fail(lab, store, registry):
    image = Image([file("a")])
    registry.push("x", image)
    mirror = lab.registry()
    mirror.push("library/y", image)
    store.run("pull", "--mirror", f"http://{mirror.host}", "y")
    assert store.inspect("y")["Id"] == image.id
    store.run("pull", "--mirror", f"http://{mirror.host}", f"{registry.host}/x")  # a mirror is for Docker Hub alone
    assert json.loads(json.dumps(store.inspect(f"{registry.host}/x")))["Id"] == image.id
