"""load, save, import, export: archives of Docker, podman, skopeo and buildkit in, archives that those read out."""

import bz2
import gzip
import io
import json
import lzma
import os
import random
import subprocess
import tarfile

import pytest

from imagelib import (
    Failed, Image, Index, Layer, digest_of, file, folder, hardlink, opaque, symlink, tar, tar_tree, whiteout, write_docker_archive,
    write_layout, write_oci_archive,
)  # fmt: skip

MIB = 1 << 20
PEERS = "/var/tmp/davit-peers/images"


@pytest.fixture
def image():
    return Image([folder("d"), file("d/a", random.Random(1).randbytes(MIB), uid=5, mode=0o640), symlink("s", "d"), hardlink("h", "d/a")],
                 [file("b", "text"), whiteout("s")])  # fmt: skip


def names(path):
    with tarfile.open(path) as archive:
        return archive.getnames()


def member(path, name):
    with tarfile.open(path) as archive:
        return archive.extractfile(name).read()


# --------------------------------------------------------------------------------------------------------------- load


def test_docker_archive(store, work, image):
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["one:1", "localhost:5000/two:2"])))
    assert set(store.images()) == {"one:1", "localhost:5000/two:2"}
    assert store.inspect("one:1")["Id"] == image.id
    assert tar_tree(store.export("one:1")).keys() == {"d", "d/a", "h", "b"}


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress,
                                  lambda data: subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout],
                         ids=["gzip", "bzip2", "xz", "zstd"])  # fmt: skip
def test_compressed_archive_by_pipe(store, work, image, pack):
    with open(write_docker_archive(f"{work}/a.tar", (image, ["x:1"])), "rb") as source:
        store.run("load", data=pack(source.read()))
    assert store.inspect("x:1")["Id"] == image.id


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_oci_archive(store, work, compression):
    image = Image([file("a", "text")], [file("b")], compression=compression)
    store.run("load", "-i", write_oci_archive(f"{work}/a.tar", (image, "docker.io/library/x:1")))
    assert store.inspect("x:1")["Id"] == image.id


def test_oci_layout_folder(store, work, image):
    store.run("load", "-i", write_layout(f"{work}/layout", (image, "docker.io/library/x:1")))
    assert store.inspect("x:1")["Id"] == image.id


def test_oci_archive_of_several_platforms(store, work):
    index = Index(Image([file("name", "arm")], platform=("linux", "arm64")), Image([file("name", "amd")]), attest=True)
    store.run("load", "-i", write_oci_archive(f"{work}/a.tar", (index, "docker.io/library/x:1")))
    assert store.inspect("x:1")["Architecture"] in {"amd64", "arm64"}


def test_several_images_that_share_layers(store, work):
    base = Layer(tar(file("base", random.Random(1).randbytes(MIB))))
    one, two = Image(base, [file("one")]), Image(base, [file("two")])
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (one, ["one:1", "one:2"]), (two, ["two:1"])))
    assert {name: entry["Id"] for name, entry in store.images().items()} == {"one:1": one.id, "one:2": one.id, "two:1": two.id}


def test_without_a_name(store, work, image):
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, None)))
    assert store.inspect(image.id)["Id"] == image.id and not store.inspect(image.id)["RepoTags"]


def test_manifest_first_and_last(store, work, image):
    """The order of the entries does not matter, whether the archive is a file or comes by a pipe."""
    path = write_docker_archive(f"{work}/a.tar", (image, ["x:1"]))
    with tarfile.open(path) as archive:
        members = [(info, archive.extractfile(info).read()) for info in archive]
    for order in (members, members[::-1]):
        data = tar(*order)
        store.run("load", data=data)
        assert store.inspect("x:1")["Id"] == image.id
        store.run("rm", "-f", "x:1")
        store.run("gc")


