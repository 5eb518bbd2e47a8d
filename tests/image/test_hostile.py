"""Hostile archives, manifests and servers: refused with one clear line, nothing outside the layer touched, nothing left."""

import gzip
import io
import json
import os
import random
import subprocess
import tarfile
import threading
import time

import pytest

from imagelib import (
    Failed, Image, Index, Layer, compact, device, digest_of, entry, file, folder, hardlink, opaque, symlink, tar, tar_tree, tree, whiteout,
    write_docker_archive,
)  # fmt: skip

MIB = 1 << 20


@pytest.fixture(params=["pull", "load", "import"])
def take(request, stores, registry, work):
    """take(tar bytes...): the store after it took an image of these layers by each of the three ways. In `work` lies a
    file `outside` whose content nobody may change."""
    with open(f"{work}/outside", "w", encoding="utf-8") as out:
        out.write("untouched")
    store = stores()

    def do(*layers):
        if request.param == "import" and len(layers) > 1:
            pytest.skip("import has one layer")
        image = Image(*layers)
        if request.param == "pull":
            store.run("pull", registry.push("x", image))
            store.run("tag", f"{registry.host}/x", "x:1")
        elif request.param == "load":
            store.run("load", "-i", write_docker_archive(f"{work}/archive.tar", (image, ["x:1"])))
        else:
            store.run("import", "-", "x:1", data=layers[0])
        return store

    do.store, do.work, do.way = store, work, request.param
    yield do
    with open(f"{work}/outside", encoding="utf-8") as check:
        assert check.read() == "untouched"
    assert not os.path.exists(f"{work}/escaped") and not os.path.exists("/davit-escaped")


def refused(take, *layers):
    with pytest.raises(Failed) as error:
        take(*layers)
    assert error.value.code == 1 and error.value.text.startswith("davit-image: ") and error.value.text.count("\n") == 0, error.value.text
    assert len(error.value.text) < 2000
    assert take.store.images() == {}
    return error.value.text


def contained(take, *layers):
    """Refused, or taken with all of it inside. The fixture looks whether anything was touched outside."""
    try:
        take(*layers)
    except Failed as error:
        assert error.text.count("\n") == 0
        return None
    return tar_tree(take.store.export("x:1"))


UP = "../" * 30


# ------------------------------------------------------------------------------------------------------------- escapes


@pytest.mark.parametrize("name", [UP + "davit-escaped", "a/../../davit-escaped", "..", "../x", "a/..", "./../x"], ids=range(6))
def test_parent_names_stay_inside(take, name):
    contained(take, tar(folder("a"), file(name, "x")))


def test_absolute_names_stay_inside(take):
    found = contained(take, tar(file("/davit-escaped", "x"), folder("//twice//"), file("/twice///f")))
    assert found is None or "davit-escaped" in found


@pytest.mark.parametrize("target", ["/", "..", UP, "/proc/self/cwd", "/proc/self/root", "."], ids=range(6))
def test_a_symlink_is_not_followed_out(take, target):
    found = contained(take, tar(symlink("link", target), file("link/davit-escaped", "x"), file("link/outside", "x")))
    assert found is None or "davit-escaped" not in found or not os.path.exists("/davit-escaped")


def test_a_symlink_of_a_lower_layer_is_not_followed_out(take):
    contained(take, tar(symlink("link", take.work), symlink("deep", "link")),
              tar(file("link/outside", "x"), file("link/escaped"), file("deep/escaped"), whiteout("link/outside")))  # fmt: skip


def test_a_symlink_chain(take):
    contained(take, tar(folder("a"), symlink("a/b", ".."), symlink("a/b2", "b/.."), file(f"a/b2/b2/{UP}{take.work}/escaped", "x"), file("a/b/b/c", "x")))


@pytest.mark.parametrize("target", ["/etc/passwd", UP + "etc/passwd", "..", "link/outside", "missing", ".", ""], ids=range(7))
def test_hard_links_stay_inside(take, target):
    before = os.stat("/etc/passwd").st_nlink
    contained(take, tar(symlink("link", take.work), hardlink("hard", target)))
    assert os.stat("/etc/passwd").st_nlink == before and os.stat(f"{take.work}/outside").st_nlink == 1


