#!/bin/sh
# SPDX-License-Identifier: MIT
# The image's own check: the server answers and no page checksum has failed.
user=${POSTGRES_USER:-$(cat "${POSTGRES_USER_FILE:-/dev/null}" 2>/dev/null)}
name=${POSTGRES_DB:-$(cat "${POSTGRES_DB_FILE:-/dev/null}" 2>/dev/null)}
user=${user:-postgres}
name=${name:-$user}
pg_isready --quiet --dbname="$name" --username="$user" || exit 1
failures=$(psql --dbname="$name" --username="$user" --tuples-only --no-align \
  --command='SELECT COALESCE(SUM(checksum_failures), 0) FROM pg_stat_database') || exit 1
[ "$failures" = 0 ] || { echo "checksum failure count is $failures"; exit 1; }