def test_links_between_layers(store, work):
    """docker save of old wrote a layer that occurs twice as a symlink to the first."""
    layer = Layer(tar(file("a")))
    image = Image(layer, [file("b")], layer)
    entries = [file("1/layer.tar", image.layers[0].data), file("2/layer.tar", image.layers[1].data), symlink("3/layer.tar", "../1/layer.tar"),
               file("c.json", image.config),
               file("manifest.json", json.dumps([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": [f"{n}/layer.tar" for n in (1, 2, 3)]}]))]  # fmt: skip
    store.run("load", data=tar(*entries))
    assert store.inspect("x:1")["Id"] == image.id


@pytest.mark.parametrize("name", ["tiny", "debian", "python"])
@pytest.mark.parametrize("form", [".tar", "-oci.tar", "-oci"])
@pytest.mark.seconds(180)
def test_archives_of_the_peers(store, name, form):
    path = f"{PEERS}/{name}{form}"
    if not os.path.exists(path):
        pytest.skip(f"needs {path} (the peers' image script makes it)")
    store.run("load", "-i", path)
    facts = next(iter(store.images().values()))
    assert facts["Id"].startswith("sha256:")
    exported = tar_tree(store.export(facts["Id"])) if name == "tiny" else {}
    assert name != "tiny" or "bin/busybox" in exported or "bin/sh" in exported


@pytest.mark.parametrize("cut", [0, 100, 512, 5000, -11000, -20000])
def test_truncated_archives(store, work, image, cut):
    with open(write_docker_archive(f"{work}/a.tar", (image, ["x:1"])), "rb") as source:
        data = source.read()
    with pytest.raises(Failed):
        store.run("load", data=data[:cut])
    assert store.images() == {}


def test_not_an_archive(store, work):
    for data in (b"", b"hello", tar(file("a")), b"\x1f\x8b" + b"x" * 100, os.urandom(5000)):
        with pytest.raises(Failed):
            store.run("load", data=data)
    with pytest.raises(Failed) as error:
        store.run("load", "-i", f"{work}/none")
    assert f"{work}/none" in error.value.text


# --------------------------------------------------------------------------------------------------------------- save


def test_save_gives_what_load_took(stores, work, image):
    store, other = stores(), stores()
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["one:1", "one:2"])))
    store.run("save", "-o", f"{work}/b.tar", "one:1", "one:2")
    items = json.loads(member(f"{work}/b.tar", "manifest.json"))
    assert [sorted(item["RepoTags"]) for item in items] == [["one:1", "one:2"]]
    assert digest_of(member(f"{work}/b.tar", items[0]["Config"])) == image.id
    other.run("load", "-i", f"{work}/b.tar")
    assert set(other.images()) == {"one:1", "one:2"} and other.inspect("one:1")["Id"] == image.id


def test_save_is_reproducible_and_streams(store, work, image):
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["x:1"])))
    assert store.run("save", "x:1", raw=True) == store.run("save", "x:1", raw=True)


@pytest.mark.parametrize("source", ["load", "pull-gzip", "pull-zstd", "pull-none"])
def test_saved_layers_have_their_diff_ids(store, registry, work, source):
    """The tar of a layer is given back byte by byte, whatever it was made with: the config names its digest."""
    entries = [folder("d", mtime=1600000000.5), file("d/a", "x" * 5000, xattrs={"user.k": "v"}), hardlink("b", "d/a"), opaque("d"), file("n" * 150)]
    compression = source.partition("-")[2] or "gzip"
    forms = [tar(*entries), tar(*entries, form=tarfile.GNU_FORMAT), gnu_tar(work)]
    image = Image(*[Layer(data, compression) for data in forms])
    if source == "load":
        store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["x:1"])))
    else:
        store.run("pull", registry.push("x", image))
        store.run("tag", f"{registry.host}/x", "x:1")
    store.run("save", "-o", f"{work}/b.tar", "x:1")
    item = json.loads(member(f"{work}/b.tar", "manifest.json"))[0]
    assert json.loads(member(f"{work}/b.tar", item["Config"]))["rootfs"]["diff_ids"] == [layer.diff_id for layer in image.layers]
    for name, layer in zip(item["Layers"], image.layers):
        assert digest_of(plain(member(f"{work}/b.tar", name))) == layer.diff_id


def gnu_tar(work):
    os.makedirs(f"{work}/tree/sub")
    for name in ("one", "sub/two"):
        with open(f"{work}/tree/{name}", "w", encoding="utf-8") as out:
            out.write(name * 1000)
    return subprocess.run(["tar", "-C", f"{work}/tree", "-c", "."], check=True, capture_output=True).stdout


def plain(data):
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return subprocess.run(["zstd", "-dqc"], input=data, check=True, capture_output=True).stdout
    return data


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_skopeo_reads_our_archives(store, work, image, skopeo, form):
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["x:1"])))
    store.run("save", "--format", form, "-o", f"{work}/b.tar", "x:1")
    transports = ["docker-archive", "oci-archive"] if form == "docker" else ["oci-archive"]
    for number, transport in enumerate(transports):
        skopeo("copy", f"{transport}:{work}/b.tar", f"dir:{work}/out{number}")
        with open(f"{work}/out{number}/manifest.json", encoding="utf-8") as manifest:
            assert json.load(manifest)["config"]["digest"] == image.id
    if form == "oci":
        assert "manifest.json" not in names(f"{work}/b.tar")


def test_save_of_a_repository_takes_all_its_tags(store, work, image):
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["x:1", "x:2", "y:1"])))
    store.run("save", "-o", f"{work}/b.tar", "x")
    items = json.loads(member(f"{work}/b.tar", "manifest.json"))
    assert sorted(tag for item in items for tag in item["RepoTags"]) == ["x:1", "x:2"]


