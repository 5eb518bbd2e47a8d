"""Names, removal, prune, lists, history, disk usage: Docker's rules, as dockerd 28.5 shows them."""

import contextlib
import json
import os
import random
import time

import pytest

import imagelib
import powercut
from imagelib import Failed, Image, Layer, disk_blocks, file, folder, hardlink, tar, write_docker_archive

MIB = 1 << 20


@pytest.fixture
def load(store, work):
    """load(image, "name:tag", ...)"""

    def do(image, *names):
        store.run("load", "-i", write_docker_archive(f"{work}/{len(os.listdir(work))}.tar", (image, list(names) or None)))
        return image

    return do


# -------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("target, shown", [("b", "b:latest"), ("b:v1", "b:v1"), ("docker.io/library/b", "b:latest"), ("x.y:5/b:t", "x.y:5/b:t"),
                                           ("index.docker.io/u/b", "u/b:latest")], ids=range(5))  # fmt: skip
def test_tag(store, load, target, shown):
    image = load(Image([file("a")]), "a:1")
    for source in ("a:1", image.id, image.id[7:19]):
        store.run("tag", source, target)
        assert set(store.images()) == {"a:1", shown}


def test_tag_moves_a_name(store, load):
    one, two = load(Image([file("a")]), "a:1"), load(Image([file("b")]), "b:1")
    store.run("tag", "b:1", "a:1")
    assert store.inspect("a:1")["Id"] == two.id
    assert not store.inspect(one.id)["RepoTags"]


@pytest.mark.parametrize("target", ["B", "a:", "a@sha256:" + "a" * 64, "a" * 64, ""], ids=range(5))
def test_tag_refuses(store, load, target):
    load(Image([file("a")]), "a:1")
    with pytest.raises(Failed):
        store.run("tag", "a:1", target)
    assert set(store.images()) == {"a:1"}


def test_ids_and_their_beginnings(store, load):
    image = load(Image([file("a")]), "a:1")
    for word in (image.id, image.id[7:], image.id[7:19], image.id[:20], image.id[7:11]):
        assert store.inspect(word)["Id"] == image.id
    for word in ("a", "a:2", "0" * 64, "sha256:" + "0" * 64):
        with pytest.raises(Failed) as error:
            store.inspect(word)
        assert word in error.value.text


# ------------------------------------------------------------------------------------------------------------ removal


def test_remove_takes_a_name_then_the_image(store, load):
    image = load(Image([file("a")]), "a:1", "a:2")
    store.run("rm", "a:1")
    assert set(store.images()) == {"a:2"}
    store.run("rm", "a:2")
    assert store.images() == {}
    with pytest.raises(Failed):
        store.inspect(image.id)


def test_remove_says_what_went(store, load):
    image = load(Image([file("a")]), "a:1")
    text = store.run("rm", "a:1")
    assert "a:1" in text and image.id in text


def test_remove_by_id(store, load):
    """By id: its only name goes along; several need force, even of one repository (dockerd's text says otherwise)."""
    image = load(Image([file("a")]), "a:1")
    store.run("rm", image.id)
    assert store.images() == {}
    for second in ("a:2", "b:1"):
        image = load(Image([file("a")]), "a:1", second)
        with pytest.raises(Failed) as error:
            store.run("rm", image.id[7:19])
        assert "must be forced" in error.value.text
        assert set(store.images()) == {"a:1", second}
        store.run("rm", "-f", image.id)
        assert store.images() == {}


def test_remove_of_what_is_not_there(store):
    with pytest.raises(Failed) as error:
        store.run("rm", "none:1")
    assert "none" in error.value.text


def test_shared_layers_stay(store, load):
    base = Layer(tar(file("base")))
    load(Image(base, [file("a")]), "a:1")
    load(Image(base, [file("b")]), "b:1")
    store.run("rm", "a:1")
    store.run("gc")
    assert len(store.layers("b:1")) == 2 and store.check() == ""


def test_space_comes_back(store, load):
    store.images()
    before = disk_blocks(store.root)
    for number in range(3):
        load(Image([file("a", random.Random(number).randbytes(2 * MIB))]), "a:1")
        store.run("rm", "a:1")
    store.run("gc")
    assert disk_blocks(store.root) < before + 2 * MIB