def test_a_hard_link_to_a_symlink_then_written(take):
    contained(take, tar(symlink("s", f"{take.work}/outside"), hardlink("h", "s"), file("h", "changed"), file("s", "changed")))


def test_modes_are_not_changed_through_links(take):
    mode = os.stat(f"{take.work}/outside").st_mode
    contained(take, tar(symlink("s", f"{take.work}/outside", uid=5), symlink("d", take.work), folder("d", mode=0o777, uid=9)))
    assert os.stat(f"{take.work}/outside").st_mode == mode and os.stat(take.work).st_uid == 0


def test_whiteouts_stay_inside(take):
    for name in (".wh...", ".wh.", "../.wh.outside", "a/.wh...", ".wh./x", ".wh..", "l/.wh.outside", "l/.wh..wh..opq"):
        contained(take, tar(symlink("l", take.work), file("below")), tar(file(name)))
        take.store.run("prune", "-a")


def test_whiteouts_of_the_roots_own_names(take):
    contained(take, tar(file("a")), tar(opaque("."), file(".wh..wh.plnk/1"), file(".wh..wh.aufs")))


def test_overlay_marks_cannot_be_forged(stores, registry, work):
    """trusted.overlay.* from a tar would let an image redirect its lookups or hide things from the tools."""
    image = Image([folder("d", xattrs={"trusted.overlay.redirect": "/etc", "trusted.overlay.opaque": "y", "trusted.overlay.metacopy": ""}), file("d/f")])
    store = stores()
    reference = registry.push("x", image)
    try:
        store.run("pull", reference)
    except Failed:
        return
    for layer in store.layers(reference):
        for node in tree(layer).values():
            assert "trusted.overlay.redirect" not in node.xattrs and "trusted.overlay.metacopy" not in node.xattrs


def test_a_character_device_0_0_is_not_a_whiteout(take):
    """Overlay's own form of a whiteout, sent as an entry: refused or kept, but the lower file is not made to vanish unseen."""
    contained(take, tar(file("f", "x")), tar(device("f", "c", 0, 0)))


def test_swapped_while_unpacking(stores, registry, work):
    """Somebody swaps folders for symlinks in the store while it unpacks: nothing is written outside."""
    store, stop = stores(), threading.Event()
    stores.unchecked.add(store.root)  # the swapper damages layers; that is not the question
    os.makedirs(f"{work}/target/d")

    def swap():
        chance = random.Random(1)
        while not stop.is_set():
            for parent, folders, _ in os.walk(f"{store.root}"):
                for name in folders:
                    if name.startswith("d") and chance.random() < 0.3:
                        try:
                            os.rename(f"{parent}/{name}", f"{parent}/{name}.away")
                            os.symlink(f"{work}/target", f"{parent}/{name}")
                        except OSError:
                            pass

    thread = threading.Thread(target=swap, daemon=True)
    thread.start()
    entries = [item for number in range(300) for item in (folder(f"d{number}"), file(f"d{number}/f", "x" * 10000))]
    for attempt in range(3):
        reference = registry.push(f"x{attempt}", Image(entries + [file(str(attempt))]))
        try:
            store.run("pull", reference)
        except (Failed, AssertionError):
            pass
    stop.set()
    thread.join()
    assert os.listdir(f"{work}/target") == ["d"] and os.listdir(f"{work}/target/d") == []


# --------------------------------------------------------------------------------------------------------- damaged tars


def header(name=b"x", size=b"00000000001\0", kind=b"0", magic=b"ustar\x0000", checksum=None, mode=b"0000644\0"):
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108], block[108:116], block[116:124] = mode, b"0000000\0", b"0000000\0"
    block[124:136], block[136:148], block[148:156] = size, b"00000000000\0", b" " * 8
    block[156:157], block[257 : 257 + len(magic)] = kind, magic
    block[148:156] = checksum or b"%06o\0 " % sum(block)
    return bytes(block)


