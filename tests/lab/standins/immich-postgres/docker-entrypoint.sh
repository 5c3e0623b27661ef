#!/bin/bash
# SPDX-License-Identifier: MIT
# PostgreSQL 17 + pgvector of Debian in the place of ghcr.io/immich-app/postgres:14-vectorchord0.4.3-pgvectors0.2.0.
# Same variables, user (999), folder, first start and refusals as the image's own entrypoint; the major version is not 14.
set -Eeuo pipefail

say() { echo "[immich-postgres-stand-in] $*"; }
die() { echo "[immich-postgres-stand-in] FATAL: $*" >&2; exit 1; }

# VARIABLE or VARIABLE_FILE, both is an error
from_file() {
  local name=$1 default=${2:-} file="$1_FILE"
  [ -z "${!name:-}" ] || [ -z "${!file:-}" ] || die "both $name and $file are set (but are exclusive)"
  if [ -n "${!file:-}" ]; then
    [ -r "${!file}" ] || die "$file: unable to read ${!file} as uid $(id -u)"
    export "$name=$(<"${!file}")"
  else
    export "$name=${!name:-$default}"
  fi
  unset "$file"
}

mounted_at_or_above() {
  local path=$1
  while [ "$path" != / ]; do
    grep -q " $path " <(cut -d' ' -f5 /proc/self/mountinfo | sed 's/^/ /;s/$/ /') && return 0
    path=$(dirname "$path")
    [ "$path" != /var/lib/postgresql ] || return 1
  done
  return 1
}

initialise() {
  [ -n "$POSTGRES_PASSWORD" ] || [ "${POSTGRES_HOST_AUTH_METHOD:-}" = trust ] || die \
    "Database is uninitialized and superuser password is not specified. Set POSTGRES_PASSWORD to a non-empty value."
  # a new file system's lost+found makes initdb refuse, as it does in the image: use a folder below the mount
  eval "initdb --username=\"\$POSTGRES_USER\" --pwfile=<(printf '%s\n' \"\$POSTGRES_PASSWORD\") ${POSTGRES_INITDB_ARGS:-}"
  printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >> "$PGDATA/pg_hba.conf"
  printf '\nlisten_addresses = %s\njit = off\n' "'*'" >> "$PGDATA/postgresql.conf"
  PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
  if [ "$POSTGRES_DB" != postgres ]; then
    psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres -v name="$POSTGRES_DB" <<< 'CREATE DATABASE :"name";'
  fi
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    # shellcheck source=/dev/null
    case $file in
      *.sh) . "$file" ;;
      *.sql) psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f "$file" ;;
      *.sql.gz) gunzip -c "$file" | psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" ;;
    esac
  done
  PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -m fast -w stop
  say "PostgreSQL init process complete; ready for start up."
}

[ "${1:0:1}" != - ] || set -- postgres "$@"
if [ "$1" = postgres ]; then
  case ${DB_STORAGE_TYPE:-SSD} in SSD | HDD) ;; *) die "DB_STORAGE_TYPE must be SSD or HDD" ;; esac
  mounted_at_or_above "$PGDATA" || die "$PGDATA is not on a mount: the data would be lost with the container"
  if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    find "$PGDATA" \! -user postgres -exec chown postgres '{}' + || die "unable to chown $PGDATA"
    chmod 0700 "$PGDATA" || die "unable to chmod $PGDATA"
    # secrets may be readable by root only: read them before stepping down
    from_file POSTGRES_PASSWORD
    from_file POSTGRES_USER postgres
    from_file POSTGRES_DB "$POSTGRES_USER"
    from_file POSTGRES_INITDB_ARGS
    exec setpriv --reuid=999 --regid=999 --clear-groups "${BASH_SOURCE[0]}" "$@"
  fi
  from_file POSTGRES_PASSWORD
  from_file POSTGRES_USER postgres
  from_file POSTGRES_DB "$POSTGRES_USER"
  from_file POSTGRES_INITDB_ARGS
  { mkdir -p "$PGDATA" && chmod 0700 "$PGDATA"; } || die "$PGDATA: permission denied for uid $(id -u)"
  [ -s "$PGDATA/PG_VERSION" ] || initialise
  unset POSTGRES_PASSWORD
  say "this is Debian's PostgreSQL 17 with pgvector and an empty extension vchord, not PostgreSQL 14 with VectorChord"
fi
exec "$@"