def test_remove_of_several(store, load):
    load(Image([file("a")]), "a:1", "b:1")
    store.run("rm", "a:1", "b:1")
    assert store.images() == {}


# -------------------------------------------------------------------------------------------------------------- prune


def test_prune_takes_what_has_no_name(store, load):
    load(Image([file("a")]), "a:1")
    nameless = load(Image([file("b")]))
    store.run("prune")
    assert set(store.images()) == {"a:1"}
    with pytest.raises(Failed):
        store.inspect(nameless.id)


def test_prune_all(store, load):
    load(Image([file("a")]), "a:1")
    load(Image([file("b")]))
    store.run("prune", "-a")
    assert store.images() == {}


@pytest.mark.parametrize("words, left", [(["--filter", "label=keep"], {"b:1", "c:1"}), (["--filter", "label=keep=yes"], {"b:1", "c:1"}),
                                         (["--filter", "label!=keep"], {"a:1"}), (["--filter", "until=24h"], set()),
                                         (["--filter", "until=2020-01-01T00:00:00Z"], {"a:1", "b:1", "c:1"})],
                         ids=range(5))  # fmt: skip
def test_prune_filters(store, load, words, left):
    load(Image([file("a")], labels={"keep": "yes"}), "a:1")
    load(Image([file("b")], labels={"other": "1"}), "b:1")
    load(Image([file("c")]), "c:1")
    store.run("prune", "-a", *words)
    assert set(store.images()) == left


def test_bad_filters(store):
    for text in ("nonsense=1", "until=yesterday", "dangling=perhaps", "label"):
        with pytest.raises(Failed):
            store.run("prune", "--filter", text)


# --------------------------------------------------------------------------------------------------- list and history


@pytest.mark.parametrize("text, found", [("reference=a", {"a:1", "a:2"}), ("reference=a:1", {"a:1"}), ("reference=*:2", {"a:2"}),
                                         ("reference=u/*", {"u/c:1"}), ("label=k", {"u/c:1"}), ("label=k=v", {"u/c:1"}), ("label=k=w", set()),
                                         ("dangling=true", {"<none>"}), ("dangling=false", {"a:1", "a:2", "u/c:1"})], ids=range(9))  # fmt: skip
def test_list_filters(store, load, text, found):
    load(Image([file("a")]), "a:1", "a:2")
    load(Image([file("c")], labels={"k": "v"}), "u/c:1")
    load(Image([file("n")]))
    assert {name.partition(":sha")[0] for name in store.images("--filter", text)} == found


def test_before_and_since(store, load):
    for number in (1, 2, 3):
        load(Image([file(str(number))], change_config=lambda config: config.update(created=f"2024-01-0{number}T00:00:00Z")), f"a:{number}")
    assert set(store.images("--filter", "before=a:2")) == {"a:1"}
    assert set(store.images("--filter", "since=a:2")) == {"a:3"}
    assert list(store.images()) == ["a:3", "a:2", "a:1"]


def test_list_has_dockers_members(store, load):
    image = load(Image([file("a", "x" * 5000)], labels={"l": "1"}), "a:1")
    entry = store.images()["a:1"]
    assert entry["Id"] == image.id and entry["Labels"] == {"l": "1"} and entry["Created"] == 1704164645 and entry["Size"] >= 5000


def test_history(store, load):
    history = [{"created": "2024-01-01T00:00:00Z", "created_by": "one"}, {"created_by": "ENV", "empty_layer": True}, {"created_by": "two", "comment": "c"}]
    image = load(Image([file("a", "x" * 5000)], [file("b", "x" * 100)], history=history), "a:1")
    lines = store.json("history", "a:1")
    assert [line["CreatedBy"] for line in lines] == ["two", "ENV", "one"]
    assert lines[0]["Id"] == image.id and lines[1]["Id"] == "<missing>" and lines[0]["Tags"] == ["a:1"]
    assert lines[1]["Size"] == 0 and lines[2]["Size"] >= 5000 and lines[0]["Comment"] == "c"