END = b"\0" * 1024
DAMAGED = {
    "size_of_letters": header(size=b"zzzzzzzzzzz\0") + b"x" * 512 + END,
    "size_negative": header(size=b"\xff" + b"\xff" * 11) + END,
    "size_of_exabytes": header(size=b"\x80\x00\x00\x00\x7f" + b"\xff" * 7) + END,
    "size_past_64_bits": header(size=b"\xff\xff" + b"\x00" * 10) + b"x" * 512 + END,
    "size_beyond_the_end": header(size=b"00007777777\0") + b"x" * 512,
    "checksum": header(checksum=b"000001\0 ") + b"x" * 512 + END,
    "unknown_kind_with_size_beyond": header(kind=b"Z", size=b"77777777777\0") + END,
    "pax_length_zero": header(kind=b"x", size=b"00000000010\0") + b"0 path=a".ljust(512, b"\0") + header() + b"x" * 512 + END,
    "pax_length_beyond": header(kind=b"x", size=b"00000000020\0") + b"99999 path=abc\n".ljust(512, b"\0") + header() + b"x" * 512 + END,
    "pax_length_huge": header(kind=b"x", size=b"00000000040\0") + b"99999999999999999999 path=a\n".ljust(512, b"\0") + header() + b"x" * 512 + END,
    "pax_size_huge": header(kind=b"x", size=b"00000000035\0") + b"29 size=99999999999999999999\n".ljust(512, b"\0") + header() + b"x" * 512 + END,
    "pax_of_a_gigabyte": header(kind=b"x", size=b"10000000000\0") + b"x" * 100000,
    "long_name_of_a_gigabyte": header(kind=b"L", size=b"10000000000\0") + b"x" * 100000,
    "half_a_header": header()[:300],
    "one_byte": b"x",
    "text": b"this is not a tar archive at all\n" * 100,
}  # fmt: skip


@pytest.mark.parametrize("name", list(DAMAGED))
def test_damaged_tars(take, name):
    refused(take, DAMAGED[name])


def pax_entry(records, name="a", content=b"x"):
    info = tarfile.TarInfo(name)
    info.size, info.pax_headers = len(content), records
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("records", [
    {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9223372036854775807", "GNU.sparse.name": "a"},
    {"GNU.sparse.map": "0,1,9223372036854775807,1", "GNU.sparse.size": "10", "GNU.sparse.numblocks": "2"},
    {"GNU.sparse.map": "5,1,0,1", "GNU.sparse.size": "10"}, {"GNU.sparse.map": "1,2,3", "GNU.sparse.size": "10"},
    {"GNU.sparse.map": "-1,1", "GNU.sparse.size": "10"}, {"mtime": "nonsense"}, {"uid": "-5"}, {"uid": "99999999999999"},
    {"path": "a\0b"}, {"path": ""}, {"linkpath": "x" * 5000}, {"path": "x" * 300}, {"path": "/".join(["d"] * 3000)},
], ids=lambda records: "-".join(records))  # fmt: skip
def test_odd_pax_records(take, records):
    contained(take, pax_entry(records))


@pytest.mark.parametrize("attribute", ["nonsense", "user." + "x" * 300, "trusted.x", "system.posix_acl_access", "security.selinux", "user."], ids=range(6))
def test_odd_xattrs(take, attribute):
    contained(take, tar(file("a", xattrs={attribute: "x" * 10})))


def test_an_xattr_of_a_megabyte(take):
    contained(take, tar(file("a", xattrs={"user.a": "x" * MIB})))


def test_a_file_becomes_a_folder_and_back(take):
    found = contained(take, tar(file("a", "1"), folder("a"), file("a/b"), file("a", "2"), folder("a"), symlink("a", "b"), file("a/c")))
    assert found is None or "a" in found


def test_a_file_below_a_file(take):
    contained(take, tar(file("a", "1"), file("a/b", "2")))


def test_devices_cannot_be_opened_by_the_unpacker(take):
    """A device node written to by a later entry of the same name would write to the device."""
    contained(take, tar(device("d", "c", 1, 7), file("d", "x"), hardlink("e", "d"), file("e", "y")))


# ---------------------------------------------------------------------------------------------------------------- bombs


@pytest.mark.seconds(120)
def test_gzip_bomb(stores, registry, work):
    """3 GiB of zeros in 3 MB: refused by the ratio, long before the disk is full, and quickly."""
    size = 3 << 30
    packed = gzip.compress(b"\0" * (64 * MIB), 6) * (size // (64 * MIB))
    store = stores()
    layer = Layer(b"", "gzip")
    info = tarfile.TarInfo("zeros")
    info.size = size
    head = gzip.compress(info.tobuf(tarfile.GNU_FORMAT))
    layer.blob = head + packed + gzip.compress(END)
    layer.digest, layer.diff_id = digest_of(layer.blob), "sha256:" + "0" * 64
    begun = time.monotonic()
    with pytest.raises(Failed):
        store.run("pull", registry.push("x", Image(layer)), timeout=100)
    assert time.monotonic() - begun < 60
    assert store.images() == {}
    store.run("gc")
    used = sum(os.lstat(f"{parent}/{name}").st_blocks * 512 for parent, _, files in os.walk(store.root) for name in files)
    assert used < 64 * MIB


def test_zeros_are_no_bomb(take):
    found = contained(take, tar(file("zeros", b"\0" * (20 * MIB))))
    assert found["zeros"][4] == b"\0" * (20 * MIB)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "flip", "tail", "empty"])
