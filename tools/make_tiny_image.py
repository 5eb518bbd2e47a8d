#!/usr/bin/env python3
"""Writes the image `tiny` (busybox, nothing else) as a docker-archive, which docker, podman and buildah load.

usage: make_tiny_image.py OUTPUT.tar
The archive: manifest.json, the image's configuration, one layer (Docker Image Specification v1.2, "Combined Image JSON +
Filesystem Changeset Format").
"""
import hashlib
import io
import json
import subprocess
import sys
import tarfile


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **fields) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))


def make_layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as layer:
        for folder in ("bin", "etc", "proc", "sys", "dev", "root", "var", "www"):
            add(layer, folder, type=tarfile.DIRTYPE, mode=0o755)
        add(layer, "tmp", type=tarfile.DIRTYPE, mode=0o1777)
        with open("/bin/busybox", "rb") as busybox:
            add(layer, "bin/busybox", busybox.read(), mode=0o755)
        applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
        for applet in applets:
            if applet != "busybox":
                add(layer, f"bin/{applet}", type=tarfile.SYMTYPE, linkname="busybox", mode=0o777)
        add(layer, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        add(layer, "etc/group", b"root:x:0:\n")
    return out.getvalue()


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    layer = make_layer()
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "busybox"}],
    }).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": ["tiny:latest"], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(sys.argv[1], "w") as archive:
        add(archive, config_name, config)
        add(archive, "layer.tar", layer)
        add(archive, "manifest.json", manifest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
