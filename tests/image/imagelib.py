"""Images made in Python for tests: layers of any tar contents and compression, manifests, indexes, archives; and the
program under test, `davit-image`.
"""

import contextlib
import ctypes
import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
LIBC = ctypes.CDLL(None, use_errno=True)

OCI = "application/vnd.oci.image."
INDEX, MANIFEST, CONFIG, LAYER = OCI + "index.v1+json", OCI + "manifest.v1+json", OCI + "config.v1+json", OCI + "layer.v1.tar"
DOCKER = "application/vnd.docker."
DOCKER_LIST, DOCKER_MANIFEST = DOCKER + "distribution.manifest.list.v2+json", DOCKER + "distribution.manifest.v2+json"
DOCKER_CONFIG, DOCKER_LAYER = DOCKER + "container.image.v1+json", DOCKER + "image.rootfs.diff.tar"


def find_program():
    folders = [os.environ["DAVIT_BIN"]] if "DAVIT_BIN" in os.environ else [f"{PROJECT}/build/{name}/bin" for name in ("release", "dev")]
    return next((f"{folder}/davit-image" for folder in folders if os.access(f"{folder}/davit-image", os.X_OK)), None)


PROGRAM = find_program()


def is_sanitized():
    """True for a build with AddressSanitizer, which is slower and larger."""
    if PROGRAM is None:
        return False
    with open(PROGRAM, "rb") as file:
        return b"__asan_init" in file.read()


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


# ------------------------------------------------------------------------------------------------------ tar contents


def entry(name, kind=tarfile.REGTYPE, content=b"", mode=None, uid=0, gid=0, mtime=1600000000, link="", device=(0, 0), xattrs=None):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), link
    info.mode = mode if mode is not None else 0o755 if kind == tarfile.DIRTYPE else 0o644
    info.uid, info.gid, info.mtime = uid, gid, mtime
    info.devmajor, info.devminor = device
    info.pax_headers = {f"SCHILY.xattr.{name}": value for name, value in (xattrs or {}).items()}
    return info, content


def file(name, content=b"", **options):
    return entry(name, content=content if isinstance(content, bytes) else content.encode(), **options)


def folder(name, **options):
    return entry(name, tarfile.DIRTYPE, **options)


def symlink(name, target, **options):
    return entry(name, tarfile.SYMTYPE, link=target, mode=0o777, **options)


def hardlink(name, target, **options):
    return entry(name, tarfile.LNKTYPE, link=target, **options)


def fifo(name, **options):
    return entry(name, tarfile.FIFOTYPE, **options)


def device(name, kind, major, minor, **options):
    return entry(name, {"c": tarfile.CHRTYPE, "b": tarfile.BLKTYPE}[kind], device=(major, minor), **options)


def whiteout(name):
    parent, _, base = name.rpartition("/")
    return file((parent + "/" if parent else "") + ".wh." + base)


def opaque(name):
    return file(name + "/.wh..wh..opq")


def tar(*entries, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


# ------------------------------------------------------------------------------------------------------------ images


class Layer:
    """tar bytes and what is sent of them. compression: "none", "gzip" or "zstd"."""

    def __init__(self, data, compression="gzip", docker=False):
        self.data, self.compression = data, compression
        self.diff_id = digest_of(data)
        if compression == "gzip":
            self.blob = gzip.compress(data, 6, mtime=0)
        elif compression == "zstd":
            self.blob = subprocess.run(["zstd", "-q", "-c"], input=data, check=True, capture_output=True).stdout
        else:
            self.blob = data
        joint = "." if docker else "+"
        self.media_type = (DOCKER_LAYER if docker else LAYER) + ("" if compression == "none" else joint + compression)
        self.digest = digest_of(self.blob)

    def descriptor(self):
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.blob)}