def test_damaged_compression(stores, registry, compression, damage):
    store = stores()
    layer = Layer(tar(file("a", random.Random(1).randbytes(300000))), compression)
    half = len(layer.blob) // 2
    layer.blob = {"cut": layer.blob[:half], "flip": layer.blob[:half] + bytes([layer.blob[half] ^ 255]) + layer.blob[half + 1 :],
                  "tail": layer.blob + b"garbage", "empty": b""}[damage]  # fmt: skip
    layer.digest = digest_of(layer.blob)
    with pytest.raises(Failed):
        store.run("pull", registry.push("x", Image(layer)))
    assert store.images() == {}


def test_zstd_with_a_huge_window(stores, registry):
    store = stores()
    data = subprocess.run(["zstd", "-qc", "--ultra", "-22", "--long=31"], input=tar(file("a", "x" * 100000)), check=True, capture_output=True).stdout
    layer = Layer(tar(file("a", "x" * 100000)), "zstd")
    # A frame header that asks for 2 GiB of memory: magic, no content size, window descriptor 2^31.
    layer.blob = b"\x28\xb5\x2f\xfd\x00" + bytes([(31 - 10) << 3]) + data[6:]
    layer.digest = digest_of(layer.blob)
    with pytest.raises(Failed):
        store.run("pull", registry.push("x", Image(layer)))


# ------------------------------------------------------------------------------------------ manifests and their blobs


class Liar:
    """A registry that answers what it is told: {path end: (media type, bytes)}."""

    def __init__(self, lab, image):
        self.answers = {"manifests/latest": (image.media_type, image.manifest), f"manifests/{image.digest}": (image.media_type, image.manifest)}
        for part in image.images():
            for blob in part.blobs():
                self.answers[f"blobs/{digest_of(blob)}"] = ("application/octet-stream", blob)
        for data, media_type in image.inner_manifests():
            self.answers[f"manifests/{digest_of(data)}"] = (media_type, data)
        self.reference = lab.server(self.answer) + "/x"

    def answer(self, request):
        if request.path.rstrip("/") == "/v2":
            return 200, {}, b"{}"
        for end, (media_type, data) in self.answers.items():
            if request.path.endswith(end):
                return 200, {"Content-Type": media_type}, data
        return 404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'


