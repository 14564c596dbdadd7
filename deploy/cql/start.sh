#!/bin/bash
# start.sh RUN_DIR: starts a CQL server (Apache Cassandra 5.0.6) for tests, with its data in RUN_DIR.
# Prints `HANSE_TEST_CQL=<address>:9042` (of the first node) once every node answers; logs are in
# RUN_DIR/<node>/log. Stop it with stop.sh RUN_DIR. A RUN_DIR that was stopped starts again with its data.
#   NODES  1 or 3                      (default 1)
#   ONLY   start this node alone, of a cluster that ran before (default: all)
#   HEAP   heap of one node            (default 320m)
#   JIT    c1, or full: for runs of minutes, where it pays (default c1)
#   SYNC   periodic, or batch: fsync before a write is acknowledged (default periodic)
#   WAIT   seconds until it must serve (default 180)
#   LIFE   seconds after which a node that nobody stopped is killed (default 7200)
# Each run has loopback addresses of its own (127.x.y.1 to .3): any number run side by side.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?usage: start.sh RUN_DIR}"
run=$(cd "$1" && pwd)
NODES=${NODES:-1} HEAP=${HEAP:-320m} JIT=${JIT:-c1} SYNC=${SYNC:-periodic} WAIT=${WAIT:-180} LIFE=${LIFE:-7200}
jars=$("$here/install.sh")

# Whether something answers a CQL OPTIONS frame with SUPPORTED (opcode 6).
answers() {
  timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/9042" && printf "\4\0\0\0\5\0\0\0\0" >&3 &&
    [ "$(head -c 5 <&3 | tail -c 1 | od -An -tu1 | tr -d " ")" = 6 ]' - "$1" 2>/dev/null
}

# Whether one of the ports on an address is taken. Two runs that pick the same address at the same
# time do not get by this, but one of them then fails to bind and starts over with another.
taken() {
  for port in 9042 7000; do
    (exec 3<>"/dev/tcp/$1/$port") 2>/dev/null && return 0
  done
  return 1
}

# launch NODE: starts one node in the background and writes its pid.
launch() {
  local node=$1 dir=$run/$1 token period="" jit="" seeds="$net.1"
  mkdir -p "$dir"
  case $node in
    1) token=-9223372036854775808 ;;
    2) token=-3074457345618258603 ;;
    3) token=3074457345618258602 ;;
  esac
  [ "$NODES" = 3 ] && seeds="$net.1,$net.2,$net.3"
  [ "$SYNC" = periodic ] && period="commitlog_sync_period: 1000ms"
  sed -e "s|@ADDRESS@|$net.$node|;s|@DIR@|$dir|;s|@TOKEN@|$token|;s|@SEEDS@|$seeds|" \
    -e "s|@SYNC@|$SYNC|;s|@SYNC_PERIOD@|$period|;s|@MEMTABLE@|24MiB|" \
    "$here/cassandra.yaml.tmpl" > "$dir/cassandra.yaml"
  # Client compilation only: a test server lives for seconds, and C2 would burn more than it gains.
  [ "$JIT" = c1 ] && jit="-XX:TieredStopAtLevel=1"
  # shellcheck disable=SC2046,SC2086 # the options file is a list of words, and $jit is none or one
  MALLOC_ARENA_MAX=2 setsid java -Xms64m -Xmx"$HEAP" -Xss384k $jit \
    -XX:+UseSerialGC -XX:MaxDirectMemorySize=128m -XX:-UsePerfData -XX:+ExitOnOutOfMemoryError \
    $(grep -v '^#' "$here/jvm17.options") \
    -Dcassandra.config="file://$dir/cassandra.yaml" -Dcassandra.storagedir="$dir" \
    -Dlogback.configurationFile="$here/logback.xml" -Dcassandra-foreground=yes \
    -Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.ring_delay_ms=0 \
    -Dcassandra.consistent.rangemovement=false -Dcassandra.superuser_setup_delay_ms=0 \
    -cp "$jars/*" org.apache.cassandra.service.CassandraDaemon > "$dir/log" 2>&1 < /dev/null &
  local pid=$!
  echo $pid > "$dir/pid"
  setsid bash -c 'for _ in $(seq $(($2 / 5))); do sleep 5; kill -0 $1 || exit 0; done; kill -KILL $1' \
    - $pid "$LIFE" > /dev/null 2>&1 < /dev/null &
}

# await NODE: returns when it serves; fails if its process ended or the time is up.
await() {
  local pid
  pid=$(cat "$run/$1/pid")
  while ! answers "$net.$1"; do
    kill -0 "$pid" 2>/dev/null || return 1
    [ $SECONDS -lt "$WAIT" ] || return 1
    sleep 0.2
  done
}

for attempt in 1 2 3; do
  # The data know their address: a directory that ran before keeps it.
  if [ -f "$run/net" ]; then
    net=$(cat "$run/net")
  else
    net=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1))
    taken "$net.1" && continue
    echo "$net" > "$run/net"
  fi
  for node in ${ONLY:-$(seq "$NODES")}; do launch "$node"; done
  up=yes
  for node in ${ONLY:-$(seq "$NODES")}; do await "$node" || up=no; done
  if [ $up = yes ]; then
    echo "HANSE_TEST_CQL=$net.1:9042"
    exit 0
  fi
  [ -z "${ONLY:-}" ] || break
  "$here/stop.sh" "$run" KILL
  grep -q 'already in use' "$run"/*/log || break
  rm -rf "$run/net" "$run"/[123]
done
echo "the CQL server did not start (attempt $attempt); the end of its log:" >&2
tail -n 20 "$run"/*/log >&2
exit 1