class Image:
    """layers: Layers, lists of entries, or tar bytes. change: a function of the manifest (dict) before it is written."""

    def __init__(self, *layers, config=None, platform=("linux", "amd64"), docker=False, compression="gzip", history=None,
                 change=None, change_config=None, labels=None):  # fmt: skip
        self.layers = [self.layer(each, compression, docker) for each in layers]
        self.media_type = DOCKER_MANIFEST if docker else MANIFEST
        self.platform = platform
        content = {"created": "2024-01-02T03:04:05.678Z", "architecture": platform[1], "os": platform[0],
                   "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"], **({"Labels": labels} if labels else {}), **(config or {})},
                   "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]}}  # fmt: skip
        content["history"] = history if history is not None else [{"created_by": f"layer {i}"} for i in range(len(layers))]
        if len(platform) > 2:
            content["variant"] = platform[2]
        if change_config:
            change_config(content)
        self.config = compact(content)
        self.id = digest_of(self.config)
        document = {"schemaVersion": 2, "mediaType": self.media_type,
                    "config": {"mediaType": DOCKER_CONFIG if docker else CONFIG, "digest": self.id, "size": len(self.config)},
                    "layers": [layer.descriptor() for layer in self.layers]}  # fmt: skip
        if change:
            change(document)
        self.manifest = compact(document)
        self.digest = digest_of(self.manifest)

    @staticmethod
    def layer(content, compression, docker):
        if isinstance(content, Layer):
            return content
        return Layer(content if isinstance(content, bytes) else tar(*content), compression, docker)

    def images(self):
        return [self]

    def inner_manifests(self):
        return []

    def blobs(self):
        return [self.config] + [layer.blob for layer in self.layers]

    def descriptor(self):
        os_name, architecture, *variant = self.platform
        platform = {"architecture": architecture, "os": os_name, **({"variant": variant[0]} if variant else {})}
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest), "platform": platform}


class Index:
    """Several images under one name; attest: each with an attestation entry as buildkit adds them."""

    def __init__(self, *images, attest=False, docker=False, change=None):
        self.members, self.attestations = list(images), []
        self.media_type = DOCKER_LIST if docker else INDEX
        entries = [image.descriptor() for image in images]
        for image in images if attest else ():
            note = Image(tar(file("unused")), platform=("unknown", "unknown"))
            self.attestations.append(note)
            marks = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest}
            entries.append({**note.descriptor(), "annotations": marks})
        document = {"schemaVersion": 2, "mediaType": self.media_type, "manifests": entries}
        if change:
            change(document)
        self.manifest = compact(document)
        self.digest = digest_of(self.manifest)

    def images(self):
        return self.members + self.attestations

    def inner_manifests(self):
        return [(image.manifest, image.media_type) for image in self.images()]