CHANGES = {
    "wrong_layer_digest": lambda m: m["layers"][0].update(digest="sha256:" + "1" * 64),
    "size_too_small": lambda m: m["layers"][0].update(size=m["layers"][0]["size"] - 1),
    "size_too_large": lambda m: m["layers"][0].update(size=m["layers"][0]["size"] + 1),
    "size_negative": lambda m: m["layers"][0].update(size=-1),
    "size_absurd": lambda m: m["layers"][0].update(size=1 << 62),
    "size_past_63_bits": lambda m: m["layers"][0].update(size=1 << 63),
    "size_missing": lambda m: m["layers"][0].pop("size"),
    "digest_path": lambda m: m["layers"][0].update(digest="sha256:../../../../etc/passwd"),
    "digest_missing": lambda m: m["layers"][0].pop("digest"),
    "digest_algorithm": lambda m: m["layers"][0].update(digest="md5:" + "1" * 32),
    "config_size": lambda m: m["config"].update(size=m["config"]["size"] + 1),
    "config_of_exabytes": lambda m: m["config"].update(size=1 << 60),
    "ten_thousand_layers": lambda m: m.update(layers=m["layers"] * 10000),
    "a_layer_more": lambda m: m.update(layers=m["layers"] * 2),
    "no_layers": lambda m: m.update(layers=[]),
    "layers_and_manifests": lambda m: m.update(manifests=[]),
    "other_type": lambda m: m.update(mediaType="application/vnd.oci.image.index.v1+json"),
    "schema_1": lambda m: m.update(schemaVersion=1),
    "layer_type": lambda m: m["layers"][0].update(mediaType="text/plain"),
    "data_of_other_content": lambda m: m["config"].update(data="e30="),
    "list": lambda m: m.update(config=[]),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_lying_manifests(lab, store, name):
    liar = Liar(lab, Image([file("a", "text")], change=CHANGES[name]))
    with pytest.raises(Failed) as error:
        store.run("pull", liar.reference, timeout=60)
    assert error.value.text.count("\n") == 0
    assert store.images() == {}


CONFIGS = {
    "diff_id_of_another": lambda c: c["rootfs"].update(diff_ids=["sha256:" + "1" * 64]),
    "diff_id_missing": lambda c: c["rootfs"].update(diff_ids=[]),
    "diff_id_too_many": lambda c: c["rootfs"].update(diff_ids=c["rootfs"]["diff_ids"] * 2),
    "rootfs_type": lambda c: c["rootfs"].update(type="other"),
    "no_rootfs": lambda c: c.pop("rootfs"),
    "env_of_numbers": lambda c: c["config"].update(Env=[1]),
    "null_byte": lambda c: c["config"].update(Env=["A=\0"]),
}


@pytest.mark.parametrize("way", ["pull", "load"])
@pytest.mark.parametrize("name", CONFIGS)
def test_lying_configs(lab, store, work, name, way):
    image = Image([file("a", "text")], change_config=CONFIGS[name])
    with pytest.raises(Failed):
        if way == "pull":
            store.run("pull", Liar(lab, image).reference)
        else:
            store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["x:1"])))
    assert store.images() == {}


def test_a_manifest_of_other_bytes_than_its_digest(lab, store):
    image, other = Image([file("a")]), Image([file("b")])
    liar = Liar(lab, other)
    liar.answers[f"manifests/{image.digest}"] = (other.media_type, other.manifest)
    with pytest.raises(Failed):
        store.run("pull", f"{liar.reference}@{image.digest}")


def test_an_index_entry_of_other_bytes(lab, store):
    image, other = Image([file("a")]), Image([file("b")])
    liar = Liar(lab, Index(image))
    liar.answers[f"manifests/{image.digest}"] = (other.media_type, other.manifest)
    with pytest.raises(Failed):
        store.run("pull", liar.reference)


