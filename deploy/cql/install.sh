#!/bin/bash
# install.sh: fetches the CQL server's jars (100 files, 66 MB) with Maven unless they are there.
# Prints the directory that holds them.
#   HANSE_CACHE   where artifacts are kept between builds (default: ~/.cache/hanse)
# Jars go to $HANSE_CACHE if that exists, else to target/cql of the checkout.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${HANSE_CACHE:-${HOME:-/nonexistent}/.cache/hanse}
[ -d "$cache" ] || cache=$root/target
jars=$cache/cql/jars-5.0.6

if [ ! -d "$jars" ]; then
  # Into a directory of its own, then renamed: a cut download never looks complete.
  mkdir -p "$cache/cql"
  part=$(mktemp -d "$cache/cql/part.XXXXXX")
  trap 'rm -rf "$part"' EXIT
  cp "$here/pom.xml" "$part/pom.xml"
  mvn -B -q -f "$part/pom.xml" dependency:copy-dependencies \
    -DoutputDirectory="$part/jars" -DincludeScope=runtime >&2
  mv -T "$part/jars" "$jars" 2>/dev/null || [ -d "$jars" ]
fi
echo "$jars"
