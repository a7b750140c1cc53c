#!/bin/bash
# A Redis server with its append-only file: appendfsync always, and everysec. The server is ended
# by what ends everything that the workload leaves behind: without a shutdown.
. "$(dirname "$0")/prelude.sh"

# start_server SOCKET OPTION...: in the background; returns when the file is loaded.
start_server() {
  local socket=$1
  shift
  redis-server --port 0 --unixsocket "$socket" --dir . --save '' --appendonly yes "$@" \
    >"$socket.log" 2>&1 &
  for _ in $(seq 200); do
    [ "$(redis-cli -s "$socket" ping 2>/dev/null)" = PONG ] && return
    kill -0 $! 2>/dev/null || break
    sleep 0.02
  done
  tail -3 "$socket.log" >&2
  return 1
}

case ${1:-} in
  set)
    sockets=$(mktemp -d)
    start_server "$sockets/s" --appendfsync "$2" || exit
    for number in 1 2 3 4 5 6; do
      [ "$(redis-cli -s "$sockets/s" set "$number" "value $number")" = OK ] && echo "$number"
    done
    rm -rf "$sockets"
    exit ;;
  check)
    sockets=$(mktemp -d)
    start_server "$sockets/s" && redis-cli -s "$sockets/s" keys '*' | acked_in
    status=$?
    redis-cli -s "$sockets/s" shutdown nosave 2>/dev/null
    rm -rf "$sockets"
    exit $status ;;
esac

debian redis-server redis-tools
try 'Redis, appendfsync everysec, dax' 1 --model dax \
  --workload "'$self' set everysec" --check "'$self' check"
for model in dax sector; do
  try "Redis, appendfsync always, $model" 0 --model "$model" \
    --workload "'$self' set always" --check "'$self' check"
done
finish