def write_layout(path, *images):
    """An OCI layout folder of (image, name) pairs."""
    os.makedirs(f"{path}/blobs/sha256", exist_ok=True)
    with open(f"{path}/oci-layout", "w", encoding="utf-8") as out:
        out.write('{"imageLayoutVersion":"1.0.0"}')
    entries = []
    for image, name in images:
        blobs = [image.manifest] + [data for data, _ in image.inner_manifests()]
        for part in image.images():
            blobs += part.blobs()
        for blob in blobs:
            with open(f"{path}/blobs/sha256/{digest_of(blob)[7:]}", "wb") as out:
                out.write(blob)
        marks = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
        entries.append({"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest), "annotations": marks})
    with open(f"{path}/index.json", "wb") as out:
        out.write(compact({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
    return path


def write_oci_archive(path, *images):
    scratch = path + ".d"
    write_layout(scratch, *images)
    with tarfile.open(path, "w") as archive:
        for name in sorted(os.listdir(scratch)):
            archive.add(f"{scratch}/{name}", name)
    shutil.rmtree(scratch)
    return path


def write_docker_archive(path, *images, manifest=None, extra=()):
    """docker save's format before OCI layouts were in it: (image, [tags]) pairs. extra: more tar entries."""
    entries, items = [], []
    seen = set()
    for image, tags in images:
        names = []
        for layer in image.layers:
            name = f"{layer.diff_id[7:]}/layer.tar"
            names.append(name)
            if name not in seen:
                entries.append(file(name, layer.data))
            seen.add(name)
        entries.append(file(f"{image.id[7:]}.json", image.config))
        items.append({"Config": f"{image.id[7:]}.json", "RepoTags": tags, "Layers": names})
    entries.append(file("manifest.json", compact(items if manifest is None else manifest)))
    with open(path, "wb") as out:
        out.write(tar(*entries, *extra))
    return path


# ------------------------------------------------------------------------------------------------ the program's store


class Failed(Exception):
    """davit-image answered an error; code and text are kept."""

    def __init__(self, code, text):
        super().__init__(f"exit {code}: {text}")
        self.code, self.text = code, text


class Store:
    """davit-image with a data root of its own. What it prints as JSON is read here, in one place."""

    def __init__(self, root, environment=None):
        self.root, self.environment = root, environment or {}
        os.makedirs(root, exist_ok=True)

    def start(self, *words, **options):
        return subprocess.Popen([PROGRAM, "--root", self.root, *words], env={**os.environ, **self.environment}, **options)

    def call(self, *words, data=None, timeout=120):
        """(exit status, standard output, standard error)"""
        done = subprocess.run([PROGRAM, "--root", self.root, *words], input=data, capture_output=True, timeout=timeout, check=False,
                              env={**os.environ, **self.environment})  # fmt: skip
        error = done.stderr.decode(errors="replace")
        assert "Sanitizer" not in error and done.returncode >= 0, error
        return done.returncode, done.stdout, error.strip()

    def run(self, *words, raw=False, **options):
        """stdout as text (raw: bytes); Failed for another exit code than 0."""
        code, output, error = self.call(*words, **options)
        if code != 0:
            # Progress goes to the standard error too; what failed is the line with the program's name.
            named = [line for line in error.splitlines() if line.startswith("davit-image: ")]
            raise Failed(code, "\n".join(named) or error)
        return output if raw else output.decode()

    def json(self, *words, **options):
        return json.loads(self.run(*words, **options))

    def events(self, *words, **options):
        """The progress events: {"id", "status", "current", "total", ...}."""
        found = []
        for line in self.run("--json", *words, **options).splitlines():
            event = json.loads(line)
            found.append({**event, **event.pop("progressDetail", {})})
        return found

    def images(self, *words):
        """{tag or "<none>:id": entry} of `list`, in its order."""
        found = {}
        for item in self.json("list", *words):
            for name in item.get("RepoTags") or [f"<none>:{item['Id']}"]:
                found[name] = item
        return found

    def inspect(self, name):
        """As the Engine API would show it: the image's config is in the facts themselves."""
        facts = self.json("inspect", name)
        config = facts.pop("Config")
        rootfs = config.get("rootfs", {})
        return {**facts, "Architecture": config["architecture"], "Os": config["os"], "Created": config.get("created", ""),
                "Comment": config.get("comment", ""), "Config": config.get("config", {}),
                "RootFS": {"Type": rootfs.get("type"), "Layers": rootfs.get("diff_ids")}}  # fmt: skip

    def layers(self, name):
        """The layer directories, the top one first."""
        return self.json("mount", name)

    def check(self):
        """What fsck finds wrong: "" for nothing."""
        code, output, error = self.call("fsck")
        return "" if code == 0 and json.loads(output) == [] else f"exit {code}: {output.decode()} {error}"

    def export(self, name):
        """The tar of the merged tree."""
        with tempfile.TemporaryDirectory(prefix="davit-export-") as scratch, self.mounted(name, f"{scratch}/merged") as where:
            return self.run("export", where, raw=True)

    @contextlib.contextmanager
    def mounted(self, name, where):
        """The image's merged tree at `where`, read-only, as a container sees it. In a private mount namespace only."""
        layers = self.layers(name)
        os.makedirs(where, exist_ok=True)
        while len(layers) < 2:  # overlay without an upper directory wants two
            layers = layers + [f"{where}.empty{len(layers)}"]
            os.makedirs(layers[-1], exist_ok=True)
        # A page holds the options of mount(2): short names in the current folder instead of whole paths.
        links = f"{where}.l"
        os.makedirs(links)
        for number, layer in enumerate(layers):
            os.symlink(layer, f"{links}/{number}")
        previous = os.open(".", os.O_PATH)
        os.chdir(links)
        try:
            mount("overlay", where, "overlay", "lowerdir=" + ":".join(str(number) for number in range(len(layers))))
        finally:
            os.fchdir(previous)
            os.close(previous)
        try:
            yield where
        finally:
            LIBC.umount2(where.encode(), 2)


def mount(source, target, kind, data, flags=0):
    if LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}: {os.strerror(ctypes.get_errno())}")


def private_mounts():
    """This process and its children get a mount namespace of their own, which ends with them."""
    if LIBC.unshare(0x20000) != 0 or LIBC.mount(b"none", b"/", None, 0x4000 | 0x40000, None) != 0:
        raise OSError(ctypes.get_errno(), "unshare the mount namespace")


def tree(root):
    """{path: (type, mode, uid, gid, content | target | device, xattrs, nlink, mtime)} of everything below root."""
    found = {}
    for parent, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(parent, name)
            info = os.lstat(path)
            kind = stat.S_IFMT(info.st_mode)
            content = None
            if kind == stat.S_IFREG:
                with open(path, "rb") as source:
                    content = source.read()
            elif kind == stat.S_IFLNK:
                content = os.readlink(path)
            elif kind in (stat.S_IFCHR, stat.S_IFBLK):
                content = (os.major(info.st_rdev), os.minor(info.st_rdev))
            xattrs = {key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)}
            found[os.path.relpath(path, root)] = Node(kind, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, content, xattrs,
                                                      info.st_nlink if kind != stat.S_IFDIR else 0, info.st_mtime_ns)  # fmt: skip
    return found


class Node(tuple):
    """One file of a tree(); compared as a whole, read by name."""

    NAMES = ("kind", "mode", "uid", "gid", "content", "xattrs", "links", "mtime_ns")

    def __new__(cls, *values):
        return super().__new__(cls, values)

    def __getattr__(self, name):
        try:
            return self[self.NAMES.index(name)]
        except ValueError:
            raise AttributeError(name) from None


def contents(image):
    """{path: (tar type, mode, uid, gid, content or link)} of what the image must show; of images without whiteouts."""
    found = {}
    for each in image.layers:
        found.update(tar_tree(each.data))
    return found


def differences(wanted, root):
    """Where the tree below root is not what contents() says: "" for nowhere."""
    kinds = {stat.S_IFREG: tarfile.REGTYPE, stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE}
    there = tree(root)
    wrong = [f"{path}: only {'wanted' if path in wanted else 'there'}" for path in wanted.keys() ^ there.keys()]
    for path in wanted.keys() & there.keys():
        kind, mode, uid, gid, content = wanted[path]
        while kind == tarfile.LNKTYPE:
            kind, mode, uid, gid, content = wanted[content]
        node = there[path]
        same = kinds.get(node.kind) == kind and (node.uid, node.gid) == (uid, gid) and (kind == tarfile.SYMTYPE or node.mode == mode)
        if not same or (kind != tarfile.DIRTYPE and node.content != content):
            wrong.append(f"{path}: {node[:4]} instead of {(kind, mode, uid, gid)}, or other content")
    return "; ".join(sorted(wrong)[:5])


def disk_blocks(root):
    """The bytes that the tree takes, each inode once."""
    found = {}
    for parent, folders, files in os.walk(root):
        for name in folders + files:
            info = os.lstat(f"{parent}/{name}")
            found[info.st_ino] = info.st_blocks * 512
    return sum(found.values())


def tar_tree(data):
    """{path: (tar type, mode, uid, gid, content or link)} of a tar, the last of equal names."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            content = archive.extractfile(info).read() if info.isreg() else info.linkname
            found[info.name.removeprefix("./").rstrip("/")] = (info.type, info.mode, info.uid, info.gid, content)
    found.pop("", None)
    found.pop(".", None)
    return found