def test_an_index_of_itself(lab, store):
    """Nested as deep as the server likes: an end comes."""

    def answer(request):
        body = compact({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.index.v1+json", "size": 200, "digest": "sha256:" + "1" * 64}]})
        return 200, {"Content-Type": "application/vnd.oci.image.index.v1+json"}, body

    with pytest.raises(Failed):
        store.run("pull", lab.server(answer) + "/x", timeout=30)


def test_a_manifest_without_end(lab, store):
    def answer(request):
        request.send_response(200)
        request.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        request.end_headers()
        piece = b" " * 65536
        for _ in range(20000):
            request.wfile.write(piece)
        request.close_connection = True

    with pytest.raises(Failed):
        store.run("pull", lab.server(answer) + "/x", timeout=50)


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[" * 100000, b"\xff\xfe", b'{"schemaVersion":2}', b"<html>" * 1000],
                         ids=["empty", "object", "null", "deep", "no_text", "no_kind", "html"])  # fmt: skip
def test_nonsense_for_a_manifest(lab, store, body):
    with pytest.raises(Failed):
        store.run("pull", lab.server(lambda request: (200, {"Content-Type": "application/json"}, body)) + "/x")


# ------------------------------------------------------------------------------------------------------ load's archives


def archive_with(manifest, *more):
    return tar(*more, file("manifest.json", compact(manifest)))


@pytest.mark.parametrize("item", [
    {"Config": "../../etc/passwd", "RepoTags": ["x:1"], "Layers": []}, {"Config": "/etc/passwd", "RepoTags": ["x:1"], "Layers": []},
    {"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["../outside"]}, {"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["/etc/passwd"]},
    {"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["link"]}, {"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["missing"]},
    {"Config": "c.json", "RepoTags": ["../x:1"], "Layers": ["layer"]}, {"Config": "c.json", "RepoTags": ["Upper:1"], "Layers": ["layer"]},
    {"Config": "", "RepoTags": ["x:1"], "Layers": ["layer"]}, {"Config": "c.json", "RepoTags": "x:1", "Layers": ["layer"]},
    {"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["layer"] * 10000}, {"RepoTags": ["x:1"]}, [], "x", None,
], ids=range(15))  # fmt: skip
def test_hostile_manifest_json(store, item):
    image = Image([file("a")])
    data = archive_with([item], file("c.json", image.config), file("layer", image.layers[0].data), symlink("link", "/etc/passwd"))
    with pytest.raises(Failed):
        store.run("load", data=data)
    assert store.images() == {}


def test_names_of_the_archive_are_not_paths(store, work):
    """Entries with names that climb out, and links: load writes none of them anywhere."""
    image = Image([file("a")])
    manifest = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["layer"]}]
    climb = "../" * 20 + work.lstrip("/")
    data = archive_with(manifest, symlink("d", work), file("d/escaped", "x"), file(f"{climb}/escaped", "x"), file("c.json", image.config),
                        file("layer", image.layers[0].data), hardlink("h", "/etc/passwd"))  # fmt: skip
    try:
        store.run("load", data=data)
    except Failed:
        pass
    assert not os.path.exists(f"{work}/escaped")


def test_an_oci_archive_that_lies(store, work):
    image, other = Image([file("a")]), Image([file("b")])
    index = compact({"schemaVersion": 2, "manifests": [{**image.descriptor(), "annotations": {"io.containerd.image.name": "docker.io/library/x:1"}}]})
    blobs = [file(f"blobs/sha256/{image.digest[7:]}", other.manifest)] + [file(f"blobs/sha256/{digest_of(blob)[7:]}", blob) for blob in other.blobs()]
    with pytest.raises(Failed):
        store.run("load", data=tar(file("oci-layout", '{"imageLayoutVersion":"1.0.0"}'), file("index.json", index), *blobs))
    assert store.images() == {}


def test_a_million_entries_of_nothing(take):
    """More entries than a layer may have are refused before the disk's inodes are gone; or they are all taken."""
    block = header(name=b"d/", size=b"00000000000\0", kind=b"5")
    contained(take, block * 200000 + END)


def test_odd_kinds_of_entries(take):
    contained(take, tar(entry("contiguous", b"7", b"x"), entry("volume", b"V"), entry("multi", b"M", b"x"), entry("unknown", b"Q", b"x"), file("a")))


def test_nothing_was_left(stores, work):
    """After refusals gc leaves a store as small as a new one."""
    store = stores()
    for data in DAMAGED.values():
        with pytest.raises(Failed):
            store.run("import", "-", "x", data=data)
    store.run("gc")
    assert json.loads(store.run("list")) in ([], {})
    assert sum(os.lstat(f"{p}/{n}").st_size for p, _, files in os.walk(store.root) for n in files) < MIB
