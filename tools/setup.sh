# Sourced by quickstart and check: messages, and packages by apt. Debian 12 and 13. Expects: cd to the repository's root.

say() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
die() {
  printf '\n%s: %s\n' "$(basename "$0")" "$1" >&2
  shift
  for line in "$@"; do printf '   %s\n' "$line" >&2; done
  exit 1
}

need_debian_root() {
  [ "$(uname -s)" = Linux ] || die "runs on Linux only"
  [ "$(id -u)" = 0 ] || die "must run as root (it installs packages and makes namespaces)" "try: sudo $0"
  command -v apt-get >/dev/null || die "apt-get not found; Debian 12 or 13 is expected" "needed packages are listed in tools/setup.sh"
  [ "$(uname -m)" = x86_64 ] || note "note: only x86_64 is tested, this is $(uname -m)"
}

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
available() { apt-cache show "$1" >/dev/null 2>&1; }

apt_updated=
apt_update() {
  [ -z "$apt_updated" ] || return 0
  apt_updated=1
  note "apt-get update"
  local try
  for try in 1 2 3 4 5 6; do
    apt-get update -qq >"$apt_log" 2>&1 && return 0
    # Another apt holds the lists' lock (a fresh machine runs its own updates): it ends by itself.
    grep -q 'Could not get lock' "$apt_log" || break
    sleep 10
  done
  note "apt-get update failed (going on with the lists that are here): $(tail -n 1 "$apt_log")"
}

# apt_install PACKAGE...: installs what is missing; says which.
apt_install() {
  local missing=() name
  for name in "$@"; do installed "$name" || missing+=("$name"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  apt_log=$(mktemp /tmp/davit-apt.XXXXXX)
  for name in "${missing[@]}"; do available "$name" || { apt_update; break; }; done
  note "installing: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # Lock::Timeout: waits for another apt or dpkg instead of failing.
  if ! apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >"$apt_log" 2>&1; then
    apt_update  # the lists may be older than the archive
    apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >"$apt_log" 2>&1 ||
      die "apt could not install: ${missing[*]}" "$(grep -E '^E:' "$apt_log" | head -n 5)" "whole log: $apt_log"
  fi
  rm -f "$apt_log"
}

# unpack_package PACKAGE PROGRAM: the program alone, below build/tools, where PATH finds it. For a package that starts a service
# when it is installed, now and at every boot: Debian's docker-registry then listens on port 5000.
unpack_package() {
  local package=$1 program=$2 folder=$PWD/build/tools/$1
  export PATH="$PATH:$folder/usr/bin"
  ! command -v "$program" >/dev/null || return 0
  note "unpacking: $package"
  rm -rf "$folder"
  mkdir -p "$folder"
  apt_log=$(mktemp /tmp/davit-apt.XXXXXX)
  (cd "$folder" && apt-get download -qq "$package") >"$apt_log" 2>&1 ||
    { apt_update; (cd "$folder" && apt-get download -qq "$package") >"$apt_log" 2>&1; } ||
    die "apt could not download $package" "$(grep -E '^E:' "$apt_log" | head -n 5)" "whole log: $apt_log"
  dpkg-deb -x "$folder/$package"_*.deb "$folder"
  rm -f "$folder"/*.deb "$apt_log"
  command -v "$program" >/dev/null || die "the package $package has no program $program"
}

# The development package of Boost.JSON: 1.81 on Debian 12 (whose default Boost has none), the default on 13.
boost_json_package() {
  dpkg-query -W -f='${db:Status-Status} ${Package}\n' 'libboost-json*-dev' 2>/dev/null | awk '$1 == "installed" {print $2}' | grep . && return
  apt-cache show libboost-json-dev >/dev/null 2>&1 && echo libboost-json-dev && return
  apt-cache pkgnames libboost-json | grep -E '^libboost-json[0-9.]+-dev$' | sort -V | head -n 1
}

# The headers of the same Boost (Beast's HTTP parser).
boost_headers_package() {
  local json
  json=$(boost_json_package | head -n 1)
  [ "$json" = libboost-json-dev ] && echo libboost-dev && return
  echo "libboost${json#libboost-json}"
}

# The clang that the tidy and fuzz presets name, or the newest of the distribution; prints its number.
clang_version() {
  local version
  for version in 14 15 16 19 18 17; do
    if [ -x "/usr/bin/clang++-$version" ] || available "clang-$version"; then echo "$version" && return; fi
  done
}

install_build_packages() {
  apt_log=$(mktemp /tmp/davit-apt.XXXXXX)
  available ninja-build || apt_update
  rm -f "$apt_log"
  local json
  json=$(boost_json_package | head -n 1)
  [ -n "$json" ] || die "no libboost-json development package found by apt" "Debian 12 has libboost-json1.81-dev, Debian 13 libboost-json-dev"
  apt_install g++ cmake ninja-build ccache lld python3 libfmt-dev libseccomp-dev zlib1g-dev libgtest-dev busybox-static "$json" \
    "$(boost_headers_package)" libssl-dev libsqlite3-dev libisal-dev libzstd-dev liblzma-dev libbz2-dev libtomlplusplus-dev
}

# build PRESET [CMAKE ARGUMENT...]: configures and builds build/PRESET; the log is shown only when it fails. TARGETS: "" all.
build() {
  local preset=$1 log=build/$1.log started=$SECONDS
  shift
  mkdir -p build
  # A build folder made by another path (a copied checkout) cannot be reused.
  if [ -f "build/$preset/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "build/$preset/CMakeCache.txt"; then
    rm -rf "build/$preset"
  fi
  cmake --preset "$preset" "$@" >"$log" 2>&1 || { tail -n 30 "$log" >&2; die "cmake --preset $preset failed" "whole log: $log"; }
  # shellcheck disable=SC2086
  cmake --build "build/$preset" -j "$(nproc)" ${TARGETS:+--target $TARGETS} >>"$log" 2>&1 ||
    { grep -nE 'error:|FAILED:' "$log" | head -n 20 >&2; tail -n 10 "$log" >&2; die "building build/$preset failed" "whole log: $log"; }
  note "build/$preset: built in $((SECONDS - started)) s"
}
