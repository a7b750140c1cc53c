#!/bin/sh
# Builds the peers and clients of the benchmark into build/bench, each only when it is older than a
# source. Needs the Debian packages that README.md lists.
set -eu
cd "$(dirname "$0")/.."
out=build/bench
warnings="-O2 -Wall -Wextra -Werror"
mkdir -p "$out"

for package in fuse3 lmdb; do
  pkg-config --exists "$package" || {
    echo "bench/build.sh: pkg-config knows no $package;" \
      "apt-get install gcc g++ pkg-config libfuse3-dev liblmdb-dev" >&2
    exit 3
  }
done

# stale NAME SOURCE...: whether NAME is missing or older than a source
stale() {
  made=$out/$1
  shift
  [ ! -e "$made" ] || [ -n "$(find "$@" bench/build.sh -newer "$made" | head -n 1)" ]
}

# build NAME PACKAGES SOURCE...
build() {
  name=$1 packages=$2
  shift 2
  stale "$name" bench/peers bench/client || return 0
  # shellcheck disable=SC2046,SC2086  # flags are words
  ${CC:-cc} -std=gnu17 $warnings -D_GNU_SOURCE -pthread \
    $([ -z "$packages" ] || pkg-config --cflags $packages) "$@" \
    -o "$out/$name.new" $([ -z "$packages" ] || pkg-config --libs $packages)
  mv "$out/$name.new" "$out/$name"
}

build noop fuse3 bench/peers/noop.c bench/peers/serve.c
build passthrough fuse3 bench/peers/passthrough.c bench/peers/nodes.c \
  bench/peers/serve.c
build client "" bench/client/main.c bench/client/data.c bench/client/names.c \
  bench/client/maps.c bench/client/measure.c
build lmdb_commits lmdb bench/client/lmdb_commits.c bench/client/measure.c

if stale persist bench/persist.cc native/persist.cc native/persist.h; then
  # shellcheck disable=SC2086
  ${CXX:-c++} -std=c++20 $warnings -I native bench/persist.cc native/persist.cc -o "$out/persist"
fi
