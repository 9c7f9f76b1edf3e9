#!/bin/sh
# Makes the secrets that docker/compose.yaml reads: a password and a connection URL for each database, and the
# secrets that sign tokens and open the services' ledgers to each other. What is there already is kept.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
for service in users products orders; do
  [ -s "secrets/${service}_password" ] && continue
  password=$(random)
  printf '%s' "$password" > "secrets/${service}_password"
  printf 'postgres://%s:%s@%s-db:5432/%s' "$service" "$password" "$service" "$service" > "secrets/${service}_url"
done
for secret in auth_secret internal_secret; do
  [ -s "secrets/$secret" ] || printf '%s' "$(random)" > "secrets/$secret"
done
# The containers read them as a user of their own; the folder keeps everybody else out.
chmod 700 secrets && chmod 644 secrets/*
echo "The secrets are in $(pwd)/secrets."
