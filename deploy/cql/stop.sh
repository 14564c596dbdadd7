#!/bin/bash
# stop.sh RUN_DIR [SIGNAL]: stops the nodes that start.sh started there (by pid), and waits for them.
set -euo pipefail
run=$(cd "${1:?usage: stop.sh RUN_DIR [SIGNAL]}" && pwd)
signal=${2:-TERM}
for file in "$run"/[123]/pid; do
  [ -f "$file" ] || continue
  pid=$(cat "$file")
  # A number that belongs to another process by now is left alone.
  grep -qs "$run" "/proc/$pid/cmdline" || { rm -f "$file"; continue; }
  kill -"$signal" "$pid" 2>/dev/null || true
  for _ in $(seq 150); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  rm -f "$file"
done
