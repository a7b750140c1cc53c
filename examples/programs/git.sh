#!/bin/bash
# git commit in a loop: as it comes, and with every fsync that it has.
. "$(dirname "$0")/prelude.sh"
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_CONFIG_NOSYSTEM=1 HOME=/nonexistent

case ${1:-} in
  commit)
    for number in 1 2 3; do
      echo "$number" >file
      git add file && git commit -q -m "$number" && git rev-parse HEAD || exit
    done
    exit ;;
  check) # nothing is broken
    git fsck --strict --no-dangling >/dev/null && git log --oneline --all >/dev/null &&
      git status --short >/dev/null
    exit ;;
  acked) # and all commits that were acknowledged are there
    "$self" check && { git log --all --format=%H 2>/dev/null || true; } | acked_in
    exit ;;
esac

debian git
init='git init -q'
try 'git commit, as it comes: broken? dax' 0 --model dax --setup "$init" \
  --workload "'$self' commit" --check "'$self' check"
try 'git commit, as it comes: broken? sector' 1 --model sector --setup "$init" \
  --workload "'$self' commit" --check "'$self' check"
try 'git commit, as it comes: commits lost? dax' 1 --model dax --setup "$init" \
  --workload "'$self' commit" --check "'$self' acked"
# The reference is synced under its temporary name; the rename that makes it count is not.
synced="$init && git config core.fsync all"
try 'git commit, core.fsync=all: commits lost? dax' 1 --model dax --setup "$synced" \
  --workload "'$self' commit" --check "'$self' acked"
try 'git commit, core.fsync=all: broken? sector' 0 --model sector --setup "$synced" \
  --workload "'$self' commit" --check "'$self' check"
try 'git commit, core.fsync=all: broken? posix' 1 --model posix --setup "$synced" \
  --workload "'$self' commit" --check "'$self' check"
finish