def test_shared_layers_are_saved_once(store, work):
    base = Layer(tar(file("base", random.Random(1).randbytes(MIB))))
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (Image(base, [file("a")]), ["a:1"]), (Image(base, [file("b")]), ["b:1"])))
    store.run("save", "-o", f"{work}/b.tar", "a:1", "b:1")
    assert os.path.getsize(f"{work}/b.tar") < 1.5 * MIB


def test_save_of_what_is_not_there(store, work):
    with pytest.raises(Failed) as error:
        store.run("save", "-o", f"{work}/b.tar", "none:1")
    assert "none:1" in error.value.text and not os.path.exists(f"{work}/b.tar")


def test_output_that_cannot_be_written(store, work, image):
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["x:1"])))
    with pytest.raises(Failed):
        store.run("save", "-o", f"{work}/none/b.tar", "x:1")
    with open("/dev/full", "wb") as full:
        process = store.start("save", "x:1", stdout=full, stderr=subprocess.DEVNULL)
        assert process.wait(30) == 1


# -------------------------------------------------------------------------------------------------- import and export


def test_import(store, work):
    data = tar(folder("bin"), file("bin/sh", "x", mode=0o755, uid=1), hardlink("bin/ash", "bin/sh"), symlink("s", "bin"))
    with open(f"{work}/root.tar", "wb") as out:
        out.write(data)
    store.run("import", f"{work}/root.tar", "made:1", "--change", 'CMD ["/bin/sh"]', "--change", "ENV A=b", "--message", "by hand")
    facts = store.inspect("made:1")
    assert facts["Config"]["Cmd"] == ["/bin/sh"] and "A=b" in facts["Config"]["Env"] and facts["Comment"] == "by hand"
    assert facts["RootFS"]["Layers"] == [digest_of(data)]
    assert store.json("history", "made:1")[0]["Size"] > 0


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress, lzma.compress], ids=["plain", "gzip", "xz"])
def test_import_by_pipe(store, pack):
    data = tar(file("a", "text"))
    store.run("import", "-", "made", data=pack(data))
    assert store.inspect("made:latest")["RootFS"]["Layers"] == [digest_of(data)]
    assert store.inspect("made")["Os"] == "linux"


def test_import_without_a_name(store):
    identity = json.loads(store.run("import", "-", data=tar(file("a"))).splitlines()[-1])["id"]
    assert store.inspect(identity)["RepoTags"] in ([], None)


@pytest.mark.parametrize("change", ["RUN x", "FROM y", "CMD", "ENV", "nonsense", "EXPOSE a/b/c", ""])
def test_import_refuses_bad_changes(store, change):
    with pytest.raises(Failed):
        store.run("import", "-", "x", "--change", change, data=tar(file("a")))
    assert store.images() == {}


def test_import_of_nonsense(store):
    for data in (b"hello" * 1000, tar(file("a", "x" * 2000))[:1500]):
        with pytest.raises(Failed):
            store.run("import", "-", "x", data=data)


def test_import_of_nothing_is_an_empty_image(store):
    """As dockerd 28.5 has it."""
    store.run("import", "-", "x", data=b"")
    assert tar_tree(store.export("x")) == {} and len(store.layers("x")) == 1


def test_export_flattens(store, work, image):
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["x:1"])))
    found = tar_tree(store.export("x:1"))
    assert set(found) == {"d", "d/a", "h", "b"}
    regular = found["d/a"] if found["d/a"][0] == tarfile.REGTYPE else found["h"]
    assert regular[1:4] == (0o640, 5, 0) and len(regular[4]) == MIB


def test_import_of_an_export(store, work, image):
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["x:1"])))
    data = store.export("x:1")
    store.run("import", "-", "y", data=data)
    assert store.export("y") == data


def test_export_reads_with_tar(store, work, image):
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["x:1"])))
    listing = subprocess.run(["tar", "-tf", "-"], input=store.export("x:1"), check=True, capture_output=True).stdout
    assert io.BytesIO(listing).readline()


def test_a_name_that_another_image_has_is_told(store, work, image):
    store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["x:1"])))
    other = Image([file("other")])
    said = store.events("load", "-i", write_docker_archive(f"{work}/b.tar", (other, ["x:1"])))
    assert f"The image x:1 already exists, renaming the old one with ID {image.id} to empty string" in [each["status"] for each in said if "status" in each]
    assert store.inspect("x:1")["Id"] == other.id and store.inspect(image.id)["RepoTags"] == []


def test_names_with_digests_are_refused(store, work, image):
    with pytest.raises(Failed) as error:
        store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (image, ["x@" + image.id])))
    assert "has a digest" in error.value.text
    assert store.images() == {}


def test_windows_images_are_refused_as_by_docker(store, work):
    windows = Image([file("a")], platform=("windows", "amd64"))
    with pytest.raises(Failed) as error:
        store.run("load", "-i", write_docker_archive(f"{work}/a.tar", (windows, ["x:1"])))
    assert "cannot load windows image on linux" in error.value.text
