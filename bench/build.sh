#!/bin/sh
# Builds the peers and clients of the benchmark into build/bench, each only when it is older than a
# source. Needs the Debian packages that README.md lists.
set -eu
cd "$(dirname "$0")/.."
out=build/bench
flags="-std=gnu17 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -pthread"
mkdir -p "$out"

for package in fuse3 lmdb; do
  pkg-config --exists "$package" || {
    echo "bench/build.sh: pkg-config knows no $package;" \
      "apt-get install gcc pkg-config libfuse3-dev liblmdb-dev" >&2
    exit 3
  }
done

# build NAME PACKAGES SOURCE...
build() {
  name=$1 packages=$2
  shift 2
  newer=$(find bench/peers bench/client bench/build.sh -newer "$out/$name" 2>&1 | head -n 1)
  [ -n "$newer" ] || return 0
  # shellcheck disable=SC2046,SC2086  # flags are words
  ${CC:-cc} $flags $([ -z "$packages" ] || pkg-config --cflags $packages) "$@" \
    -o "$out/$name.new" $([ -z "$packages" ] || pkg-config --libs $packages)
  mv "$out/$name.new" "$out/$name"
}

build noop fuse3 bench/peers/noop.c bench/peers/serve.c
build passthrough fuse3 bench/peers/passthrough.c bench/peers/nodes.c \
  bench/peers/serve.c
build client "" bench/client/main.c bench/client/data.c bench/client/names.c bench/client/measure.c
build lmdb_commits lmdb bench/client/lmdb_commits.c bench/client/measure.c