def test_history_that_does_not_fit(store, load):
    load(Image([file("a")], [file("b")], history=[{"created_by": "one"}]), "a:1")
    assert len(store.json("history", "a:1")) == 2
    load(Image([file("a")], history=[]), "b:1")
    assert len(store.json("history", "b:1")) == 1


def test_inspect_has_dockers_members(store, load):
    image = load(Image([file("a")], config={"Entrypoint": ["/e"], "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}, "User": "1", "WorkingDir": "/w",
                                            "StopSignal": "SIGINT", "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}, "OnBuild": ["RUN x"],
                                            "Shell": ["/bin/sh", "-c"]}), "a:1")  # fmt: skip
    facts = store.inspect("a:1")
    assert facts["Id"] == image.id and facts["RepoTags"] == ["a:1"] and facts["Architecture"] == "amd64" and facts["Os"] == "linux"
    assert facts["Created"] == "2024-01-02T03:04:05.678Z" and facts["RootFS"] == {"Type": "layers", "Layers": [image.layers[0].diff_id]}
    wanted = json.loads(image.config)["config"]
    assert {name: facts["Config"].get(name) for name in wanted} == wanted


# -------------------------------------------------------------------------------------------------------------- sizes


def test_sizes_shared_and_unique(store, load):
    base = Layer(tar(file("base", random.Random(1).randbytes(2 * MIB))))
    load(Image(base, [file("a", random.Random(2).randbytes(MIB))]), "a:1")
    load(Image(base), "b:1")
    usage = {store.inspect(image["Id"])["RepoTags"][0]: image for image in store.json("df")["Images"]}
    assert abs(usage["a:1"]["Size"] - 3 * MIB) < 20000 and abs(usage["a:1"]["SharedSize"] - 2 * MIB) < 20000
    assert abs(usage["b:1"]["Size"] - 2 * MIB) < 20000 and abs(usage["b:1"]["SharedSize"] - 2 * MIB) < 20000


@contextlib.contextmanager
def file_system(work, kind):
    """An empty file system of its own at the path given."""
    where = f"{work}/{kind}"
    os.makedirs(where)
    with contextlib.ExitStack() as stack:
        if kind == "tmpfs":
            imagelib.mount("tmpfs", where, kind, "size=200m")
            stack.callback(imagelib.LIBC.umount2, where.encode(), 2)
        else:
            powercut.make_ext4(f"{work}/disk", 200 * MIB)
            stack.enter_context(powercut.mounted_image(f"{work}/disk", where))
        yield where


def used(where):
    os.sync()
    facts = os.statvfs(where)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_disk_usage_is_what_the_disk_says(work, kind):
    if kind == "ext4" and not os.path.exists("/dev/loop-control"):
        pytest.skip("needs /dev/loop-control")
    with file_system(work, kind) as where:
        empty = used(where)
        store = imagelib.Store(f"{where}/store")
        for number in range(3):
            entries = [folder("d")] + [file(f"d/{index}", b"x" * (index * 37 % 9000)) for index in range(500)] + [hardlink("d/again", "d/499")]
            image = Image(entries + [file("large", random.Random(number).randbytes(3 * MIB))])
            store.run("load", "-i", write_docker_archive(f"{work}/{number}.tar", (image, [f"a:{number}"])))
        said = sum(value for key, value in store.json("df").items() if key in ("LayersBytes", "BlobsBytes", "OtherBytes"))
        there = used(where) - empty
        assert abs(said - there) <= 0.01 * there, f"df says {said}, statfs {there}"


@pytest.mark.seconds(120)
def test_thousand_names_are_listed_quickly(store, load):
    load(Image([file("a")]), *[f"name{number}:1" for number in range(1000)])
    begun = time.monotonic()
    assert len(store.images()) == 1000
    assert time.monotonic() - begun < 2


def test_an_idle_store_is_small(store):
    store.images()
    assert disk_blocks(store.root) < 2 * MIB


def test_usage_errors(store):
    for words in ([], ["nonsense"], ["pull"], ["tag", "a"], ["list", "--nonsense"]):
        with pytest.raises(Failed) as error:
            store.run(*words)
        assert error.value.code == 2, words
