#!/bin/sh
# Runs a benchmark inside the peers' chroot (shared/peers/up.sh), where davit-runtime, crun and runc see the same machine:
#   bench/peers.sh runtime_start.py build/release/bin/davit-runtime [options]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=/opt/peers
[ -x /var/tmp/davit-peers/peer ] && [ -d $root ] || { echo "the peers are not up: run shared/peers/up.sh"; exit 1; }
script=$1; binary=$2; shift 2
work=$root/var/tmp/davit-bench-files.$$
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bench" "$work/src/oci"
cp "$here"/*.py "$work/bench/"
cp -r "$here/../src/oci/testdata" "$work/src/oci/"
cp "$binary" "$work/davit-runtime"
/var/tmp/davit-peers/peer python3 "/var/tmp/davit-bench-files.$$/bench/$script" "/var/tmp/davit-bench-files.$$/davit-runtime" "$@"
